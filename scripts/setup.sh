#!/usr/bin/env bash
# scripts/setup.sh - installs what the build needs and is not there yet. Says what it would install
# when it may not. Safe to run again and again: without anything missing it does nothing.
#
#     scripts/setup.sh [--cuda]
#
# --cuda fetches a CUDA toolkit into the user cache when there is no nvcc (1.1 GB; no root needed),
# so that the build makes the GPU's part too. To run on a GPU an NVIDIA driver is needed as well.
set -euo pipefail

cuda=no
for word in "$@"; do
    case "$word" in
    --cuda) cuda=yes ;;
    *)
        echo "setup: $word is not known; usage: scripts/setup.sh [--cuda]" >&2
        exit 2
        ;;
    esac
done

packages=(build-essential cmake ninja-build pkg-config python3 python3-pip ca-certificates xz-utils
    libzmq3-dev libmsgpack-dev liblz4-dev libxxhash-dev libhdf5-dev libopenblas-dev
    libtomlplusplus-dev libjansson-dev libcmocka-dev libxml2-dev libpng-dev
    libavcodec-dev libavformat-dev libavutil-dev libswscale-dev libegl1 libegl-dev
    libgl1-mesa-dri)

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    if ! command -v apt-get >/dev/null; then
        echo "setup: this is not a Debian system; please install: ${missing[*]}" >&2
        exit 4
    fi
    if [ "$(id -u)" -eq 0 ]; then
        as_root=()
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as_root=(sudo)
    else
        echo "setup: as root, please run: apt-get install --no-install-recommends ${missing[*]}" >&2
        exit 4
    fi
    echo "setup: installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# What the simulator needs comes from three Python wheels, of which only files are used: no Python
# runs with the product. Each is checked against its SHA-256 before a byte of it is unpacked, and the
# unpacked folder is renamed into place last, so that an interrupted set-up leaves nothing half.
python3 "$(dirname "$0")/fetch_simulator"

# The compiler is looked for where cmake/cuda.cmake looks.
if [ "$cuda" = yes ] && ! command -v nvcc >/dev/null && [ ! -x "${CUDA_HOME:-/}/bin/nvcc" ] &&
    [ ! -x /usr/local/cuda/bin/nvcc ] && [ -z "${CUDACXX:-}" ]; then
    python3 "$(dirname "$0")/fetch_cuda"
fi
