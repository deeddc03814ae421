"""Bad input: the error says which argument, what came and what was expected, and nothing has changed."""

import numpy as np
import pytest
import standin

from minivae import distributions as D
from minivae import nn, ops, parts, plots
from minivae.backend import DeviceError, device
from minivae.data import DataError, load
from minivae.evaluation import active_units, evaluate, importance_weighted_bound
from minivae.gradcheck import gradcheck
from minivae.nn import Linear, Sequential, mlp
from minivae.parts import GaussianFixed, likelihood
from minivae.training import Recipe, fit, load_run
from minivae.variants import VAEConfig

RNG = np.random.default_rng(0)
F = np.float32
X = RNG.random((20, 6), dtype=F)
EPS = RNG.standard_normal((1, 20, 2), dtype=F)


def images(change=None, shape=(20, 6), dtype=F):
    """Good images but for one pixel."""
    x = np.full(shape, 0.5, dtype)
    if change is not None:
        x[-1, -1] = change
    return x


def ones(*shape, dtype=np.float64):
    return np.ones(shape, dtype)


# Everything that a model is asked to do: the call, the error, what it must say

MODEL = [
    # images to train on
    (lambda m, run: fit(m, images(shape=(20, 7)), epochs=1, run=run), ValueError,
     r"images: got shape \(20, 7\), expected \(N, 6\)"),
    (lambda m, run: fit(m, images(shape=(20, 2, 3)), epochs=1, run=run), ValueError, r"images: got shape \(20, 2, 3\)"),
    (lambda m, run: fit(m, X[0], epochs=1, run=run), ValueError, r"images: got shape \(6,\), expected \(N, 6\)"),
    (lambda m, run: fit(m, X[:0], epochs=1, run=run), ValueError, r"images: got shape \(0, 6\).*N at least 1"),
    (lambda m, run: fit(m, (255 * X).astype(np.uint8), epochs=1, run=run), TypeError,
     r"images: got uint8, expected a float array .*divide by 255"),
    (lambda m, run: fit(m, X.tolist(), epochs=1, run=run), TypeError, "images: got list, expected a float array"),
    (lambda m, run: fit(m, images(np.nan), epochs=1, run=run), ValueError, "images: holds NaN or infinite pixels"),
    (lambda m, run: fit(m, images(np.inf), epochs=1, run=run), ValueError, "images: holds NaN or infinite pixels"),
    (lambda m, run: fit(m, images(1.5), epochs=1, run=run), ValueError,
     r"images: pixels lie in \[0.5, 1.5\], but Bernoulli explains \[0, 1\]; rescale them or choose a Gaussian"),
    (lambda m, run: fit(m, images(-0.1), epochs=1, run=run), ValueError, r"images: pixels lie in \[-0.1, 0.5\]"),
    (lambda m, run: fit(m, X, valid=images(shape=(5, 7)), epochs=1, run=run), ValueError, r"valid: got shape \(5, 7\)"),
    (lambda m, run: fit(m, X, valid=X[:0], epochs=1, run=run), ValueError, r"valid: got shape \(0, 6\)"),
    (lambda m, run: fit(m, X, valid=images(np.nan), epochs=1, run=run), ValueError, "valid: holds NaN"),
    # how to train
    *((lambda m, run, e=e: fit(m, X, epochs=e, run=run), ValueError, f"epochs: got {e!r}, expected a whole")
      for e in (0, -1, 1.5, None, "3", float("nan"), float("inf"))),
    *((lambda m, run, b=b: fit(m, X, epochs=1, batch_size=b, run=run), ValueError, f"batch_size: got {b!r}, expected")
      for b in (0, -5, 2.0, None)),
    *((lambda m, run, s=s: fit(m, X, epochs=1, seed=s, run=run), ValueError, f"seed: got {s!r}, expected a whole")
      for s in (-1, 0.5, None)),
    (lambda m, run: fit(m, X, epochs=1, resume=True), ValueError, "resume: got no run folder"),
    # one batch
    (lambda m, run: m.train_step(images(shape=(20, 7)), np.random.default_rng(0)), ValueError,
     r"x: got shape \(20, 7\), expected \(B, 6\)"),
    (lambda m, run: m.train_step(X[:0], np.random.default_rng(0)), ValueError, r"x: got shape \(0, 6\).*B at least 1"),
    (lambda m, run: m.train_step(X.astype(float), np.random.default_rng(0)), TypeError,
     "x: got dtype float64, expected float32"),
    (lambda m, run: m.elbo_terms(x=X, eps=EPS[0]), ValueError, r"eps: got shape \(20, 2\), expected \(L, 20, 2\)"),
    (lambda m, run: m.elbo_terms(x=X, eps=EPS[:0]), ValueError, "eps: got shape .* with L at least 1"),
    (lambda m, run: m.elbo_terms(x=X, eps=EPS.astype(float)), TypeError, "eps: got dtype float64, expected float32"),
    (lambda m, run: m.monte_carlo_terms(x=X[:3], eps=EPS), ValueError, r"eps: got shape \(1, 20, 2\), expected \(L, 3"),
    # evaluation
    *((lambda m, run, f=f: f(m, images(np.nan)), ValueError, "x: holds NaN")
      for f in (evaluate, importance_weighted_bound, active_units)),
    *((lambda m, run, f=f: f(m, X[:0]), ValueError, r"x: got shape \(0, 6\)")
      for f in (evaluate, importance_weighted_bound, active_units)),
    *((lambda m, run, f=f: f(m, images(shape=(4, 7))), ValueError, r"x: got shape \(4, 7\), expected \(N, 6\)")
      for f in (evaluate, importance_weighted_bound, active_units)),
    *((lambda m, run, f=f, k=k: f(m, X, samples=k), ValueError, f"samples: got {k}, expected at least 1")
      for f in (evaluate, importance_weighted_bound) for k in (0, -3)),
    # parameters
    (lambda m, run: m.arena.load({}), ValueError, "parameters do not fit this model: missing .*encoder.trunk.0.W"),
    (lambda m, run: m.arena.load(m.arena.arrays() | {"extra": ones(1)}), ValueError, r"unknown \['extra'\]"),
    (lambda m, run: m.arena.load(m.arena.arrays() | {"decoder.0.b": ones(3)}), ValueError,
     r"decoder.0.b: got shape \(3,\), expected \(5,\)"),
    # pictures
    (lambda m, run: plots.manifold(VAEConfig(6, (5,), 3).build(), (2, 3)), ValueError, "has 3 latents, expected 2"),
    (lambda m, run: plots.interpolation(m, X[:2], X[:3], (2, 3)), ValueError, r"between shapes \(2, 6\) and \(3, 6\)"),
    (lambda m, run: plots.interpolation(m, X[:2], X[:2], (2, 3), steps=1), ValueError, "got 1 steps.*at least 2"),
]


@pytest.mark.parametrize("number", range(len(MODEL)))
def test_a_model_refuses_and_stays_as_it_was(number, tmp_path):
    call, error, said = MODEL[number]
    model = VAEConfig(6, (5,), 2).build()
    before = model.arena.value.tobytes(), model.arena.grad.tobytes()
    with pytest.raises(error, match=said):
        call(model, tmp_path / "run")
    assert (model.arena.value.tobytes(), model.arena.grad.tobytes()) == before
    assert (model.optimizer.steps, model.optimizer.state) == (0, {})
    assert not (tmp_path / "run").exists()


def test_binarize_needs_probabilities(tmp_path):
    """A Gaussian explains any pixel; but x ~ Bernoulli(3.5) would silently be 1."""
    model = VAEConfig(6, (5,), 2, likelihood="gaussian_fixed").build()
    fit(model, 7 * X, epochs=1, progress=False)
    with pytest.raises(ValueError, match=r"binarize: images have pixels outside \[0, 1\]"):
        fit(model, 7 * X, epochs=1, binarize=True, run=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


# Everything that is built or computed without a model

TABLE = [
    # models
    (lambda: VAEConfig(0), ValueError, "pixels: got 0, expected a whole number of at least 1"),
    (lambda: VAEConfig(6, latents=0), ValueError, "latents: got 0, expected a whole number of at least 1"),
    (lambda: VAEConfig(6, latents=2.5), ValueError, "latents: got 2.5, expected a whole number"),
    (lambda: VAEConfig(6, hidden=5), ValueError, "hidden: got 5, expected at least one size"),
    (lambda: VAEConfig(6).build(seed=-1), ValueError, "seed: got -1, expected at least 0"),
    (lambda: VAEConfig(6).build(images=ones(2, 5)), ValueError, r"images: got shape \(2, 5\), expected \(N, 6\)"),
    (lambda: Recipe(optimizer="lion"), ValueError, "optimizer: got 'lion', expected one of adam, adagrad"),
    (lambda: Recipe(schedule="later"), ValueError, "schedule: got 'later', expected one of constant, cosine"),
    (lambda: nn.SGD("0.1"), ValueError, "lr: got '0.1', expected a finite number > 0"),
    (lambda: nn.cosine(0.1, steps=0), ValueError, "steps: got 0, expected at least 1"),
    (lambda: gradcheck(lambda: (ones(2), lambda dy: None)), ValueError, "nothing to check"),
    (lambda: gradcheck(lambda x: x, ones(2)), TypeError, r"expected the pair \(value, pullback\)"),
    (lambda: ops.repeat(ones(2, 2), samples=0), ValueError, "repeat: samples is 0, expected at least 1"),
    (lambda: D.categorical_nll(ones(2, 3), labels=np.array([0, 3])), ValueError, "labels lie in 0 … 3, expected 0 … 2"),
    (lambda: VAEConfig(6, hidden=()), ValueError, r"hidden: got \(\), expected at least one size"),
    (lambda: VAEConfig(6, hidden=(4, 0)), ValueError, "hidden: got 0, expected a whole number of at least 1"),
    (lambda: VAEConfig(6).build(samples=0), ValueError, "samples: got 0, expected at least 1"),
    (lambda: VAEConfig(6, activation="swish").build(), ValueError, "activation: got 'swish', expected one of relu"),
    (lambda: VAEConfig(6, activation="linear").build(), ValueError, "activation: got 'linear'"),
    (lambda: VAEConfig(6, likelihood="poisson").build(), ValueError, "likelihood: got 'poisson', expected one of"),
    (lambda: likelihood("Bernoulli"), ValueError, "likelihood: got 'Bernoulli'"),
    (lambda: GaussianFixed(0.0), ValueError, "std is 0.0, expected a number > 0"),
    (lambda: GaussianFixed(float("nan")), ValueError, "std is nan"),
    (lambda: Linear(3, 0, rng=RNG), ValueError, "Linear: outputs is 0"),
    (lambda: Sequential(), ValueError, "Sequential: got no layers"),
    (lambda: mlp(3, rng=RNG), ValueError, "got no layers"),
    (lambda: nn.Layer()(X), NotImplementedError, "Layer must define __call__"),
    (lambda: nn.Optimizer().step(VAEConfig(6, (3,), 1).build().arena), NotImplementedError, "must define update"),
    # optimizers
    *((lambda f=f, lr=lr: f(lr), ValueError, f"lr: got {lr}, expected a finite number > 0")
      for f in (nn.SGD, nn.Momentum, nn.AdaGrad, nn.Adam) for lr in (0, -1e-3, float("nan"), float("inf"))),
    (lambda: nn.Adam(max_norm=0), ValueError, "max_norm: got 0, expected a number > 0"),
    (lambda: nn.Adam(max_norm=float("nan")), ValueError, "max_norm: got nan"),
    (lambda: nn.Adam(beta1=1.0), ValueError, r"beta1: got 1.0, expected a number in \[0, 1\)"),
    (lambda: nn.Adam(beta2=float("nan")), ValueError, "beta2: got nan"),
    (lambda: nn.Momentum(beta=-0.1), ValueError, "beta: got -0.1"),
    # ops and densities
    *((lambda s=s: ops.leaky_relu(ones(2), slope=s), ValueError, rf"slope is {s}, expected a number in \[0, 1\]")
      for s in (-0.1, 1.5, float("nan"))),
    (lambda: ops.linear(ones(4, 3), ones(2, 5), ones(5)), ValueError, r"x has shape \(4, 3\), expected \(B, 2\)"),
    (lambda: ops.linear(ones(3), ones(3, 5), ones(5)), ValueError, r"x has shape \(3,\), expected \(B, 3\)"),
    (lambda: ops.linear(ones(4, 3), ones(3, 5), ones(4)), ValueError, r"b has shape \(4,\), expected \(5,\)"),
    (lambda: ops.linear(ones(4, 3), ones(3, 5), ones(1)), ValueError, r"b has shape \(1,\), expected \(5,\)"),
    (lambda: ops.split(ones(2, 5), sizes=(2, 2)), ValueError, r"sizes \(2, 2\) add up to 4, expected 5"),
    (lambda: D.reparameterize(ones(2, 3), ones(2, 3), eps=ones(3)), ValueError, r"eps: got shape \(3,\), expected"),
    (lambda: D.reparameterize(ones(2, 3), ones(2, 3), eps=ones(2, 3, dtype=F)), TypeError, "eps: got dtype float32"),
    (lambda: D.gaussian_kl(ones(2, 3), ones(2, 1)), ValueError, r"logvar: got shape \(2, 1\), expected \(2, 3\)"),
    (lambda: D.gaussian_log_prob(ones(2, 3), ones(3), ones(2, 3)), ValueError, r"mean: got shape \(3,\)"),
    (lambda: D.gaussian_kl_between(*[ones(2, 3)] * 3, ones(3)), ValueError, r"logvar_p: got shape \(3,\)"),
    (lambda: D.bernoulli_nll(ones(2, 3), x=ones(1, 3)), ValueError, r"x: got shape \(1, 3\), expected \(2, 3\)"),
    (lambda: D.bernoulli_nll(ones(2, 3), x=ones(2, 3, dtype=F)), TypeError, "x: got dtype float32, expected float64"),
    (lambda: D.bernoulli_nll(ones(2, 3), x=ones(2, 3, dtype=int)), TypeError, "x: got dtype int64, expected float64"),
    (lambda: D.gaussian_nll(ones(2, 3), ones(2, 3), x=ones(2, 4)), ValueError, r"x: got shape \(2, 4\)"),
    (lambda: D.gaussian_nll_shared(ones(2, 3), ones(3), x=ones(2, 3)), ValueError, r"logvar has shape \(3,\)"),
    (lambda: D.gaussian_nll_fixed(ones(2, 3), x=ones(2, 3), std=-1), ValueError, "std is -1, expected a number > 0"),
    (lambda: D.categorical_nll(ones(2, 3), labels=np.array([1])), ValueError, r"labels have shape \(1,\)"),
    (lambda: D.categorical_nll(ones(2, 3), labels=np.array([3, 0])), ValueError, r"labels lie in 0 … 3, expected 0"),
    (lambda: D.categorical_nll(ones(2, 3), labels=ones(2)), ValueError, r"dtype float64, expected \(2,\) integers"),
    (lambda: parts.Bernoulli()(ones(2, 3), x=ones(2, 4)), ValueError, r"x: got shape \(2, 4\), expected"),
    # gradcheck
    (lambda: gradcheck(ops.relu, ones(2, dtype=F)), TypeError, "input 0 is float32; a gradient check needs float64"),
    (lambda: gradcheck(ops.relu, [1.0]), TypeError, "input 0 is float; a gradient check needs float64"),
    (lambda: gradcheck(lambda x: (x, lambda dy: (dy, dy)), ones(2)), ValueError, "1 inputs, but .* returned 2"),
    (lambda: gradcheck(lambda x: (x, lambda dy: dy.sum()), ones(2)), ValueError,
     r"shape \(\), float64, expected shape \(2,\)"),
    # devices and data
    (lambda: device("tpu"), ValueError, 'device: got \'tpu\', expected "auto", "cpu" or "cuda"'),
    (lambda: load("nmist"), ValueError, "unknown data set 'nmist': did you mean 'mnist'?"),
    (lambda: load("no/such/file.npz"), DataError, "no/such/file.npz"),
    # recipes
    (lambda: Recipe(valid=1.0).split(load("digits")), ValueError, r"valid: got 1.0, expected a share in \[0, 1\)"),
    (lambda: Recipe(valid=-0.1).split(load("digits")), ValueError, "valid: got -0.1"),
    (lambda: Recipe(valid=float("nan")).split(load("digits")), ValueError, "valid: got nan"),
    # pictures
    (lambda: plots.mosaic(ones(3, 12), (4, 4), 2), ValueError, r"images: got shape \(3, 12\), expected \(N, 16\)"),
    (lambda: plots.image_grid(ones(0, 12), (4, 3)), ValueError, r"images: got shape \(0, 12\).* at least 1"),
    (lambda: plots.learning_curves([]), ValueError, "history: got no records"),
    (lambda: plots.latent_scatter(ones(4, 3), ones(4)), ValueError, r"means: got shape \(4, 3\), expected \(4, 2\)"),
    (lambda: plots.latent_scatter(ones(4, 2), ones(5)), ValueError, r"means: got shape \(4, 2\), expected \(5, 2\)"),
]


@pytest.mark.parametrize("number", range(len(TABLE)))
def test_it_is_refused_in_words(number):
    call, error, said = TABLE[number]
    with pytest.raises(error, match=said):
        call()


def test_a_gpu_that_is_not_there(monkeypatch):
    standin.install(monkeypatch, devices=0)
    with pytest.raises(DeviceError, match=r'no GPU answers .*or use device "cpu"'):
        device("cuda")


def test_host_and_device_arrays_do_not_mix(cupy_standin):
    """On a GPU, NumPy arrays would be uploaded at every step, if CuPy did not refuse."""
    model = VAEConfig(6, (5,), 2).build(on=device("cuda"))
    before = model.arena.value.get()
    with pytest.raises(TypeError):
        model.train_step(X, device("cuda").rng(0))
    np.testing.assert_array_equal(model.arena.value.get(), before)


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(Exception, match=r"is not a run folder: cannot read .*config\.json"):
        load_run(tmp_path, device("cpu"))
