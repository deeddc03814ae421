"""The laws of an op (DESIGN section 1), each over every row of the gradient table.

A law is a function of a case that raises AssertionError where it is broken: test_mutants.py asks the same.
"""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from minivae.backend import device
from minivae.gradient_table import Case, case_named, cases
from minivae.nn import Arena, Layer
from minivae.parts import Likelihood, Posterior

NAMES = [case.name for case in cases()]


def fresh(name: str, dtype: type = np.float64) -> Case:
    """The row of that name, newly made (a law may set gradients), in this dtype."""
    case = case_named(name)
    return case if dtype == np.float64 else in_dtype(case, dtype)


def in_dtype(case: Case, dtype: type) -> Case:
    """The case with inputs, float constants and parameters in this dtype."""
    def cast(value):
        if isinstance(value, (list, tuple)) and not isinstance(value[0], int):
            return type(value)(map(cast, value))
        return value.astype(dtype) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value

    model = getattr(case.function, "__self__", None)
    if hasattr(model, "networks"):                    # a model knows its arenas
        for network in model.networks.values():
            network.arena = Arena(network.arena.parameters, device("cpu"), dtype)
    elif case.parameters:
        Arena(case.parameters, device("cpu"), dtype)
    if isinstance(case.function, Layer):            # what it keeps besides, such as running moments
        for p in set(case.function.parameters().values()) - set(case.parameters.values()):
            p.value = cast(p.value)
    constants = {name: cast(value) for name, value in case.constants.items()}
    return replace(case, inputs=tuple(map(cast, case.inputs)), constants=constants)


def flat(x) -> list[np.ndarray]:
    if x is None:
        return []
    return [array for part in x for array in flat(part)] if isinstance(x, (tuple, list)) else [x]


def cotangents(value, seed: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    return tuple(np.asarray(rng.standard_normal(y.shape), dtype=y.dtype) for y in flat(value))


def pull(case: Case, pullback, dy) -> list[np.ndarray]:
    """All that one call of the pullback says: what it returns, and what it adds to the gradients."""
    for p in case.parameters.values():
        p.grad[...] = 0.0
    return flat(pullback(*dy)) + [p.grad.copy() for p in case.parameters.values()]


def call(case: Case):
    return case.function(*case.inputs, **case.constants)


def close(ours, theirs, rtol: float = 1e-12, atol: float = 1e-12) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol * max(1.0, float(np.abs(b).max(initial=0.0))))


# ── the laws ──────────────────────────────────────────────────────────────────────────────────


def positional_inputs_are_differentiated_and_keywords_are_constants(case: Case) -> None:
    kinds = inspect.Parameter
    parameters = inspect.signature(case.function).parameters.values()
    positional = [p for p in parameters if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    anything = any(p.kind is kinds.VAR_POSITIONAL for p in parameters)
    assert anything or len(positional) == len(case.inputs)
    assert all(p.default is kinds.empty for p in positional), "an input that is differentiated has no default"
    keywords = {p.name: p for p in parameters if p.kind is kinds.KEYWORD_ONLY}
    assert case.constants.keys() <= keywords.keys()
    assert {name for name, p in keywords.items() if p.default is kinds.empty} <= case.constants.keys()


def one_cotangent_per_input_with_its_shape_and_dtype(case: Case) -> None:
    value, pullback = call(case)
    dinputs = flat(pullback(*cotangents(value, 0)))
    assert [dx.shape for dx in dinputs] == [x.shape for x in case.inputs]
    assert [dx.dtype for dx in dinputs] == [x.dtype for x in case.inputs]


def the_pullback_is_linear(case: Case) -> None:
    value, pullback = call(case)
    u, v = cotangents(value, 1), cotangents(value, 2)
    both = pull(case, pullback, [2.0 * a - 3.0 * b for a, b in zip(u, v)])
    close(both, [2.0 * a - 3.0 * b for a, b in zip(pull(case, pullback, u), pull(case, pullback, v))], atol=1e-11)


def the_pullback_may_be_called_twice(case: Case) -> None:
    """With the same result, whatever was asked between; and gradients add up."""
    value, pullback = call(case)
    u, v = cotangents(value, 1), cotangents(value, 2)
    first, _, again = pull(case, pullback, u), pull(case, pullback, v), pull(case, pullback, u)
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    pullback(*u)
    for p, once in zip(case.parameters.values(), first[len(case.inputs):]):
        close([p.grad], [2.0 * once])


def two_calls_do_not_know_of_each_other(case: Case) -> None:
    """An op holds no state: the first pullback is the same after a second forward pass elsewhere."""
    value, pullback = call(case)
    u = cotangents(value, 1)
    before, kept = pull(case, pullback, u), [y.copy() for y in flat(value)]
    case.function(*(x + 1.0 for x in case.inputs), **case.constants)[1](*u)
    assert all(np.array_equal(a, b) for a, b in zip(before, pull(case, pullback, u)))
    assert all(np.array_equal(a, b) for a, b in zip(kept, flat(value)))


def nothing_that_came_in_is_written(case: Case) -> None:
    """Inputs, constants, parameters and cotangents are read-only here: a write raises."""
    given = [x for x in (*case.inputs, *case.constants.values()) if isinstance(x, np.ndarray)]
    given += [p.value for p in case.parameters.values()]
    before = [x.copy() for x in given]
    with read_only(given):
        value, pullback = call(case)
        dy = cotangents(value, 0)
        with read_only([*dy, *flat(value)]):
            pullback(*dy)
    assert all(np.array_equal(a, b) for a, b in zip(given, before))


@contextmanager
def read_only(arrays):
    """Meanwhile, whoever writes one of the arrays gets a ValueError."""
    could = [x.flags.writeable for x in arrays]
    for x in arrays:
        x.flags.writeable = False
    try:
        yield
    finally:
        for x, writeable in zip(arrays, could):
            x.flags.writeable = writeable


def need_dx_changes_no_gradient(case: Case) -> None:
    """For a pullback that takes need_dx: the parameters learn the same, and True is the default."""
    value, pullback = call(case)
    if "need_dx" not in inspect.signature(pullback).parameters:
        return
    dy = cotangents(value, 0)
    usual, asked, spared = pull(case, pullback, dy), *(
        pull(case, lambda *dy, need=need: pullback(*dy, need_dx=need), dy) for need in (True, False))
    close(asked, usual, rtol=0.0, atol=0.0)
    n = len(case.parameters)                          # what comes before the gradients may be None
    close(spared[len(spared) - n:], usual[len(usual) - n:], rtol=0.0, atol=0.0)


def need_dp_changes_no_dx(case: Case) -> None:
    """For a pullback that takes need_dp: dx is the same, and True is the default; with False no parameter learns."""
    value, pullback = call(case)
    if "need_dp" not in inspect.signature(pullback).parameters:
        return
    dy, n = cotangents(value, 0), len(case.parameters)
    usual, asked, spared = pull(case, pullback, dy), *(
        pull(case, lambda *dy, need=need: pullback(*dy, need_dp=need), dy) for need in (True, False))
    close(asked, usual, rtol=0.0, atol=0.0)
    first = min(1, len(case.inputs))                  # some have none, only constants
    close(spared[:first], usual[:first], rtol=0.0, atol=0.0)
    assert not any(grad.any() for grad in spared[len(spared) - n:])
    if inspect.isfunction(case.function):             # an op: the cotangents of its parameters are not computed
        assert all(rest is None for rest in pullback(*dy, need_dp=False)[1:])
        assert pullback(*dy, need_dp=False, need_dx=False)[0] is None


def losses_return_one_number_per_example(case: Case) -> None:
    if not is_loss(case):
        return
    first = case.inputs[0] if case.inputs else case.constants["x"]
    B = len(first) * (len(case.constants["eps"]) if case.subject in PER_SAMPLE else 1)
    assert all(y.shape == (B,) for y in flat(call(case)[0]))


PER_SAMPLE = {"VAE.monte_carlo_terms"}
NO_LOSS = {"reparameterize", "gaussian_kl_by_latent", "free_bits", "VAE.elbo_terms_by_latent", "VAE.posterior_samples",
           "VAE.q", "components_log_prob", "components_kl"}


DENSITIES = ("minivae.distributions.gaussian", "minivae.distributions.nll", "minivae.distributions.mixture",
             "minivae.distributions.categorical")


def is_loss(case: Case) -> bool:
    """A density, a divergence, a likelihood, the terms of a bound."""
    density = inspect.isfunction(case.function) and case.function.__module__ in DENSITIES
    return (((density or case.subject.startswith("VAE.")) and case.subject not in NO_LOSS)
            or isinstance(case.function, Likelihood))


LAWS = [
    positional_inputs_are_differentiated_and_keywords_are_constants,
    one_cotangent_per_input_with_its_shape_and_dtype,
    the_pullback_is_linear,
    the_pullback_may_be_called_twice,
    two_calls_do_not_know_of_each_other,
    nothing_that_came_in_is_written,
    need_dx_changes_no_gradient,
    need_dp_changes_no_dx,
    losses_return_one_number_per_example,
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law(law, name):
    law(fresh(name))


@pytest.mark.parametrize("name", NAMES)
def test_float32_stays_float32_and_computes_the_same(name):
    single, double = fresh(name, np.float32), fresh(name)
    one_cotangent_per_input_with_its_shape_and_dtype(single)
    nothing_that_came_in_is_written(fresh(name, np.float32))
    value, pullback = call(single)
    exact, pullback64 = call(double)
    assert all(y.dtype == np.float32 for y in flat(value))
    dy = cotangents(value, 0)
    gradients = pull(single, pullback, dy)
    assert all(g.dtype == np.float32 for g in gradients)
    close(flat(value), flat(exact), rtol=1e-4, atol=1e-4)
    close(gradients, pull(double, pullback64, [v.astype(np.float64) for v in dy]), rtol=1e-3, atol=1e-4)


def test_every_density_and_likelihood_is_a_loss():
    losses = {case.subject for case in cases() if is_loss(case)}
    assert {"gaussian_log_prob", "gaussian_kl", "bernoulli_nll", "categorical_nll", "Bernoulli", "GaussianPixel",
            "VAE.elbo_terms"} <= losses
    assert not losses & {"linear", "logsumexp", "reparameterize", "Linear"}


def test_every_network_takes_need_dx_and_need_dp():
    """The laws above are silent where a pullback does not: here is who must."""
    for case in cases():
        if isinstance(case.function, Layer) and not isinstance(case.function, (Likelihood, Posterior)):
            assert {"need_dx", "need_dp"} <= inspect.signature(call(case)[1]).parameters.keys(), case.name


def broken(function, *inputs, **constants) -> Case:
    return Case("broken", function, inputs, constants)


def writes_its_input(x):
    np.maximum(x, 0.0, out=x)
    return x.copy(), lambda dy: dy * (x > 0)


def writes_its_cotangent(x):
    def pullback(dy):
        dy *= x > 0
        return dy

    return np.maximum(x, 0.0), pullback


def is_not_linear(x):
    return 1.0 * x, lambda dy: dy * np.abs(dy)


def wears_out(x):
    calls = []
    return 1.0 * x, lambda dy: dy / (calls.append(1) or len(calls))


def lifts_to_float64(x):
    return x * 1.0, lambda dy: dy * np.float64(1.0)


def takes_a_constant_by_position(x, slope):
    return slope * x, lambda dy: slope * dy


STATE = {}


def keeps_state(x):
    STATE["x"] = x
    return x * x, lambda dy: 2.0 * STATE["x"] * dy


@pytest.mark.parametrize(("law", "function", "more"), [
    (nothing_that_came_in_is_written, writes_its_input, ()),
    (nothing_that_came_in_is_written, writes_its_cotangent, ()),
    (the_pullback_is_linear, is_not_linear, ()),
    (the_pullback_may_be_called_twice, wears_out, ()),
    (two_calls_do_not_know_of_each_other, keeps_state, ()),
    (one_cotangent_per_input_with_its_shape_and_dtype, lifts_to_float64, ()),
    (one_cotangent_per_input_with_its_shape_and_dtype, takes_a_constant_by_position, (np.float32(2.0),)),
    (positional_inputs_are_differentiated_and_keywords_are_constants, lambda x, slope=1.0: (x, None), ()),
], ids=lambda x: getattr(x, "__name__", ""))
def test_a_law_catches_who_breaks_it(law, function, more):
    x = np.array([[1.0, -2.0, 3.0]], dtype=np.float32)
    with pytest.raises((AssertionError, ValueError)):
        law(broken(function, x, *more))
