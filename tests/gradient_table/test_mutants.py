"""The judges are judged: every planted mistake in every pullback must be caught.

By finite differences on the rows of the gradient table that are about its owner, or by a law.  No mutant
is excused: should one compute the same numbers, `mutator.mistakes` has chosen the mistake badly.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from mutator import Mutant, mutants, owners, planted, unchanged
from test_laws import LAWS

from minivae import gradient_table, ops
from minivae.gradcheck.subject import as_tuple, cotangents_like, flatten, leaves, refilled
from minivae.gradient_table import MODULES, SECTIONS, Case, check
from minivae.nn import layers

OWNERS = [(module, owner) for module in MODULES for owner in owners(module)]       # the mutants are made in the tests


@contextmanager
def installed(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Meanwhile the module is the mutated one, for all who imported from it, too."""
    things = mutant.names()
    house = [module for path, module in sys.modules.items() if path.startswith("minivae.")]
    with monkeypatch.context() as patch:
        for name, thing in things.items():
            right = getattr(mutant.module, name)
            for module in house:
                if vars(module).get(name) is right:
                    patch.setattr(module, name, thing)
        yield


def objection(mutant: Mutant, monkeypatch: pytest.MonkeyPatch, asked: list[str] | None = None) -> str | None:
    """Who objects to the mutated module, or None: it passes every check there is.

    asked   names of rows, those who objected last in front: they mostly object to the next mutant, too
    """
    asked, name = [] if asked is None else asked, ""
    with installed(mutant, monkeypatch):
        try:
            rows = [case for case in SECTIONS[mutant.module.__name__](np.random.default_rng(0))
                    if f"{case.subject}.".startswith(f"{mutant.owner}." if mutant.owner else "")]
            rows.sort(key=lambda case: asked.index(case.name) if case.name in asked else len(asked))
            for look in (glance, judge):
                for case in rows:
                    name = case.name
                    look(case)
        except Exception as error:      # any refusal will do: GradientError, a law, a shape that does not fit
            asked.insert(0, name)
            return type(error).__name__
    return None


def glance(case: Case) -> None:
    """One random direction of all inputs and parameters together sees every wrong entry, mostly, and soon."""
    before = [p.value.copy() for p in case.parameters.values()]
    try:
        check(as_one(case))
    finally:
        for p, value in zip(case.parameters.values(), before):
            p.value[...] = value


def as_one(case: Case) -> Case:
    """The same row as a function of one vector: its inputs and parameters, one after the other."""
    parameters = case.parameters.values()
    places = [*flatten(case.inputs), *(p.value for p in parameters)]
    ends = np.cumsum([place.size for place in places])[:-1]

    def put(x: np.ndarray) -> list[np.ndarray]:
        """The parts that are inputs; the others are put where they belong."""
        parts = [part.reshape(place.shape) for part, place in zip(np.split(x.copy(), ends), places)]
        for p, part in zip(reversed(parameters), reversed(parts)):
            p.value[...] = part
        return parts

    def function(x):
        here = x.copy()
        value, pullback = case.function(*refilled(case.inputs, iter(put(here))), **case.constants)

        def together(*dy):
            put(here)
            for p in parameters:
                p.grad[...] = 0.0
            dinputs = flatten(as_tuple(pullback(*dy)))
            return np.concatenate([np.ravel(d) for d in (*dinputs, *(p.grad for p in parameters))])

        return value, together

    return Case(case.name, function, (np.concatenate([place.ravel() for place in places]),), directions=1)


def judge(case: Case) -> None:
    check(case)
    for law in LAWS:
        law(case)


@pytest.mark.parametrize(("module", "owner"), OWNERS,
                         ids=lambda part: getattr(part, "__name__", part).removeprefix("minivae."))
def test_every_mutant_is_caught(module, owner, monkeypatch):
    mine = mutants(module, owner)
    assert mine
    asked: list[str] = []
    survivors = [m.what for m in mine if objection(m, monkeypatch, asked) is None]
    assert not survivors, f"{len(survivors)} of {len(mine)} mutants of {owner} pass:\n" + "\n".join(survivors)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_unchanged_module_computes_the_same_numbers(module, monkeypatch):
    """… bit for bit: it is the mistake that is objected to, not how it was planted."""
    right = numbers(module)
    with installed(unchanged(module), monkeypatch):
        assert numbers(module) == right
    assert right


@pytest.mark.parametrize("module", [ops.softmax, layers], ids=lambda module: module.__name__)
def test_nobody_objects_to_what_is_right(module, monkeypatch):
    """Or a mistake in this file would catch every mutant."""
    assert objection(unchanged(module), monkeypatch) is None


@pytest.mark.parametrize("section", sorted(set(SECTIONS.values()), key=lambda rows: rows.__name__),
                         ids=lambda rows: rows.__name__)
def test_what_is_right_passes_at_a_glance(section):
    """Or a glance that objects to everything would catch every mutant."""
    for case in section(np.random.default_rng(0)):
        glance(case)


def numbers(module) -> list[bytes]:
    """Values and gradients of all rows about this module."""
    found = []
    for case in SECTIONS[module.__name__](np.random.default_rng(0)):
        value, pullback = case.function(*case.inputs, **case.constants)
        found += leaves(value)
        found += flatten(as_tuple(pullback(*cotangents_like(value, np.random.default_rng(1)))))
        found += [p.grad for p in case.parameters.values()]
    return [np.asarray(array).tobytes() for array in found]


def test_every_pullback_has_mutants():
    """Whatever has a row has a pullback in the source, or hands on one that has."""
    named = {owner for _, owner in OWNERS}
    hand_on = {"VAE.elbo_terms", "VAE.elbo_terms_by_latent", "log_mean_exp", "full_gaussian_entropy",
               "DiagonalGaussian.draw", "DiagonalGaussian.kl", "InUnits", "M2.labelled_terms",
               "GMVAE.start_terms", "TextM2.labelled_terms", "VAEGAN.loss", "CVAEGAN.loss", "ZeroVAEGAN.loss",
               "picture"}
    several = {"", "VAE", "CVAE", "VAEGAN", "CVAEGAN", "ZeroVAEGAN"}         # of a module or class, for several rows
    assert named - several == gradient_table.public_ops() - hand_on
    counts = {module.__name__: len(list(planted(ast.parse(inspect.getsource(module))))) for module in MODULES}
    print(f"mutants: {sum(counts.values())} in {len(OWNERS)} pullbacks, {counts}")
    assert sum(counts.values()) > 300


@pytest.mark.parametrize("what", [
    "W.T → W", "dy.sum(axis=0) → dy", "matmul(x.T, dy) → dy", "→ return (dW, dx, dy.sum(axis=0))",
])
def test_the_mistakes_of_linear_are_those_one_makes(what):
    assert any(what in m.what for m in mutants(ops.dense, "linear"))


def test_a_mutant_changes_only_its_module_in_memory(monkeypatch):
    x, W, b = np.ones((1, 2)), np.ones((2, 2)), np.ones(2)
    before = ops.linear(x, W, b)[1](np.ones((1, 2)))
    for mutant in mutants(ops.dense, "linear")[:5]:
        objection(mutant, monkeypatch)
    assert all(np.array_equal(a, c) for a, c in zip(before, ops.linear(x, W, b)[1](np.ones((1, 2)))))
