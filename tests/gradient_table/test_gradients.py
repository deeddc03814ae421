"""Judge 1: every pullback against finite differences, row by row of the gradient table."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import minivae
from minivae import distributions, nn, ops, parts, vae
from minivae.gradcheck import gradcheck
from minivae.gradient_table import EXEMPT, MODULES, cases, check, missing_rows, public_ops
from minivae.parts import LIKELIHOODS
from minivae.variants import VAEConfig

TABLE = cases()


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_pullback_agrees_with_finite_differences(case):
    report = check(case)
    assert sum(row.entries for row in report.rows) > 0
    assert ("on the kink" in case.name) == any(row.kinks for row in report.rows)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_table_holds_at_other_points(seed):
    for case in cases(seed):
        if "VAE" not in case.name:
            check(case)


def test_names_are_unique_and_the_table_is_reproducible():
    assert len({case.name for case in TABLE}) == len(TABLE)
    again = cases()
    assert [case.name for case in again] == [case.name for case in TABLE]
    for one, two in zip(TABLE, again):
        assert all(np.array_equal(a, b) for a, b in zip(one.inputs, two.inputs))


def test_every_public_op_layer_and_model_has_a_row():
    assert missing_rows(TABLE) == set()


def test_the_enumeration_sees_what_it_should():
    found = public_ops()
    assert {"linear", "concat", "gaussian_kl", "categorical_nll", "Linear", "Activation", "Sequential", "Encoder",
            "Posterior.draws", "GaussianMixture.log_prob", "VAE.elbo_terms", "VAE.monte_carlo_terms"} <= found
    assert {likelihood.__name__ for likelihood in LIKELIHOODS.values()} <= found
    assert not found & EXEMPT.keys()
    gone = [name for name in EXEMPT if not any(hasattr(module, name.split(".")[0]) for module in MODULES)]
    assert gone == []


def test_no_file_of_ops_densities_layers_or_parts_is_left_out():
    """A new file in these folders must join the table, or be named here as one without gradients."""
    without = {"ops.kernels", "ops.products", "distributions.grey_levels", "nn.arena", "nn.network", "nn.model",
               "nn.optimizers", "nn.parameter", "nn.rehearsal", "nn.schedules", "nn.workers", "parts.kl", "parts.named",
               "parts.objectives"}
    package = Path(minivae.__file__).parent
    files = {f"{folder}.{path.stem}" for folder in ("ops", "distributions", "nn", "parts")
             for path in (package / folder).glob("*.py") if path.stem != "__init__"}
    assert files - without == {m.__name__.removeprefix("minivae.") for m in MODULES if m.__name__.count(".") == 2
                               and not m.__name__.startswith(("minivae.variants", "minivae.evaluation"))}


@pytest.mark.parametrize("module", [ops.dense, distributions.gaussian, vae], ids=lambda module: module.__name__)
def test_a_new_op_without_a_row_is_noticed(module, monkeypatch):
    def square(x):
        return x * x, lambda dy: 2.0 * x * dy

    square.__module__ = module.__name__
    monkeypatch.setattr(module, "square", square, raising=False)
    assert missing_rows(TABLE) == {"square"}


def test_a_new_layer_likelihood_or_bound_without_a_row_is_noticed(monkeypatch):
    class Scale(nn.Layer):
        def __call__(self, x):
            return x, lambda dy: dy

        def bound(self, x) -> tuple[np.ndarray, ops.Pullback]:
            return self(x)

    for module, name in ((nn.layers, "Scale"), (parts.likelihoods, "Laplace")):
        new = type(name, (Scale,), dict(vars(Scale)) | {"__module__": module.__name__})
        monkeypatch.setattr(module, name, new, raising=False)
    Scale.bound.__annotations__["return"] = "tuple[Array, Pullback]"
    assert missing_rows(TABLE) == {"Scale", "Scale.bound", "Laplace", "Laplace.bound"}


def test_private_and_imported_functions_need_no_row():
    module = SimpleNamespace(__name__="somewhere", _helper=lambda x: x, linear=ops.linear)
    assert public_ops([module]) == set()


@pytest.mark.parametrize(("bound", "activation"), [("elbo_terms", "relu"), ("monte_carlo_terms", "tanh")])
def test_a_whole_vae_of_realistic_size_by_directions(bound, activation):
    rng = np.random.default_rng(0)
    model = VAEConfig(pixels=784, hidden=(400,), latents=20, activation=activation).build(dtype=np.float64)
    x = 1.0 * (rng.random((4, 784)) < 0.3)
    report = gradcheck(getattr(model, bound), parameters=model.arena.parameters, directions=2,
                       x=x, eps=rng.standard_normal((1, 4, 20)))
    assert len(report.rows) == len(model.arena.parameters) == 10
