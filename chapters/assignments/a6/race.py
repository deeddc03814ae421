"""Your step against the textbook's, by the clock: python race.py.  They take turns; the grade never looks at a clock."""

import statistics
from time import perf_counter

import numpy as np
import step
import textbook

B, X, H, Z = 128, 784, 400, 20
SHAPES = {"trunk": (X, H), "mean": (H, Z), "logvar": (H, Z), "hidden": (Z, H), "pixels": (H, X)}


def main(bursts=12, steps=5):
    rng = np.random.default_rng(0)
    weights = {}
    for name, shape in SHAPES.items():
        weights[f"{name}_W"] = (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)
        weights[f"{name}_b"] = np.zeros(shape[1], np.float32)
    x, eps = (rng.random((B, X)) < 0.3).astype(np.float32), rng.standard_normal((B, Z)).astype(np.float32)
    models = textbook.VAE(weights), step.VAE(weights)
    for model in models:
        model.gradient(x, eps)
    off = max(np.linalg.norm(models[1].grads[name] - g) / np.linalg.norm(g) for name, g in models[0].grads.items())
    print(f"the gradients differ by {off:.1e} of their length")
    times = [], []
    for burst in range(bursts + 1):                    # the first one warms
        for model, found in zip(models, times):
            start = perf_counter()
            for _ in range(steps):
                model.train_step(x, eps)
            found += [(perf_counter() - start) / steps] if burst else []
    ratios = [before / now for before, now in zip(*times)]
    middle, error = statistics.mean(ratios), statistics.stdev(ratios) / bursts**0.5
    print(f"textbook {1e3 * statistics.median(times[0]):.1f} ms, yours {1e3 * statistics.median(times[1]):.1f} ms a step: "
          f"{middle:.2f} ± {error:.2f} times as quick")


if __name__ == "__main__":
    main()
