"""Layers: initialisers, names, errors, gradients that add; and the arena they live in."""

from __future__ import annotations

import numpy as np
import pytest

from minivae import ops
from minivae.backend import device
from minivae.nn import Activation, Arena, Layer, Linear, Parameter, Sequential, glorot, he, mlp
from minivae.vae import Encoder
from minivae.variants import VAEConfig


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# ── initialisers ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("init", "variance", "fourth"), [
    (glorot, 2.0 / (300 + 200), 1.8),                  # uniform: kurtosis 9/5
    (he, 2.0 / 300, 3.0),                              # normal: 3
])
def test_initialisers_have_their_variance_and_shape(init, variance, fourth, rng):
    W = init(300, 200, rng)
    assert W.shape == (300, 200)
    assert abs(W.mean()) < 5.0 * np.sqrt(variance / W.size)
    assert W.var() == pytest.approx(variance, rel=0.03)
    assert (W**4).mean() / W.var() ** 2 == pytest.approx(fourth, rel=0.05)


def test_he_keeps_the_size_of_a_signal_through_relu(rng):
    x = rng.standard_normal((500, 200))
    y = mlp(*[200] * 11, rng=rng, last=True)(x)[0]
    assert 0.3 < (y**2).mean() / (x**2).mean() < 3.0


@pytest.mark.parametrize(("activation", "variance"), [("tanh", 2.0 / 500), ("relu", 2.0 / 300)])
def test_mlp_chooses_the_initialiser_of_its_activation(activation, variance, rng):
    first = mlp(300, 200, 3, rng=rng, activation=activation).layers[0]
    assert first.W.value.var() == pytest.approx(variance, rel=0.03)


def test_a_bias_starts_at_zero(rng):
    assert not Linear(3, 5, rng=rng).b.value.any()


def test_the_same_seed_gives_the_same_weights():
    one, two = (Linear(3, 2, rng=np.random.default_rng(5)).W.value for _ in range(2))
    assert np.array_equal(one, two)


# ── names and errors ──────────────────────────────────────────────────────────────────────────


def test_parameters_are_named_by_their_path(rng):
    model = VAEConfig(pixels=4, hidden=(3, 2), latents=1, likelihood="gaussian_shared").build()
    assert list(model.parameters()) == [
        "encoder.trunk.0.W", "encoder.trunk.0.b", "encoder.trunk.2.W", "encoder.trunk.2.b",
        "encoder.mean.W", "encoder.mean.b", "encoder.logvar.W", "encoder.logvar.b",
        "decoder.0.W", "decoder.0.b", "decoder.2.W", "decoder.2.b", "decoder.4.W", "decoder.4.b", "likelihood.logvar"]
    assert list(Linear(1, 1, rng=rng).parameters("head.")) == ["head.W", "head.b"]
    assert Activation(ops.tanh).parameters() == {}


@pytest.mark.parametrize(("make", "message"), [
    (lambda rng: Linear(0, 3, rng=rng), "Linear: inputs is 0, expected at least 1"),
    (lambda rng: Linear(3, -1, rng=rng), "Linear: outputs is -1, expected at least 1"),
    (lambda rng: Sequential(), "Sequential: got no layers"),
    (lambda rng: mlp(3, 2, rng=rng, activation="swish"), "activation: got 'swish', expected one of relu"),
    (lambda rng: VAEConfig(pixels=4, hidden=()).build(), r"hidden: got \(\), expected at least one size"),
    (lambda rng: VAEConfig(pixels=4, latents=0).build(), "latents: got 0, expected a whole number"),
    (lambda rng: VAEConfig(pixels=4).build(samples=0), "samples: got 0"),
])
def test_errors_name_the_argument(make, message, rng):
    with pytest.raises(ValueError, match=message):
        make(rng)


def test_a_batch_of_the_wrong_width_is_refused(rng):
    with pytest.raises(ValueError, match=r"linear: x has shape \(4, 2\), expected \(B, 3\)"):
        Linear(3, 5, rng=rng)(np.zeros((4, 2)))


def test_a_layer_must_define_call():
    with pytest.raises(NotImplementedError, match="Layer must define __call__"):
        Layer()(1.0)


# ── gradients add ─────────────────────────────────────────────────────────────────────────────


def test_a_layer_used_twice_adds_its_gradients(rng):
    layer = Linear(3, 2, rng=rng)
    a, b, da, db = *rng.standard_normal((2, 4, 3)), *rng.standard_normal((2, 4, 2))
    (_, pull_a), (_, pull_b) = layer(a), layer(b)
    pull_b(db)
    pull_a(da)
    np.testing.assert_allclose(layer.W.grad, a.T @ da + b.T @ db, rtol=1e-12)
    np.testing.assert_allclose(layer.b.grad, da.sum(axis=0) + db.sum(axis=0), rtol=1e-12)


def test_a_forward_pass_alone_changes_no_gradient(rng):
    layer = Linear(3, 2, rng=rng)
    layer(np.ones((1, 3)))
    assert not layer.W.grad.any()


@pytest.mark.parametrize("kind", ["Linear", "Sequential", "Encoder", "Activation"])
def test_need_dx_false_spares_dx_and_nothing_else(kind, rng):
    x = rng.standard_normal((4, 3))
    layer, outputs = {
        "Linear": lambda: (Linear(3, 2, rng=rng), 1),
        "Sequential": lambda: (mlp(3, 4, 2, rng=rng), 1),
        "Encoder": lambda: (Encoder(mlp(3, 4, rng=rng, last=True), Linear(4, 2, rng=rng), Linear(4, 2, rng=rng)), 2),
        "Activation": lambda: (Activation(ops.tanh), 1),
    }[kind]()
    dy = [rng.standard_normal((4, 3 if kind == "Activation" else 2)) for _ in range(outputs)]
    found = []
    for need_dx in (True, False):
        for p in layer.parameters().values():
            p.grad[...] = 0.0
        dx = layer(x)[1](*dy, need_dx=need_dx)
        assert (dx is not None) == need_dx
        found.append([p.grad.copy() for p in layer.parameters().values()])
    assert all(np.array_equal(a, b) for a, b in zip(*found))


def test_nobody_is_asked_for_the_gradient_of_the_data_before_the_first_layer_that_learns(rng):
    """An image network begins with a Reshape: the convolution behind it would find a dx that is thrown away."""
    asked = []

    class Told(Layer):
        """Passes everything through, and notes what it is asked for; learns if it has a parameter."""

        def __init__(self, name, learns):
            self.name = name
            if learns:
                self.b = Parameter(np.zeros(1))

        def __call__(self, x):
            def pullback(dy, need_dx=True, need_dp=True):
                asked.append((self.name, need_dx))
                return dy if need_dx else None

            return x, pullback

    _, pullback = Sequential(Told("shape", False), Told("first", True), Told("active", False), Told("last", True))(
        np.ones((2, 3)))
    assert pullback(np.ones((2, 3)), need_dx=False) is None
    assert asked == [("last", True), ("active", True), ("first", False)]
    asked.clear()
    assert pullback(np.ones((2, 3))) is not None
    assert asked == [("last", True), ("active", True), ("first", True), ("shape", True)]


def test_sequential_is_its_layers_one_after_the_other(rng):
    first, last = Linear(3, 4, rng=rng), Linear(4, 2, rng=rng)
    x = rng.standard_normal((5, 3))
    y = Sequential(first, Activation(ops.leaky_relu, slope=0.5), last)(x)[0]
    h = first(x)[0]
    assert np.array_equal(y, last(np.where(h > 0, h, 0.5 * h))[0])


def test_mlp_ends_with_a_linear_layer_unless_told(rng):
    kinds = [type(layer).__name__ for layer in mlp(3, 4, 2, rng=rng).layers]
    assert kinds == ["Linear", "Activation", "Linear"]
    assert len(mlp(3, 4, 2, rng=rng, last=True).layers) == 4


# ── the arena ─────────────────────────────────────────────────────────────────────────────────


def test_parameters_are_views_of_two_flat_vectors(rng):
    layer = Linear(3, 2, rng=rng)
    W = layer.W.value.copy()
    arena = Arena(layer.parameters(), device("cpu"), np.float32)
    assert arena.value.shape == arena.grad.shape == (8,)
    assert arena.value.dtype == layer.W.value.dtype == layer.W.grad.dtype == np.float32
    np.testing.assert_allclose(layer.W.value, W, rtol=1e-6)
    layer(np.ones((1, 3), np.float32))[1](np.ones((1, 2), np.float32))
    assert np.array_equal(arena.grad, np.ones(8))
    arena.value[...] = 7.0
    assert (layer.W.value == 7.0).all()
    assert (layer.b.value == 7.0).all()
    arena.zero_grad()
    assert not layer.W.grad.any()


def test_an_arena_refuses_nothing_and_doubles():
    p = Parameter(1.0)
    with pytest.raises(ValueError, match="Arena: got no parameters"):
        Arena({}, device("cpu"))
    with pytest.raises(ValueError, match="two names"):
        Arena({"a": p, "b": p}, device("cpu"))


def test_arrays_and_load():
    def new(fill):
        return Arena({"W": Parameter(np.full((2, 3), fill)), "s": Parameter(fill)}, device("cpu"), np.float32)

    one, two = new(1.0), new(2.0)
    saved = one.arrays()
    one.value[...] = 5.0
    assert (saved["W"] == 1.0).all(), "arrays() is a copy"
    two.load(saved)
    assert np.array_equal(two.value, np.ones(7))
    with pytest.raises(ValueError, match=r"missing \['s'\], unknown \['t'\]"):
        two.load({"W": saved["W"], "t": saved["s"]})
    with pytest.raises(ValueError, match=r"s: got shape \(1,\), expected \(\)"):
        two.load({"W": np.zeros((2, 3)), "s": np.zeros(1)})
    assert np.array_equal(two.value, np.ones(7)), "nothing changes if anything does not fit"


def test_the_first_thing_that_is_not_finite_is_named(rng):
    layer = Linear(2, 2, rng=rng)
    arena = Arena(layer.parameters(), device("cpu"))
    assert arena.first_not_finite() is None
    layer.b.grad[1] = np.inf
    assert arena.first_not_finite() == "gradient of b"
    layer.b.value[0] = np.nan
    assert arena.first_not_finite() == "parameter b"
