# bench/peers/torch_step.py - the peer of bench/step.sh.
"""The training step of bench/step_bench.c written with ordinary PyTorch modules: the same network
(RDT with timm 1.0.3's norm), sizes, AdamW, clipping and moving average, fp32, on the CPU.

    torch_step.py HIDDEN THREADS RANKS STEPS

Ranks are processes that average their gradients through gloo. Prints one line of JSON.
"""
import json
import math
import os
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

BATCH, LANG, WARM_UP = 32, 6, 10
DEPTH, HEADS, CHUNK, WIDTH, LANG_DIM, IMG_DIM, IMG, LANG_ROWS = 4, 4, 8, 11, 64, 210, 128, 32


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        variance = torch.var(x, dim=-1, keepdim=True)
        return x * torch.rsqrt(variance + 1e-6) * self.weight


class SelfAttention(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.qkv, self.proj = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.q_norm, self.k_norm = Norm(hidden // HEADS), Norm(hidden // HEADS)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, HEADS, d // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(self.q_norm(q), self.k_norm(k), v)
        return self.proj(y.transpose(1, 2).reshape(b, n, d))


class CrossAttention(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.q, self.kv = nn.Linear(hidden, hidden), nn.Linear(hidden, 2 * hidden)
        self.proj = nn.Linear(hidden, hidden)
        self.q_norm, self.k_norm = Norm(hidden // HEADS), Norm(hidden // HEADS)

    def forward(self, x, c, mask):
        b, n, d = x.shape
        length = c.shape[1]
        q = self.q(x).reshape(b, n, HEADS, d // HEADS).transpose(1, 2)
        k, v = self.kv(c).reshape(b, length, 2, HEADS, d // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        if mask is not None:
            mask = mask.reshape(b, 1, 1, length).expand(-1, -1, n, -1)
        y = F.scaled_dot_product_attention(self.q_norm(q), self.k_norm(k), v, attn_mask=mask)
        return self.proj(y.transpose(1, 2).reshape(b, n, d))


def mlp(width, hidden, layers, activation):
    parts = [nn.Linear(width, hidden)]
    for _ in range(layers - 1):
        parts += [activation(), nn.Linear(hidden, hidden)]
    return nn.Sequential(*parts)


def gelu():
    return nn.GELU(approximate="tanh")


class Block(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = Norm(hidden), Norm(hidden), Norm(hidden)
        self.attn, self.cross_attn = SelfAttention(hidden), CrossAttention(hidden)
        self.ffn = mlp(hidden, hidden, 2, gelu)

    def forward(self, x, c, mask):
        x = x + self.attn(self.norm1(x))
        x = x + self.cross_attn(self.norm2(x), c, mask)
        return x + self.ffn(self.norm3(x))


class Network(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.state = mlp(2 * WIDTH, hidden, 3, gelu)
        self.lang, self.img = mlp(LANG_DIM, hidden, 2, gelu), mlp(IMG_DIM, hidden, 2, gelu)
        self.time, self.freq = mlp(256, hidden, 2, nn.SiLU), mlp(256, hidden, 2, nn.SiLU)
        self.x_position = nn.Parameter(torch.randn(1, 3 + CHUNK, hidden))
        self.lang_position = nn.Parameter(torch.randn(1, LANG_ROWS, hidden))
        self.img_position = nn.Parameter(torch.randn(1, IMG, hidden))
        self.blocks = nn.ModuleList(Block(hidden) for _ in range(DEPTH))
        self.norm, self.head = Norm(hidden), nn.Sequential(
            nn.Linear(hidden, hidden), gelu(), nn.Linear(hidden, WIDTH))
        self.register_buffer("waves", torch.exp(-math.log(10000) * torch.arange(128) / 128))

    def embed(self, layers, v):
        angle = v[:, None].float() * self.waves
        return layers(torch.cat([torch.cos(angle), torch.sin(angle)], dim=-1))[:, None]

    def conditions(self, lang, img):
        return self.lang(lang) + self.lang_position[:, :lang.shape[1]], self.img(img) + self.img_position

    def denoise(self, state, noisy, mask, t, freq, lang, lang_mask, img):
        tokens = torch.cat([state, noisy], dim=1)
        tokens = torch.cat([tokens, mask.expand(-1, tokens.shape[1], -1)], dim=-1)
        x = torch.cat([self.embed(self.time, t), self.embed(self.freq, freq),
                       self.state(tokens)], dim=1) + self.x_position
        for i, block in enumerate(self.blocks):
            x = block(x, lang if i % 2 == 0 else img, lang_mask if i % 2 == 0 else None)
        return self.head(self.norm(x))[:, -CHUNK:]

    def forward(self, state, noisy, mask, t, freq, lang, lang_mask, img):
        lang, img = self.conditions(lang, img)
        return self.denoise(state, noisy, mask, t, freq, lang, lang_mask, img)


def run(rank, hidden, threads, ranks, steps, port):
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    if ranks > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        torch.distributed.init_process_group("gloo", rank=rank, world_size=ranks)
    network = Network(hidden)
    model = nn.parallel.DistributedDataParallel(network) if ranks > 1 else network
    average = [p.detach().clone() for p in network.parameters()]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=0.01)
    acp = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)
    b = BATCH // ranks
    state, action = torch.randn(b, 1, WIDTH), torch.randn(b, CHUNK, WIDTH)
    noise, mask = torch.randn(b, CHUNK, WIDTH), torch.ones(b, 1, WIDTH)
    lang, img = torch.randn(b, LANG, LANG_DIM), torch.randn(b, IMG, IMG_DIM)
    lang_mask = torch.ones(b, LANG, dtype=torch.bool)
    t, freq = torch.arange(b) * 31 % 1000, torch.full((b,), 20.0)

    def step():
        optimizer.zero_grad()
        a = acp[t].reshape(-1, 1, 1)
        noisy = a.sqrt() * action + (1 - a).sqrt() * noise
        loss = F.mse_loss(model(state, noisy, mask, t, freq, lang, lang_mask, img), action)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(average, list(network.parameters()), 0.01)
        return loss.item()

    for _ in range(WARM_UP):
        step()
    times = []
    for _ in range(steps):
        begin = time.perf_counter()
        loss = step()
        times.append((time.perf_counter() - begin) * 1e3)
    if rank == 0:
        print(json.dumps({"what": "torch", "hidden": hidden, "threads": threads, "ranks": ranks,
                          "ms_per_step": round(statistics.median(times), 3),
                          "fastest_ms": round(min(times), 3), "loss": loss,
                          "torch": torch.__version__}), flush=True)


def main():
    hidden, threads, ranks, steps = map(int, sys.argv[1:5])
    port = 20000 + os.getpid() % 20000
    if ranks == 1:
        run(0, hidden, threads, ranks, steps, port)
    else:
        torch.multiprocessing.spawn(run, (hidden, threads, ranks, steps, port), nprocs=ranks)


if __name__ == "__main__":
    main()
