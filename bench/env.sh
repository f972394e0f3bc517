#!/bin/sh
# bench/env.sh LIBERO_ROOT PYTHON [BUILD] [TASK]... - the simulator against the official Python stack.
#
# PYTHON is the interpreter of a virtual environment with the official packages
# (bench/peers/libero_env.py says which). Both sides do the same steps of the same tasks, task by task
# in turns, pinned to one core; llvmpipe draws for both. Goals: without pictures at least 2.5 times,
# with two cameras of 128x128 at least 5 times the official control steps/s; at least 55 % of libmujoco
# alone.
set -eu
root=${1:?usage: bench/env.sh LIBERO_ROOT PYTHON [BUILD] [TASK]...}
python=${2:?usage: bench/env.sh LIBERO_ROOT PYTHON [BUILD] [TASK]...}
build=${3:-build}
[ $# -ge 3 ] && shift 3 || shift 2
here=$(dirname "$0")
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
trap 'exit 130' INT TERM
[ $# -gt 0 ] || set -- KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet turn_on_the_stove \
    pick_up_the_black_bowl_between_the_plate_and_the_ramekin_and_place_it_on_the_plate \
    pick_up_the_alphabet_soup_and_place_it_in_the_basket

pin=
command -v taskset > /dev/null && pin="taskset -c 0"
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
for round in $(seq "${ROUNDS:-3}"); do
    for task in "$@"; do
        $pin "$build/bench/env_bench" "$root" "$task"
        $pin "$python" "$here/peers/libero_env.py" "$root" "$task"
        $pin "$python" "$here/peers/libero_env.py" --pictures "$root" "$task"
    done
done | tee "$lines"
awk 'function note(key, value) { all[key, ++count[key]] = value }
     function median(key,   k, i, j, t, a) {
         k = count[key]
         for (i = 1; i <= k; i++) a[i] = all[key, i]
         for (i = 1; i <= k; i++) for (j = i + 1; j <= k; j++)
             if (a[j] < a[i]) { t = a[i]; a[i] = a[j]; a[j] = t }
         return a[int((k + 1) / 2)]
     }
     /^ours/ { tasks[$2]; note($2 "s", $4); note($2 "f", $8); note($2 "p", $10); note($2 "r", $12) }
     /^official.* steps/ { note($2 "os", $4) }
     /^official.* pictures/ { note($2 "op", $4) }
     END { for (task in tasks) {
               printf "%s: %.1f x without pictures (goal 2.5), %.1f x with (goal 5), ", task,
                      median(task "s") / median(task "os"), median(task "p") / median(task "op")
               printf "%.0f %% of libmujoco alone (goal 55), reset %.1f ms (goal 50)\n",
                      100 * median(task "f"), median(task "r") } }' "$lines"
