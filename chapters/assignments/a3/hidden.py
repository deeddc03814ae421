"""The hidden tests of assignment 3: other sizes and values."""

import numpy as np

from minivae.coursework.testing import Expected, points, returned, value_of
from minivae.coursework.wire import Name


def sizes(rng, count):
    """Different ones, so that a transpose cannot pass."""
    return [int(n) for n in rng.permutation(np.arange(2, 8))[:count]]


@points(2, task="3.1", hidden=True)
def log_mean_exp_of_three_axes(lib, rng):
    """value and pullback over the last of three axes, every row far from the others"""
    shape = sizes(rng, 3)
    x = 30.0 * rng.standard_normal(shape) + rng.permutation(np.linspace(-2000.0, 2000.0, shape[1]))[:, None]
    y, pull = lib.call("minivae.ops:log_mean_exp", x)
    return {"y": Expected(y, "log_mean_exp_far", x), "dx": lib.call(pull, rng.standard_normal(x.shape[:-1]))}


@points(4, task="3.2", hidden=True)
def iwae_of_any_size(lib, rng):
    """bounds and gradients of another network, K and batch; also of images whose weights are all 0"""
    K, B, X, Z = sizes(rng, 4)
    far = objective(lib, rng, "IWAE", K, B, X, Z, sure=1000.0)
    return objective(lib, rng, "IWAE", K, B, X, Z) | {f"{name}, of improbable images": x for name, x in far.items()}


@points(1, task="3.3", hidden=True, joined=True)
def dreg_on_ones_own_parts(lib, rng):
    """bounds and gradients once more, and under them your own tasks 1.3 and 3.1"""
    K, B, X, Z = sizes(rng, 4)
    return objective(lib, rng, "DReG", K, B, X, Z)


@points(4, task="3.3", hidden=True)
def dreg_of_any_size(lib, rng):
    """bounds and gradients of another network, K and batch; also of images whose weights are all 0"""
    K, B, X, Z = sizes(rng, 4)
    far = objective(lib, rng, "DReG", K, B, X, Z, sure=1000.0)
    return objective(lib, rng, "DReG", K, B, X, Z) | {f"{name}, of improbable images": x for name, x in far.items()}


def objective(lib, rng, kind, K, B, X, Z, sure=0.0):
    """What is told of a batch, and the gradients; of a decoder whose logits are around ± `sure`."""
    config = lib.call("minivae.variants:VAEConfig", X, (6,), Z, "tanh")
    model = lib.call(lib.get(config, "build"), dtype=Name("numpy:float64"))
    lib.set(model, "decoder.layers.2.b.value", sure * rng.choice([-1.0, 1.0], X))
    x, eps, weights = 1.0 * (rng.random((B, X)) < 0.5), rng.standard_normal((K, B, Z)), read(lib, model, "value")
    told = lib.call(lib.call(f"minivae.parts:{kind}"), model, x=x, eps=eps, weight=1.0 / B, step=0)
    return {"elbo, nll, kl, bound": Expected(np.array(told), "bounds", x, eps, weights)} | {
        name: Expected(grad, "weighted", name, kind, x, eps, weights) for name, grad in read(lib, model, "grad").items()}


# from the loss backwards
LAYERS = ("decoder.layers.2", "decoder.layers.0", "encoder.logvar", "encoder.mean", "encoder.trunk.layers.0")
NAMES = tuple(f"{layer}.{letter}" for layer in LAYERS for letter in "Wb")


def read(lib, model, part):
    """A copy of the value or the gradient of every parameter."""
    return {name: np.array(lib.get(model, f"{name}.{part}")) for name in NAMES}


def gaussian(rng, B, Z):
    L = rng.standard_normal((B, Z, Z))
    return rng.standard_normal((B, Z)), np.tril(L, -1) + np.eye(Z) * (0.5 + np.abs(L))


@points(2, task="2.1", hidden=True)
def full_draw_of_any_size(lib, rng):
    """z, dμ and dL for another batch"""
    B, Z = sizes(rng, 2)
    (mean, L), (eps, dz) = gaussian(rng, B, Z), rng.standard_normal((2, B, Z))
    z, pull = lib.call("minivae.distributions:reparameterize_full", mean, L, eps=eps)
    dmean, dL = returned(lib.call(pull, dz), "dmean", "dL")
    return {"z": z, "dμ": dmean, "dL": Expected(dL, "full_draw_dL", dz, eps)}


@points(1, task="2.2", hidden=True)
def logdet_of_any_size(lib, rng):
    """dL for another batch"""
    _, L = gaussian(rng, *sizes(rng, 2))
    _, pull = lib.call("minivae.distributions:logdet", L)
    return {"dL": lib.call(pull, rng.standard_normal(len(L)))}


@points(3, task="2.3", hidden=True)
def full_kl_of_any_size(lib, rng):
    """kl, dμ and dL for another batch; kl of a posterior so narrow that det L is 0 in floating point"""
    mean, L = gaussian(rng, *sizes(rng, 2))
    dkl = rng.standard_normal(len(mean))
    kl, pull = lib.call("minivae.distributions:full_gaussian_kl", mean, L)
    dmean, dL = returned(lib.call(pull, dkl), "dmean", "dL")
    narrow = value_of(lib.call("minivae.distributions:full_gaussian_kl", mean, 1e-200 * L))
    return {"kl": kl, "dμ": dmean, "dL": Expected(dL, "full_kl_dL", L, dkl), "kl of a narrow posterior": narrow}


@points(3, task="2.4", hidden=True)
def full_log_prob_of_any_size(lib, rng):
    """dz, dμ and dL for another batch"""
    mean, L = gaussian(rng, *sizes(rng, 2))
    z, dlog = rng.standard_normal(mean.shape), rng.standard_normal(len(mean))
    _, pull = lib.call("minivae.distributions:full_gaussian_log_prob", z, mean, L)
    dz, dmean, dL = returned(lib.call(pull, dlog), "dz", "dmean", "dL")
    return {"dz": dz, "dμ": dmean, "dL": Expected(dL, "full_log_prob_dL", z, mean, L, dlog)}


@points(2, task="1.2", hidden=True)
def shared_of_any_size(lib, rng):
    """dμ and d log σ² for another batch, σ small, one pixel far off"""
    B, X = sizes(rng, 2)
    mean, x = rng.standard_normal((2, B, X))
    x[:, 0] += 1e3
    _, pull = lib.call("minivae.distributions:gaussian_nll_shared", mean, np.array(-2.5), x=x)
    dmean, dlogvar = returned(lib.call(pull, rng.standard_normal(B)), "dmean", "dlogvar")
    return {"dμ": dmean, "d log σ²": dlogvar}


@points(2, task="1.1", hidden=True)
def pixel_of_any_size(lib, rng):
    """dμ and d log σ² for another batch, one pixel far off"""
    B, X = sizes(rng, 2)
    mean, logvar, x = rng.standard_normal((3, B, X))
    x[:, 0] += 1e3
    dnll = rng.standard_normal(B)
    _, pull = lib.call("minivae.distributions:gaussian_nll", mean, logvar, x=x)
    dmean, dlogvar = returned(lib.call(pull, dnll), "dmean", "dlogvar")
    return {"dμ": dmean, "d log σ²": Expected(dlogvar, "nll_dlogvar", mean, logvar, x, dnll)}


@points(2, task="1.3", hidden=True)
def log_prob_of_any_size(lib, rng):
    """dz, dμ and d log σ² for another batch, one latent far off"""
    z, mean, logvar = rng.standard_normal((3, *sizes(rng, 2)))
    z[:, 0] += 1e3
    _, pull = lib.call("minivae.distributions:gaussian_log_prob", z, mean, logvar)
    dz, dmean, dlogvar = returned(lib.call(pull, rng.standard_normal(len(z))), "dz", "dmean", "dlogvar")
    return {"dz": dz, "dμ": dmean, "d log σ²": dlogvar}
