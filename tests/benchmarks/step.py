"""One training step against PyTorch eager: python tests/benchmarks/step.py  (needs the extra `peers`)

The 784-400-20 VAE at batch 128 in float32: forward, ELBO, backward, Adam, fresh noise, the same
batches.  Each contender lives in its own warmed process with both cores; they take turns, a burst
at a time, so that the machine's moods hit both.  Printed: medians over bursts and their ratio.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

BATCH, PIXELS, HIDDEN, LATENTS = 128, 784, 400, 20
BURSTS, STEPS, WARMUP = 15, 60, 300


def minivae_step() -> Callable[[np.ndarray], None]:
    from minivae.vae import VAEConfig

    model, rng = VAEConfig(PIXELS, (HIDDEN,), LATENTS).build(), np.random.default_rng(0)

    def step(x: np.ndarray) -> None:
        model.train_step(x, rng)

    return step


def torch_step() -> Callable[[np.ndarray], None]:
    import torch
    from torch import nn
    from torch.nn import functional as F

    trunk = nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.ReLU())
    mean_head, logvar_head = nn.Linear(HIDDEN, LATENTS), nn.Linear(HIDDEN, LATENTS)
    decoder = nn.Sequential(nn.Linear(LATENTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PIXELS))
    parameters = [p for m in (trunk, mean_head, logvar_head, decoder) for p in m.parameters()]
    adam = torch.optim.Adam(parameters, lr=1e-3)

    def step(images: np.ndarray) -> None:
        x = torch.from_numpy(images)
        h = trunk(x)
        mean, logvar = mean_head(h), logvar_head(h)
        z = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
        nll = F.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum")
        kl = 0.5 * (mean**2 + logvar.exp() - logvar - 1).sum()
        loss = (nll + kl) / len(x)
        adam.zero_grad()
        loss.backward()
        adam.step()

    return step


CONTENDERS = {"minivae": minivae_step, "torch": torch_step}


def work(name: str) -> None:
    """A contender's process: for every line on stdin, take a burst of steps and print milliseconds per step."""
    step, rng = CONTENDERS[name](), np.random.default_rng(0)
    images = (rng.random((50 * BATCH, PIXELS)) ** 3).astype(np.float32)
    batches = np.split(images, 50)
    for i in range(WARMUP):
        step(batches[i % 50])
    for _ in sys.stdin:
        start = time.perf_counter()
        for i in range(STEPS):
            step(batches[i % 50])
        print(1e3 * (time.perf_counter() - start) / STEPS, flush=True)


def main() -> None:
    if len(sys.argv) > 1:
        work(sys.argv[1])
        return
    processes = {name: subprocess.Popen([sys.executable, __file__, name], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True) for name in CONTENDERS}
    times: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for burst in range(-1, BURSTS):                    # burst -1 waits for both to be warm
        for name, process in processes.items():
            assert process.stdin
            assert process.stdout
            process.stdin.write("go\n")
            process.stdin.flush()
            milliseconds = float(process.stdout.readline())
            if burst >= 0:
                times[name].append(milliseconds)
    for process in processes.values():
        process.communicate("")
    medians = {name: statistics.median(t) for name, t in times.items()}
    print(f"{'':10} {'median':>8} {'quartiles':>17}   ratio to torch      (ms per step, {BURSTS} bursts of {STEPS})")
    for name, t in times.items():
        low, _, high = statistics.quantiles(t, n=4)
        print(f"{name:10} {medians[name]:8.2f} {low:8.2f} {high:8.2f}   {medians[name] / medians['torch']:.2f}")


if __name__ == "__main__":
    main()
