# tests/e2e/evaluator_serve.py - `pipeline-evaluator serve`, driven over its line as the supervisor
# drives it: killed, robbed of its checkpoint, two at once, damaged files, no room for a video.
#
# Oracle of the outcomes: an undisturbed evaluation with one environment. Equal means equal outcomes
# and equal hashes of every frame the policy saw. The policies are of 60 steps and solve nothing:
# what is tested is who evaluates what, not how well.
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import threading

import case
from case import BIN, ROOT, check, lines, wait_for

TASK = "pick_up_the_cube_and_place_it_on_the_plate"
STEPS = (20, 40, 60)
PATIENCE_S = 300  # every wait ends on an event; a busy machine may take its time
MISSING = 4  # exit code: no way to draw, or no robot's files


class Evaluator:
    """One evaluator, and its supervisor's end of the line."""

    def __init__(self, run, number=0, **more):
        self.run = run
        self.end, other = socket.socketpair()
        environment = dict(os.environ, PIPELINE_LINK=str(other.fileno()), OPENBLAS_NUM_THREADS="1")
        self.process = subprocess.Popen(
            [os.path.join(BIN, "pipeline-evaluator"), "serve", "--run", run, "--number",
             str(number)], env=environment, pass_fds=[other.fileno()], stdin=subprocess.DEVNULL,
            **more)
        other.close()
        self.messages = []
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        """What the supervisor does with lines: events go to events.jsonl."""
        with self.end.makefile("rb") as stream:
            for line in stream:
                message = json.loads(line)
                if message["kind"] == "event":
                    with open(os.path.join(self.run, "events.jsonl"), "a") as file:
                        file.write(json.dumps(message["event"]) + "\n")
                self.messages.append(message)

    def look(self, last):
        self.end.sendall(json.dumps({"kind": "checkpoints", "last": last}).encode() + b"\n")
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.thread.join(20)
        return self

    def finish(self, expected=0, deadline_s=PATIENCE_S):
        try:
            code = self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("the evaluator did not end:\n%s" % self.messages[-20:])
        self.thread.join(20)
        check(code == expected, "the evaluator ended with %s, expected %s:\n%s"
              % (code, expected, [m for m in self.messages if m["kind"] != "progress"]))
        return self

    def events(self, name):
        return [m["event"] for m in self.messages
                if m["kind"] == "event" and m["event"]["event"] == name]

    def steps(self, name):
        return [event["step"] for event in self.events(name)]


def trained(folder):
    """A run with three checkpoints of a small network, not evaluated."""
    data, run = folder + "/data", folder + "/run"
    os.mkdir(data)
    made = subprocess.run([os.path.join(BIN, "pipeline-evaluator"), "demos", "--task", TASK,
                           "--episodes", "3", "-o", "%s/%s.hdf5" % (data, TASK)],
                          capture_output=True, text=True)
    if made.returncode == MISSING and not os.environ.get("PIPELINE_REQUIRE_SHARED"):
        print("skipped: " + made.stderr)
        raise SystemExit(case.SKIPPED)
    check(made.returncode == 0, "demos: " + made.stderr)
    sets = {"run.output_dir": run, "data.path": data, "run.max_train_steps": STEPS[-1],
            "trainer.checkpointing_period": STEPS[0], "trainer.train_batch_size": 4,
            "trainer.devices": '["cpu"]', "trainer.sample_period": 0,
            "trainer.lr_warmup_steps": 5, "data.validation_episodes": 1,
            "evaluator.when": "never", "evaluator.max_steps": 8, "evaluator.settle_steps": 2,
            "evaluator.episodes_per_task": 3, "evaluator.environments": 4,
            "evaluator.controls": "best"}
    words = [word for key, value in sets.items() for word in ("--set", "%s=%s" % (key, value))]
    done = subprocess.run([os.path.join(BIN, "pipeline"), "up",
                           os.path.join(ROOT, "pipelines", "demo.toml"), *words],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL)
    check(done.returncode == 0, "up: " + done.stdout[-2000:] + done.stderr)
    return run


def copy(run, name, **options):
    """The same run in another folder, with other options of [evaluator]."""
    to = os.path.join(os.path.dirname(run), name)
    shutil.copytree(run, to, symlinks=True)
    path = os.path.join(to, "pipeline.toml")
    with open(path) as file:
        before, after = file.read().split("[evaluator]\n")
    for key, value in options.items():
        after, count = re.subn(r"(?m)^%s = .*$" % key, "%s = %s" % (key, value), after, count=1)
        check(count == 1, "no option " + key)
    with open(path, "w") as file:
        file.write(before + "[evaluator]\n" + after)
    return to


def results(run, step, part=""):
    with open("%s/eval/checkpoint-%d/%sresults.json" % (run, step, part)) as file:
        return json.load(file)


def journal(run, step, part=""):
    return [line for line in lines("%s/eval/checkpoint-%d/%sepisodes.jsonl" % (run, step, part))
            if "init_state" in line]


def each_once(run, step):
    for part in ("", "selection/"):
        keys = [(e["row"], e["init_state"]) for e in journal(run, step, part)]
        check(len(keys) == len(set(keys)), "checkpoint-%d: an episode is there twice" % step)


def by_hand(run, expected=0):
    done = subprocess.run([os.path.join(BIN, "pipeline-evaluator"), "serve", "--run", run],
                          capture_output=True, text=True, timeout=PATIENCE_S)
    check(done.returncode == expected, "serve ended with %d, expected %d: %s%s"
          % (done.returncode, expected, done.stdout, done.stderr))
    return done.stdout + done.stderr


def serve_outcomes(folder):
    """1 and 4 environments give the same; kill -9 in the middle loses and doubles nothing."""
    run = trained(folder)
    one = copy(run, "one", environments=1, record_video="false")
    said = by_hand(one)
    check("checkpoint-60: success 0 of 3" in said and "blind 0 of 3" in said, said)
    check(os.readlink(one + "/best") == "checkpoint-60", "the later of equals is not the best")
    killed = Evaluator(run).look(False)
    wait_for("episodes of checkpoint-60", lambda: len(journal(run, 60, "selection/")) >= 3,
             PATIENCE_S)
    killed.kill()
    before = journal(run, 60, "selection/")
    check(killed.steps("evaluation_finished") == [] and not os.path.exists(run + "/best"),
          "a killed evaluation is marked done")
    again = Evaluator(run).look(True).finish()
    check(journal(run, 60, "selection/")[:len(before)] == before, "finished episodes were lost")
    check(again.steps("evaluation_finished") == [60, 40, 20, 60],
          "finished %s, expected newest first and then the best with its controls"
          % again.steps("evaluation_finished"))
    check([e.get("blind") for e in again.events("evaluation_finished")][2:]
          == [None, {"successes": 0, "episodes": 3}], "controls are not those of the best alone")
    check(again.steps("best") == [60], "best was told %s" % again.steps("best"))
    for step in STEPS:
        each_once(run, step)
        for part in ("", "selection/"):
            check(results(run, step, part)["tasks"] == results(one, step, part)["tasks"],
                  "checkpoint-%d: outcomes or frames differ" % step)
    check(len(os.listdir(run + "/eval/checkpoint-60/videos")) == 1, "not one video")
    progress = [m["counters"] for m in again.messages if m["kind"] == "progress"][-1]
    check(progress["evaluating"] is None and progress["waiting"] == 0
          and progress["success_step"] == 60 and progress["best_step"] == 60
          and progress["success_episodes"] == 3, "last counters: %s" % progress)
    board = lines(run + "/eval/metrics.jsonl")
    idle = Evaluator(run).look(True).finish()
    check(not idle.steps("evaluation_started") and lines(run + "/eval/metrics.jsonl") == board,
          "what was evaluated is evaluated again")


def serve_workers(folder):
    """Two share the episodes; what rotation took first is told once; going back evaluates anew."""
    run = copy(trained(folder), "two", record_video="false", controls='"never"')
    with open(run + "/events.jsonl", "a") as file:
        file.write('{"event": "checkpoint", "step": 10}\n')  # one that is not there any more
    workers = [Evaluator(run, number).look(False) for number in (0, 1)]
    wait_for("all evaluated", lambda: len(lines(run + "/eval/metrics.jsonl")) == 3,
             PATIENCE_S)
    wait_for("two of them idle", lambda: all(
        w.messages and w.messages[-1].get("counters", {}).get("evaluating", 0) is None
        and w.messages[-1]["counters"]["waiting"] == 0 for w in workers))
    check(all(w.process.poll() is None for w in workers), "one left before it was told the last")
    for worker in workers:
        worker.look(True)
    for worker in workers:
        worker.finish()
    told = sorted(step for w in workers for step in w.steps("evaluation_finished"))
    check(told == [20, 40, 60], "finished was told of %s" % told)
    for step in STEPS:
        each_once(run, step)
        check(results(run, step)["tasks"][0]["rows"]["policy"]["episodes"] == 3, "not whole")
    skipped = [step for w in workers for step in w.steps("evaluation_skipped")]
    check(skipped == [10], "skipped was told of %s" % skipped)
    # training went back and wrote another checkpoint-40
    shutil.rmtree(run + "/checkpoint-40")
    os.rename(run + "/checkpoint-20", run + "/checkpoint-40")
    back = Evaluator(run).look(True).finish()
    check(back.steps("evaluation_finished") == [40], "another checkpoint-40 was not evaluated")
    check(back.steps("evaluation_skipped") == [], "told twice: %s" % back.messages)
    check(results(run, 40)["checkpoint_hash"] == results(run, 20)["checkpoint_hash"], "the old one")
    check(len(journal(run, 40)) == 3, "episodes of two checkpoints in one journal")


def serve_faults(folder):
    """A checkpoint removed under it or damaged, no room for a video, no such start states."""
    clean = trained(folder)
    run = copy(clean, "robbed", controls='"never"')
    with open(run + "/checkpoint-40/ema/model.safetensors", "r+b") as file:
        file.seek(-5, os.SEEK_END)
        file.write(b"\xff\xff")
    robbed = Evaluator(run, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE,
                                                                  (3000, 3000))).look(True)
    wait_for("an episode of checkpoint-60", lambda: journal(run, 60, "selection/"), PATIENCE_S)
    os.kill(robbed.process.pid, signal.SIGSTOP)
    shutil.rmtree(run + "/checkpoint-60")
    os.kill(robbed.process.pid, signal.SIGCONT)
    robbed.finish()  # the supervisor has the event, and sees what is missing
    check(robbed.steps("evaluation_skipped") == [60]
          and "while it was being evaluated" in robbed.events("evaluation_skipped")[0]["reason"],
          "removed: %s" % robbed.events("evaluation_skipped"))
    failed = robbed.events("evaluation_failed")
    check([e["step"] for e in failed] == [40] and "ema/model.safetensors" in failed[0]["error"],
          "damaged: %s" % failed)
    check(robbed.steps("evaluation_finished") == [20], "the others were held up")
    check(robbed.steps("video_dropped") == [20], "no word of the video that found no room")
    check(os.listdir(run + "/eval/checkpoint-20/videos") == [], "half a video is left")
    check(not os.path.exists(run + "/eval/checkpoint-40/results.json"), "damaged, and done")
    again = Evaluator(run).look(True).finish()  # of the same supervisor: not in a loop
    check(not again.steps("evaluation_failed") and not again.steps("evaluation_skipped"),
          "told twice")
    check("1 checkpoint could not be evaluated" in by_hand(run, 1), "by hand it is tried again")
    few = copy(clean, "few", episodes_per_task=10000, record_video="false")
    words = by_hand(few, 1)
    check("start states 10:10010 were asked for, it has 0:600" in words, words)
    check(not os.path.exists(few + "/eval/checkpoint-60/results.json"), "nothing done, and done")
    checked = subprocess.run([os.path.join(BIN, "pipeline-evaluator"), "serve", "--check", "--run",
                              copy(clean, "unknown", tasks='["no_such_task"]')],
                             capture_output=True, text=True)
    check(checked.returncode == 2 and "evaluator.tasks" in checked.stderr, checked.stderr)


case.main({f.__name__: f for f in (serve_outcomes, serve_workers, serve_faults)})
