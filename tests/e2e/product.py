# tests/e2e/product.py - what a user sees of a whole run: it learns, its files open elsewhere, its
# status has the documented form, wrong input gives one clear message and the right exit code.
import json
import os
import re
import shutil
import subprocess
import sys

import case
from case import BIN, ROOT, Run, check, wait_for


def learns(folder):
    """300 steps on two ranks: the validation error is clearly below predicting the mean action.

    Clearly: at most 0.7 of it. An untrained network predicts 0, the mean of z-scored actions, and
    so starts near 1.
    """
    run = Run(folder + "/run", 300, 2, trainer__train_batch_size=32,
              trainer__checkpointing_period=100, trainer__sample_batch_size=16,
              trainer__num_sample_batches=4, trainer__lr_warmup_steps=50).go()
    text = run.text()
    for rank in (0, 1):
        check("Distributed training: world_size=2, rank=%d" % rank in text, "no line of rank")
    check("single-task statistics" in text, "which statistics are used is not said")
    validation = run.events("validation")[-1]
    policy, mean = validation["policy"], validation["mean_action"]
    check(policy <= 0.7 * mean, "policy %g is not clearly below mean action %g" % (policy, mean))
    for name in ("mean action", "time-indexed mean", "nearest neighbour"):
        check(name in text[-3000:], "the last lines lack the baseline " + name)
    check(re.search(r"\b300/300\b", text), "no final progress line")
    metrics = run.metrics()
    check(len(metrics) == 300, "metrics.jsonl has %d lines" % len(metrics))
    for key in ("step", "attempt", "cursor", "loss", "learning_rate", "grad_norm", "step_s",
                "data_wait_s", "collective_wait_s", "samples_per_s", "ledger"):
        check(key in metrics[0], "metrics.jsonl lacks " + key)
    opens_in_python(run)


def opens_in_python(run):
    """The EMA file opens with the safetensors package and has the official keys and shapes."""
    try:
        from safetensors import safe_open
    except ImportError:
        print("not run: the safetensors package is not here")
        return
    checkpoint = run.checkpoint(run.step())
    with open(os.path.join(checkpoint, "config.json")) as file:
        config = json.load(file)
    hidden, depth = config["rdt"]["hidden_size"], config["rdt"]["depth"]
    with safe_open(os.path.join(checkpoint, "ema", "model.safetensors"), "numpy") as file:
        keys = set(file.keys())
        check(len(keys) == 21 * depth + 30, "%d tensors" % len(keys))
        for key, shape in {
                "model.x_pos_embed": [1, 3 + config["pred_horizon"], hidden],
                "model.blocks.0.attn.qkv.weight": [3 * hidden, hidden],
                "model.blocks.%d.cross_attn.kv.bias" % (depth - 1): [2 * hidden],
                "lang_adaptor.0.weight": [hidden, config["lang_token_dim"]],
                "img_adaptor.2.bias": [hidden],
                "state_adaptor.4.weight": [hidden, hidden],
                "model.final_layer.ffn_final.fc2.weight": [config["action_dim"], hidden]}.items():
            check(key in keys, "no tensor " + key)
            check(list(file.get_slice(key).get_shape()) == shape, "shape of " + key)


def status_form(folder):
    """`pipeline status --json` has the documented form; a second `up` is refused by name."""
    run = Run(folder + "/run", 4000, 2).start()
    run.wait_step(5)
    status = run.status()
    check(set(status) >= {"run", "processes", "devices"}, "keys %s" % sorted(status))
    stages = {p["stage"] for p in status["processes"]}
    check(stages >= {"supervisor", "loader", "trainer"}, "stages %s" % stages)
    for process in status["processes"]:
        for key in ("stage", "number", "pid", "state", "restarts", "rss_bytes", "cpu"):
            check(key in process, "a process lacks " + key)
        check(process["state"] in ("starting", "running", "draining", "done", "failed"),
              "state " + process["state"])
    second = Run(run.folder, 4000, 2)
    second.output = None
    done = subprocess.run([os.path.join(BIN, "pipeline"), "up", second.pipeline]
                          + [w for k, v in second.sets.items() for w in ("--set", "%s=%s" % (k, v))],
                          capture_output=True, text=True, timeout=30)
    check(done.returncode != 0, "a second `up` on the same run folder was not refused")
    check(str(run.process.pid) in done.stderr, "the holder is not named: " + done.stderr)
    check(run.command("down").returncode == 0, "down")
    run.finish(75)
    check(os.path.isdir(run.checkpoint(run.step())), "no checkpoint after down")


def bad_input(folder):
    """Each wrong input: one clear message that names the place, and the right exit code."""
    pipeline = os.path.join(BIN, "pipeline")
    one_task = os.path.join(ROOT, "pipelines", "1task.toml")
    data = case.demos()
    source = [os.path.join(data, f) for f in os.listdir(data) if f.endswith(".hdf5")][0]
    empty, damaged = folder + "/empty", folder + "/damaged"
    os.makedirs(empty)
    os.makedirs(damaged)
    with open(source, "rb") as whole, open(damaged + "/a_demo.hdf5", "wb") as half:
        half.write(whole.read()[:300000])
    with open(folder + "/typo.toml", "w") as file:
        file.write("[trainer]\nlearning_rat = 1e-4\n")
    cases = [
        ("unknown key", folder + "/typo.toml", [], 2, ["typo.toml:2:1", "learning_rate"]),
        ("wrong type", one_task, ["run.seed=\"x\""], 2, ["run.seed"]),
        ("not divisible", one_task, ["trainer.train_batch_size=7"], 2, ["train_batch_size", "7"]),
        ("warm-up with constant", one_task, ["trainer.lr_scheduler=constant"], 2,
         ["lr_warmup_steps"]),
        ("no GPU", os.path.join(ROOT, "pipelines", "2gpu.toml"), [], 4, ["cuda:0", "cpu"]),
        ("no demos", one_task, ["data.path=" + empty], 3, [empty]),
        ("truncated file", one_task, ["data.path=" + damaged], 3, ["a_demo.hdf5"]),
        ("no such checkpoint", one_task, ["run.resume=/nonexistent"], None, ["/nonexistent"]),
    ]
    for name, path, sets, code, says in cases:
        arguments = ["run.output_dir=%s/run" % folder, "data.path=" + data] + sets
        done = subprocess.run([pipeline, "up", path] + [w for s in arguments for w in ("--set", s)],
                              capture_output=True, text=True, timeout=60)
        text = done.stdout + done.stderr
        check(done.returncode == code or (code is None and done.returncode in (2, 3)),
              "%s: exit %d, expected %s\n%s" % (name, done.returncode, code, text))
        for word in says:
            check(word in text, "%s: the message does not name %s\n%s" % (name, word, text))
        shutil.rmtree(folder + "/run", ignore_errors=True)


def damaged_checkpoint(folder):
    """A damaged newest checkpoint is an error on resume, never a silent fresh start."""
    run = Run(folder + "/run", 20, 1).go()
    with open(os.path.join(run.checkpoint(20), "optimizer.safetensors"), "r+b") as file:
        file.truncate(1000)
    again = Run(run.folder, 40, 1).start()
    again.finish(3)
    check("optimizer.safetensors" in again.text(), "the file is not named:\n" + again.text())
    check(run.step() == 20, "metrics were touched")


def changed_data(folder):
    """A file changed after the index is refused by name when the run goes on."""
    data = folder + "/data"
    shutil.copytree(case.demos(), data)
    os.chmod(data, 0o755)
    name = [f for f in os.listdir(data) if f.endswith(".hdf5")][0]
    run = Run(folder + "/run", 20, 1, data__path=data).go()
    os.chmod(os.path.join(data, name), 0o644)
    with open(os.path.join(data, name), "ab") as file:
        file.write(b"x")
    again = Run(run.folder, 40, 1, data__path=data).start()
    again.process.wait(60)
    check(again.process.returncode in (2, 3), "exit %d" % again.process.returncode)
    check(name in again.text(), "the file is not named:\n" + again.text())


def check_verb(folder):
    """`pipeline check` proves the codec and says what it found; --json for programs."""
    done = subprocess.run([os.path.join(BIN, "pipeline"), "check",
                           os.path.join(ROOT, "pipelines", "1task.toml"), "--set",
                           "data.path=" + case.demos(), "--json"], capture_output=True, text=True)
    check(done.returncode == 0, "check: exit %d\n%s" % (done.returncode, done.stderr))
    json.loads(done.stdout)
    plain = subprocess.run([os.path.join(BIN, "pipeline"), "check",
                            os.path.join(ROOT, "pipelines", "1task.toml"), "--set",
                            "data.path=" + case.demos()], capture_output=True, text=True)
    for word in ("after", "joint_pos", "rad", "gripper"):
        check(word in plain.stdout, "check does not show %s:\n%s" % (word, plain.stdout))


case.main({f.__name__: f for f in (learns, status_form, bad_input, damaged_checkpoint,
                                   changed_data, check_verb)})
