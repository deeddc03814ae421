"""Train one of the modules on pictures of bars, and see what it says of itself:  python train.py bug1

A picture has 8 × 8 pixels and one or two bars, across or down, and a little noise.  Half-way the state is saved and loaded
into another model, as after an interruption.
"""

import importlib
import sys

import numpy as np


def bars(count, rng):
    """(count, 64)"""
    x = np.zeros((count, 8, 8))
    for picture in x:
        for _ in range(rng.integers(1, 3)):
            line = rng.integers(8)
            picture[(line, slice(None)) if rng.random() < 0.5 else (slice(None), line)] = 1.0
    return np.abs(x - (rng.random(x.shape) < 0.01)).reshape(count, 64)


def main(name, epochs=20):
    """Prints the means of every fourth epoch, an estimate of −log p(x), and three pictures that were never drawn."""
    rng = np.random.default_rng(0)
    x, unseen = bars(2000, rng), bars(200, rng)
    module = importlib.import_module(name)
    vae = module.VAE(64, 64, 6, rng, lr=3e-3)
    for epoch in range(1, epochs + 1):
        if epoch == epochs // 2:
            state, vae = vae.state(), module.VAE(64, 64, 6, rng, lr=3e-3)
            vae.load(state)
        told = [vae.train_step(batch, rng) for batch in np.split(x[rng.permutation(len(x))], 40)]
        if epoch % 4 == 0:
            print(f"epoch {epoch:3}", *(f"{key} {np.mean([t[key] for t in told]):8.2f}" for key in ("elbo", "nll", "kl")))
    print(f"unseen pictures: -log p(x) is about {vae.nll(unseen, rng, 100).mean():.2f}")
    for rows in zip(*vae.sample(3, rng).reshape(3, 8, 8)):
        print("   ".join("".join(" .:*#"[int(4.999 * p)] * 2 for p in row) for row in rows))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "bug1")
