# tests/e2e/determinism.py - the same seed gives the same training whatever happens to the
# processes: number of loaders, kills, scaling, resuming, accumulation instead of ranks.
#
# Oracle: an undisturbed run with one loader. Equal means equal bits of every loss and of the final
# weights, because the CPU arithmetic, thread count and order of sums are the same.
import os
import random
import signal
import subprocess

import case
from case import Run, check, same_training, wait_for

STEPS = 60


def loaders(folder):
    """1, 2 and 5 loaders."""
    reference = Run(folder + "/one", STEPS, 1).go()
    for count in (2, 5):
        same_training(reference, Run("%s/loaders%d" % (folder, count), STEPS, count).go(),
                      "%d loaders" % count)
    ledger = subprocess.run([os.path.join(case.BIN, "pipeline"), "ledger", "verify",
                             reference.folder], capture_output=True, text=True)
    check(ledger.returncode == 0, "ledger verify: " + ledger.stdout + ledger.stderr)


def loader_kills(folder):
    """A loader killed -9 ten times at random moments."""
    reference = Run(folder + "/one", STEPS * 2, 1).go()
    run = Run(folder + "/killed", STEPS * 2, 3).start()
    chance = random.Random(7)
    killed = 0
    while killed < 10:
        run.wait_step(min(3 + killed * 10 + chance.randrange(8), STEPS * 2 - 2))
        victims = run.processes("loader")
        if victims:
            os.kill(chance.choice(victims)["pid"], signal.SIGKILL)
            killed += 1
    run.finish()
    same_training(reference, run, "ten loaders killed")
    check(run.events("death"), "no death in events.jsonl")


def trainer_kill(folder):
    """A trainer killed -9: the group restarts from the newest checkpoint by itself."""
    reference = Run(folder + "/one", STEPS, 1).go()
    run = Run(folder + "/killed", STEPS, 2).start()
    run.wait_step(33)
    os.kill(run.processes("trainer")[1]["pid"], signal.SIGKILL)
    run.finish()
    same_training(reference, run, "trainer killed")
    check(any(m["attempt"] != run.metrics()[0]["attempt"] for m in run.metrics()),
          "the group did not restart")


def stop_and_resume(folder):
    """SIGINT: a checkpoint, exit 130; `up` again goes on where it stopped."""
    reference = Run(folder + "/one", STEPS, 1).go()
    run = Run(folder + "/stopped", STEPS, 2).start()
    run.wait_step(27)
    os.kill(run.process.pid, signal.SIGINT)
    run.finish(130)
    stopped = run.step()
    check(os.path.isdir(run.checkpoint(stopped)), "no checkpoint at step %d" % stopped)
    run.go()
    same_training(reference, run, "stopped and resumed")


def supervisor_kill(folder):
    """kill -9 of the supervisor: no child is left after 5 s; `up` again resumes."""
    reference = Run(folder + "/one", STEPS, 1).go()
    run = Run(folder + "/killed", STEPS, 3).start()
    run.wait_step(30)
    children = [p["pid"] for p in run.status()["processes"] if p["stage"] != "supervisor"]
    os.kill(run.process.pid, signal.SIGKILL)
    run.process.wait()
    wait_for("all children gone", lambda: not any(map(case.pid_lives, children)), 5.0)
    run.go()
    same_training(reference, run, "supervisor killed")


def scale(folder):
    """`pipeline scale` up and down while it runs: in effect within 2 s, no step waits for it."""
    reference = Run(folder + "/one", STEPS * 2, 1).go()
    run = Run(folder + "/scaled", STEPS * 2, 1).start()
    run.wait_step(10)
    for count in (4, 2):
        done = run.command("scale", "loader=%d" % count)
        check(done.returncode == 0, done.stderr)
        wait_for("%d loaders" % count, lambda: len(
            [p for p in run.status()["processes"]
             if p["stage"] == "loader" and p["state"] == "running"]) == count, 2.0)
    run.finish()
    same_training(reference, run, "scaled")


def accumulation(folder):
    """One rank that takes the two ranks' micro batches by accumulation.

    The positions are the same, so the ledger is equal. Sums of fp32 gradients are made in another
    order; over 20 steps of Adam at this rate the loss then differs by some 1e-6 relative; 1e-3
    leaves room for the amplification and is far below the loss's change per step.
    """
    two = Run(folder + "/ranks", 20, 1).go()
    one = Run(folder + "/accumulated", 20, 1, trainer__devices='["cpu"]',
              trainer__threads=1, trainer__train_batch_size=4,
              trainer__gradient_accumulation_steps=2).go()
    for x, y in zip(two.metrics(), one.metrics()):
        check(x["ledger"] == y["ledger"] and x["cursor"] == y["cursor"],
              "ledger differs at step %d" % x["step"])
        check(abs(x["loss"] - y["loss"]) <= 1e-3 * abs(x["loss"]),
              "loss of step %d: %r and %r" % (x["step"], x["loss"], y["loss"]))


case.main({f.__name__: f for f in (loaders, loader_kills, trainer_kill, stop_and_resume,
                                   supervisor_kill, scale, accumulation)})
