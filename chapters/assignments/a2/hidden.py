"""The hidden tests of assignment 2: other sizes, other values, pullbacks that are called twice."""

import numpy as np

from minivae.coursework.testing import Expected, points, returned, value_of
from minivae.coursework.wire import Name, Seed


def sizes(rng, count):
    """Different ones, so that a transpose cannot pass; not 2, so that no size is mistaken for a factor of 2."""
    return [int(n) for n in rng.permutation(np.arange(3, 8))[:count]]


def again(lib, pull, *cotangents):
    """What a pullback says when it is called a second time: it must not have changed what it needs."""
    lib.call(pull, *(2.0 * cotangent for cotangent in cotangents))
    return lib.call(pull, *cotangents)


@points(2, task="1.1", hidden=True)
def bernoulli_value_of_grey_pixels(lib, rng):
    """−log p(x) of grey pixels, for logits near 0 and far out"""
    B, X = sizes(rng, 2)
    x, near = rng.random((B, X)), 3.0 * rng.standard_normal((B, X))
    far = rng.permutation(np.linspace(-3000.0, 2900.0, B * X)).reshape(B, X)
    return {"nll": Expected(value_of(lib.call("minivae.distributions:bernoulli_nll", near, x=x)), "bernoulli", near, x),
            "nll far out": Expected(value_of(lib.call("minivae.distributions:bernoulli_nll", far, x=x)),
                                    "bernoulli_far_out", far, x)}


@points(1, task="1.2", hidden=True)
def bernoulli_pullback_of_grey_pixels(lib, rng):
    """da for grey pixels, asked for twice"""
    B, X = sizes(rng, 2)
    logits, dnll, x = 3.0 * rng.standard_normal((B, X)), rng.standard_normal(B), rng.random((B, X))
    far = rng.permutation(np.linspace(-3000.0, 2900.0, B * X)).reshape(B, X)
    found = {}
    for name, a in (("da", logits), ("da far out", far)):
        _, pull = lib.call("minivae.distributions:bernoulli_nll", a, x=x)
        da = again(lib, pull, dnll)
        found[name] = Expected(da, "bernoulli_pullback", a, x, dnll) if name == "da" else da
    return found


@points(1, task="1.3", hidden=True)
def gaussian_fixed_of_any_size(lib, rng):
    """dμ for another batch and another σ, one pixel far off, asked for twice"""
    B, X = sizes(rng, 2)
    (mean, x), dnll, std = rng.standard_normal((2, B, X)), rng.standard_normal(B), float(rng.uniform(0.3, 0.6))
    x[:, 0] += 1e3
    _, pull = lib.call("minivae.distributions:gaussian_nll_fixed", mean, x=x, std=std)
    return {"dμ": Expected(again(lib, pull, dnll), "fixed", mean, x, dnll, std)}


@points(2, task="1.4", hidden=True)
def gaussian_of_any_size(lib, rng):
    """dμ and d log σ² for another batch, one pixel far off, asked for twice"""
    B, X = sizes(rng, 2)
    (mean, x), logvar, dnll = rng.standard_normal((2, B, X)), rng.uniform(-3.0, 1.0, (B, X)), rng.standard_normal(B)
    x[:, 0] += 1e3
    _, pull = lib.call("minivae.distributions:gaussian_nll", mean, logvar, x=x)
    dmean, dlogvar = returned(again(lib, pull, dnll), "dmean", "dlogvar")
    return {"dμ": Expected(dmean, "learned_mean", mean, logvar, x, dnll),
            "d log σ²": Expected(dlogvar, "learned_logvar", mean, logvar, x, dnll)}


@points(1, task="2.1", hidden=True)
def kl_of_any_size(lib, rng):
    """the KL of narrow and of wide posteriors, and of the prior from itself"""
    B, Z = sizes(rng, 2)
    mean, logvar = rng.standard_normal((B, Z)), rng.uniform(-5.0, 2.0, (B, Z))
    kl = [value_of(lib.call("minivae.distributions:gaussian_kl", s * mean, s * logvar)) for s in (1.0, 0.0)]
    return {"kl": Expected(kl[0], "kl", mean, logvar), "kl of the prior from itself": kl[1]}


@points(2, task="2.2", hidden=True)
def kl_pullback_of_any_size(lib, rng):
    """dμ and d log σ² for another batch, one latent far off, asked for twice"""
    B, Z = sizes(rng, 2)
    mean, logvar, dkl = rng.standard_normal((B, Z)), rng.uniform(-3.0, 2.0, (B, Z)), rng.standard_normal(B)
    mean[:, 0] += 1e3
    _, pull = lib.call("minivae.distributions:gaussian_kl", mean, logvar)
    dmean, dlogvar = returned(again(lib, pull, dkl), "dmean", "dlogvar")
    return {"dμ": Expected(dmean, "kl_mean", mean, dkl), "d log σ²": Expected(dlogvar, "kl_logvar", logvar, dkl)}


@points(2, task="2.3", hidden=True)
def kl_between_of_any_size(lib, rng):
    """all four derivatives for another batch, asked for twice"""
    B, Z = sizes(rng, 2)
    q_and_p, dkl = rng.standard_normal((4, B, Z)), rng.standard_normal(B)
    _, pull = lib.call("minivae.distributions:gaussian_kl_between", *q_and_p)
    dmean_q, dlogvar_q, dmean_p, dlogvar_p = returned(
        again(lib, pull, dkl), "dmean_q", "dlogvar_q", "dmean_p", "dlogvar_p")
    return {"dμq": Expected(dmean_q, "between_mean", *q_and_p, dkl),
            "d log σq²": Expected(dlogvar_q, "between_logvar_q", q_and_p[1], q_and_p[3], dkl),
            "dμp": Expected(dmean_p, "between_mean", *q_and_p, dkl, -1.0),
            "d log σp²": Expected(dlogvar_p, "between_logvar_p", *q_and_p, dkl)}


@points(1, task="3.1", hidden=True)
def draws_spread_as_they_should(lib, rng):
    """z of another batch, and the variance of many draws: exp(logvar)"""
    B, Z = sizes(rng, 2)
    mean, eps, logvar = rng.standard_normal((B, Z)), rng.standard_normal((B, Z)), rng.uniform(-4.0, 1.0, (B, Z))
    z, _ = lib.call("minivae.distributions:reparameterize", mean, logvar, eps=eps)
    n, narrow = 5000, np.full((5000, 1), -2.0)
    many, _ = lib.call("minivae.distributions:reparameterize", np.zeros((n, 1)), narrow,
                       eps=rng.standard_normal((n, 1)))
    return {"z": Expected(z, "draw", mean, logvar, eps), "the variance of 5,000 draws": np.asarray(many).var(axis=0)}


@points(2, task="3.2", hidden=True)
def draw_pullback_of_any_size(lib, rng):
    """dμ and d log σ² for another batch, asked for twice"""
    B, Z = sizes(rng, 2)
    mean, eps, dz = rng.standard_normal((3, B, Z))
    logvar = rng.uniform(-4.0, 1.0, (B, Z))
    _, pull = lib.call("minivae.distributions:reparameterize", mean, logvar, eps=eps)
    dmean, dlogvar = returned(again(lib, pull, dz), "dmean", "dlogvar")
    return {"dμ": Expected(dmean, "draw_mean", dz, logvar, eps),
            "d log σ²": Expected(dlogvar, "draw_logvar", logvar, eps, dz)}


# ── the model ─────────────────────────────────────────────────────────────────────────────────

DECODER = ("decoder.layers.2.W", "decoder.layers.2.b", "decoder.layers.0.W", "decoder.layers.0.b")
HEADS = ("encoder.mean.W", "encoder.mean.b", "encoder.logvar.W", "encoder.logvar.b")
TRUNK = ("encoder.trunk.layers.0.W", "encoder.trunk.layers.0.b")
ALL = (*DECODER, *HEADS, *TRUNK)


def vae(lib, rng, X, Z, **options):
    config = lib.call("minivae.variants:VAEConfig", X, (int(rng.integers(3, 7)),), Z, "tanh")
    model = lib.call(lib.get(config, "build"), dtype=Name("numpy:float64"), **options)
    for name in ALL:
        value = lib.get(model, f"{name}.value")
        lib.set(model, f"{name}.value", value + 0.3 * rng.standard_normal(value.shape))
    return model


def read(lib, model, part):
    return {name: np.array(lib.get(model, f"{name}.{part}")) for name in ALL}


def gradients(lib, model, pull, *cotangents):
    lib.call(lib.get(model, "arena.zero_grad"))
    back = lib.call(pull, *cotangents)
    return read(lib, model, "grad") | {"dx": back}


@points(2, task="4.1", hidden=True, tolerance=1e-5)
def encoder_twice(lib, rng):
    """two batches through one encoder: the gradients add"""
    B, X, Z = sizes(rng, 3)
    model = vae(lib, rng, X, Z)
    encoder, (x1, x2) = lib.get(model, "encoder"), rng.random((2, B, X))
    dmean, dlogvar = rng.standard_normal((2, B, Z))
    (_, pull1), (_, pull2) = lib.call(encoder, x1), lib.call(encoder, x2)
    by_mean, by_logvar = ([gradients(lib, model, pull, *pair) for pull in (pull1, pull2)]
                          for pair in ((dmean, 0.0 * dlogvar), (0.0 * dmean, dlogvar)))
    gradients(lib, model, pull1, dmean, dlogvar)
    dx = lib.call(pull2, dmean, dlogvar)
    both = read(lib, model, "grad")
    return {name: both[name] for name in HEADS} | {
        "dx of the second": Expected(dx, "fan_out", by_mean[1]["dx"], by_logvar[1]["dx"])} | {
        name: Expected(both[name], "fan_out", by_mean[0][name] + by_mean[1][name],
                       by_logvar[0][name] + by_logvar[1][name]) for name in TRUNK}


def elbo(lib, rng):
    L, B, X, Z = sizes(rng, 4)
    model, x, eps = vae(lib, rng, X, Z), 1.0 * (rng.random((B, X)) < 0.5), rng.standard_normal((L, B, Z))
    _, pull = lib.call(lib.get(model, "elbo_terms"), x=x, eps=eps)
    return model, pull, rng.standard_normal((2, B)), L, B


@points(1, task="4.2", hidden=True, tolerance=1e-5)
def decoder_of_any_size(lib, rng):
    """the decoder's gradients for another network, batch and number of draws"""
    model, pull, (dnll, dkl), L, B = elbo(lib, rng)
    found = gradients(lib, model, pull, dnll, dkl)
    return {name: Expected(found[name], "with_draws", L, B) for name in DECODER}


@points(2, task="4.3", hidden=True, tolerance=1e-5)
def encoder_of_any_size(lib, rng):
    """the encoder's gradients for another network, batch and number of draws"""
    model, pull, (dnll, dkl), L, _ = elbo(lib, rng)
    both, by_nll, by_kl = (gradients(lib, model, pull, *pair) for pair in (
        (dnll, dkl), (dnll, 0.0 * dkl), (0.0 * dnll, dkl)))
    return {name: Expected(both[name], "elbo", by_nll[name], by_kl[name], L) for name in (*HEADS, *TRUNK)}


@points(1, task="5.1", hidden=True, tolerance=1e-5)
def objective_of_any_size(lib, rng):
    """what is told, and the gradient, of another network and batch"""
    L, rows, X, Z = sizes(rng, 4)
    B, x, eps = rows + 5, 1.0 * (rng.random((rows, X)) < 0.5), rng.standard_normal((L, rows, Z))
    model, objective = vae(lib, rng, X, Z), lib.call("minivae.parts:Objective")
    lib.call(lib.get(model, "arena.zero_grad"))
    told = lib.call(objective, model, x=x, eps=eps, weight=1.0 / B, step=0)
    found, each = read(lib, model, "grad"), np.full(rows, 1.0 / B)
    _, pull = lib.call(lib.get(model, "elbo_terms"), x=x, eps=eps)
    by_nll, by_kl = (gradients(lib, model, pull, *pair) for pair in ((each, 0.0 * each), (0.0 * each, each)))
    return {"elbo, nll, kl": Expected(np.array(told), "told", *told, 1.0 / B, rows)} | {
        name: Expected(grad, "loss", by_nll[name], by_kl[name], 1.0 / B, rows, L) for name, grad in found.items()}


@points(1, task="5.2", hidden=True, tolerance=1e-5)
def adam_with_other_rates(lib, rng):
    """how far four steps move, with another β₁, β₂ and learning rate"""
    n, beta1, beta2, lr = sizes(rng, 1)[0], 0.7, 0.95, float(rng.uniform(0.002, 0.05))
    theta = lib.call("minivae.nn:Parameter", rng.standard_normal((n, 2)))
    arena = lib.call("minivae.nn:Arena", {"θ": theta}, lib.call("minivae.backend:device", "cpu"),
                     Name("numpy:float64"))
    optimizer, grads, found = lib.call("minivae.nn:Adam", lr, beta1=beta1, beta2=beta2), [], {}
    for t in (1, 2, 3, 4):
        grads.append(rng.standard_normal((n, 2)))
        lib.set(theta, "grad", grads[-1])
        before = np.array(lib.get(theta, "value"))
        lib.call(lib.get(optimizer, "step"), arena)
        found[f"Δθ of step {t}"] = Expected(lib.get(theta, "value") - before, "adam", list(grads), lr, beta1, beta2)
    return found


@points(1, task="5.3", hidden=True, tolerance=1e-5, joined=True)
def training_steps_with_draws(lib, rng):
    """four steps of plain gradient descent, Gaussian pixels, several draws for each image: on all that you wrote"""
    L, B, X, Z = sizes(rng, 4)
    config = lib.call("minivae.variants:VAEConfig", X, (4,), Z, "tanh", "gaussian_pixel")
    model = lib.call(lib.get(config, "build"), dtype=Name("numpy:float64"), samples=L,
                     optimizer=lib.call("minivae.nn:SGD", 0.1))
    before, x, found = read(lib, model, "value"), rng.random((B, X)), {}
    for t in (1, 2, 3, 4):
        told = lib.call(lib.get(model, "train_step"), x, Seed(int(rng.integers(1000))))
        found[f"elbo, nll, kl of step {t}"] = np.array([told[name] for name in ("elbo", "nll", "kl")])
        if t == 1:
            after = read(lib, model, "value")
            found |= {f"Δ {name} of step 1": Expected(after[name] - before[name], "step", B, L) for name in ALL}
    return found
