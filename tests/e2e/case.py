# tests/e2e/case.py - what the end-to-end cases share: a run of the real programs in a folder of its
# own, watched through the files and commands that users have.
#
# Every wait has a deadline and ends on an event (a line in a file, a process gone), never on a
# guess about time. A failed case keeps its folder and says where it is.
import glob
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("PIPELINE_BIN", os.path.join(ROOT, "build", "bin"))
SKIPPED = 77  # ctest: SKIP_RETURN_CODE


def demos():
    """The recorded demonstrations, or a skip by name where they are not."""
    shared = os.environ.get("PIPELINE_SHARED", "")
    path = os.path.join(shared, "data", "libero", "demos")
    if shared and os.path.isdir(path):
        return path
    if os.environ.get("PIPELINE_REQUIRE_SHARED"):
        sys.exit("PIPELINE_SHARED does not lead to data/libero/demos")
    print("skipped: needs the recorded demonstrations")
    sys.exit(SKIPPED)


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def wait_for(what, condition, deadline_s=60.0):
    """Polls until `condition()` is true; fails by name at the deadline."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("not seen within %g s: %s" % (deadline_s, what))


def lines(path):
    """Whole JSON lines of a file that may be growing."""
    if not os.path.exists(path):
        return []
    with open(path, "rb") as file:
        data = file.read()
    return [json.loads(line) for line in data.split(b"\n")[:-1] if line]


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def pid_lives(pid):
    """True while the process exists and is no zombie."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Run:
    """One run folder and the `pipeline up` that works on it."""

    def __init__(self, folder, steps=60, workers=2, pipeline="1task.toml", **sets):
        self.folder = folder
        self.pipeline = os.path.join(ROOT, "pipelines", pipeline)
        self.sets = {
            "run.output_dir": folder, "run.max_train_steps": steps, "data.path": demos(),
            "loader.workers": workers, "trainer.train_batch_size": 8,
            "trainer.checkpointing_period": 20, "trainer.sample_period": 0,
            "trainer.sample_batch_size": 8, "trainer.num_sample_batches": 1,
            "trainer.lr_warmup_steps": 10, "evaluator.when": "never",
        }
        self.sets.update({key.replace("__", "."): value for key, value in sets.items()})
        self.process = None

    def start(self):
        command = [os.path.join(BIN, "pipeline"), "up", self.pipeline]
        for key, value in self.sets.items():
            command += ["--set", "%s=%s" % (key, value)]
        self.output = open(self.folder + ".log", "ab")
        self.process = subprocess.Popen(command, stdout=self.output, stderr=subprocess.STDOUT,
                                        stdin=subprocess.DEVNULL, start_new_session=True)
        return self

    def text(self):
        with open(self.folder + ".log", errors="replace") as file:
            return file.read()

    def finish(self, expected=0, deadline_s=240):
        try:
            code = self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError("`pipeline up` did not end in %g s:\n%s"
                                 % (deadline_s, self.text()[-3000:]))
        check(code == expected, "`pipeline up` ended with %s, expected %s:\n%s"
              % (code, expected, self.text()[-3000:]))
        return self

    def go(self):
        return self.start().finish()

    def metrics(self):
        return lines(os.path.join(self.folder, "metrics.jsonl"))

    def events(self, name=None):
        found = lines(os.path.join(self.folder, "events.jsonl"))
        return [event for event in found if name is None or event.get("event") == name]

    def step(self):
        metrics = self.metrics()
        return metrics[-1]["step"] if metrics else 0

    def wait_step(self, step, deadline_s=120):
        wait_for("step %d in %s" % (step, self.folder),
                 lambda: self.step() >= step or self.process.poll() is not None, deadline_s)
        check(self.process.poll() is None, "`pipeline up` ended early:\n" + self.text()[-3000:])

    def command(self, *words):
        done = subprocess.run([os.path.join(BIN, "pipeline"), *words, "--run", self.folder],
                              capture_output=True, text=True, timeout=30)
        return done

    def status(self):
        done = self.command("status", "--json")
        check(done.returncode == 0, "status: " + done.stderr)
        return json.loads(done.stdout)

    def processes(self, stage):
        return [p for p in self.status()["processes"] if p["stage"] == stage and p["pid"] > 0
                and p["state"] in ("starting", "running")]

    def checkpoint(self, step):
        return os.path.join(self.folder, "checkpoint-%d" % step)

    def kill_all(self):
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def same_training(a, b, what):
    """Identical ledger, bit-equal losses, identical final weights."""
    first, second = a.metrics(), b.metrics()
    check([m["step"] for m in second] == list(range(1, len(first) + 1)),
          "%s: steps are not 1..%d, each once" % (what, len(first)))
    for x, y in zip(first, second):
        check(x["ledger"] == y["ledger"], "%s: ledger differs at step %d" % (what, x["step"]))
        check(x["cursor"] == y["cursor"], "%s: cursor differs at step %d" % (what, x["step"]))
        check(x["loss"] == y["loss"], "%s: loss of step %d is %r, expected %r"
              % (what, x["step"], y["loss"], x["loss"]))
    step = first[-1]["step"]
    for name in ("model.safetensors", "ema/model.safetensors", "optimizer.safetensors"):
        check(sha256(os.path.join(a.checkpoint(step), name))
              == sha256(os.path.join(b.checkpoint(step), name)), "%s: %s differs" % (what, name))


def main(cases):
    """Runs the case named on the command line (or all) in a new folder."""
    wanted = sys.argv[1:] or list(cases)
    for name in wanted:
        folder = tempfile.mkdtemp(prefix="pipeline-e2e-")
        started = time.monotonic()
        try:
            cases[name](folder)
        except BaseException as error:
            if isinstance(error, SystemExit):
                raise
            print("%s FAILED after %.1f s: %s\nkept: %s"
                  % (name, time.monotonic() - started, error, folder))
            for path in glob.glob(folder + "/*.log")[:4]:
                print("--- %s\n%s" % (path, open(path, errors="replace").read()[-2000:]))
            sys.exit(1)
        shutil.rmtree(folder, ignore_errors=True)
        print("%s: ok, %.1f s" % (name, time.monotonic() - started))
