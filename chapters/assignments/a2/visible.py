"""The visible tests of assignment 2: what your code returns is compared with what the solution returned.

`lib` is your code; the recording beside this file holds the solution's numbers, drawn from the same seed.
"""

import numpy as np

from minivae.coursework.testing import Expected, points, returned, value_of
from minivae.coursework.wire import Name, Seed

# ── 1: surprises ──────────────────────────────────────────────────────────────────────────────


@points(2, task="1.1")
def bernoulli_value(lib, rng):
    """−log p(x) of bits, for logits near 0 and far out"""
    x = 1.0 * (rng.random((4, 3)) < 0.5)
    near, far = 2.0 * rng.standard_normal((4, 3)), rng.permutation(np.linspace(-2000.0, 2000.0, 12)).reshape(4, 3)
    return {"nll": Expected(value_of(lib.call("minivae.distributions:bernoulli_nll", near, x=x)), "bernoulli", near, x),
            "nll far out": Expected(value_of(lib.call("minivae.distributions:bernoulli_nll", far, x=x)),
                                    "bernoulli_far_out", far, x)}


@points(2, task="1.2")
def bernoulli_pullback(lib, rng):
    """da of −log p(x)"""
    logits, dnll, x = rng.standard_normal((4, 3)), rng.standard_normal(4), 1.0 * (rng.random((4, 3)) < 0.5)
    _, pull = lib.call("minivae.distributions:bernoulli_nll", logits, x=x)
    return {"da": Expected(lib.call(pull, dnll), "bernoulli_pullback", logits, x, dnll)}


@points(1, task="1.3")
def gaussian_fixed_pullback(lib, rng):
    """dμ of the Gaussian surprise, σ chosen"""
    (mean, x), dnll = rng.standard_normal((2, 4, 3)), rng.standard_normal(4)
    _, pull = lib.call("minivae.distributions:gaussian_nll_fixed", mean, x=x, std=1.3)
    return {"dμ": Expected(lib.call(pull, dnll), "fixed", mean, x, dnll, 1.3)}


@points(3, task="1.4")
def gaussian_pullback(lib, rng):
    """dμ and d log σ² of the Gaussian surprise, σ learned"""
    (mean, logvar, x), dnll = rng.standard_normal((3, 4, 3)), rng.standard_normal(4)
    _, pull = lib.call("minivae.distributions:gaussian_nll", mean, logvar, x=x)
    dmean, dlogvar = returned(lib.call(pull, dnll), "dmean", "dlogvar")
    return {"dμ": Expected(dmean, "learned_mean", mean, logvar, x, dnll),
            "d log σ²": Expected(dlogvar, "learned_logvar", mean, logvar, x, dnll)}


# ── 2: KL divergences ─────────────────────────────────────────────────────────────────────────


@points(2, task="2.1")
def kl_value(lib, rng):
    """KL( N(μ, σ²) ‖ N(0, I) )"""
    mean, logvar = rng.standard_normal((2, 4, 3))
    return {"kl": Expected(value_of(lib.call("minivae.distributions:gaussian_kl", mean, logvar)), "kl", mean, logvar)}


@points(3, task="2.2")
def kl_pullback(lib, rng):
    """dμ and d log σ² of the KL"""
    (mean, logvar), dkl = rng.standard_normal((2, 4, 3)), rng.standard_normal(4)
    _, pull = lib.call("minivae.distributions:gaussian_kl", mean, logvar)
    dmean, dlogvar = returned(lib.call(pull, dkl), "dmean", "dlogvar")
    return {"dμ": Expected(dmean, "kl_mean", mean, dkl), "d log σ²": Expected(dlogvar, "kl_logvar", logvar, dkl)}


@points(3, task="2.3")
def kl_between_pullback(lib, rng):
    """all four derivatives of KL( N(μq, σq²) ‖ N(μp, σp²) )"""
    q_and_p, dkl = rng.standard_normal((4, 4, 3)), rng.standard_normal(4)
    _, pull = lib.call("minivae.distributions:gaussian_kl_between", *q_and_p)
    dmean_q, dlogvar_q, dmean_p, dlogvar_p = returned(
        lib.call(pull, dkl), "dmean_q", "dlogvar_q", "dmean_p", "dlogvar_p")
    return {"dμq": Expected(dmean_q, "between_mean", *q_and_p, dkl),
            "d log σq²": Expected(dlogvar_q, "between_logvar_q", q_and_p[1], q_and_p[3], dkl),
            "dμp": Expected(dmean_p, "between_mean", *q_and_p, dkl, -1.0),
            "d log σp²": Expected(dlogvar_p, "between_logvar_p", *q_and_p, dkl)}


# ── 3: the draw ───────────────────────────────────────────────────────────────────────────────


@points(2, task="3.1")
def draw_value(lib, rng):
    """z, a draw of N(μ, σ²) made of ε"""
    mean, logvar, eps = rng.standard_normal((3, 4, 2))
    z, _ = lib.call("minivae.distributions:reparameterize", mean, logvar, eps=eps)
    return {"z": Expected(z, "draw", mean, logvar, eps)}


@points(3, task="3.2")
def draw_pullback(lib, rng):
    """dμ and d log σ² of a draw"""
    mean, logvar, eps, dz = rng.standard_normal((4, 4, 2))
    _, pull = lib.call("minivae.distributions:reparameterize", mean, logvar, eps=eps)
    dmean, dlogvar = returned(lib.call(pull, dz), "dmean", "dlogvar")
    return {"dμ": Expected(dmean, "draw_mean", dz, logvar, eps),
            "d log σ²": Expected(dlogvar, "draw_logvar", logvar, eps, dz)}


# ── 4: the model ──────────────────────────────────────────────────────────────────────────────

# from the loss backwards: what is wrong first is the cause
DECODER = ("decoder.layers.2.W", "decoder.layers.2.b", "decoder.layers.0.W", "decoder.layers.0.b")
HEADS = ("encoder.mean.W", "encoder.mean.b", "encoder.logvar.W", "encoder.logvar.b")
TRUNK = ("encoder.trunk.layers.0.W", "encoder.trunk.layers.0.b")


def _model(lib, rng, X=5, Z=2, **options):
    """A small VAE in float64, its weights large enough that everything matters."""
    config = lib.call("minivae.variants:VAEConfig", X, (4,), Z, "tanh")
    model = lib.call(lib.get(config, "build"), dtype=Name("numpy:float64"), **options)
    for name in (*DECODER, *HEADS, *TRUNK):
        value = lib.get(model, f"{name}.value")
        lib.set(model, f"{name}.value", value + 0.3 * rng.standard_normal(value.shape))
    return model


def _gradients(lib, model, pull, *cotangents):
    """What the pullback adds to every gradient, and what it returns."""
    lib.call(lib.get(model, "arena.zero_grad"))
    back = lib.call(pull, *cotangents)
    return _read(lib, model, "grad") | {"dx": back}


def _read(lib, model, part):
    """A copy of the value or the gradient of every parameter."""
    return {name: np.array(lib.get(model, f"{name}.{part}")) for name in (*DECODER, *HEADS, *TRUNK)}


@points(3, task="4.1", tolerance=1e-5)
def encoder_pullback(lib, rng):
    """the gradients of both heads and of the trunk, and dx"""
    model, x, (dmean, dlogvar) = _model(lib, rng), rng.random((3, 5)), rng.standard_normal((2, 3, 2))
    _, pull = lib.call(lib.get(model, "encoder"), x)
    both, by_mean, by_logvar = (_gradients(lib, model, pull, *pair) for pair in (
        (dmean, dlogvar), (dmean, 0.0 * dlogvar), (0.0 * dmean, dlogvar)))
    return {name: both[name] for name in HEADS} | {
        name: Expected(both[name], "fan_out", by_mean[name], by_logvar[name]) for name in (*TRUNK, "dx")}


@points(2, task="4.2", tolerance=1e-5)
def elbo_to_the_decoder(lib, rng):
    """the decoder's gradients, of three draws for each image"""
    L, B = 3, 4
    _, pull, (dnll, dkl), model = _elbo(lib, rng, L, B)
    found = _gradients(lib, model, pull, dnll, dkl)
    return {name: Expected(found[name], "with_draws", L, B) for name in DECODER}


@points(4, task="4.3", tolerance=1e-5)
def elbo_to_the_encoder(lib, rng):
    """the encoder's gradients, of three draws for each image: heads first, then the trunk"""
    L, B = 3, 4
    _, pull, (dnll, dkl), model = _elbo(lib, rng, L, B)
    both, by_nll, by_kl = (_gradients(lib, model, pull, *pair) for pair in (
        (dnll, dkl), (dnll, 0.0 * dkl), (0.0 * dnll, dkl)))
    return {name: Expected(both[name], "elbo", by_nll[name], by_kl[name], L) for name in (*HEADS, *TRUNK)}


def _elbo(lib, rng, L, B, X=5, Z=2):
    model, x, eps = _model(lib, rng, X, Z), 1.0 * (rng.random((B, X)) < 0.5), rng.standard_normal((L, B, Z))
    terms, pull = lib.call(lib.get(model, "elbo_terms"), x=x, eps=eps)
    return terms, pull, rng.standard_normal((2, B)), model


# ── 5: a training step ────────────────────────────────────────────────────────────────────────


@points(3, task="5.1", tolerance=1e-5)
def objective_of_a_batch(lib, rng):
    """what is told of a batch, and the gradient of its loss, decoder first"""
    L, B, rows, x, eps = 3, 10, 4, 1.0 * (rng.random((4, 5)) < 0.5), rng.standard_normal((3, 4, 2))
    model, objective = _model(lib, rng), lib.call("minivae.parts:Objective")
    lib.call(lib.get(model, "arena.zero_grad"))
    told = lib.call(objective, model, x=x, eps=eps, weight=1.0 / B, step=0)         # 4 rows of a batch of 10
    found, each = _read(lib, model, "grad"), np.full(rows, 1.0 / B)
    _, pull = lib.call(lib.get(model, "elbo_terms"), x=x, eps=eps)
    by_nll, by_kl = (_gradients(lib, model, pull, *pair) for pair in ((each, 0.0 * each), (0.0 * each, each)))
    return {"elbo, nll, kl": Expected(np.array(told), "told", *told, 1.0 / B, rows)} | {
        name: Expected(grad, "loss", by_nll[name], by_kl[name], 1.0 / B, rows, L) for name, grad in found.items()}


@points(2, task="5.2", tolerance=1e-5)
def adam_three_steps(lib, rng):
    """how far three steps of Adam move five numbers"""
    return _adam(lib, rng, 0.01)


def _adam(lib, rng, lr, beta1=0.9, beta2=0.999):
    theta = lib.call("minivae.nn:Parameter", rng.standard_normal(5))
    arena = lib.call("minivae.nn:Arena", {"θ": theta}, lib.call("minivae.backend:device", "cpu"),
                     Name("numpy:float64"))
    optimizer, grads, found = lib.call("minivae.nn:Adam", lr, beta1=beta1, beta2=beta2), [], {}
    for t in (1, 2, 3):
        grads.append(rng.standard_normal(5))
        lib.set(theta, "grad", grads[-1])
        before = np.array(lib.get(theta, "value"))
        lib.call(lib.get(optimizer, "step"), arena)
        found[f"Δθ of step {t}"] = Expected(lib.get(theta, "value") - before, "adam", list(grads), lr, beta1, beta2)
    return found


@points(3, task="5.3", tolerance=1e-5)
def training_steps(lib, rng):
    """three training steps with Adam: what is told of each, and where the first one leads"""
    optimizer, x = lib.call("minivae.nn:Adam", 0.01, eps=1e-10), 1.0 * (rng.random((6, 5)) < 0.5)
    model = _model(lib, rng, optimizer=optimizer)
    before, found = _read(lib, model, "value"), {}
    for t in (1, 2, 3):
        told = lib.call(lib.get(model, "train_step"), x, Seed(t))
        found[f"elbo, nll, kl of step {t}"] = np.array([told[name] for name in ("elbo", "nll", "kl")])
        if t == 1:
            after = _read(lib, model, "value")
            found |= {f"Δ {name} of step 1": after[name] - before[name] for name in before}
    return found
