"""The gradient table: a row for every op, density, layer, likelihood and model of the library.

The tests run it, and so does `minivae gradcheck`.  Whoever adds an op adds its row: a public op
without one fails the suite (`missing_rows`).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MethodType, ModuleType
from typing import Any

import numpy as np

from minivae import conv, conv_layers, layers, likelihoods, ops, vae
from minivae import distributions as D
from minivae.arena import Parameter
from minivae.backend import Array, Generator
from minivae.conv_vae import ConvVAEConfig
from minivae.gradcheck import Function, Report, gradcheck
from minivae.layers import Layer

MODULES = (ops, conv, D, layers, conv_layers, likelihoods, vae)
EXEMPT = {
    "one_hot": "makes a constant: nothing to differentiate",
    "bernoulli_sample": "draws",
    "sum_of_logs": "a part of bernoulli_nll",
    "glorot": "draws initial weights",
    "he": "draws initial weights",
    "mlp": "builds a Sequential",
    "likelihood": "builds a Likelihood",
    "learning": "a context manager",
    "batch_norms": "finds layers",
    "start_at": "where a network starts",
    "Layer": "abstract",
    "Likelihood": "abstract",
}


@dataclass(frozen=True)
class Case:
    """One row: a function with pullback and the point at which it is checked."""

    name: str
    function: Function
    inputs: tuple[Any, ...] = ()
    constants: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    directions: int | None = None      # None: every entry by itself

    @property
    def subject(self) -> str:
        """What the row is about: "linear", "Linear", "VAE.elbo_terms"."""
        if isinstance(self.function, MethodType):
            return f"{type(self.function.__self__).__name__}.{self.function.__name__}"
        return str(getattr(self.function, "__name__", type(self.function).__name__))


def check(case: Case, tolerance: float = 1e-6) -> Report:
    """Finite differences against the pullback of one row.  Raises GradientError if it is wrong."""
    return gradcheck(case.function, *case.inputs, parameters=case.parameters, directions=case.directions,
                     tolerance=tolerance, name=case.name, **case.constants)


def cases(seed: int = 0) -> list[Case]:
    """The whole table, freshly drawn: the same seed gives the same rows."""
    return [case for rows in SECTIONS.values() for case in rows(np.random.default_rng(seed))]


def op_cases(rng: Generator) -> list[Case]:
    """ops.py"""
    n = rng.standard_normal
    smooth = (ops.elu, ops.gelu, ops.tanh, ops.sigmoid, ops.softplus)
    kinked = np.array([[-1.0, 0.0, 2.0], [0.0, -0.0, 0.5]])
    return [
        _row(ops.linear, n((4, 3)), n((3, 5)), n(5)),
        _row(ops.linear, n((1, 2)), n((2, 3)), n(3), note="one row"),
        _row(ops.linear, 5.0 * n((3, 3)), n((3, 3)), n(3), note="all square"),
        _row(ops.linear, n((5, 1)), n((1, 1)), n(1), note="one number to one number"),
        *(_row(op, _off_zero(n((3, 4)))) for op in (ops.relu, ops.leaky_relu)),
        *(_row(op, _off_zero(n((1, 3))), note="one row") for op in (ops.relu, ops.leaky_relu)),
        *(_row(op, kinked, note="on the kink") for op in (ops.relu, ops.leaky_relu)),
        _row(ops.leaky_relu, _off_zero(n((2, 3, 2))), slope=0.3, note="slope 0.3"),
        *(_row(op, n((3, 4))) for op in smooth),
        *(_row(op, n((1, 3)), note="one row") for op in smooth),
        *(_row(op, 8.0 * n((2, 3, 2)), note="3-D, large") for op in smooth),
        *(_row(op, kinked, note="at 0") for op in smooth),
        _row(ops.elu, _off_zero(n((3, 4))), alpha=0.7, note="alpha 0.7"),
        _row(ops.elu, kinked, alpha=0.7, note="alpha 0.7, on the kink"),
        _row(ops.concat, n((3, 2)), n((3, 4))),
        _row(ops.concat, n((1, 2, 3)), n((1, 2, 1)), n((1, 2, 2)), note="three, 3-D"),
        _row(ops.concat, n((2, 3)), note="one part"),
        _row(ops.split, n((3, 6)), sizes=(2, 4)),
        _row(ops.split, n((1, 3, 6)), sizes=(1, 2, 3), note="three, 3-D"),
        _row(ops.repeat, n((3, 2)), samples=4),
        _row(ops.repeat, n((1, 2)), samples=1, note="one row once"),
        _row(ops.repeat, n((2, 2, 3)), samples=2, note="3-D"),
        *(_row(op, n((3, 4))) for op in (ops.logsumexp, ops.log_softmax)),
        *(_row(op, n(5), note="1-D") for op in (ops.logsumexp, ops.log_softmax)),
        *(_row(op, 5.0 * n((2, 3, 4)), note="3-D, large") for op in (ops.logsumexp, ops.log_softmax)),
        *(_row(op, n((3, 1)), note="one class") for op in (ops.logsumexp, ops.log_softmax)),
    ]


def conv_cases(rng: Generator) -> list[Case]:
    """conv.py"""
    n = rng.standard_normal
    shapes = [(3, 1, 0, 2), (4, 2, 1, 2), (3, 2, 1, 5), (2, 3, 1, 1), (1, 1, 0, 2), (5, 2, 2, 16)]
    rows = []
    for k, stride, padding, C in shapes:
        note = f"kernel {k}, stride {stride}, padding {padding}, {C} channels"
        sizes: dict[str, Any] = {"stride": stride, "padding": padding, "note": note}
        rows += [_row(conv.conv2d, n((2, 5, 6, C)), n((k, k, C, 3)), n(3), **sizes),
                 _row(conv.conv_transpose2d, n((2, 3, 2, 3)), n((k, k, C, 3)), n(C), extra=stride - 1, **sizes)]
    return [
        *rows,
        _row(conv.conv2d, n((1, 2, 2, 1)), n((2, 2, 1, 1)), n(1), note="one of each"),
        _row(conv.conv_transpose2d, n((1, 1, 1, 1)), n((2, 2, 1, 1)), n(1), note="one of each"),
        _row(conv.batch_moments, n((3, 2, 2, 4))),
        _row(conv.batch_moments, 3.0 * n((5, 2)), note="rows"),
        _row(conv.normalise, n((3, 2, 2, 4)), n(4), 0.5 + rng.random(4), n(4), n(4)),
        _row(conv.normalise, n((5, 2)), n(2), 0.1 + rng.random(2), n(2), n(2), eps=0.3, note="rows, eps 0.3"),
        _row(conv.upsample, n((2, 2, 3, 2))),
        _row(conv.upsample, n((1, 1, 2, 1)), factor=3, note="factor 3"),
        _row(conv.average_pool, n((2, 4, 2, 3))),
        _row(conv.average_pool, n((1, 3, 6, 1)), factor=3, note="factor 3"),
    ]


def distribution_cases(rng: Generator) -> list[Case]:
    """distributions.py"""
    n = rng.standard_normal
    bits, grey = (lambda *shape: 1.0 * (rng.random(shape) < 0.5)), (lambda *shape: rng.random(shape))
    return [
        _row(D.reparameterize, n((4, 3)), n((4, 3)), eps=n((4, 3))),
        _row(D.reparameterize, 5.0 * n((1, 2)), 3.0 * n((1, 2)), eps=n((1, 2)), note="one row, large"),
        _row(D.gaussian_log_prob, n((4, 3)), n((4, 3)), n((4, 3))),
        _row(D.gaussian_log_prob, 2.0 * n((1, 2)), n((1, 2)), 2.0 * n((1, 2)), note="one row, large"),
        _row(D.standard_normal_log_prob, n((4, 3))),
        _row(D.standard_normal_log_prob, 5.0 * n((1, 2)), note="one row, large"),
        _row(D.gaussian_kl, n((4, 3)), n((4, 3))),
        _row(D.gaussian_kl, 5.0 * n((1, 2)), 2.0 * n((1, 2)), note="one row, large"),
        _row(D.gaussian_kl_between, *n((4, 4, 3))),
        _row(D.gaussian_kl_between, *(2.0 * n((4, 1, 2))), note="one row, large"),
        _row(D.bernoulli_nll, n((4, 3)), x=bits(4, 3)),
        _row(D.bernoulli_nll, 5.0 * n((3, 4)), x=grey(3, 4), note="grey, large"),
        _row(D.bernoulli_nll, np.zeros((1, 2)), x=np.array([[0.0, 1.0]]), note="one row, at 0"),
        _row(D.gaussian_nll, n((4, 3)), n((4, 3)), x=n((4, 3))),
        _row(D.gaussian_nll, 2.0 * n((1, 2)), 2.0 * n((1, 2)), x=n((1, 2)), note="one row, large"),
        _row(D.gaussian_nll_shared, n((4, 3)), np.array(0.4), x=n((4, 3))),
        _row(D.gaussian_nll_shared, n((1, 2)), np.array(-2.5), x=n((1, 2)), note="one row"),
        _row(D.gaussian_nll_fixed, n((4, 3)), x=n((4, 3))),
        _row(D.gaussian_nll_fixed, n((1, 2)), x=n((1, 2)), std=0.3, note="one row, std 0.3"),
        _row(D.categorical_nll, n((4, 3)), labels=np.array([2, 0, 1, 1])),
        _row(D.categorical_nll, 5.0 * n((1, 4)), labels=np.array([3]), note="one row, large"),
    ]


def layer_cases(rng: Generator) -> list[Case]:
    """layers.py"""
    n, L = rng.standard_normal, layers
    twice = L.Linear(3, 3, rng=rng)
    two = L.Sequential(L.Linear(3, 4, rng=rng), L.Activation(ops.tanh), L.Linear(4, 2, rng=rng))
    return [
        _layer(rng, L.Linear(3, 5, rng=rng), n((4, 3))),
        _layer(rng, L.Linear(2, 2, rng=rng), n((1, 2)), note="one row"),
        _layer(rng, L.Activation(ops.tanh), n((3, 4))),
        _layer(rng, L.Activation(ops.leaky_relu, slope=0.2), _off_zero(n((3, 4))), note="with a constant"),
        _layer(rng, L.Sequential(L.Linear(3, 2, rng=rng)), n((4, 3)), note="one layer"),
        _layer(rng, two, n((4, 3))),
        _layer(rng, L.Sequential(twice, L.Activation(ops.tanh), twice), n((4, 3)),
               note="one layer used twice", parameters=twice.parameters()),
        *(_layer(rng, L.mlp(3, 4, 2, rng=rng, activation=name), n((3, 3)), note=f"mlp {name}")
          for name in ("relu", "leaky_relu", "elu", "gelu", "tanh", "sigmoid", "softplus")),
        _layer(rng, L.mlp(2, 3, 3, rng=rng, activation="tanh", last=True), n((1, 2)),
               note="mlp tanh to the last"),
    ]


def conv_layer_cases(rng: Generator) -> list[Case]:
    """conv_layers.py"""
    n, L = rng.standard_normal, conv_layers
    twice, norm, learner = L.Conv2d(2, 2, kernel=3, padding=1, rng=rng), L.BatchNorm(3), L.BatchNorm(3)
    learner.learning = True
    moving = {name: p for name, p in norm.parameters().items() if not name.startswith("running")}
    for layer in (norm, learner):
        layer.running_mean.value[...], layer.running_var.value[...] = n(3), 0.5 + rng.random(3)
    return [
        _layer(rng, L.Conv2d(2, 3, kernel=4, stride=2, padding=1, rng=rng), n((2, 4, 4, 2))),
        _layer(rng, L.ConvTranspose2d(3, 2, kernel=4, stride=2, padding=1, rng=rng), n((2, 2, 2, 3))),
        _layer(rng, L.ConvTranspose2d(2, 1, kernel=3, stride=2, extra=1, rng=rng), n((1, 2, 3, 2)), note="one extra"),
        _layer(rng, layers.Sequential(twice, layers.Activation(ops.tanh), twice), n((2, 3, 3, 2)),
               note="one convolution used twice", parameters=twice.parameters()),
        _layer(rng, norm, n((4, 2, 2, 3)), parameters=moving),
        _layer(rng, learner, n((4, 2, 2, 3)), note="learning",
               parameters={name: learner.parameters()[name] for name in moving}),
        _layer(rng, L.Reshape(2, 3, 1), n((2, 6))),
    ]


def likelihood_cases(rng: Generator) -> list[Case]:
    """likelihoods.py"""
    n, p = rng.standard_normal, likelihoods
    return [
        _layer(rng, p.Bernoulli(), n((4, 3)), x=1.0 * (rng.random((4, 3)) < 0.5)),
        _layer(rng, p.GaussianFixed(0.5), n((4, 3)), x=n((4, 3))),
        _layer(rng, p.GaussianShared(), n((4, 3)), x=n((4, 3))),
        _layer(rng, p.GaussianPixel(), n((4, 6)), x=n((4, 3))),
        _layer(rng, p.GaussianPixel(), n((1, 2)), x=n((1, 1)), note="one row, one pixel"),
    ]


def model_cases(rng: Generator) -> list[Case]:
    """vae.py: the draw, the encoder, and whole models, every parameter of them"""
    n = rng.standard_normal
    encoder = vae.Encoder(layers.mlp(3, 4, rng=rng, activation="tanh", last=True),
                          layers.Linear(4, 2, rng=rng), layers.Linear(4, 2, rng=rng))
    rows = [
        _row(vae.draw, n((3, 2)), n((3, 2)), eps=n((4, 3, 2))),
        _row(vae.draw, n((1, 2)), n((1, 2)), eps=n((1, 1, 2)), note="one row once"),
        _layer(rng, encoder, n((4, 3))),
    ]
    for name in likelihoods.LIKELIHOODS:
        small = vae.VAEConfig(pixels=4, hidden=(3,), latents=2, activation="tanh", likelihood=name)
        rows += _models(rng, small, note=f"{name}, L=1", B=3, L=1)
        rows += _models(rng, small, note=f"{name}, L=3", B=2, L=3)
    images = ConvVAEConfig(height=4, width=8, channels=2, filters=(2, 3), dense=4, latents=2)
    rows += _models(rng, images, note="convolutional", B=2, L=2)
    large = vae.VAEConfig(pixels=64, hidden=(32, 16), latents=4)
    return rows + _models(rng, large, note="64-32-16-4 relu, by directions", B=8, L=2, directions=4)


SECTIONS = {module.__name__: rows for module, rows in zip(
    MODULES, (op_cases, conv_cases, distribution_cases, layer_cases, conv_layer_cases, likelihood_cases,
              model_cases))}


def public_ops(modules: Sequence[ModuleType] = MODULES) -> set[str]:
    """Everything in these modules that must have a row, by its `Case.subject`.

    That is: every public function, every layer that can be called, and every method of a layer that
    says it returns a Pullback; less those that EXEMPT names.
    """
    found = set()
    for module in modules:
        for name, thing in vars(module).items():
            if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
                continue
            if inspect.isfunction(thing):
                found.add(name)
            elif inspect.isclass(thing) and issubclass(thing, Layer):
                methods = {key: m for key, m in vars(thing).items() if inspect.isfunction(m)}
                found |= {name} if "__call__" in methods else set()
                found |= {f"{name}.{key}" for key, m in methods.items()
                          if not key.startswith("_") and "Pullback" in str(m.__annotations__.get("return"))}
    return found - EXEMPT.keys()


def missing_rows(table: Iterable[Case], modules: Sequence[ModuleType] = MODULES) -> set[str]:
    """The public ops that no row of the table is about."""
    return public_ops(modules) - {case.subject for case in table}


def _row(function: Function, *inputs: Any, note: str = "", parameters: Mapping[str, Parameter] | None = None,
         directions: int | None = None, **constants: Any) -> Case:
    case = Case("", function, inputs, constants, parameters or {}, directions)
    return replace(case, name=case.subject + (f" ({note})" if note else ""))


def _layer(rng: Generator, layer: Layer, *inputs: Array, note: str = "",
           parameters: Mapping[str, Parameter] | None = None, **constants: Any) -> Case:
    """A row for a layer, its parameters drawn anew: at birth a bias is zero, and zero hides mistakes."""
    own = parameters or layer.parameters()
    for p in own.values():
        p.value[...] = rng.standard_normal(p.value.shape)
    return _row(layer, *inputs, note=note, parameters=own, **constants)


def _models(rng: Generator, config: vae.VAEConfig | ConvVAEConfig, *, note: str, B: int, L: int,
            directions: int | None = None) -> list[Case]:
    """A row for each bound of a VAE of this size."""
    model = config.build(dtype=np.float64)
    model.arena.value[...] += 0.3 * rng.standard_normal(model.arena.value.shape)
    grey = rng.standard_normal((B, config.pixels))
    x = 1.0 * (grey > 0) if config.likelihood == "bernoulli" else grey
    eps = rng.standard_normal((L, B, config.latents))
    return [_row(bound, note=note, parameters=model.arena.parameters, directions=directions, x=x, eps=eps)
            for bound in (model.elbo_terms, model.monte_carlo_terms)]


def _off_zero(x: Array) -> Array:
    """x moved away from 0, where relu has its kink."""
    return x + np.copysign(0.1, x)
