#!/usr/bin/env bash
# scripts/setup.sh - installs what the build needs and is not there yet. Says what it would install
# when it may not. Safe to run again and again: without anything missing it does nothing.
set -euo pipefail

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
exec python3 "$(dirname "$0")/fetch_simulator"
