#!/bin/sh
# bench/loader.sh DEMOS [BUILD] - the loader against its two peers, interleaved, on one core.
#
# Makes a contiguous copy of the first HDF5 file in DEMOS (h5repack), indexes it into a run folder,
# then runs bench/loader_bench and bench/peers/torch_loader.py in turns, pinned to the same core.
# Goals: at least 70 % of reading and one memcpy, at least 10 times the DataLoader's samples/s.
set -eu
demos=${1:?usage: bench/loader.sh DEMOS [BUILD]}
build=${2:-build}
preset=${PRESET:-rdt-170m}  # its samples are those of rdt-1b: two moments, 64 actions, 128 slots
here=$(dirname "$0")
run=$(mktemp -d)
trap 'rm -rf "$run"' EXIT
trap 'exit 130' INT TERM

file=$(find "$demos" -name '*.hdf5' | sort | head -n 1)
h5repack -f NONE -l CONTI "$file" "$run/$(basename "$file")"
cat > "$run/pipeline.toml" <<TOML
[run]
output_dir = "$run"
[data]
path = "$run/$(basename "$file")"
[model]
preset = "$preset"
[vision]
encoder = "pixels"
[language]
encoder = "hash"
[trainer]
devices = ["cpu"]
mixed_precision = "no"
[collective]
backend = "host"
TOML
"$build/bin/pipeline-loader" index --run "$run" > /dev/null

pin=
command -v taskset > /dev/null && pin="taskset -c 0"
for round in 1 2 3; do
    $pin "$build/bench/loader_bench" "$run"
    $pin python3 "$here/peers/torch_loader.py" "$run"
done | tee "$run/lines"
awk '/^ours/ { ours[++n] = $2 } /^torch/ { peer[++m] = $2 }
     function median(a, k,   i, j, t) {
         for (i = 1; i <= k; i++) for (j = i + 1; j <= k; j++)
             if (a[j] < a[i]) { t = a[i]; a[i] = a[j]; a[j] = t }
         return a[int((k + 1) / 2)]
     }
     END { if (!n || !m) exit 1
           printf "ours / torch: %.1f x (goal 10 x)\n", median(ours, n) / median(peer, m) }' \
    "$run/lines"
