# tests/e2e/verbs.py - `pipeline stats`, `pipeline sample` and `up --detach` on recorded
# demonstrations. Oracle: what stats and sample say must agree with each other by the codec's
# formula, and with the eight recorded episodes (1223 steps).
import json
import os
import subprocess

import case
from case import BIN, Run, check, wait_for


def run(*words):
    return subprocess.run([os.path.join(BIN, "pipeline"), *words], capture_output=True, text=True,
                          timeout=60)


def stats(_folder):
    """Statistics are in the recorded unit, in order, over all steps, and the same in words."""
    done = run("stats", case.demos(), "--json")
    check(done.returncode == 0, "stats: exit %d\n%s" % (done.returncode, done.stderr))
    report = json.loads(done.stdout)
    check(len(report["tasks"]) == 1, "%d tasks" % len(report["tasks"]))
    task = report["tasks"][0]
    check("close the top drawer" in task["instruction"], "instruction " + task["instruction"])
    for channel in task["state"] + task["action"]:
        name = channel["channel"]
        check(channel["count"] == 1223, "%s has %d values" % (name, channel["count"]))
        order = [channel[key] for key in ("min", "q01", "mean", "q99", "max")]
        check(order == sorted(order), "%s: min, q01, mean, q99, max are %s" % (name, order))
        check(channel["constant"] == (channel["max"] - channel["min"] <= 1e-6), name + ": constant")
    gripper = task["action"][-1]
    check(gripper["kind"] == "gripper" and gripper["mean"] == 1 and gripper["scale"] == 1,
          "the gripper command is recorded as +1 throughout: %s" % gripper)
    plain = run("stats", case.demos())
    for word in ("joint_pos", "rad", "gripper"):
        check(word in plain.stdout, "stats does not show %s:\n%s" % (word, plain.stdout))


def sample(_folder):
    """A sample is what the codec makes of the recorded numbers; there is none past the end."""
    words = ("sample", case.demos(), "--episode", "demo_3", "--step", "17")
    done = run(*words, "--json")
    check(done.returncode == 0, "sample: exit %d\n%s" % (done.returncode, done.stderr))
    shown = json.loads(done.stdout)
    rows = json.loads(run("stats", case.demos(), "--json").stdout)["tasks"][0]["state"]
    for row, channel, recorded in zip(rows, shown["state_channels"], shown["state_recorded"]):
        encoded = (recorded - row["offset"]) / row["scale"]
        found = shown["state"][channel["column"]]
        # the network's numbers are floats: 2^-24 relative, and the difference loses some
        check(abs(found - encoded) <= 1e-6 * (1 + abs(encoded)),
              "%s is %r, expected %r" % (channel["channel"], found, encoded))
        check(shown["state_mask"][channel["column"]] == 1, channel["channel"] + " is masked")
    check(sum(shown["state_mask"]) == len(rows), "the mask marks other columns too")
    check(run(*words).returncode == 0, "sample in words")
    for wrong, says in (("demo_99", "demo_99"), ("demo_3", "1700")):
        done = run("sample", case.demos(), "--episode", wrong, "--step", "1700")
        check(done.returncode == 2 and says in done.stderr, "%s: %s" % (wrong, done.stderr))


def detach(folder):
    """`up --detach` comes back while the run goes on by itself to its end."""
    live = Run(folder + "/run", 30, 1)
    words = [word for key, value in live.sets.items() for word in ("--set", "%s=%s" % (key, value))]
    done = run("up", live.pipeline, "--detach", *words)
    check(done.returncode == 0, "up --detach: exit %d\n%s" % (done.returncode, done.stderr))
    wait_for("the last step", lambda: live.step() == 30, 120)
    wait_for("the last checkpoint", lambda: os.path.isdir(live.checkpoint(30)))
    wait_for("the end of the run", lambda: live.command("status").returncode == 1)


case.main({f.__name__: f for f in (stats, sample, detach)})
