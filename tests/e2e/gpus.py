# tests/e2e/gpus.py - training on two GPUs, in the programs users run, over simulated GPUs and fakes
# of the CUDA libraries: a small copy of pipelines/2gpu.toml.
#
# Oracle: the same run on cpu ranks, and an undisturbed run where something is killed. In fp32 the
# two differ by the order of fp32 sums only: measured 5e-9 of the loss after twelve steps. TOLERANCE
# is 200 times that; a wrong scale of the gradients shows above 1e-3. bf16 rounds operands to 2^-9,
# fp16 to 2^-12: of a loss that is a mean over many products, ROUNDED is some roundings of 2^-9.
import os
import signal
import sys

import case
from case import Run, check, same_training, wait_for

LIB = os.path.join(os.path.dirname(case.BIN), "lib")
STEPS = 12
TOLERANCE = 1e-6
ROUNDED = 2e-2

SMALL = {
    "model__preset": "rdt-tiny", "model__pretrained": "", "model__hidden_size": 32,
    "model__depth": 2, "model__num_heads": 2, "vision__encoder": "pixels", "vision__path": "",
    "vision__cache": "false", "vision__patch_grid": 2, "vision__patch_size": 4,
    "language__encoder": "hash", "language__path": "", "language__token_dim": 16,
    "trainer__checkpointing_period": 3, "trainer__learning_rate": 1e-3, "evaluator__when": "never",
    "trainer__num_inference_timesteps": 2, "trainer__lr_warmup_steps": 0, "collective__bucket_mib": 0.02,
    "collective__deadline_s": 20,
}


def module(name):
    """A module over the fakes; where the simulator is not built there is none."""
    path = os.path.join(LIB, "libpipeline_%s_sim.so" % name)
    if not os.path.exists(path):
        print("skipped: needs %s" % path)
        sys.exit(case.SKIPPED)
    return path


def simulated(devices=2):
    os.environ["PIPELINE_CUDA_MODULE"] = module("cuda")
    os.environ["PIPELINE_NCCL_MODULE"] = module("nccl")
    os.environ["GPUSIM_DEVICES"] = str(devices)
    os.environ["GPUSIM_DELAY"] = "5"


def gpus(folder, **sets):
    return Run(folder, STEPS, 2, "2gpu.toml", **dict(SMALL, **sets))


def cpus(folder, **sets):
    return gpus(folder, trainer__devices='["cpu", "cpu"]', trainer__mixed_precision="no",
                trainer__threads=1, collective__backend="host", **sets)


def near(a, b, tolerance, what):
    """The same samples, and losses of every step within the tolerance."""
    first, second = a.metrics(), b.metrics()
    check([m["step"] for m in second] == list(range(1, len(first) + 1)), what + ": steps")
    worst = 0
    for x, y in zip(first, second):
        check(x["ledger"] == y["ledger"], "%s: ledger differs at step %d" % (what, x["step"]))
        worst = max(worst, abs(x["loss"] - y["loss"]) / abs(x["loss"]))
    print("%s: losses within %.2g of the cpu's" % (what, worst))
    check(worst <= tolerance, "%s: a loss is off by %.3g, %g allowed" % (what, worst, tolerance))


def nccl(folder):
    """fp32 and bf16 over NCCL against cpu ranks; what the run says of its devices."""
    simulated()
    reference = cpus(folder + "/cpu").go()
    run = gpus(folder + "/fp32", trainer__mixed_precision="no").go()
    near(reference, run, TOLERANCE, "fp32")
    check("device cuda:1" in run.text(), "no line of the second GPU:\n" + run.text())
    near(reference, gpus(folder + "/bf16").go(), ROUNDED, "bf16")


def staged(folder):
    """Both ranks on one GPU, over the host's memory: the same bits as over NCCL, where two numbers
    are added in either order."""
    simulated()
    run = gpus(folder + "/nccl").go()
    one = gpus(folder + "/one", collective__backend="staged",
               trainer__devices='["cuda:0", "cuda:0"]').go()
    same_training(run, one, "staged")


def disturb(run, rank, how):
    """One signal to a rank that is in the middle of a step."""
    victim = wait_for("ranks", lambda: [p for p in run.processes("trainer")
                                        if p["number"] == rank])[0]
    os.kill(victim["pid"], how)


def killed(folder):
    """A rank killed, one stopped: the others leave, the group goes on from the last checkpoint and
    ends with the same bits."""
    simulated()
    quick = {"collective__deadline_s": 2, "supervisor__heartbeat_timeout_s": 3,
             "supervisor__restart_limit": 20}
    reference = gpus(folder + "/one").go()
    for backend, devices in (("nccl", '["cuda:0", "cuda:1"]'), ("staged", '["cuda:0", "cuda:0"]')):
        run = gpus("%s/%s" % (folder, backend), collective__backend=backend,
                   trainer__devices=devices, **quick).start()
        for step, rank, how in ((2, 1, signal.SIGKILL), (5, 0, signal.SIGKILL),
                                (8, 1, signal.SIGSTOP)):
            run.wait_step(step)
            disturb(run, rank, how)
        run.finish()
        same_training(reference, run, backend + " disturbed")


def fp16(folder):
    """Dynamic loss scale: close to the cpu's; bits survive a kill, the scale too."""
    simulated()
    reference = cpus(folder + "/cpu").go()
    sets = {"trainer__mixed_precision": "fp16", "supervisor__restart_limit": 20}
    run = gpus(folder + "/fp16", **sets).go()
    near(reference, run, ROUNDED, "fp16")
    check(all(m["loss_scale"] >= 1 and "skipped_steps" in m for m in run.metrics()),
          "no loss scale in metrics.jsonl")
    again = gpus(folder + "/killed", **sets).start()
    again.wait_step(5)
    disturb(again, 1, signal.SIGKILL)
    again.finish()
    same_training(run, again, "fp16 killed")
    check([m["loss_scale"] for m in run.metrics()] == [m["loss_scale"] for m in again.metrics()],
          "the loss scale differs")


case.main({f.__name__: f for f in (nccl, staged, killed, fp16)})
