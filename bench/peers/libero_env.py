#!/usr/bin/env python3
# bench/peers/libero_env.py LIBERO_ROOT [--pictures] [TASK]... - the official Python stack at the work
# that bench/env_bench.c does: same tasks, start states and actions, one process, one core.
#
#     python3 -m venv V && V/bin/pip install mujoco==3.3.2 robosuite==1.4.0 bddl==1.0.1 'numpy<2' \
#         numba scipy gymnasium easydict cloudpickle future pyyaml h5py opencv-python-headless torch
#     V/bin/pip install --no-deps hf-libero==0.1.4
#
# LIBERO_ROOT is a folder with LIBERO's assets in libero/ (or a checkout's libero/libero). Prints
# "official TASK steps N" or, with --pictures, "official TASK pictures N": control steps/s. The
# official environment draws both cameras at every step; it knows no other way.
import argparse
import os
import sys
import tempfile
import time
import types

parser = argparse.ArgumentParser()
parser.add_argument("root")
parser.add_argument("tasks", nargs="*")
parser.add_argument("--pictures", action="store_true")
parser.add_argument("--gl", default="osmesa", choices=["osmesa", "egl"])
options = parser.parse_intermixed_args()

TASKS = options.tasks or [
    "KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet", "turn_on_the_stove",
    "pick_up_the_black_bowl_between_the_plate_and_the_ramekin_and_place_it_on_the_plate",
    "pick_up_the_alphabet_soup_and_place_it_in_the_basket"]
STEPS, ROUNDS = (32, 3) if options.pictures else (100, 3)

os.environ["MUJOCO_GL"] = os.environ["PYOPENGL_PLATFORM"] = options.gl
folder = tempfile.mkdtemp()
os.environ["LIBERO_CONFIG_PATH"] = folder
# what the old code asks of newer packages
import collections
import collections.abc
collections.Iterable = collections.abc.Iterable
import gymnasium
sys.modules.setdefault("gym", gymnasium)
for name in ("matplotlib", "matplotlib.cm"):
    try:
        __import__(name)
    except ImportError:
        sys.modules[name] = types.ModuleType(name)

root = os.path.abspath(options.root)
assets = next(p for p in (os.path.join(root, "libero", "libero", "assets"),
                          os.path.join(root, "assets"), os.path.join(root, "libero"))
              if os.path.isdir(os.path.join(p, "articulated_objects")))
import importlib.util
inside = os.path.join(importlib.util.find_spec("libero").submodule_search_locations[0], "libero")
with open(os.path.join(folder, "config.yaml"), "w") as file:
    for key, path in {"benchmark_root": inside, "bddl_files": os.path.join(inside, "bddl_files"),
                      "init_states": os.path.join(inside, "init_files"), "datasets": folder,
                      "assets": assets}.items():
        file.write("%s: %s\n" % (key, path))
import libero.libero as package  # with a config.yaml it asks nothing
package._assets_path_cache = assets

import logging
logging.disable(logging.WARNING)
import pickle
import zipfile
import numpy as np
from libero.libero.envs.env_wrapper import ControlEnv


def find(kind, task, ending):
    for folder, _, names in os.walk(os.path.join(inside, kind)):
        if task + ending in names:
            return os.path.join(folder, task + ending)
    sys.exit("no %s%s in %s" % (task, ending, kind))


def action_at(step):
    return np.array([0.5 * ((step * (i + 3)) % 41 - 20) / 20.0 for i in range(7)])


def run(env, row):
    env.seed(0)
    env.reset()
    env.set_init_state(row)
    begin = time.perf_counter()
    for step in range(STEPS):
        env.step(action_at(step))
    return STEPS / (time.perf_counter() - begin)


for task in TASKS:
    with zipfile.ZipFile(find("init_files", task, ".pruned_init")) as archive:
        rows = pickle.loads(archive.read("archive/data.pkl"))
    env = ControlEnv(bddl_file_name=find("bddl_files", task, ".bddl"),
                     use_camera_obs=options.pictures, has_renderer=False,
                     has_offscreen_renderer=options.pictures, camera_heights=128,
                     camera_widths=128)
    rates = sorted(run(env, np.asarray(rows)[0]) for _ in range(ROUNDS))
    print("official %.32s %s %.1f" % (task, "pictures" if options.pictures else "steps",
                                      rates[ROUNDS // 2]), flush=True)
    env.close()
