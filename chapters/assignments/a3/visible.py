"""The visible tests of assignment 3: what your code returns is compared with what the solution returned.

`lib` is your code; the recording beside this file holds the solution's numbers, drawn from the same seed.
"""

import numpy as np

from minivae.coursework.testing import Expected, points, returned, value_of
from minivae.coursework.wire import Name


@points(3, task="1.1")
def pixel_pullback(lib, rng):
    """dμ and d log σ² of the surprise with a σ for every pixel"""
    mean, logvar, x = rng.standard_normal((3, 4, 3))
    dnll = rng.standard_normal(4)
    _, pull = lib.call("minivae.distributions:gaussian_nll", mean, logvar, x=x)
    dmean, dlogvar = returned(lib.call(pull, dnll), "dmean", "dlogvar")
    return {"dμ": Expected(dmean, "nll_dmean", mean, logvar, x, dnll),
            "d log σ²": Expected(dlogvar, "nll_dlogvar", mean, logvar, x, dnll)}


@points(3, task="1.2")
def shared_pullback(lib, rng):
    """dμ and d log σ² of the surprise with one σ"""
    mean, x, logvar, dnll = *rng.standard_normal((2, 4, 3)), np.array(0.3), rng.standard_normal(4)
    _, pull = lib.call("minivae.distributions:gaussian_nll_shared", mean, logvar, x=x)
    dmean, dlogvar = returned(lib.call(pull, dnll), "dmean", "dlogvar")
    return {"dμ": Expected(dmean, "nll_dmean", mean, np.full((4, 3), 0.3), x, dnll), "d log σ²": dlogvar}


@points(3, task="1.3")
def log_prob_pullback(lib, rng):
    """dz, dμ and d log σ² of log N(z; μ, σ²)"""
    z, mean, logvar = rng.standard_normal((3, 4, 3))
    dlog = rng.standard_normal(4)
    _, pull = lib.call("minivae.distributions:gaussian_log_prob", z, mean, logvar)
    dz, dmean, dlogvar = returned(lib.call(pull, dlog), "dz", "dmean", "dlogvar")
    return {"dz": Expected(dz, "nll_dmean", mean, logvar, z, dlog),
            "dμ": Expected(dmean, "nll_dmean", mean, logvar, z, dlog),
            "d log σ²": Expected(dlogvar, "nll_dlogvar", mean, logvar, z, -dlog)}


@points(1, task="2.1")
def full_draw(lib, rng):
    """z = μ + L ε"""
    mean, L, eps = _gaussian(rng)
    z, _ = lib.call("minivae.distributions:reparameterize_full", mean, L, eps=eps)
    return {"z": Expected(z, "full_draw", mean, L, eps)}


@points(3, task="2.1")
def full_draw_pullback(lib, rng):
    """dμ and dL of z = μ + L ε"""
    mean, L, eps = _gaussian(rng)
    dz = rng.standard_normal(mean.shape)
    _, pull = lib.call("minivae.distributions:reparameterize_full", mean, L, eps=eps)
    dmean, dL = returned(lib.call(pull, dz), "dmean", "dL")
    return {"dμ": dmean, "dL": Expected(dL, "full_draw_dL", dz, eps)}


@points(2, task="2.2")
def logdet_pullback(lib, rng):
    """dL of Σ log L_ii"""
    _, L, _ = _gaussian(rng)
    dlog = rng.standard_normal(len(L))
    _, pull = lib.call("minivae.distributions:logdet", L)
    return {"dL": Expected(lib.call(pull, dlog), "logdet", L, dlog)}


@points(1, task="2.3")
def full_kl_value(lib, rng):
    """KL( N(μ, L Lᵀ) ‖ N(0, I) )"""
    mean, L, _ = _gaussian(rng)
    return {"kl": Expected(value_of(lib.call("minivae.distributions:full_gaussian_kl", mean, L)), "full_kl", mean, L)}


@points(3, task="2.3")
def full_kl_pullback(lib, rng):
    """dμ and dL of the KL"""
    mean, L, _ = _gaussian(rng)
    dkl = rng.standard_normal(len(mean))
    _, pull = lib.call("minivae.distributions:full_gaussian_kl", mean, L)
    dmean, dL = returned(lib.call(pull, dkl), "dmean", "dL")
    return {"dμ": Expected(dmean, "full_kl_dmean", dkl), "dL": Expected(dL, "full_kl_dL", L, dkl)}


@points(4, task="2.4")
def full_log_prob_pullback(lib, rng):
    """dz, dμ and dL of log N(z; μ, L Lᵀ)"""
    mean, L, _ = _gaussian(rng)
    z, dlog = rng.standard_normal(mean.shape), rng.standard_normal(len(mean))
    _, pull = lib.call("minivae.distributions:full_gaussian_log_prob", z, mean, L)
    dz, dmean, dL = returned(lib.call(pull, dlog), "dz", "dmean", "dL")
    return {"dz": Expected(dz, "full_log_prob_dz", dlog), "dμ": Expected(dmean, "full_log_prob_dz", dlog),
            "dL": Expected(dL, "full_log_prob_dL", z, mean, L, dlog)}


def _gaussian(rng, B=3, Z=4):
    """μ, a triangle L with a positive diagonal, ε"""
    L = rng.standard_normal((B, Z, Z))
    return rng.standard_normal((B, Z)), np.tril(L, -1) + np.eye(Z) * (0.5 + np.abs(L)), rng.standard_normal((B, Z))


@points(1, task="3.1")
def log_mean_exp_value(lib, rng):
    """log (1/K) Σ exp x, where exp x is 0 in one row and infinite in another"""
    x = np.array([[-1000.0], [0.0], [1000.0], [-2000.0]]) + rng.standard_normal((4, 3))
    return {"y": Expected(value_of(lib.call("minivae.ops:log_mean_exp", x)), "log_mean_exp_far", x)}


@points(2, task="3.1")
def log_mean_exp_pullback(lib, rng):
    """dx of log (1/K) Σ exp x"""
    x, dy = rng.standard_normal((4, 3)), rng.standard_normal(4)
    _, pull = lib.call("minivae.ops:log_mean_exp", x)
    return {"dx": Expected(lib.call(pull, dy), "log_mean_exp", x, dy)}


@points(2, task="3.2")
def iwae_reports_the_bounds(lib, rng):
    """elbo, nll, kl and the importance-weighted bound of a batch"""
    _, told, (_, x, eps, weights) = _objective(lib, rng, "IWAE", K=3)
    return {"elbo, nll, kl, bound": Expected(np.array(told), "bounds", x, eps, weights)}


@points(4, task="3.2")
def iwae_gradient(lib, rng):
    """the gradient of the objective, decoder first"""
    return _gradients(lib, *_objective(lib, rng, "IWAE", K=3))


@points(3, task="3.3")
def dreg_teaches_the_decoder_as_before(lib, rng):
    """the decoder's gradient is that of the IWAE"""
    return _gradients(lib, *_objective(lib, rng, "DReG", K=3), parts=DECODER)


@points(4, task="3.3")
def dreg_gradient_of_the_encoder(lib, rng):
    """the encoder's gradient, from its heads to its trunk"""
    return _gradients(lib, *_objective(lib, rng, "DReG", K=3), parts=ENCODER)


# from the loss backwards: what is wrong first is the cause
DECODER = ("decoder.layers.2.W", "decoder.layers.2.b", "decoder.layers.0.W", "decoder.layers.0.b")
ENCODER = ("encoder.logvar.W", "encoder.logvar.b", "encoder.mean.W", "encoder.mean.b", "encoder.trunk.layers.0.W",
           "encoder.trunk.layers.0.b")


def _objective(lib, rng, kind, *, K, B=4, X=5, Z=2):
    """A small VAE, and what the objective reports of a batch: its gradients are then in the model."""
    config = lib.call("minivae.variants:VAEConfig", X, (6,), Z, "tanh")
    model = lib.call(lib.get(config, "build"), dtype=Name("numpy:float64"))
    for name in (*ENCODER, *DECODER):
        value = lib.get(model, f"{name}.value")
        lib.set(model, f"{name}.value", value + 0.3 * rng.standard_normal(value.shape))
    x, eps = 1.0 * (rng.random((B, X)) < 0.5), rng.standard_normal((K, B, Z))
    objective, weights = lib.call(f"minivae.parts:{kind}"), _read(lib, model, "value")
    return model, lib.call(objective, model, x=x, eps=eps, weight=1.0 / B, step=0), (kind, x, eps, weights)


def _gradients(lib, model, _, of, parts=(*DECODER, *ENCODER)):
    return {name: Expected(grad, "weighted", name, *of) for name, grad in _read(lib, model, "grad").items()
            if name in parts}


def _read(lib, model, part):
    """A copy of the value or the gradient of every parameter."""
    return {name: np.array(lib.get(model, f"{name}.{part}")) for name in (*DECODER, *ENCODER)}
