"""One code for NumPy and CuPy: a step never waits or moves data, and a GPU gives the CPU's numbers.

Every test runs on the strict stand-in; those that a stand-in cannot settle run again on a real GPU (`-m gpu`).
"""

import signal
from itertools import product

import numpy as np
import pytest
import standin

from minivae import nn, plots
from minivae.backend import Device, array_module, device, to_numpy
from minivae.evaluation import active_units, bounds, evaluate, importance_weighted_bound
from minivae.gradcheck import gradcheck
from minivae.gradient_table import case_named, cases
from minivae.nn import Layer, Parameter
from minivae.parts import LIKELIHOODS
from minivae.runs import BEST, CHECKPOINT, NotFiniteError, load_checkpoint
from minivae.training import Interrupted, fit, loop
from minivae.variants import VAEConfig

OPTIMIZERS = {"sgd": lambda: nn.SGD(1e-3), "momentum": lambda: nn.Momentum(nn.warmup(1e-3, steps=9)),
              "adagrad": lambda: nn.AdaGrad(nn.stepwise(1e-2, every=3)), "adam": lambda: nn.Adam(1e-3),
              "clipped adam": lambda: nn.Adam(nn.cosine(1e-3, steps=9), max_norm=0.1)}
ACTIVATIONS = ("relu", "leaky_relu", "elu", "gelu", "tanh", "sigmoid", "softplus")
X = (np.random.default_rng(0).random((60, 12)) < 0.4).astype(np.float32)


@pytest.fixture(params=["stand-in", pytest.param("a GPU", marks=pytest.mark.gpu)])
def gpu(request):
    """The device "cuda": the stand-in's, and a real one."""
    if request.param == "stand-in":
        request.getfixturevalue("cupy_standin")
    return device("cuda")


@pytest.fixture
def same_noise(monkeypatch):
    """Generators of every device draw on the host and upload: CuPy's streams are not NumPy's."""
    class HostNoise:
        def __init__(self, on, seed):
            self.on, self.host = on, np.random.default_rng(seed)

        def __getattr__(self, name):
            return lambda size, dtype=np.float64: self.on.array(getattr(self.host, name)(size, dtype=dtype))
    monkeypatch.setattr(Device, "rng", lambda self, seed: HostNoise(self, seed))


def new(on, *, dtype=np.float32, likelihood="bernoulli", optimizer="adam", samples=1, latents=2, activation="relu"):
    return VAEConfig(12, (6, 5), latents, activation, likelihood).build(
        on=on, dtype=dtype, optimizer=OPTIMIZERS[optimizer](), samples=samples)


# A step on the stand-in: nothing waits, moves, loops, or widens

STEPS = [*product(LIKELIHOODS, ["adam"], [1, 3], ["relu"]), *product(["bernoulli"], OPTIMIZERS, [1], ["relu"]),
         *product(["bernoulli"], ["adam"], [1], ACTIVATIONS)]


@pytest.mark.parametrize(("likelihood", "optimizer", "samples", "activation"), sorted(set(STEPS)))
def test_a_step_never_waits_for_the_host(cupy_standin, likelihood, optimizer, samples, activation):
    """One float(loss) in a step, and the GPU idles while Python catches up."""
    gpu = device("cuda")
    model = new(gpu, likelihood=likelihood, optimizer=optimizer, samples=samples, activation=activation)
    x, rng = gpu.asarray(X), gpu.rng(0)
    before = model.arena.value.copy()
    with standin.forbid():
        for _ in range(3):
            terms = model.train_step(x, rng)
    assert {name: (type(v), v.dtype, v.shape) for name, v in terms.items()} == dict.fromkeys(
        ("elbo", "nll", "kl"), (cupy_standin.ndarray, np.float32, ()))
    assert (model.arena.value != before).any()


def test_cleaning_the_moments_of_denormals_does_not_wait(cupy_standin):
    """Once in 128 steps."""
    model, gpu = new(device("cuda")), device("cuda")
    x, rng = gpu.asarray(X[:5]), gpu.rng(0)
    model.optimizer.steps = 127
    with standin.forbid():
        model.train_step(x, rng)
    assert model.optimizer.steps == 128


@pytest.mark.parametrize("what", ["terms", "log_weights", "reconstruct", "encode", "sample"])
def test_what_a_model_offers_stays_on_the_device(cupy_standin, what):
    gpu = device("cuda")
    model, x, rng = new(gpu), gpu.asarray(X), gpu.rng(0)
    with standin.forbid():
        found = {"encode": lambda: model.encode(x), "sample": lambda: model.sample(3, rng)}.get(
            what, lambda: getattr(model, what)(x, rng))()
    for part in found if isinstance(found, tuple) else (found,):
        assert isinstance(part, cupy_standin.ndarray)
        assert part.dtype == np.float32


@pytest.mark.parametrize("binarize", [False, True])
def test_the_loop_waits_only_when_it_looks(cupy_standin, monkeypatch, binarize):
    """Batches are cut, drawn and learned on the device; metrics come to the host together."""
    batches = loop._Epoch.batches

    def forbidding(self, first):
        each = batches(self, first)
        while True:
            with standin.forbid():
                batch = next(each, None)
            if batch is None:
                return
            yield batch

    monkeypatch.setattr(loop._Epoch, "batches", forbidding)
    model = new(device("cuda"))
    step = model.train_step

    def train_step(x, rng):
        with standin.forbid():
            return step(x, rng)

    model.train_step = train_step
    monkeypatch.setattr(loop, "CHECK_EVERY", 4)
    history = fit(model, X, valid=X, epochs=2, batch_size=7, binarize=binarize, progress=False)
    assert history[-1]["step"] == 18


# The CPU's numbers

def tree_map(f, tree):
    if isinstance(tree, (tuple, list)):
        return type(tree)(tree_map(f, part) for part in tree)
    return f(tree) if hasattr(tree, "dtype") else tree


def leaves(tree):
    return [leaf for part in tree for leaf in leaves(part)] if isinstance(tree, (tuple, list)) else [tree]


def close(a, b, tolerance):
    """Equal relative to the largest entry: a sum's rounding is as large as its largest summand's."""
    a, b = to_numpy(a), to_numpy(b)
    assert (a.shape, a.dtype) == (b.shape, b.dtype)
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, np.abs(b).max(initial=0.0)))


def moved(case, on):
    """The row on a device: inputs, constants, and the parameters, which stay the layer's or the model's own."""
    owner = getattr(case.function, "__self__", case.function)
    kept = owner.parameters() if isinstance(owner, Layer) else {}                     # running moments too
    for p in {*case.parameters.values(), *kept.values()}:
        p.value, p.grad = on.array(p.value), on.array(p.grad)
    constants = {name: tree_map(on.array, value) for name, value in case.constants.items()}
    return tree_map(on.array, case.inputs), constants


NAMES = [case.name for case in cases()]


@pytest.mark.parametrize("name", NAMES)
def test_every_row_of_the_gradient_table_gives_the_cpu_s_numbers(gpu, name):
    """Values and gradients in float64.  That the CPU's gradients are right, finite differences say."""
    results = []
    for on in (device("cpu"), gpu):
        case = case_named(name)
        for p in case.parameters.values():
            p.grad[...] = 0.0
        inputs, constants = moved(case, on)
        value, pullback = case.function(*inputs, **constants)
        rng = np.random.default_rng(1)
        cotangents = tree_map(lambda y, on=on, rng=rng: on.array(rng.standard_normal(y.shape)), value)
        pulled = pullback(*(cotangents if isinstance(value, tuple) else (cotangents,)))
        found = leaves([value, [] if pulled is None else pulled, [p.grad for p in case.parameters.values()]])
        assert all(array_module(y) is on.xp for y in found)
        results.append(found)
    for one, two in zip(*results, strict=True):
        close(two, one, 1e-12)


@pytest.mark.parametrize(("likelihood", "samples"), list(product(LIKELIHOODS, [1, 3])))
def test_ten_steps_end_at_the_same_parameters(gpu, same_noise, likelihood, samples):
    models = [new(on, dtype=np.float64, likelihood=likelihood, samples=samples) for on in (device("cpu"), gpu)]
    for model in models:
        on = model.arena.device
        x, rng = on.asarray(X, dtype=np.float64), on.rng(5)
        for _ in range(10):
            model.train_step(x, rng)
    close(models[1].arena.value, models[0].arena.value, 1e-10)


def test_fit_and_evaluation_agree(gpu, same_noise, monkeypatch):
    monkeypatch.setattr(bounds, "ROWS", {"cpu": 500, "cuda": 500})       # the same parts, for the same noise
    found = []
    for on in (device("cpu"), gpu):
        model = new(on, dtype=np.float64)
        history = fit(model, X[:50], valid=X[50:], epochs=2, batch_size=8, binarize=True, progress=False)
        for record in history:
            record.pop("seconds")
        found.append((history, evaluate(model, X), importance_weighted_bound(model, X, samples=120),
                      active_units(model, X).tolist()))
    for one, two in zip(*[f[0] for f in found], strict=True):
        assert two == pytest.approx(one, rel=1e-9)
    (_, cpu, cpu_bound, cpu_units), (_, ours, bound, units) = found
    assert ours.elbo.mean == pytest.approx(cpu.elbo.mean, rel=1e-9)
    assert (bound.mean, bound.standard_error) == pytest.approx((cpu_bound.mean, cpu_bound.standard_error), rel=1e-9)
    assert units == cpu_units


def test_float32_is_near_float64(gpu, same_noise):
    x = gpu.asarray(X)
    eps = gpu.rng(1).standard_normal((2, len(X), 2), dtype=np.float64)
    single, double = (new(gpu, dtype=dtype) for dtype in (np.float32, np.float64))
    for a, b in zip(single.elbo_terms(x=x, eps=eps.astype(np.float32))[0],
                    double.elbo_terms(x=x.astype(np.float64), eps=eps)[0]):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), rtol=1e-4)


def test_gradcheck_works_on_the_device(gpu):
    """A reader's own op, checked where it will run."""
    W = Parameter(np.ones((3, 2)))
    W.value, W.grad = gpu.array(W.value), gpu.array(W.grad)

    def op(x):
        def pullback(dy):
            W.grad += x.T @ dy
            return dy @ W.value.T
        return x @ W.value, pullback

    x = gpu.array(np.random.default_rng(0).standard_normal((4, 3)))
    assert gradcheck(op, x, parameters={"W": W}).passed


# A whole run

def test_a_run_on_the_device_is_kept_and_resumed(gpu, tmp_path, monkeypatch):
    options = {"valid": X[50:], "batch_size": 10, "run": tmp_path / "run", "progress": False}
    model = new(gpu)
    step, steps = model.train_step, iter(range(99))

    def train_step(x, rng):
        terms = step(x, rng)
        if next(steps) == 6:
            signal.raise_signal(signal.SIGINT)
        return terms

    model.train_step = train_step
    with pytest.raises(Interrupted, match="stopped after step 7"):
        fit(model, X[:50], epochs=2, **options)
    resumed = new(gpu)
    history = fit(resumed, X[:50], epochs=2, resume=True, **options)
    assert [record["step"] for record in history] == [5, 10]
    arrays, _ = load_checkpoint(tmp_path / "run" / CHECKPOINT)
    host = new(device("cpu"))
    host.arena.load({k.removeprefix("vae/parameter/"): a for k, a in arrays.items() if "/parameter/" in k})
    np.testing.assert_array_equal(host.arena.value, to_numpy(resumed.arena.value))
    assert (tmp_path / "run" / BEST).exists()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_nan_on_the_device_is_found(gpu):
    """There NumPy cannot stop at the first overflow: the step is named, and what was not finite."""
    model = new(gpu, optimizer="sgd")
    model.optimizer.lr = 1e30
    with pytest.raises(NotFiniteError, match=r"step \d+: "):
        fit(model, X, epochs=3, batch_size=10, progress=False)
    assert np.isfinite(to_numpy(model.arena.value)).all()


def test_every_picture_takes_device_arrays(gpu):
    model, labels = new(gpu), gpu.array(np.arange(60) % 3)
    x = gpu.asarray(X)
    drawn = dict(plots.portrait(model, X, np.arange(60) % 3, (4, 3)))
    assert list(drawn) == ["samples", "reconstructions", "interpolation", "manifold", "latents"]
    plots.image_grid(x, (4, 3))
    plots.reconstructions(x, model.reconstruct(x, gpu.rng(0)), (4, 3))
    plots.latent_scatter(model.encode(x)[0], labels)
