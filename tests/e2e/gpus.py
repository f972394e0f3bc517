# tests/e2e/gpus.py - training on two GPUs, in the programs users run, over simulated GPUs and fakes
# of the CUDA libraries: a small copy of pipelines/2gpu.toml.
#
# Oracle: the same run on cpu ranks, and an undisturbed run where something is killed. In fp32 the
# two differ by the order of fp32 sums only: measured 5e-9 of the loss after twelve steps. TOLERANCE
# is 200 times that; a wrong scale of the gradients shows above 1e-3. bf16 rounds operands to 2^-9,
# fp16 to 2^-12: measured 5e-5 and 1e-5, as the loss is a mean over many products; ROUNDED is half of
# one rounding of 2^-9.
import datetime
import json
import os
import signal
import subprocess
import sys
import time

import case
from case import Run, check, same_training, wait_for

LIB = os.path.join(os.path.dirname(case.BIN), "lib")
STEPS = 12
TOLERANCE = 1e-6
ROUNDED = 1e-3

SMALL = {
    "model__preset": "rdt-tiny", "model__pretrained": "", "model__hidden_size": 16,
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


def when(event):
    """Seconds, of an event's time."""
    text = event["time"].replace("Z", "+00:00")
    return datetime.datetime.fromisoformat(text).timestamp()


QUICK = {"collective__deadline_s": 2, "supervisor__heartbeat_timeout_s": 3,
         "supervisor__restart_limit": 20}


# When: so many fifths of a step behind the end of that step; and what happens to which rank then.
MOMENTS = ((2, 1, 1, signal.SIGKILL), (4, 3, 0, signal.SIGKILL), (6, 2, 1, signal.SIGSTOP),
           (8, 4, 1, signal.SIGKILL))


def disturbed(folder, **sets):
    """Ranks killed and stopped in different phases of a step: the others leave, the group goes on
    from the last checkpoint and ends with the same bits."""
    simulated()
    reference = gpus(folder + "/one", **sets).go()
    step_s = min(m["step_s"] for m in reference.metrics())
    run = gpus(folder + "/disturbed", **dict(sets, **QUICK)).start()
    for step, fifths, rank, how in MOMENTS:
        run.wait_step(step)
        time.sleep(step_s * fifths / 5)  # the moment is what is tested, whatever is under way then
        disturb(run, rank, how)
    run.finish()
    same_training(reference, run, "disturbed")
    deaths = [e for e in run.events("death") if e["stage"] == "trainer" and e.get("signal") == 9]
    kills = sum(how == signal.SIGKILL for _, _, _, how in MOMENTS)
    check(len(deaths) >= kills, "deaths: %s" % deaths)
    for death in deaths:
        left = min(when(e) for e in run.events("start") if e["stage"] == "trainer"
                   and when(e) > when(death))
        check(left - when(death) < 5, "survivors took %.1f s to leave" % (left - when(death)))


def nccl_disturbed(folder):
    """Over NCCL, whose kernels wait for a dead peer for ever."""
    disturbed(folder)


def staged_disturbed(folder):
    """Both ranks on one GPU."""
    disturbed(folder, collective__backend="staged", trainer__devices='["cuda:0", "cuda:0"]')


# What a device or NCCL says once, in the middle of training, to one rank; the words that name it.
FAULTS = (("ncclAllReduce@1:9:1", "NCCL, starting a sum: "),
          ("cudaLaunchKernel@0:900:719", "\"unspecified launch failure\""),
          ("cudaStreamWaitEvent@1:12:400", "invalid resource handle"))


def gpu_faults(folder):
    """Libraries that fail: said in words, the group restarted, the same bits in the end. NCCL that
    does not start at all ends the run with 4."""
    simulated()
    reference = gpus(folder + "/one").go()
    for number, (fault, words) in enumerate(FAULTS):
        os.environ["GPUSIM_FAULT"] = fault
        os.environ["GPUSIM_FAULT_ONCE"] = "%s/once%d" % (folder, number)
        run = gpus("%s/fault%d" % (folder, number), **QUICK).go()
        same_training(reference, run, fault)
        check(words in run.text(), "%s is not named:\n%s" % (fault, run.text()[-3000:]))
        check(run.events("restart_group"), fault + ": nothing happened")
    del os.environ["GPUSIM_FAULT_ONCE"]
    os.environ["GPUSIM_FAULT"] = "ncclCommInitRankConfig:1:3"
    run = gpus(folder + "/init").start().finish(4)
    check("NCCL, joining the ranks: " in run.text() and "pipeline doctor nccl" in run.text(),
          run.text()[-2000:])
    del os.environ["GPUSIM_FAULT"]


def nccl_environment(folder):
    """[collective.env] reaches the trainers, and nobody else."""
    simulated()
    run = gpus(folder + "/run", **{"collective.env.NCCL_DEBUG": "INFO"}).start()
    run.wait_step(1)
    for stage, expected in (("trainer", True), ("loader", False)):
        for process in run.processes(stage):
            with open("/proc/%d/environ" % process["pid"], "rb") as file:
                found = b"NCCL_DEBUG=INFO" in file.read().split(b"\0")
            check(found == expected, "NCCL_DEBUG of a %s: %s" % (stage, found))
    run.process.send_signal(signal.SIGINT)
    run.finish(130)


def fp16(folder):
    """Close to the cpu's, with the loss scale in metrics.jsonl."""
    simulated()
    reference = cpus(folder + "/cpu").go()
    run = gpus(folder + "/fp16", trainer__mixed_precision="fp16").go()
    near(reference, run, ROUNDED, "fp16")
    check(all(m["loss_scale"] == 65536 and m["skipped_steps"] == 0 for m in run.metrics()),
          "the loss scale moved")


def overflowing(folder):
    """A run of six fp16 steps whose checkpoint then says a scale that is far too large."""
    run = gpus(folder, trainer__mixed_precision="fp16", **QUICK)
    run.sets["run.max_train_steps"] = 6
    run.go()
    path = os.path.join(run.checkpoint(6), "trainer_state.json")
    with open(path) as file:
        state = json.load(file)
    check(state["loss_scale"] == 65536 and state["loss_scale_steps"] == 6, str(state))
    state["loss_scale"] = 2.0 ** 30
    with open(path, "w") as file:
        json.dump(state, file)
    run.sets["run.max_train_steps"] = 18
    return run


def fp16_skips(folder):
    """Steps that overflow are skipped on all ranks and change nothing; a resume in between has the
    same bits, scale and count."""
    simulated()
    reference = overflowing(folder + "/one").go()
    steps = reference.metrics()[6:]
    skipped = [m for m in steps if m["grad_norm"] is None]
    check(skipped and steps[-1]["grad_norm"] is not None, "nothing was skipped, or all")
    check(steps[-1]["skipped_steps"] == len(skipped), "the count is wrong")
    check(steps[-1]["loss_scale"] == 2.0 ** 30 / 2 ** len(skipped), "the scale is wrong")
    check("is skipped: its gradient is too large for fp16" in reference.text(), "nobody was told")
    run = overflowing(folder + "/killed").start()
    run.wait_step(8)
    disturb(run, 1, signal.SIGKILL)
    run.finish()
    same_training(reference, run, "skipping and killed")
    check([(m["loss_scale"], m["skipped_steps"]) for m in reference.metrics()]
          == [(m["loss_scale"], m["skipped_steps"]) for m in run.metrics()], "the scale differs")


TASK = "pick_up_the_cube_and_place_it_on_the_plate"


def gpu_evaluator(folder):
    """Ranks, loaders and an evaluator whose policy runs on the second GPU, on the suite demo."""
    simulated()
    data = folder + "/data"
    os.mkdir(data)
    made = subprocess.run([os.path.join(case.BIN, "pipeline-evaluator"), "demos", "--task", TASK,
                           "--episodes", "3", "-o", "%s/%s.hdf5" % (data, TASK)],
                          capture_output=True, text=True)
    if made.returncode == 4 and not os.environ.get("PIPELINE_REQUIRE_SHARED"):
        print("skipped: " + made.stderr)
        sys.exit(case.SKIPPED)
    check(made.returncode == 0, "demos: " + made.stderr)
    run = gpus(folder + "/run", data__path=data, data__action_key="actions_clean",
               data__state='["joint_pos", "gripper_opening", "eef_pos"]',
               data__validation_episodes=1, trainer__checkpointing_period=STEPS,
               evaluator__when="during", evaluator__device="cuda:1", evaluator__benchmark="demo",
               evaluator__episodes_per_task=2, evaluator__max_steps=8, evaluator__settle_steps=2,
               evaluator__exec_horizon=8, evaluator__environments=5,
               evaluator__record_video="false", evaluator__controls="never").go()
    done = run.events("evaluation_finished")
    check([event["step"] for event in done] == [STEPS] and done[0]["episodes"] == 2, str(done))


case.main({f.__name__: f for f in (nccl, staged, nccl_disturbed, staged_disturbed, gpu_faults,
                                   nccl_environment, fp16,
                                   fp16_skips, gpu_evaluator)})
