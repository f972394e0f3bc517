# tests/e2e/plan.py - `pipeline plan`: what is said of a run before it runs. Oracles: the published
# size of RDT-1B, sums of what is printed, and the bounds that the design derived by hand.
import json
import os
import subprocess

import case
from case import BIN, check

PIPELINES = os.path.join(os.path.dirname(__file__), "..", "..", "pipelines")


def plan(file, *words, code=0, **environment):
    done = subprocess.run([os.path.join(BIN, "pipeline"), "plan", os.path.join(PIPELINES, file),
                           *words], capture_output=True, text=True, timeout=60,
                          env={**os.environ, **environment})
    check(done.returncode == code, "plan %s: exit %d\n%s" % (file, done.returncode, done.stderr))
    return done


def plan_gpus(folder):
    """Two GPUs are planned without a GPU, data or weights; what is missing is named."""
    nowhere = {"PIPELINE_CUDA_MODULE": folder + "/none.so"}
    words = ("--set", "run.output_dir=" + folder + "/run", "--set", "data.path=" + folder + "/data")
    shown = json.loads(plan("2gpu.toml", *words, "--json", **nowhere).stdout)
    check(abs(shown["parameters"] / 1.228e9 - 1) < 0.001, "%s parameters" % shown["parameters"])
    memory = shown["device_bytes"]
    parts = sum(value for key, value in memory.items() if key != "total")
    check(abs(parts / memory["total"] - 1) < 1e-6, "memory: %s is not its sum %g" % (memory, parts))
    states = sum(memory[key] for key in ("weights", "gradients", "moments", "average"))
    check(abs(states / (20 * shown["parameters"]) - 1) < 1e-6, "states of AdamW: %g" % states)
    flop = shown["micro_step_flop"]
    # batch 8 a device, language of 32: 10.0 TFLOP forward, 30.1 both less what has no gradient
    check(abs(flop["forward"] - 10.0e12) < 0.1e12, "forward %g" % flop["forward"])
    check(abs(flop["forward"] + flop["backward"] - 30.1e12) < 0.3e12, "both")
    missing = " ".join(row["what"] for row in shown["missing"])
    for what in (folder + "/data", "checkpoints/rdt-1b", "siglip", "t5", "none.so"):
        check(what in missing, "%s is not named: %s" % (what, missing))
    rows = {(row["on"].split(",")[0]): row for row in shown["on"]}
    check(not rows["1 x 24 GB"]["fits"] and not rows["2 x 24 GB"]["fits"],
          "24.6 GB of states fit 24 GB")
    for row in shown["on"]:
        check(not row["here"], "a device is here: %s" % row)
        if not row["fits"]:
            continue
        check(row["needed_bytes"] <= row["memory_bytes"], "%s does not fit" % row["on"])
        check(row["train_batch_size"] * row["gradient_accumulation_steps"] == 16, row["what"])
        check(abs(row["hours_20k"] - 20000 * row["step_s"] / 3600) < 1e-6, "hours")
        if row["cards"] == 2 and "scaling" in row:
            check(1 < row["scaling"] <= 2, "two cards are %g times one" % row["scaling"])
    text = plan("2gpu.toml", *words, **nowhere).stdout
    check("PREDICTED" in text and "two GPUs never were seen" in text, "a prediction is not named")
    # a sample each, in training and in validation, needs less than eight
    small = json.loads(plan("2gpu.toml", *words, "--set", "trainer.train_batch_size=2", "--set",
                            "trainer.sample_batch_size=2", "--json",
                            **nowhere).stdout)["device_bytes"]
    check(small["activations"] < memory["activations"] / 1.4, "activations do not follow the batch")


def plan_cpus(folder):
    """Processors are measured; a configuration that is wrong is refused as by `up`."""
    words = ("--set", "run.output_dir=" + folder + "/run")
    shown = json.loads(plan("demo.toml", *words, "--json").stdout)
    check(shown["measured"], "cpu ranks are not measured")
    ranks = [row["cards"] for row in shown["on"]]
    check(ranks == [1, 2], "rows of %s ranks" % ranks)
    for row in shown["on"]:
        check(row["fits"] and 0 < row["step_s"] < 60, "a step of %s s" % row["step_s"])
    done = plan("demo.toml", *words, "--set", "trainer.train_batch_size=33", code=2)
    check("train_batch_size" in done.stderr, done.stderr)
    plan("none.toml", code=2)
    with open(folder + "/index.json", "w") as file:
        file.write("{")
    done = plan("demo.toml", "--set", "run.output_dir=" + folder, code=3)
    check("index.json" in done.stderr, done.stderr)


def plan_here(folder):
    """GPUs of this machine come first, by their own name and memory."""
    fake = os.path.join(BIN, "..", "tests", "libfake_cuda.so")
    shown = json.loads(plan("2gpu.toml", "--set", "run.output_dir=" + folder, "--json",
                            PIPELINE_CUDA_MODULE=fake).stdout)
    first, second = shown["on"][:2]
    check(first["here"] and first["on"] == "1 x NVIDIA H100 80GB HBM3 (here)", first["on"])
    check(second["here"] and second["cards"] == 2 and second["scaling"] > 1, "%s" % second)
    check(first["memory_bytes"] == 85520809984, "%s" % first)
    check(not any("GPU" in row["what"] for row in shown["missing"]), "%s" % shown["missing"])
    # the same kind of card, by table: the same prediction
    same = [row for row in shown["on"] if not row["here"] and "H100" in row["on"]]
    check(same[1]["step_s"] == second["step_s"], "%s and %s" % (same[1], second))


case.main({f.__name__: f for f in (plan_gpus, plan_cpus, plan_here)})
