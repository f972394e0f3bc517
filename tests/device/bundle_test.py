# tests/device/bundle_test.py - the bundle for machines with a GPU, built and run on the simulated one.
"""What the runner promises: a complete record, failures and lateness in it while other parts go on,
and words where there is no driver. Then what scripts/measured makes of records.

    bundle_test.py BUILD
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

BUILD = sys.argv[1]
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MEASURED = os.path.join(ROOT, "scripts", "measured")


def check(condition, words):
    if not condition:
        sys.exit("bundle_test.py: " + words)


def run(bundle, *words, simulated=True):
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    for name in ("CUDA", "NCCL"):
        env.pop("PIPELINE_%s_MODULE" % name, None)
        if simulated:
            env["PIPELINE_%s_MODULE" % name] = os.path.join(
                bundle, "lib", "libpipeline_%s_sim.so" % name.lower())
    done = subprocess.run([os.path.join(bundle, "run"), *words], env=env, capture_output=True,
                          text=True, timeout=500)
    return done.returncode, done.stdout + done.stderr


def record(bundle, *words):
    path = os.path.join(bundle, "result.json")
    code, text = run(bundle, "--out", path, *words)
    check(os.path.exists(path), "no record; the runner said: " + text)
    with open(path, encoding="utf-8") as file:
        return code, text, json.load(file)


def whole(bundle):
    """Every part; the peer's Python is not there."""
    code, text, result = record(bundle, "--tiny", "--python", os.path.join(bundle, "no-python"))
    check(set(result["parts"]) == {"correct", "sanitize", "speed", "peer"}, "parts are missing")
    check(result["device"].startswith("Simulated GPU") and result["simulated"] and result["tiny"],
          "the record does not say that it is of a simulated GPU")
    sources = json.loads(subprocess.run([MEASURED, "sources"], capture_output=True, text=True).stdout)
    check(result["sources"] == sources["sources"] and len(result["sources"]) > 10,
          "hashes of sources differ")
    check(result["machine"]["cublas"] > 0 and result["machine"]["nccl"] > 0, "no versions of libraries")
    for part in ("correct", "speed"):
        for case in result["parts"][part]["cases"]:
            check(case["passed"], "%s, %s: %s" % (part, case["name"], case["why"]))
    rows = result["parts"]["correct"]["cases"][0]["rows"]
    check(len({row["operation"] for row in rows}) == 17, "not every operation has a row")
    check({row["precision"] for row in rows} == {"f32", "bf16", "fp16"}, "precisions are missing")
    speed = result["parts"]["speed"]["cases"][0]["rows"]
    check(speed[0]["tflop"] > 0 and speed[0]["forward_backward_ms"] > 0 and speed[0]["held_bytes"] > 0
          and "percent_of_peak" not in speed[0], "rows of speed: %r" % speed)
    check(speed[1]["ms_per_chunk"] > 0, "no time of a chunk")
    peer = result["parts"]["peer"]["cases"][0]
    check(not peer["passed"] and "no-python" in peer["why"], "a missing Python is not recorded")
    check(code == 1, "exit code %d, not 1, with a part that failed: %s" % (code, text))
    return result


def late(bundle):
    """One part out of time; the other is run all the same."""
    code, _, result = record(bundle, "--tiny", "--seconds", "0.3", "--part", "correct,sanitize")
    cases = result["parts"]["correct"]["cases"]
    check(code == 1 and not result["parts"]["correct"]["finished"], "lateness is not recorded")
    check(all(case["passed"] or "out of time" in case["why"] for case in cases),
          "a case that was cut is not named")
    check(cases[-1]["why"].startswith("not run"), "cases that were not run are not named")
    check(result["parts"]["correct"]["seconds"] < 30, "the deadline did not hold")
    check("sanitize" in result["parts"], "the next part was not run")


def broken(bundle):
    """A program that fails, a device that is not there: recorded, and in words."""
    os.rename(os.path.join(bundle, "bin", "step_bench"), os.path.join(bundle, "bin", "away"))
    code, _, result = record(bundle, "--tiny", "--part", "speed")
    check(code == 1 and "cannot run" in result["parts"]["speed"]["cases"][0]["why"],
          "a missing program is not recorded")
    code, text = run(bundle, "--tiny", "--gpus", "99")
    check(code == 4 and "--gpus 99" in text, "too many GPUs: %d, %s" % (code, text))


def no_driver(bundle):
    if os.path.exists("/dev/nvidia0") or not os.path.exists(
            os.path.join(bundle, "lib", "libpipeline_cuda.so")):
        return
    code, text = run(bundle, simulated=False)
    check(code == 4 and ("no usable NVIDIA driver" in text or "libcublasLt.so.13" in text),
          "the real module without a driver: %d, %s" % (code, text))


def measured(result):
    """Records that count, and those that do not."""
    with tempfile.TemporaryDirectory() as root:
        for folder in ("model", "trainer"):
            shutil.copytree(os.path.join(ROOT, folder), os.path.join(root, folder))
        os.makedirs(os.path.join(root, "docs"))
        path = os.path.join(root, "result.json")

        def add(**changes):
            with open(path, "w", encoding="utf-8") as file:
                json.dump({**result, **changes}, file)
            return subprocess.run([MEASURED, "add", path, "--root", root], capture_output=True,
                                  text=True)

        def verb(name):
            done = subprocess.run([MEASURED, name, "--root", root], capture_output=True, text=True)
            with open(os.path.join(root, "docs", "measured.md"), encoding="utf-8") as file:
                return done.returncode, file.read()

        done = add()
        check(done.returncode == 1 and "simulated" in done.stderr, "a simulated GPU counts as one")
        done = add(simulated=False)
        check(done.returncode == 1 and "--tiny" in done.stderr, "a tiny run counts")
        code, page = verb("write")
        check(code == 0 and "No device has been at hand" in page, "without a record: " + page)
        # as if a GPU had been there
        check(add(simulated=False, tiny=False, device="Card 9").returncode == 0, "a record is refused")
        code, page = verb("check")
        count = len(result["sources"])
        check(code == 0 and "%d of %d sources are proved" % (count, count) in page, page)
        with open(os.path.join(root, "model", "kernels_norm.cu"), "a", encoding="utf-8") as file:
            file.write("\n")
        check(verb("check")[0] == 1, "a source that changed is still called proved")
        code, page = verb("write")
        check("%d of %d sources are proved" % (count - 1, count) in page, page)
        # one case fails: nothing is proved by it
        parts = json.loads(json.dumps(result["parts"]))
        parts["correct"]["cases"][0]["passed"] = False
        add(simulated=False, tiny=False, device="Card 9", parts=parts)
        check("| `model/kernels_sums.cu` | never |" in verb("write")[1], "a failed part proves")


def main():
    with tempfile.TemporaryDirectory() as folder:
        bundle = os.path.join(folder, "bundle")
        done = subprocess.run([os.path.join(ROOT, "tests", "device", "build"), BUILD, bundle,
                               "--simulated"], capture_output=True, text=True)
        check(done.returncode == 0, "the bundle was not built: " + done.stderr)
        result = whole(bundle)
        late(bundle)
        no_driver(bundle)
        broken(bundle)
        measured(result)


main()
