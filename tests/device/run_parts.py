# tests/device/run_parts.py - the parts of the bundle: which programs each runs, and what it records.
"""A part is a list of cases; a case is one program, with what it printed as JSON, whether it passed,
and otherwise why. The runner's clock bounds both."""
import json
import os
import shutil
import signal
import subprocess
import time

PARTS = ("correct", "sanitize", "speed", "peer")
UNITS = ("gemm", "norm", "attention", "elements", "inputs", "rdt", "rdt_shared")
TEXT_MAX = 2000


def program(here, name, *words):
    return [os.path.join(here, "bin", name), *map(str, words)]


def correct(here, words):
    tiny = ["--tiny"] if words.tiny else []
    yield "operations at true widths", program(here, "device_widths", "cuda:0", *tiny), {}
    for unit in UNITS if not words.tiny else UNITS[:1]:
        yield "tests of " + unit, program(here, "model_%s_test" % unit), {"TESTS_DEVICE": "cuda:0"}
    for folder in sorted(os.listdir(os.path.join(here, "goldens"))) if not words.tiny else []:
        yield ("recordings, " + folder,
               program(here, "rdt_golden", "--device", "cuda:0", os.path.join(here, "goldens", folder)),
               {})
    for precision in ("f32", "bf16", "fp16") if not words.tiny else ("bf16",):
        yield ("training in " + precision,
               program(here, "device_steps", "cuda:0", precision, 2 if words.tiny else 200), {})
    yield "ranks: nccl, 1", program(here, "device_ranks", "nccl", 1), {}
    yield "ranks: staged, 2 on one GPU", program(here, "device_ranks", "staged", 2), {}
    if words.gpus > 1:
        for backend in ("nccl", "staged"):
            yield ("ranks: %s, %d GPUs" % (backend, words.gpus),
                   program(here, "device_ranks", backend, words.gpus, "each"), {})


def sanitize(here, words):
    places = os.environ.get("PATH", "").split(":") + [
        os.path.join(place, name) for place in (os.environ.get("CUDA_HOME"), "/usr/local/cuda")
        if place for name in ("bin", "compute-sanitizer")]
    tool = shutil.which("compute-sanitizer", path=":".join(places))
    for kind in ("memcheck", "racecheck"):
        command = [tool, "--tool", kind, "--error-exitcode", "9"] if tool else None
        yield kind, command and command + program(here, "device_widths", "cuda:0", "--tiny"), {}


def sizes(words):
    if words.tiny:
        yield "rdt-tiny", ["--preset", "rdt-tiny", "--hidden", "8", "--batch", "1", "--steps", "1"]
        return
    for preset in ("rdt-1b", "rdt-170m"):
        yield preset, ["--preset", preset, "--batch", "8,16,32", "--steps", "20"]


def speed(here, words):
    for preset, options in sizes(words):
        yield (preset, program(here, "step_bench", *options, "--device", "cuda:0", "--precision",
                               "bf16", "--sampler"), {})


def peer(here, words):
    device = "cpu" if words.tiny else "cuda:0"
    for preset, options in sizes(words):
        for mode in ("eager",) if words.tiny else ("eager", "compile"):
            yield ("%s, %s" % (preset, mode),
                   [words.python, os.path.join(here, "peers", "torch_rdt.py"), *options, "--mode", mode,
                    "--device", device, "--precision", "bf16", "--sampler"],
                   {"LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", "")})


def rows_of(text):
    """The lines of a program that are JSON, and the end of all others."""
    rows, rest = [], []
    for line in text.splitlines():
        try:
            row = json.loads(line) if line.startswith("{") else None
        except ValueError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            rest.append(line)
    return rows, "\n".join(rest)[-TEXT_MAX:]


def run_case(name, command, env, seconds):
    case = {"name": name, "passed": False, "seconds": 0, "why": None, "rows": []}
    begin = time.monotonic()
    if seconds <= 0:
        case["why"] = "not run: the part was out of time"
        return case
    try:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                 errors="replace", env=env, start_new_session=True)
    except OSError as error:
        case["why"] = "cannot run %s: %s" % (command[0], error.strerror)
        return case
    late = False
    try:
        text, _ = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        late = True
        os.killpg(child.pid, signal.SIGKILL)
        text, _ = child.communicate()
    case["rows"], rest = rows_of(text)
    case["seconds"] = round(time.monotonic() - begin, 2)
    case["passed"] = not late and child.returncode == 0
    if late:
        case["why"] = "out of time after %.0f s" % seconds
    elif child.returncode != 0:
        case["why"] = "exit code %d: %s" % (child.returncode, rest)
    return case


def run_part(part, here, words, env):
    """{"finished": all cases ran to their end, "seconds", "cases"}."""
    cases, begin = [], time.monotonic()
    for name, command, more in globals()[part](here, words):
        left = words.seconds - (time.monotonic() - begin)
        if command is None:
            case = {"name": name, "passed": True, "seconds": 0, "why": "not there", "rows": []}
        else:
            case = run_case(name, command, {**env, **more}, left)
        print("%-9s %-32s %s" % (part, name, "passed" if case["passed"] and not case["why"] else
                                 (case["why"] or "").splitlines()[0][:100]), flush=True)
        cases.append(case)
    late = any("out of time" in (case["why"] or "") for case in cases)
    return {"finished": not late, "seconds": round(time.monotonic() - begin, 2), "cases": cases}


def compared(parts):
    """How many times as fast as each peer, at the same preset and batch of the same run."""
    def rows(part):
        return [row for case in parts.get(part, {}).get("cases", []) for row in case["rows"]]
    found = []
    for row in rows("peer"):
        for ours in rows("speed"):
            for key in ("ms_per_step", "ms_per_chunk"):
                if key in row and key in ours and all(row[k] == ours[k] for k in (
                        "preset", "hidden", "batch", "precision", "language")):
                    found.append({"preset": row["preset"], "batch": row["batch"], "mode": row["mode"],
                                  "what": key, "ours": ours[key], "peer": row[key],
                                  "times_as_fast": row[key] / ours[key],
                                  "same_device": row["device"] == ours["device"]})
    return found
