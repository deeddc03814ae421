"""Importance weights of many draws: the encoder is asked once, the decoder sees some at a time, and nothing changes."""

from dataclasses import replace

import numpy as np
import pytest

from minivae.batch import Batch
from minivae.evaluation import bounds, log_likelihoods
from minivae.nn import workers
from minivae.parts import LIKELIHOODS, Bernoulli
from minivae.variants import CVAEConfig, InfiniteVAEConfig, M2Config, SourceVAEConfig, VAEConfig

RNG = np.random.default_rng(0)
X, Z, B, K = 6, 2, 3, 50
IMAGES = 1.0 * (RNG.random((B, X)) < 0.5)


def settled(model):
    """All components of an infinite VAE in use."""
    model.seats.value[...] = np.arange(12) % 2
    return model


SMALL = VAEConfig(X, (5,), Z)
MODELS = {                # how to build one; what it explains; what may be asked once, and by whom
    "VAE": (lambda: SMALL.build(dtype=np.float64), Batch(x=IMAGES), lambda m: [(m, "encoder")]),
    "InfiniteVAE": (lambda: settled(InfiniteVAEConfig(SMALL, 2).build(examples=12, dtype=np.float64)),
                    Batch(x=IMAGES, index=np.arange(B)), lambda m: [(vae, "encoder") for vae in m.mixture()[0]]),
    "M2": (lambda: M2Config(X, 4, (5,), Z).build(dtype=np.float64), Batch(x=IMAGES), lambda m: [(m, "encoder")]),
    "CVAE": (lambda: CVAEConfig(X, X, (5,), Z).build(dtype=np.float64), Batch(x=IMAGES, y=1.0 - IMAGES),
             lambda m: [(m, "baseline"), (m, "recognition"), (m, "prior")]),
    "SourceVAE": (lambda: SourceVAEConfig(X, 2, (5,), Z).build(dtype=np.float64),
                  Batch(x=RNG.gamma(0.5, 1.0, (B, X)), y=np.arange(B) % 2), lambda m: [(m, "encoder")]),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rows", [1, 7, 40, 10**6])
def test_the_weights_are_the_same_however_many_rows_the_decoder_sees(monkeypatch, name, rows):
    build, batch, _ = MODELS[name]
    model = build()
    expected = model.log_weights(batch, np.random.default_rng(1), K)
    monkeypatch.setitem(workers.AT_ONCE, "cpu", rows)
    assert expected.shape == (K, B)
    np.testing.assert_allclose(model.log_weights(batch, np.random.default_rng(1), K), expected, rtol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_what_depends_on_the_example_alone_is_found_once(monkeypatch, name):
    build, batch, once = MODELS[name]
    model, asked = build(), []

    def counted(network):
        return lambda *args, **kwargs: asked.append((network, len(args[0]))) or network(*args, **kwargs)

    networks = [(owner, name, getattr(owner, name)) for owner, name in once(model)]
    for owner, name, network in networks:
        monkeypatch.setattr(owner, name, counted(network))
    monkeypatch.setitem(workers.AT_ONCE, "cpu", 7)
    model.log_weights(batch, np.random.default_rng(1), K)
    assert networks
    assert sorted(id(network) for network, _ in asked) == sorted(id(network) for *_, network in networks)
    assert all(rows <= 4 * B for _, rows in asked)                   # M2 asks for each of its four classes


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_the_values_are_those_that_training_differentiates(name):
    config = replace(SMALL, likelihood=name)
    model, eps = config.build(dtype=np.float64), RNG.standard_normal((K, B, Z))
    for value, term in zip(model.monte_carlo_values(x=IMAGES, eps=eps), model.monte_carlo_terms(x=IMAGES, eps=eps)[0]):
        np.testing.assert_allclose(value, term, rtol=1e-12)


def test_a_likelihood_that_somebody_changed_is_asked_for_its_own_values():
    class Twice(Bernoulli):
        def __call__(self, outputs, *, x):
            nll, pull = super().__call__(outputs, x=x)
            return 2.0 * nll, lambda dnll: pull(2.0 * dnll)

    outputs = RNG.standard_normal((K * B, X))
    expected = 2.0 * Bernoulli().of_draws(outputs, x=IMAGES)
    np.testing.assert_allclose(Twice().of_draws(outputs, x=IMAGES), expected, rtol=1e-12)


@pytest.mark.parametrize("draws", [1, 20, 50, 1000])
def test_chunks_of_draws_are_a_mean_over_them_all(monkeypatch, draws):
    """In whatever chunks they come: each image has random numbers of its own, taken in turn."""
    monkeypatch.setitem(bounds.DRAWS, "cpu", draws)
    monkeypatch.setitem(bounds.ROWS, "cpu", 1)
    model = SMALL.build(dtype=np.float64)
    found = log_likelihoods(model, IMAGES, samples=K)
    for i, x in enumerate(IMAGES):
        weights = model.log_weights(x[None], np.random.default_rng([0, i]), K)
        assert found[i] == pytest.approx(np.log(np.exp(weights).mean()), rel=1e-12)
