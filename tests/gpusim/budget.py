#!/usr/bin/env python3
# tests/gpusim/budget.py - what the GPU's compiler says of each kernel keeps within a budget.
#
#     budget.py NVCC SOURCE_FOLDER ARCHITECTURE...
#
# Compiles model/kernels*.cu for every architecture and reads ptxas's report. Limits and why: no byte
# spilled and no local memory, because either goes through memory on every access; 64 registers, so
# that four blocks of 256 threads fit a multiprocessor's 65536; 48 KiB of shared memory, what a block
# gets without asking. A kernel that one architecture lacks is an error too.
import glob
import os
import re
import subprocess
import sys
import tempfile

REGISTERS_MAX = 64
SHARED_MAX_BYTES = 48 << 10
ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(sm_\d+)'")
MEMORY = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")


def report_of(nvcc, root, source, architectures):
    """{(kernel, architecture): (registers, shared bytes, local bytes)}"""
    with tempfile.TemporaryDirectory() as folder:
        command = [nvcc, "-std=c++17", "-O3", "-I", root, "-Xptxas=-v", "-c", source, "-o",
                   os.path.join(folder, "kernels.o")]
        for architecture in architectures:
            command.append("-gencode=arch=compute_%s,code=sm_%s" % (architecture, architecture))
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit("%s: nvcc failed:\n%s" % (source, done.stderr))
    found, place, local = {}, None, 0
    for line in (done.stdout + done.stderr).split("\n"):
        entry, memory, used = ENTRY.search(line), MEMORY.search(line), USED.search(line)
        if entry:
            place, local = entry.groups(), 0
        elif memory and place:
            local = sum(map(int, memory.groups()))
        elif used and place:
            shared = SHARED.search(line)
            found[place] = (int(used.group(1)), int(shared.group(1)) if shared else 0, local)
            place = None
    return found


def complaints(found, architectures):
    kernels = sorted({kernel for kernel, _ in found})
    if not kernels:
        yield "ptxas reported no kernel"
    for kernel in kernels:
        for architecture in architectures:
            place = (kernel, "sm_" + architecture)
            if place not in found:
                yield "%s is missing for %s" % place
                continue
            registers, shared, local = found[place]
            if registers > REGISTERS_MAX:
                yield "%s for %s: %d registers, at most %d" % (place + (registers, REGISTERS_MAX))
            if shared > SHARED_MAX_BYTES:
                yield "%s for %s: %d bytes shared, at most %d" % (place + (shared, SHARED_MAX_BYTES))
            if local > 0:
                yield "%s for %s: %d bytes of stack and spills, must be 0" % (place + (local,))


def main():
    if len(sys.argv) < 4:
        sys.exit("usage: budget.py NVCC SOURCE_FOLDER ARCHITECTURE...")
    nvcc, root, architectures = sys.argv[1], sys.argv[2], sys.argv[3:]
    sources = sorted(glob.glob(os.path.join(root, "model", "kernels*.cu")))
    if not sources:
        sys.exit("no model/kernels*.cu in %s" % root)
    wrong = 0
    for source in sources:
        found = report_of(nvcc, root, source, architectures)
        for complaint in complaints(found, architectures):
            print("%s: %s" % (os.path.basename(source), complaint))
            wrong += 1
        most = max((registers for registers, _, _ in found.values()), default=0)
        print("%s: %d kernels, at most %d registers" % (os.path.basename(source), len(found), most))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
