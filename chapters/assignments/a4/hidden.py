"""The hidden tests of assignment 4: line and reason, the mended module, and the check on six modules."""

import functools
import runpy
from pathlib import Path

import numpy as np

from minivae.coursework.testing import Expected, points
from minivae.coursework.wire import Seed

MAKE = runpy.run_path(str(Path(__file__).with_name("make.py")))
SECRET = globals().get("SEED", 0)      # by which the eight mistakes are drawn: given by who reads this file


def about(number):
    """The tests about one of the eight."""
    name = f"bug{number}"

    @points(1, task=f"1.{number}", hidden=True)
    def right_line(lib, rng):
        return {f'LINES["{name}"]': "the line of the mistake" if line_is_right(lib, name) else "another line"}

    @points(1, task=f"1.{number}", hidden=True)
    def right_reason(lib, rng):
        return {f'REASONS["{name}"]': "what is wrong" if reason_is_right(lib, name) else "another reason"}

    @points(2, task=f"2.{number}", hidden=True)
    def mended(lib, rng):
        return {**pieces(lib, rng, name), **model(lib, rng, name), **training(lib, rng, name)}

    @points(2, task=f"4.{number}", hidden=True)
    def good_check(lib, rng):
        return tried(lib, rng, name)

    right_line.__doc__ = f"the line of {name}"
    right_reason.__doc__ = f"what is wrong in {name}, in a word"
    mended.__doc__ = f"{name}, mended: values, gradients, training, on other numbers"
    good_check.__doc__ = f"check_{name} on three modules with the mistake and three without, in any order"
    return {f"right_line_{number}": right_line, f"right_reason_{number}": right_reason, f"mended_{number}": mended,
            f"good_check_{number}": good_check}


def line_is_right(lib, name):
    line = lib.get("answers:LINES", name)
    return type(line) is int and line in MAKE["lines"](SECRET, name)


def reason_is_right(lib, name):
    reason = lib.get("answers:REASONS", name)
    return type(reason) is str and reason.strip().lower() in MAKE["reasons"](SECRET, name)


# ── the mended module: what it returns, from the loss backwards ───────────────────────────────


def pieces(lib, rng, name):
    """Densities, sampler and activation, one by one."""
    B, X, Z = (int(n) for n in rng.permutation(np.arange(3, 9))[:3])
    logits, x, dnll = 3.0 * rng.standard_normal((B, X)), pixels(rng, B, X), rng.standard_normal(B)
    mean, logvar, dz = rng.standard_normal((3, B, Z))
    seed, a, da = draw(rng), 2.0 * rng.standard_normal((B, X)), rng.standard_normal((B, X))
    far = np.array([[-15.0], [40.0], [-750.0], [17.0], [-42.0], [700.0]])
    nll, pull_nll = lib.call(f"{name}:bernoulli_nll", logits, x)
    far_nll, pull_far = lib.call(f"{name}:bernoulli_nll", far, 1.0 * (far < 0))
    kl, pull_kl = lib.call(f"{name}:gaussian_kl", mean, logvar)
    z, pull_z = lib.call(f"{name}:reparameterize", mean, logvar, seed)
    y, pull_y = lib.call(f"{name}:activate", a)
    dmean, dlogvar = lib.call(pull_z, dz)
    dmean_kl, dlogvar_kl = lib.call(pull_kl, dnll)
    return {
        "bernoulli_nll": nll,
        "dlogits of bernoulli_nll": Expected(lib.call(pull_nll, dnll), "bernoulli", logits, x, dnll),
        "bernoulli_nll far out": far_nll, "dlogits of bernoulli_nll far out": lib.call(pull_far, np.ones(6)),
        "gaussian_kl": kl, "dmean of gaussian_kl": dmean_kl,
        "dlogvar of gaussian_kl": Expected(dlogvar_kl, "kl", logvar, dnll),
        "z of reparameterize": z, "dmean of reparameterize": dmean,
        "dlogvar of reparameterize": Expected(dlogvar, "sampler", logvar, dz),
        "activate": y, "dx of activate": lib.call(pull_y, da), "dx of activate, asked again": lib.call(pull_y, da)}


def model(lib, rng, name):
    """A whole VAE: its bound, its gradient, its importance-weighted estimate."""
    B, H, Z = (int(n) for n in rng.permutation(np.arange(4, 9))[:3])
    vae, x = lib.call(f"{name}:VAE", 9, H, Z, draw(rng)), pixels(rng, B, 9)
    found = {f"{key} of a new model": w for key, w in in_order(lib.get(vae, "weights"))}
    (nll, kl), pullback = lib.call(lib.get(vae, "terms"), x, draw(rng))
    lib.call(pullback, *(0.5 + rng.random((2, B))))
    grads, seed = lib.get(vae, "grads"), draw(rng)
    log_w = lib.call(lib.get(vae, "log_weights"), x, seed, 7)
    estimate = lib.call(lib.get(vae, "nll"), x, seed, 7)
    return {**found, "nll of terms": nll, "kl of terms": kl, **{f"gradient of {key}": g for key, g in in_order(grads)},
            "log_weights": log_w, "nll, importance-weighted": Expected(estimate, "estimate", log_w),
            "sample": lib.call(lib.get(vae, "sample"), 3, draw(rng))}


def training(lib, rng, name):
    """Three steps, a save, a load into another model, three more; and six of a model with other options."""
    sizes, x, found = [9, *map(int, rng.permutation(np.arange(4, 9))[:2])], pixels(rng, 6, 9), {}
    first, second = (lib.call(f"{name}:VAE", *sizes, draw(rng)) for _ in range(2))
    special = lib.call(f"{name}:VAE", *sizes, draw(rng), lr=0.02, beta=3.0)
    for step in range(1, 7):
        if step == 4:
            lib.call(lib.get(second, "load"), lib.call(lib.get(first, "state")))
        for of, vae in (("", first if step < 4 else second), (" with beta = 3", special)):
            before = dict(in_order(lib.get(vae, "weights")))
            told = lib.call(lib.get(vae, "train_step"), x, Seed(step))
            after = lib.get(vae, "weights")
            found |= {f"{key} of step {step}{of}": told[key] for key in ("nll", "kl", "elbo")}
            found |= {f"gradient of {key} in step {step}{of}": g for key, g in in_order(lib.get(vae, "grads"))}
            found |= {f"step {step} of {key}{of}": w - before[key] for key, w in in_order(after)}
    return found


def in_order(arrays):
    """(name, copy) of weights or gradients, from the loss backwards"""
    names = [f"{letter}_{layer}" for layer in ("pixels", "hidden", "logvar", "mean", "trunk") for letter in "Wb"]
    return [(name, np.array(arrays[name])) for name in names]


def pixels(rng, *shape):
    return rng.integers(0, 2, shape).astype(float)


def draw(rng):
    return Seed(int(rng.integers(2**31)))


# ── the check ─────────────────────────────────────────────────────────────────────────────────


def tried(lib, rng, name):
    """All modules are sent before a line of the student's code has run; in an order that nobody can foresee."""
    modules = six(name, int(rng.integers(2**63)))
    order = rng.permutation(len(modules))
    sent = {int(i): lib.module("vae", modules[i][1]) for i in order}
    found = {modules[i][0]: verdict(lib, name, module) for i, module in sent.items()}
    # whoever runs a test of everything has not found a bug: a check counts for one that is named
    named = {f"{name} is named": "by its line or reason" if line_is_right(lib, name) or reason_is_right(lib, name)
             else "not: a check counts if the line or the reason is right"}
    return named | {f"check_{name} on {what}": found[what] for what, _ in modules}


@functools.lru_cache(maxsize=64)
def six(name, seed):
    """(what it is, its text) of the modules that a check is tried on: made once, for the solution and for everybody."""
    rng = np.random.default_rng(seed)
    modules = [("the module as it was handed out", MAKE["handed_out"](SECRET, name)[0]),
               ("the mended module", MAKE["mended"](SECRET, name))]
    for number in (1, 2):
        for what, wrong in (("the same mistake", True), ("a right module", False)):
            text = MAKE["another"](SECRET, name, rng, wrong=wrong)
            modules.append((f"{what}, otherwise written ({number})", text))
    return modules


def verdict(lib, name, module):
    """One of four sentences, so that no check can tell its student what it has seen."""
    try:
        returned = lib.call(f"checks:check_{name}", module)
    except AssertionError as error:                    # the student's process sends errors as text
        asserted = type(error) is AssertionError or str(error).startswith("AssertionError")
        return "it raises AssertionError" if asserted else "it raises something else, or takes too long"
    return "it returns None" if returned is None else "it returns something"


for n in range(1, 9):
    globals().update(about(n))
