# tests/e2e/evaluator_up.py - `pipeline up` with an evaluator: rates are told, deaths of either side
# cost the other nothing, and `up` ends when every checkpoint is evaluated.
#
# Oracle: the words of docs/architecture.md about the evaluator; an episode counts once, which its
# journal shows. Policies of a few steps solve nothing: who evaluates what is tested, not how well.
import os
import signal
import subprocess

import case
from case import BIN, ROOT, Run, check, lines, wait_for

TASK = "pick_up_the_cube_and_place_it_on_the_plate"
MISSING = 4  # exit code: no way to draw, or no robot's files


def evaluated_run(folder, steps=60, **more):
    """A run of a small network on three demonstrations of the suite demo."""
    data = folder + "/data"
    if not os.path.isdir(data):
        os.mkdir(data)
        made = subprocess.run([os.path.join(BIN, "pipeline-evaluator"), "demos", "--task", TASK,
                               "--episodes", "3", "-o", "%s/%s.hdf5" % (data, TASK)],
                              capture_output=True, text=True)
        if made.returncode == MISSING and not os.environ.get("PIPELINE_REQUIRE_SHARED"):
            print("skipped: " + made.stderr)
            raise SystemExit(case.SKIPPED)
        check(made.returncode == 0, "demos: " + made.stderr)
    run = Run.__new__(Run)  # its own demonstrations, not the recorded ones
    run.folder, run.process = folder + "/run", None
    run.pipeline = os.path.join(ROOT, "pipelines", "demo.toml")
    run.sets = {"run.output_dir": run.folder, "data.path": data, "run.max_train_steps": steps,
                "trainer.checkpointing_period": 20, "trainer.train_batch_size": 4,
                "trainer.devices": '["cpu"]', "trainer.sample_period": 0,
                "trainer.lr_warmup_steps": 5, "data.validation_episodes": 1,
                "evaluator.when": "during", "evaluator.max_steps": 8, "evaluator.settle_steps": 2,
                "evaluator.episodes_per_task": 3, "evaluator.environments": 1,
                "evaluator.record_video": "false", "evaluator.controls": "never"}
    run.sets.update({key.replace("__", "."): value for key, value in more.items()})
    return run


def done_steps(run):
    return sorted(event["step"] for event in run.events("evaluation_finished"))


def each_once(run, steps):
    check(done_steps(run) == steps, "evaluated %s, expected %s" % (done_steps(run), steps))
    for step in steps:
        for part in ("", "selection/"):
            journal = lines("%s/eval/checkpoint-%d/%sepisodes.jsonl" % (run.folder, step, part))
            keys = [(e["row"], e["init_state"]) for e in journal if "init_state" in e]
            check(keys and len(keys) == len(set(keys)),
                  "checkpoint-%d: an episode is there twice, or none is" % step)


def evaluator_of(run):
    """The evaluator that is in the middle of an evaluation."""
    def busy():
        found = [p for p in run.processes("evaluator")
                 if p.get("evaluating") is not None and p["episode"] > 0]
        return found[0] if found else None
    wait_for("an evaluation", lambda: run.events("evaluation_started"))
    return wait_for("an evaluation under way", busy)


def up_evaluates(folder):
    """Rates in events, status and progress; a killed evaluator does its work again."""
    run = evaluated_run(folder, 100000).start()
    os.kill(evaluator_of(run)["pid"], signal.SIGKILL)
    attempt = run.status()["attempt"]
    wait_for("a rate", lambda: run.events("evaluation_finished"))
    status = run.status()
    newest = status["evaluation"]["newest"]
    check(newest["episodes"] == 3 and status["evaluation"]["when"] == "during", str(status))
    check(status["attempt"] == attempt and not run.events("restart_group"), "training was disturbed")
    check([e["stage"] for e in run.events("restart")] == ["evaluator"], str(run.events("restart")))
    check("success " in run.command("status").stdout, "no rate in the table of status")
    wait_for("a rate in the progress line", lambda: "success 0/3 at step" in run.text())
    run.process.send_signal(signal.SIGINT)
    run.finish(130)


def up_goes_on(folder):
    """Interrupted in the last evaluations; `up` again does what is left and nothing twice."""
    run = evaluated_run(folder, evaluator__when="after").start()
    evaluator_of(run)
    run.process.send_signal(signal.SIGINT)
    run.finish(130)
    check("Not evaluated yet: " in run.text(), run.text()[-1500:])
    run.start().finish()
    each_once(run, [20, 40, 60])
    check("Success: 0 of 3" in run.text() and "Best checkpoint: " in run.text(), run.text()[-1500:])
    run.start().finish()
    each_once(run, [20, 40, 60])


def up_killed_training(folder):
    """A trainer killed and a rotation that is faster than the evaluator: each checkpoint is
    evaluated once, or skipped with one event."""
    run = evaluated_run(folder, 120, trainer__checkpoints_total_limit=1,
                        evaluator__max_steps=40).start()
    wait_for("a checkpoint", lambda: run.events("checkpoint"))
    os.kill(run.processes("trainer")[0]["pid"], signal.SIGKILL)
    run.finish()
    evaluated = done_steps(run)
    skipped = sorted(event["step"] for event in run.events("evaluation_skipped"))
    check(sorted(evaluated + skipped) == [20, 40, 60, 80, 100, 120],
          "evaluated %s, skipped %s" % (evaluated, skipped))
    check(120 in evaluated, "the last checkpoint is not evaluated")
    each_once(run, evaluated)


def up_asks_first(folder):
    """What cannot be evaluated is said before training; auto trains without."""
    run = evaluated_run(folder, 20, evaluator__tasks="no_such_task").start().finish(2)
    check("no_such_task" in run.text() and "--set evaluator.when=never" in run.text(), run.text())
    check(not run.metrics(), "it has trained")
    run.sets["evaluator.when"] = "auto"
    run.start().finish()
    check("NOT EVALUATED" in run.text() and not done_steps(run), run.text())


case.main({f.__name__: f for f in (up_evaluates, up_goes_on, up_killed_training, up_asks_first)})
