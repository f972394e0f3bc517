#!/bin/sh
# bench/step.sh - one training step, against PyTorch.
#
# Times one training step of ours and of PyTorch in turn, several rounds, and prints medians and
# their ratio: hidden 128 and 256, one rank on two threads and two ranks of one thread.
#
#     bench/step.sh BUILD [ROUNDS] [STEPS]
set -eu
build=${1:?usage: bench/step.sh BUILD [ROUNDS] [STEPS]}
rounds=${2:-3} steps=${3:-30}
here=$(dirname "$0")
results=$(mktemp)
trap 'rm -f "$results"' EXIT
export OPENBLAS_NUM_THREADS=1
for round in $(seq "$rounds"); do
    for hidden in 128 256; do
        for shape in "2 1" "1 2"; do
            "$build/bench/step_bench" --hidden $hidden --threads "${shape% *}" \
                --ranks "${shape#* }" --steps "$steps" >>"$results"
            # shellcheck disable=SC2086  # two numbers
            python3 "$here/peers/torch_step.py" $hidden $shape "$steps" >>"$results"
        done
    done
done
python3 - "$results" <<'END'
import json, statistics, sys
times = {}
for line in open(sys.argv[1]):
    row = json.loads(line)
    key = row["hidden"], row["threads"], row["ranks"]
    times.setdefault(key, {}).setdefault(row["what"], []).append(row["ms_per_step"])
for (hidden, threads, ranks), by in sorted(times.items()):
    ours, torch = (statistics.median(by[what]) for what in ("pipeline", "torch"))
    print(f"hidden {hidden}, {ranks} rank(s) of {threads} thread(s): "
          f"{ours:.1f} ms, torch {torch:.1f} ms, {torch / ours:.2f} times as fast")
END
