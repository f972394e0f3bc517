# bench/peers/torch_loader.py - the peer of bench/loader.sh.
"""The peer of bench/loader_bench: a PyTorch DataLoader with h5py that does the same work per sample.

    python3 bench/peers/torch_loader.py RUN [BATCH] [BATCHES]

Reads the run folder's codec.json for what a sample is and its pipeline.toml's data file; per sample
it reads the frames of the history, the state and the chunk of actions, scales them, pads the tail,
puts them into the network's columns with masks, adds state noise and drops conditions; the
DataLoader shuffles and collates. No worker processes and one thread, because the other side has one
core too. Prints "torch N samples/s".
"""
import glob
import json
import os
import sys
import time
import tomllib

import h5py
import numpy as np
import torch


class Demonstrations(torch.utils.data.Dataset):
    def __init__(self, run):
        with open(os.path.join(run, "pipeline.toml"), "rb") as file:
            data = tomllib.load(file)["data"]
        with open(os.path.join(run, "codec.json")) as file:
            codec = json.load(file)
        paths = data["path"] if isinstance(data["path"], list) else [data["path"]]
        files = []
        for path in paths:
            files += sorted(glob.glob(path + "/*.hdf5")) if os.path.isdir(path) else [path]
        self.files = [h5py.File(path, "r") for path in files]
        self.chunk, self.history, self.width = codec["chunk"], codec["history"], codec["width"]
        self.snr, self.drop = 40.0, 0.1
        self.rows, states, actions = [], [], []
        for file in self.files:
            for name in file["data"]:
                demo = file["data"][name]
                self.rows += [(demo, j) for j in range(len(demo["actions"]) - 1)]
                states.append(self.state(demo, slice(None)))
                actions.append(demo["actions"][:])
        states, actions = np.concatenate(states), np.concatenate(actions)
        self.state_mean, self.state_std = states.mean(0), np.maximum(states.std(0), 1e-3)
        self.action_mean, self.action_std = actions.mean(0), np.maximum(actions.std(0), 1e-3)
        self.random = np.random.default_rng(0)

    @staticmethod
    def state(demo, j):
        """Joints, fingers, position and the two columns of the rotation: 18 numbers."""
        obs = demo["obs"]
        angle = np.atleast_2d(obs["ee_ori"][j])
        theta = np.linalg.norm(angle, axis=1, keepdims=True)
        axis = angle / np.maximum(theta, 1e-12)
        c, s = np.cos(theta), np.sin(theta)
        first, second = np.eye(3)[0], np.eye(3)[1]
        columns = [e * c + np.cross(axis, e) * s + axis * (axis @ e)[:, None] * (1 - c)
                   for e in (first, second)]
        parts = [np.atleast_2d(obs[k][j]) for k in ("joint_states", "gripper_states", "ee_pos")]
        out = np.concatenate(parts + columns, axis=1)
        return out if isinstance(j, slice) else out[0]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        demo, j = self.rows[i]
        obs = demo["obs"]
        images = np.zeros((self.history, 2, *obs["agentview_rgb"].shape[1:]), np.uint8)
        image_mask = np.zeros((self.history, 2), np.uint8)
        for h in range(self.history):
            k = j - (self.history - 1 - h)
            if k < 0:
                continue
            images[h, 0] = obs["agentview_rgb"][k]
            images[h, 1] = obs["eye_in_hand_rgb"][k]
            image_mask[h] = 1
        image_mask *= (self.random.random(image_mask.shape) >= self.drop).astype(np.uint8)
        x = self.state(demo, j)
        noise = self.random.standard_normal(x.shape) * self.state_std / 10 ** (self.snr / 20)
        encoded = (x + noise - self.state_mean) / self.state_std
        if self.random.random() < self.drop:
            encoded[:] = 0
        state = np.zeros(self.width, np.float32)
        state[: len(encoded)] = encoded
        rows = demo["actions"][j + 1 : j + 1 + self.chunk]
        valid = len(rows)
        if valid < self.chunk:
            rest = np.concatenate([np.zeros(6), rows[-1, 6:]])
            rows = np.concatenate([rows, np.tile(rest, (self.chunk - valid, 1))])
        action = np.zeros((self.chunk, self.width), np.float32)
        action[:, :7] = (rows - self.action_mean) / self.action_std
        state_mask, action_mask = np.zeros(self.width, np.float32), np.zeros(self.width, np.float32)
        state_mask[: len(x)], action_mask[:7] = 1, 1
        return {
            "state": state, "state_mask": state_mask, "action": action, "action_mask": action_mask,
            "images": images, "image_mask": image_mask, "task": 0, "steps_valid": valid,
            "ctrl_freq": 20.0 * (self.random.random() >= self.drop),
            "language_kept": int(self.random.random() >= self.drop),
        }


def main():
    run = sys.argv[1]
    batch = int(sys.argv[2]) if len(sys.argv) > 2 else 16
    batches = int(sys.argv[3]) if len(sys.argv) > 3 else 40
    torch.set_num_threads(1)
    loader = torch.utils.data.DataLoader(Demonstrations(run), batch_size=batch, shuffle=True)
    rates = []
    for _ in range(3):
        count, begin = 0, time.perf_counter()
        for _, each in zip(range(batches), loader):
            count += each["state"].shape[0]
        rates.append(count / (time.perf_counter() - begin))
    print(f"torch {sorted(rates)[1]:.0f} samples/s")


if __name__ == "__main__":
    main()
