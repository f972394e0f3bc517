# tests/e2e/machine.py - what the programs say of GPUs on a machine that may have none: lists,
# doctor, and the refusal of a run. Oracle: what a build without CUDA, or without a driver, must say.
import glob
import json
import os
import subprocess
import sys

import case
from case import BIN, check

PIPELINES = os.path.join(os.path.dirname(__file__), "..", "..", "pipelines")


def run(program, *words, code=0, **environment):
    done = subprocess.run([os.path.join(BIN, program), *words], capture_output=True, text=True,
                          timeout=120, env={**os.environ, **environment})
    check(code is None or done.returncode == code, "%s %s: exit %d\n%s%s" % (
        program, " ".join(words), done.returncode, done.stdout, done.stderr))
    return done


def collective(_folder):
    """Two processes really add; a device that is not there is named."""
    shown = json.loads(run("pipeline-trainer", "collective", "--backend", "host", "--devices",
                           "cpu,cpu", "--json").stdout)
    check(shown["ok"] and shown["bytes"] == 32 << 20 and shown["seconds"] > 0, "%s" % shown)
    done = run("pipeline-trainer", "collective", "--devices", "cuda:0,cuda:1", code=4,
               PIPELINE_CUDA_MODULE="/nowhere/x.so")
    check("/nowhere/x.so" in done.stderr, done.stderr)
    run("pipeline-trainer", "collective", "--devices", "cpu", code=2)


def doctor_nccl(_folder):
    """Without a second GPU the doctor complains, and says what every variable does."""
    nowhere = {"PIPELINE_CUDA_MODULE": "/nowhere/x.so", "PIPELINE_NVML": "/nowhere/y.so"}
    done = run("pipeline", "doctor", "nccl", "--json", code=1, NCCL_P2P_DISABLE="1",
               NCCL_STRANGE="7", **nowhere)
    report = json.loads(done.stdout)
    check(not report["good"], "nothing is wrong with no GPU")
    rows = {row["name"]: row for row in report["findings"]}
    check("/nowhere/x.so" in rows["CUDA"]["found"] and "advice" in rows["CUDA"], rows["CUDA"])
    check("/nowhere/y.so" in rows["NVIDIA driver"]["found"], "%s" % rows["NVIDIA driver"])
    check("advice" in rows["GPUs"], "%s" % rows["GPUs"])
    check("host's memory" in rows["NCCL_P2P_DISABLE"]["found"], "%s" % rows["NCCL_P2P_DISABLE"])
    check("NCCL_STRANGE=7" in rows["variable"]["found"], "%s" % rows["variable"])
    check("added 32 MiB" in rows["meeting"]["found"], "%s" % rows["meeting"])
    text = run("pipeline", "doctor", "nccl", code=1, **nowhere).stdout
    check("no NCCL_* is set" in text and "->" in text, text)
    run("pipeline", "doctor", "ncll", code=2)


def fakes(**more):
    """Two GPUs that can be described, not used, and the driver's library to them."""
    tests = os.path.join(BIN, "..", "tests")
    return {"PIPELINE_CUDA_MODULE": os.path.join(tests, "libfake_cuda.so"),
            "PIPELINE_NVML": os.path.join(tests, "libfake_nvml.so"), **more}


def doctor_peers(_folder):
    """How two GPUs reach each other; NCCL is tried between them and its failure told."""
    rows = {}
    for mode, says in (("", "reach each other over NVLink, behind one PCIe switch"),
                       ("no-peers", "do not reach each other: the chipset does not support it, "
                        "behind the link between processors")):
        done = run("pipeline", "doctor", "nccl", "--json", code=1,
                   **fakes(FAKE_NVML=mode, PIPELINE_NCCL_MODULE="/nowhere/z.so"))
        rows = {row["name"]: row for row in json.loads(done.stdout)["findings"]}
        check(says in rows["peer access"]["found"], "%s" % rows["peer access"])
        check(("advice" in rows["peer access"]) == (mode != ""), "%s" % rows["peer access"])
    check("580.00, 2 GPUs" in rows["NVIDIA driver"]["found"], "%s" % rows["NVIDIA driver"])
    check(rows["CUDA"]["found"] == "13.0, driver for 13.0, cuBLASLt 13.1", "%s" % rows["CUDA"])
    check("79.6 GiB, capability 9.0, GPU-00000000-0000-0000-0000-0000000000a1"
          in rows["cuda:0"]["found"], "%s" % rows["cuda:0"])
    check("/nowhere/z.so" in rows["NCCL"]["found"] and "advice" in rows["NCCL"],
          "%s" % rows["NCCL"])


def absent_device(folder):
    """A run that asks for a GPU past the last is refused with their number, before it starts."""
    done = run("pipeline", "up", os.path.join(PIPELINES, "2gpu.toml"), "--set",
               "data.path=" + case.demos(), "--set", "run.output_dir=" + folder + "/run", "--set",
               'trainer.devices=["cuda:0", "cuda:2"]', code=4, **fakes())
    check("cuda:2: there are 2 GPUs here, cuda:0 and on" in done.stderr, done.stderr)
    done = run("pipeline", "up", os.path.join(PIPELINES, "2gpu.toml"), "--set",
               "data.path=" + case.demos(), "--set", "run.output_dir=" + folder + "/run", code=4,
               **fakes(PIPELINE_NCCL_MODULE="/nowhere/z.so"))
    check("collective.backend: nccl: " in done.stderr and "staged" in done.stderr, done.stderr)
    check(not os.path.exists(folder + "/run"), "a refused run left a folder")


def no_driver(folder):
    """The real CUDA module without a driver: a cuda:N run is refused with exit code 4, cpu runs."""
    if not glob.glob(os.path.join(BIN, "..", "lib*", "libpipeline_cuda.so")):
        print("this build has no CUDA module")
        sys.exit(77)
    known = json.loads(run("pipeline-trainer", "devices", "--json").stdout)
    if known["devices"]:
        print("there is a GPU here")
        sys.exit(77)
    check(known["module"] and "no usable NVIDIA driver" in known["why"], "%s" % known)
    done = run("pipeline", "up", os.path.join(PIPELINES, "2gpu.toml"), "--set",
               "data.path=" + case.demos(), "--set", "run.output_dir=" + folder + "/run", code=4)
    check("2gpu.toml:" in done.stderr and "no usable NVIDIA driver" in done.stderr, done.stderr)
    check(not os.path.exists(folder + "/run"), "a refused run left a folder")
    live = case.Run(folder + "/cpu", 3, 1)
    live.go()


def full_device(folder):
    """A device that is full: exit code 5, what asked, what holds the rest, and what would fit."""
    simulated = os.path.join(BIN, "..", "lib", "libpipeline_cuda_sim.so")
    if not os.path.exists(simulated):
        print("skipped: needs %s" % simulated)
        sys.exit(case.SKIPPED)
    words = {"data.path": case.demos(), "run.output_dir": folder + "/run", "run.max_train_steps": 1,
             "trainer.devices": '["cuda:0"]', "trainer.mixed_precision": "no",
             "trainer.train_batch_size": 1024, "trainer.sample_batch_size": 4,
             "collective.backend": "staged"}
    sets = [word for key, value in words.items() for word in ("--set", "%s=%s" % (key, value))]
    done = run("pipeline", "up", os.path.join(PIPELINES, "1task.toml"), *sets, code=5,
               PIPELINE_CUDA_MODULE=simulated, GPUSIM_DEVICES="1",
               GPUSIM_MEMORY=str(1500 << 20))
    said = done.stdout + done.stderr
    check("cuda:0" in said and "is full" in said and "asked for" in said, said)
    check("By forecast, trainer.train_batch_size = " in said, said)
    check("gradient_accumulation_steps = " in said and "fits" in said, said)


case.main({f.__name__: f for f in (collective, doctor_nccl, doctor_peers, absent_device, no_driver,
                                   full_device)})
