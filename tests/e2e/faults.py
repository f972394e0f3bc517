# tests/e2e/faults.py - what machines do to a run: no room for a file, processes stopped or killed
# at any moment, also in the middle of a checkpoint. Nothing is lost, and going on gives the same
# training.
#
# Oracle: an undisturbed run with one loader; equal means equal bits (case.same_training).
import os
import random
import resource
import signal
import subprocess
import sys

import case
from case import Run, check, lines, same_training, wait_for

STEPS = 60


def kill(victims):
    for victim in victims:
        try:
            os.kill(victim["pid"], signal.SIGKILL)
        except ProcessLookupError:
            pass  # it followed the other rank meanwhile


def whole_files(run):
    """Every line that is there is a whole one, and the ledger has no hole."""
    for name in ("metrics.jsonl", "events.jsonl"):
        path = os.path.join(run.folder, name)
        with open(path, "rb") as file:
            check(file.read()[-1:] == b"\n", name + " ends in the middle of a line")
        lines(path)
    done = subprocess.run([os.path.join(case.BIN, "pipeline"), "ledger", "verify", run.folder],
                          capture_output=True, text=True)
    check(done.returncode == 0, "ledger verify: " + done.stdout + done.stderr)


def no_room(folder):
    """A checkpoint that finds no room: exit 5, the ones before stay whole, and the run goes on.

    The room is a limit on the size of a file that the optimizer's (10.9 MB) does not fit and the
    others do; one rank, because memory shared by ranks counts as a file too.
    """
    sets = {"trainer__devices": '["cpu"]', "trainer__threads": 1}
    reference = Run(folder + "/one", STEPS, 1, **sets).go()
    run = Run(folder + "/small", 20, 1, **sets).go()
    run.sets["run.max_train_steps"] = STEPS
    free = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000000, free[1]))
    try:
        run.start().finish(5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, free)
    check("checkpoint-40.partial/optimizer.safetensors" in run.text(),
          "the file is not named:\n" + run.text())
    left = [name for name in os.listdir(run.folder) if name.startswith("checkpoint-")]
    check(left == ["checkpoint-20"], "left behind: %s" % left)
    whole_files(run)
    run.go()
    whole_files(run)
    check([m["ledger"] for m in run.metrics()] == [m["ledger"] for m in reference.metrics()],
          "the ledger differs")


def stopped_processes(folder):
    """SIGSTOP: a silent stage is named, killed and started again; one that comes back goes on."""
    reference = Run(folder + "/one", STEPS, 1).go()
    quick = {"supervisor__heartbeat_timeout_s": 2, "loader__lease_timeout_s": 1}
    for stage, number in (("loader", 0), ("trainer", 0), ("trainer", 1)):
        run = Run("%s/%s%d" % (folder, stage, number), STEPS, 2, **quick).start()
        run.wait_step(22)
        os.kill(run.processes(stage)[number]["pid"], signal.SIGSTOP)
        run.finish()
        same_training(reference, run, "%s %d stopped" % (stage, number))
        if stage == "trainer":
            check(run.events("silent"), "no event says that the trainer is silent")
    run = Run(folder + "/deadline", STEPS, 2, collective__deadline_s=1).start()
    run.wait_step(22)
    os.kill(run.processes("trainer")[1]["pid"], signal.SIGSTOP)
    run.finish()
    same_training(reference, run, "stopped beyond collective.deadline_s")
    check("collective.deadline_s" in run.text(), "the deadline is not named")


def trainer_kills(folder):
    """A rank killed -9 at twenty moments while every step writes a checkpoint; then both at once."""
    reference = Run(folder + "/one", STEPS, 1).go()
    run = Run(folder + "/killed", STEPS, 2, trainer__checkpointing_period=1,
              supervisor__restart_limit=100).start()
    chance = random.Random(11)
    for _ in range(20):
        wait_for("a step or the end", lambda last=run.step(): run.process.poll() is not None
                 or run.step() > last)
        if run.process.poll() is not None or run.step() >= STEPS - 2:
            break
        ranks = wait_for("ranks", lambda: run.processes("trainer"))
        kill([chance.choice(ranks)])
    if run.process.poll() is None:
        kill(run.processes("trainer"))
    run.finish()
    same_training(reference, run, "trainers killed")
    whole_files(run)


def supervisor_kills(folder):
    """The supervisor killed -9 ten times in a row, `up` again each time."""
    reference = Run(folder + "/one", STEPS, 1).go()
    run = Run(folder + "/killed", STEPS, 2, trainer__checkpointing_period=3)
    for kill in range(10):
        run.start()
        run.wait_step(3 + 5 * kill)
        os.kill(run.process.pid, signal.SIGKILL)
        run.process.wait()
    run.go()
    same_training(reference, run, "ten supervisors killed")
    whole_files(run)


def note_of(pid):
    """What the process says that it reads now, in the page that its supervisor looks at."""
    folder = "/proc/%d/fd" % pid
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if "pipeline-place" not in os.readlink(path):
            continue
        with open(path, "rb") as page:
            data = page.read(4096)
        shown = int.from_bytes(data[:4], sys.byteorder)
        half = data[4 + 2032 * (shown - 1):] if shown in (1, 2) else b"\0"
        return half[:half.index(b"\0")].decode()
    return ""


def stands_still(pid):
    """Stopped, or gone."""
    with open("/proc/%d/stat" % pid) as file:
        return file.read().rsplit(")", 1)[1].split()[0] in "TZX"


def faults_in_a_dataset(folder):
    """A loader that dies of a fault twice in the same dataset: exit 3 with file and dataset. That
    it reads it is seen in its own note while it stands still; elsewhere a fault is a restart."""
    run = Run(folder + "/run", 100000, 2, loader__cache_mib=1, supervisor__restart_limit=100,
              trainer__checkpointing_period=100000).start()
    run.wait_step(3)
    seen = {}

    def hit():
        if run.process.poll() is not None:
            return True
        for loader in run.processes("loader"):
            pid = loader["pid"]
            try:
                os.kill(pid, signal.SIGSTOP)
                wait_for("a loader that stands still", lambda: stands_still(pid))
                place = note_of(pid)
                # the first place, and then only that one again
                if place and (place in seen or not seen):
                    seen[place] = seen.get(place, 0) + 1
                    os.kill(pid, signal.SIGSEGV)
                os.kill(pid, signal.SIGCONT)
            except OSError:
                continue  # it is just being started again
        return max(seen.values(), default=0) >= 2
    wait_for("two faults in one dataset", hit)
    run.finish(3)
    place = next(iter(seen))
    check("second crash at the same place" in run.text() and place in run.text(),
          "%s is not named:\n%s" % (place, run.text()[-2000:]))


case.main({f.__name__: f for f in (no_room, stopped_processes, trainer_kills, supervisor_kills,
                                   faults_in_a_dataset)})
