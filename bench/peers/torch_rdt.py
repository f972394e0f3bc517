# bench/peers/torch_rdt.py - the peer of bench/step_bench.c on a GPU; tests/device/run runs both.
"""The training step and the action chunk of bench/step_bench.c with the PyTorch modules of
torch_step.py, at the published sizes: bf16 autocast over fp32 weights, fused AdamW, moving average,
clipping; eager or torch.compile. Conditions are random tokens that lie on the device.

    torch_rdt.py [--preset rdt-1b] [--batch 8,16,32] [--steps 20] [--language 32] [--device cuda:0]
                 [--precision bf16] [--mode eager|compile] [--hidden N] [--sampler]

The chunk is five steps of DPM-Solver++ 2M over the network, whose adaptors of conditions run once.
Prints a line of JSON a batch, and with --sampler one of the chunk; a batch that fails has a line
that says why.
"""
import argparse
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F

import torch_step

# hidden, depth, heads, chunk, width, language token, language rows, image token, image tokens
PRESETS = {"rdt-1b": (2048, 28, 32, 64, 128, 4096, 1024, 1152, 2 * 3 * 729),
           "rdt-170m": (1024, 14, 32, 64, 128, 4096, 1024, 1152, 2 * 3 * 729),
           "rdt-tiny": (128, 4, 4, 8, 11, 64, 32, 210, 128)}
SOLVER_STEPS, WARM_UP = 5, 3


class Bench:
    def __init__(self, words):
        self.words, self.device = words, torch.device(words.device)
        (hidden, torch_step.DEPTH, torch_step.HEADS, torch_step.CHUNK, torch_step.WIDTH,
         torch_step.LANG_DIM, torch_step.LANG_ROWS, torch_step.IMG_DIM,
         torch_step.IMG) = PRESETS[words.preset]
        self.hidden = words.hidden or hidden
        torch.manual_seed(1)
        with self.device:
            self.network = torch_step.Network(self.hidden)
        self.model, self.denoise = self.network, self.network.denoise
        if words.mode == "compile":
            self.model = torch.compile(self.network, dynamic=False)
            self.denoise = torch.compile(self.network.denoise, dynamic=False)
        self.acp = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0).to(self.device)

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def cast(self):
        kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.words.precision)
        return torch.autocast(self.device.type, kind or torch.bfloat16, enabled=kind is not None)

    def inputs(self, batch):
        w, chunk = torch_step.WIDTH, torch_step.CHUNK
        language = self.words.language
        with self.device:
            return {"state": torch.randn(batch, 1, w), "action": torch.randn(batch, chunk, w),
                    "noise": torch.randn(batch, chunk, w), "mask": torch.ones(batch, 1, w),
                    "lang": torch.randn(batch, language, torch_step.LANG_DIM),
                    "lang_mask": torch.ones(batch, language, dtype=torch.bool),
                    "img": torch.randn(batch, torch_step.IMG, torch_step.IMG_DIM),
                    "t": torch.arange(batch) * 31 % 1000, "freq": torch.full((batch,), 20.0)}

    def line(self, what, batch, **rest):
        row = {"what": what, "mode": self.words.mode, "preset": self.words.preset,
               "hidden": self.hidden, "device": self.words.device, "precision": self.words.precision,
               "batch": batch, "language": self.words.language, "torch": torch.__version__}
        print(json.dumps({**row, **rest}), flush=True)

    def step(self, i, optimizer, average):
        """Milliseconds of forward and backward, then of clipping, AdamW and average; the loss."""
        begin = time.perf_counter()
        optimizer.zero_grad()
        a = self.acp[i["t"]].reshape(-1, 1, 1)
        noisy = a.sqrt() * i["action"] + (1 - a).sqrt() * i["noise"]
        with self.cast():
            found = self.model(i["state"], noisy, i["mask"], i["t"], i["freq"], i["lang"],
                               i["lang_mask"], i["img"])
        loss = F.mse_loss(found.float(), i["action"])
        loss.backward()
        self.wait()
        middle = time.perf_counter()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(average, list(self.network.parameters()), 0.01)
        self.wait()
        end = time.perf_counter()
        return (middle - begin) * 1e3, (end - middle) * 1e3, loss.item()

    def train(self, batch, optimizer, average):
        i = self.inputs(batch)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        for _ in range(WARM_UP):
            self.step(i, optimizer, average)
        times = [self.step(i, optimizer, average) for _ in range(self.words.steps)]
        peak = torch.cuda.max_memory_allocated() if self.device.type == "cuda" else 0
        whole = [passes + rest for passes, rest, _ in times]
        self.line("torch", batch, ms_per_step=statistics.median(whole), fastest_ms=min(whole),
                  forward_backward_ms=statistics.median(t[0] for t in times),
                  optimiser_ms=statistics.median(t[1] for t in times), held_bytes=peak,
                  loss=times[-1][2])

    @torch.no_grad()
    def chunk(self, i):
        with self.cast():
            lang, img = self.network.conditions(i["lang"], i["img"])
            x, before, before_h = i["noise"], None, None
            grid = torch.linspace(999, 0, SOLVER_STEPS + 1).round().long()[:-1].tolist()
            for at, t in enumerate(grid):
                now = self.acp[t]
                after = self.acp[grid[at + 1]] if at + 1 < SOLVER_STEPS else torch.ones_like(now)
                found = self.denoise(i["state"], x, i["mask"], torch.full_like(i["t"], t), i["freq"],
                                     lang, i["lang_mask"], img).float()
                if at + 1 == SOLVER_STEPS:
                    x = found
                    break
                h = 0.5 * (torch.log(after / (1 - after)) - torch.log(now / (1 - now)))
                second = found if before is None else found + h / (2 * before_h) * (found - before)
                x = (((1 - after) / (1 - now)).sqrt() * x
                     - after.sqrt() * torch.expm1(-h) * second)
                before, before_h = found, h
        return (x * i["mask"]).cpu()

    def sample(self):
        i = self.inputs(1)
        times = []
        for turn in range(WARM_UP + self.words.steps):
            begin = time.perf_counter()
            self.chunk(i)
            if turn >= WARM_UP:
                times.append((time.perf_counter() - begin) * 1e3)
        self.line("torch chunk", 1, ms_per_chunk=statistics.median(times), fastest_ms=min(times),
                  solver_steps=SOLVER_STEPS)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", default="rdt-1b", choices=PRESETS)
    parser.add_argument("--batch", default="8,16,32")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--language", type=int, default=0)
    parser.add_argument("--hidden", type=int, default=0)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--precision", default="bf16", choices=("f32", "bf16", "fp16"))
    parser.add_argument("--mode", default="eager", choices=("eager", "compile"))
    parser.add_argument("--sampler", action="store_true")
    words = parser.parse_args()
    if words.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("torch_rdt.py: this PyTorch (%s) sees no GPU" % torch.__version__)
    words.language = words.language or (6 if words.preset == "rdt-tiny" else 32)
    bench, failed = Bench(words), False
    average = [p.detach().clone() for p in bench.network.parameters()]
    optimizer = torch.optim.AdamW(bench.network.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
    for batch in map(int, words.batch.split(",")):
        try:
            bench.train(batch, optimizer, average)
        except RuntimeError as error:  # out of memory is one
            failed = True
            bench.line("torch", batch, error=str(error)[:500])
            optimizer.zero_grad()
            if bench.device.type == "cuda":
                torch.cuda.empty_cache()
    if words.sampler:
        bench.sample()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
