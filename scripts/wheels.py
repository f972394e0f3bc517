# scripts/wheels.py - Python wheels as archives of files: fetched by pip, checked against their
# SHA-256 before a byte is unpacked, never installed. What is unpacked lands in the user cache under
# a name of its own, renamed into place last, so that an interrupted set-up leaves nothing half.
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile

CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "pipeline")


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def unpack(requirement, expected, options, wanted, work, without):
    """Fetches one wheel into `work` and unpacks the files whose names begin with one of `wanted`
    (None: all) into work/unpacked; ends the program, saying what there is `without` it."""
    print("setup: fetching %s" % requirement, flush=True)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        done = subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps",
                               "--disable-pip-version-check", "--no-cache-dir",
                               "--only-binary", ":all:", *options, "-d", folder, requirement])
        wheels = [name for name in os.listdir(folder) if name.endswith(".whl")]
        if done.returncode != 0 or len(wheels) != 1:
            sys.exit("setup: %s could not be fetched; %s" % (requirement, without))
        wheel = os.path.join(folder, wheels[0])
        found = sha256(wheel)
        if found != expected:
            sys.exit("setup: %s has SHA-256 %s, expected %s" % (wheels[0], found, expected))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(os.path.join(work, "unpacked"),
                               [name for name in archive.namelist()
                                if wanted is None or name.startswith(wanted)])


@contextlib.contextmanager
def place(folder):
    """A working folder in the cache; what its user leaves in work/unpacked becomes CACHE/folder."""
    target = os.path.join(CACHE, folder)
    os.makedirs(CACHE, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=folder + ".partial-") as work:
        yield work
        unpacked = os.path.join(work, "unpacked")
        try:
            os.rename(unpacked, target)
        except OSError:  # somebody else was faster
            if not os.path.isdir(target):
                raise
        shutil.rmtree(unpacked, ignore_errors=True)
