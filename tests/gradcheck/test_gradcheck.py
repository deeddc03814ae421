"""The harness is judged: it catches planted mistakes, reports kinks, and leaves everything as it was."""

from __future__ import annotations

import numpy as np
import pytest

from minivae import nn, ops
from minivae.gradcheck import GradientError, gradcheck
from minivae.variants import VAEConfig

rng = np.random.default_rng(0)
x, y = rng.standard_normal((4, 3)), rng.standard_normal((3, 3))


def product(a, b, *, wrong=lambda da, db: (da, db)):
    """a @ b, whose pullback a test may spoil."""
    return a @ b, lambda dy: wrong(dy @ b.T, a.T @ dy)


SPOILT = {
    "sign": lambda da, db: (da, -db),
    "factor": lambda da, db: (0.5 * da, db),
    "a tiny factor": lambda da, db: (da * (1 + 1e-5), db),
    "transposed": lambda da, db: (da, db.T),
    "swapped rows": lambda da, db: (da[::-1], db),
    "zero": lambda da, db: (0 * da, db),
    "one entry": lambda da, db: (da + np.eye(4, 3) * (np.arange(4) == 2)[:, None] * 1e-3, db),
    "NaN": lambda da, db: (da, np.where(db == db[1, 1], np.nan, db)),
    "infinite": lambda da, db: (da, np.where(db == db[1, 1], np.inf, db)),
}


@pytest.mark.parametrize("directions", [None, 3])
def test_a_right_pullback_passes_and_the_report_says_what_was_compared(directions):
    report = gradcheck(product, x, y, directions=directions)
    assert report.passed
    assert report.worst < 1e-8
    assert [row.entries for row in report.rows] == ([12, 9] if directions is None else [3, 3])


@pytest.mark.parametrize("directions", [None, 2])
@pytest.mark.parametrize("mistake", SPOILT)
def test_a_planted_mistake_is_caught(mistake, directions):
    with pytest.raises(GradientError) as caught:
        gradcheck(product, x, y, directions=directions, wrong=SPOILT[mistake])
    assert not caught.value.report.passed
    assert caught.value.report.worst > 1e-6


def test_the_worst_entry_is_named():
    with pytest.raises(GradientError) as caught:
        gradcheck(product, x, y, wrong=SPOILT["one entry"])
    bad, good = caught.value.report.rows
    assert bad.where == "[2, 2]"
    assert bad.pullback - bad.numeric == pytest.approx(1e-3, rel=1e-3)
    assert good.error < 1e-8


def test_the_cotangents_are_not_the_numbers_that_a_caller_draws():
    """With v = a, the gradient of a @ b is aᵀ a: symmetric, and a wrong transpose would pass."""
    seen = []
    a = np.random.default_rng(0).standard_normal((4, 3))
    gradcheck(lambda a: (1.0 * a, lambda dy: seen.append(dy) or dy), a, seed=0)
    assert not np.isclose(seen[0], a).any()


def test_a_nan_in_the_value_is_caught():
    with pytest.raises(GradientError):
        gradcheck(lambda a: (a * np.nan, lambda dy: dy), x)


def test_a_gradient_that_ignores_its_cotangent_is_caught():
    """The harness asks with a random cotangent: the gradient of the plain sum would not see this."""
    with pytest.raises(GradientError):
        gradcheck(lambda a: (2.0 * a, lambda dy: np.full_like(a, 2.0)), x)


def test_at_a_kink_the_pullback_lies_between_the_one_sided_derivatives():
    at = np.array([[0.0, 1.0, -1.0], [0.0, 2.0, 3.0]])
    (row,) = gradcheck(ops.relu, at).rows
    assert (row.kinks, row.entries) == (2, 4)
    assert "(2 of 6 on a kink, between the one-sided derivatives)" in str(gradcheck(ops.relu, at))


@pytest.mark.parametrize("near", [1e-8, 1e-7, 5e-7, 1.5e-6, -1e-6])
def test_beside_a_kink_the_step_becomes_so_small_that_there_is_none(near):
    (row,) = gradcheck(ops.relu, np.array([near, 1.0])).rows
    assert (row.kinks, row.entries) == (0, 2)
    with pytest.raises(GradientError):
        gradcheck(lambda a: (np.maximum(a, 0.0), lambda dy: np.where(np.abs(a) < 0.1, near < 0.0, 1.0) * dy),
                  np.array([near, 1.0]))


def test_a_kink_does_not_hide_a_mistake_elsewhere():
    with pytest.raises(GradientError):
        gradcheck(lambda a: (np.maximum(a, 0.0), lambda dy: dy), np.array([0.0, -1.0]))


def test_strong_curvature_is_not_a_kink():
    (row,) = gradcheck(lambda a: (1e4 * a * a, lambda dy: 2e4 * a * dy), np.array([0.0, 1e-7, 1.0])).rows
    assert row.kinks == 0


def test_steep_and_flat_functions():
    gradcheck(lambda a: (np.exp(a), lambda dy: np.exp(a) * dy), np.array([-20.0, 0.0, 20.0]))


@pytest.mark.parametrize("bad", [np.zeros(3, np.float32), np.zeros(3, int), [0.0, 1.0], 1.0])
def test_anything_but_float64_is_refused(bad):
    with pytest.raises(TypeError, match=r"relu: input 0 is .*; a gradient check needs float64 arrays"):
        gradcheck(ops.relu, bad)


def test_float32_parameters_are_refused_by_name():
    model = VAEConfig(pixels=3, hidden=(2,), latents=1).build(dtype=np.float32)
    with pytest.raises(TypeError, match=r"encoder\.trunk\.0\.W is float32"):
        gradcheck(model.elbo_terms, parameters=model.arena.parameters, x=np.zeros((2, 3)), eps=np.zeros((1, 2, 1)))


@pytest.mark.parametrize(("wrong", "message"), [
    (lambda da, db: da, r"product: 2 inputs, but the pullback returned 1 cotangents"),
    (lambda da, db: (da, db, db), r"2 inputs, but the pullback returned 3 cotangents"),
    (lambda da, db: None, r"2 inputs, but the pullback returned 0 cotangents"),
    (lambda da, db: (da, db.sum(axis=0)),
     r"input 1: the pullback returned shape \(3,\), float64, expected shape \(3, 3\)"),
    (lambda da, db: (da[:, None], db), r"input 0: the pullback returned shape \(4, 1, 3\)"),
    (lambda da, db: (da, None), r"input 1: the pullback returned NoneType, expected shape \(3, 3\)"),
])
def test_wrong_number_or_shape_of_cotangents(wrong, message):
    with pytest.raises(ValueError, match=message):
        gradcheck(product, x, y, wrong=wrong)


def test_the_report_prints_as_a_table():
    text = str(gradcheck(product, x, y, name="my product"))
    assert text.startswith("gradient check of my product: passed (tolerance 1e-06)")
    assert len(text.splitlines()) == 4
    assert "ok   input 0" in text
    with pytest.raises(GradientError) as caught:
        gradcheck(product, x, y, wrong=SPOILT["sign"])
    assert "FAILED" in str(caught.value)
    assert "BAD  input 1" in str(caught.value)
    assert isinstance(caught.value, AssertionError)


def test_inputs_and_parameters_end_as_they_began():
    a, layer = x.copy(), nn.Linear(3, 2, rng=rng)
    a.flags.writeable = False
    before = layer.W.value.copy()
    gradcheck(layer, a, parameters=layer.parameters())
    gradcheck(layer, a, parameters=layer.parameters(), directions=2)
    assert np.array_equal(a, x)
    assert np.array_equal(layer.W.value, before)


def test_the_same_seed_gives_the_same_report():
    assert gradcheck(product, x, y, directions=2, seed=3) == gradcheck(product, x, y, directions=2, seed=3)
    assert gradcheck(product, x, y, directions=2, seed=3) != gradcheck(product, x, y, directions=2, seed=4)


def test_layers_with_parameters():
    layer = nn.mlp(3, 4, 2, rng=rng, activation="tanh")
    report = gradcheck(layer, x, parameters=layer.parameters())
    assert [row.name for row in report.rows] == ["input 0", "0.W", "0.b", "2.W", "2.b"]


def test_a_layer_that_forgets_a_parameter_is_caught():
    class Forgetful(nn.Linear):
        def __call__(self, x):
            y, pull = ops.linear(x, self.W.value, self.b.value)

            def pullback(dy):
                dx, dW, _ = pull(dy)
                self.W.grad += dW
                return dx

            return y, pullback

    layer = Forgetful(3, 2, rng=rng)
    with pytest.raises(GradientError) as caught:
        gradcheck(layer, x, parameters=layer.parameters())
    assert [row.error <= 1e-6 for row in caught.value.report.rows] == [True, True, False]


def test_old_gradients_do_not_disturb():
    layer = nn.Linear(3, 2, rng=rng)
    layer.W.grad += 17.0
    gradcheck(layer, x, parameters=layer.parameters())


def test_several_outputs_lists_and_scalars():
    gradcheck(ops.split, x, sizes=(1, 2))
    gradcheck(ops.concat, x, y[:1].repeat(4, axis=0))
    gradcheck(lambda parts: (parts[0] * parts[1], lambda dy: [dy * parts[1], dy * parts[0]]), [x, x + 1.0])
    gradcheck(lambda a: (np.asarray(a * a), lambda dy: 2.0 * a * dy), np.array(3.0))
    gradcheck(lambda a: (np.asarray(a * a), lambda dy: 2.0 * a * dy), np.array(3.0), directions=2)
