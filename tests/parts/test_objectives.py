"""What a step climbs: an objective's gradient is that of the loss it names, and its reported ELBO is the true one."""

from __future__ import annotations

import numpy as np
import pytest

from minivae.backend import device
from minivae.data import load
from minivae.distributions import free_bits, gaussian_kl_by_latent
from minivae.evaluation import importance_weighted_bound
from minivae.gradcheck import GradientError, gradcheck
from minivae.nn import SGD
from minivae.ops import logsumexp
from minivae.parallel import Processes, Team
from minivae.parts import IWAE, Capacity, DReG, FreeBits, Objective, WeightedKL, warm_up
from minivae.training import Recipe, fit
from minivae.variants import VAEConfig

B, X, Z = 4, 5, 3
x = 1.0 * (np.random.default_rng(0).random((B, X)) < 0.5)


def model(objective: Objective | None = None, samples: int = 1, seed: int = 1):
    vae = VAEConfig(X, (6,), Z, "tanh").build(dtype=np.float64, samples=samples, objective=objective,
                                              optimizer=SGD(1e-3))
    vae.arena.value[...] += 0.3 * np.random.default_rng(seed).standard_normal(vae.arena.value.shape)
    return vae


def noise(samples: int, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((samples, B, Z))


def as_function(vae, objective, loss, *, step: int = 0):
    """The objective as a function with pullback: `loss(vae)` is its value, and what it adds its gradient."""
    def function(*, x, eps):
        def pullback(dloss):
            objective(vae, x=x, eps=eps, weight=float(dloss), step=step)

        return np.array(loss(vae, x, eps)), pullback

    return function


# the losses, from their definitions; each is a sum over the rows, as `weight` = 1 weighs it


def minus_elbo(vae, x, eps, beta=1.0):
    (nll, kl), _ = vae.elbo_terms(x=x, eps=eps)
    return (nll + beta * kl).sum()


def charged(vae, x, eps, least=0.2):
    mean, logvar = vae.encode(x)
    nll = vae.elbo_terms(x=x, eps=eps)[0][0]
    kl = 0.5 * (mean**2 + np.exp(logvar) - logvar - 1.0)
    return nll.sum() + len(x) * np.maximum(kl.mean(axis=0), least).sum()


def off_capacity(vae, x, eps, capacity=1.5, gamma=7.0):
    (nll, kl), _ = vae.elbo_terms(x=x, eps=eps)
    return nll.sum() + len(x) * gamma * abs(kl.mean() - capacity)


def minus_iwae(vae, x, eps):
    (nll, kl), _ = vae.monte_carlo_terms(x=x, eps=eps)
    weights = np.exp(-(nll + kl)).reshape(len(eps), len(x))
    return -np.log(weights.mean(axis=0)).sum()


@pytest.mark.parametrize(("objective", "loss", "samples"), [
    (Objective(), minus_elbo, 1), (Objective(), minus_elbo, 3),
    (WeightedKL(0.3), lambda *a: minus_elbo(*a, beta=0.3), 2),
    (WeightedKL(4.0), lambda *a: minus_elbo(*a, beta=4.0), 1),
    (WeightedKL(warm_up(40)), lambda *a: minus_elbo(*a, beta=0.25), 1),
    (WeightedKL(warm_up(40, to=4.0)), minus_elbo, 1),
    (FreeBits(0.2), charged, 2),
    (Capacity(1.5, 7.0), off_capacity, 2),
    (Capacity(99.0, 7.0), lambda *a: off_capacity(*a, capacity=99.0), 1),
    (Capacity(warm_up(20, to=3.0), 7.0), off_capacity, 1),
    (IWAE(), minus_iwae, 1), (IWAE(), minus_iwae, 5),
], ids=["elbo", "elbo, L=3", "β=0.3", "β=4", "warm-up", "warm-up to 4", "free bits",
        "capacity", "capacity far above", "capacity, half-way", "iwae, k=1", "iwae, k=5"])
def test_it_adds_the_gradient_of_its_loss(objective, loss, samples):
    vae = model()
    gradcheck(as_function(vae, objective, loss, step=10), parameters=vae.arena.parameters, x=x, eps=noise(samples))


def test_the_check_above_would_see_another_loss():
    vae = model()
    with pytest.raises(GradientError):
        gradcheck(as_function(vae, WeightedKL(0.9), minus_elbo), parameters=vae.arena.parameters, x=x, eps=noise(1))


def test_free_bits_charge_something_and_leave_something_free():
    """Else the row above would not look at both sides of the maximum."""
    kl = gaussian_kl_by_latent(*model().encode(x))[0].mean(axis=0)
    assert (kl > 0.2).any()
    assert (kl < 0.2).any()
    assert np.array_equal(free_bits(np.array([[0.2, 1.0], [0.4, 3.0]]), least=0.5)[0], [0.5, 2.0])


@pytest.mark.parametrize("objective", [WeightedKL(0.0), WeightedKL(7.0), FreeBits(2.0), WeightedKL(warm_up(9))])
def test_the_reported_elbo_is_the_true_one(objective):
    """The famous bug: an objective that leaves a part of the KL out, reported as the ELBO."""
    eps = noise(2)
    told = objective(model(), x=x, eps=eps, weight=1.0 / B, step=3)
    (nll, kl), _ = model().elbo_terms(x=x, eps=eps)
    np.testing.assert_allclose(told, [-(nll + kl).mean(), nll.mean(), kl.mean()], rtol=1e-12)


@pytest.mark.parametrize("objective", [IWAE(), DReG()])
def test_importance_weighting_reports_both_bounds(objective):
    eps = noise(6)
    told = dict(zip(objective.names, objective(model(), x=x, eps=eps, weight=1.0 / B, step=0)))
    (nll, kl), _ = model().monte_carlo_terms(x=x, eps=eps)
    weights = -(nll + kl).reshape(6, B)
    assert told["elbo"] == pytest.approx(weights.mean())
    assert told["nll"] + told["kl"] == pytest.approx(-told["elbo"])
    assert told["bound"] == pytest.approx((logsumexp(weights.T)[0] - np.log(6)).mean())
    assert told["bound"] > told["elbo"]                      # Jensen


def gradients(objective, eps):
    vae = model()
    vae.arena.zero_grad()
    objective(vae, x=x, eps=eps, weight=1.0 / B, step=0)
    return {name: p.grad.copy() for name, p in vae.arena.parameters.items()}


def test_dreg_is_the_same_for_the_decoder_and_the_same_on_average_for_the_encoder():
    """20,000 draws of both gradients, k = 4: means within 5 standard errors; and dreg's variance is the smaller."""
    rng, found = np.random.default_rng(3), {"iwae": [], "dreg": []}
    plain, doubly, vae = IWAE(), DReG(), model()
    tiled = np.repeat(x[:1], 2000, axis=0)                   # 2,000 copies of one image: each row a draw
    for _ in range(10):
        eps = rng.standard_normal((4, 2000, Z))
        for name, objective in (("iwae", plain), ("dreg", doubly)):
            vae.arena.zero_grad()
            objective(vae, x=tiled, eps=eps, weight=1.0 / 2000, step=0)
            found[name].append(vae.arena.grad.copy())
    mean = {name: np.mean(g, axis=0) for name, g in found.items()}
    error = {name: np.std(g, axis=0, ddof=1) / np.sqrt(len(g)) for name, g in found.items()}
    encoder = np.concatenate([np.full(p.value.size, name.startswith("encoder"))
                              for name, p in vae.arena.parameters.items()])
    np.testing.assert_allclose(mean["dreg"][~encoder], mean["iwae"][~encoder], rtol=1e-10, atol=1e-12)
    distance = np.abs(mean["dreg"] - mean["iwae"])[encoder]
    spread = np.hypot(error["dreg"], error["iwae"])[encoder]
    assert (distance <= 5.0 * spread + 1e-12).mean() > 0.98  # ten batches: t, not normal
    assert np.abs(mean["iwae"][encoder]).max() > 10 * np.median(spread), "or nothing was compared"
    assert error["dreg"][encoder].sum() < 0.8 * error["iwae"][encoder].sum()


def test_iwae_with_one_sample_is_estimator_a():
    eps, vae = noise(1), model()
    ours = gradients(IWAE(), eps)
    vae.arena.zero_grad()
    _, pullback = vae.monte_carlo_terms(x=x, eps=eps)
    pullback(np.full(B, 1.0 / B), np.full(B, 1.0 / B))
    for name, p in vae.arena.parameters.items():
        np.testing.assert_allclose(ours[name], p.grad, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("objective", [Objective(), WeightedKL(0.5), IWAE(), DReG(), FreeBits(0.3)])
def test_two_threads_take_the_same_step_as_one(objective):
    """Free bits look at the whole batch, so one thread takes it."""
    stepped = []
    for threads in (1, 2):
        vae = model(objective, samples=2)
        vae.workers.rows_each, vae.workers.team = 1, Team(threads)
        told = vae.train_step(x, np.random.default_rng(5))
        assert told.keys() == set(objective.names)
        stepped.append((vae.arena.value.copy(), [told[name] for name in objective.names]))
        assert len(vae.workers.copies) == (1 if objective.whole_batch else threads)
    for one, two in zip(*stepped):
        np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-14)


def test_free_bits_refuse_several_processes():
    class Two(Processes):
        size = 2

    vae = model(FreeBits(0.1))
    vae.workers.processes = Two()
    with pytest.raises(ValueError, match="free bits look at the whole batch"):
        vae.train_step(x, np.random.default_rng(0))


def test_warm_up_rises_in_a_straight_line_and_stays():
    beta = warm_up(4)
    assert [beta(t) for t in range(6)] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]


@pytest.mark.parametrize(("make", "said"), [
    (lambda: WeightedKL(-0.1), "beta: got -0.1, expected a number >= 0"),
    (lambda: FreeBits(-1.0), "nats: got -1.0, expected a number >= 0"),
    (lambda: Capacity(-1.0), "capacity: got -1.0, expected a number >= 0"),
    (lambda: Capacity(1.0, 0.0), "gamma: got 0.0, expected a number > 0"),
    (lambda: Recipe(beta=-1.0), "beta: got -1.0, expected at least 0"),
    (lambda: Recipe(capacity=5.0, beta=2.0), "beta: got 2.0; with a capacity the KL's price is gamma"),
    (lambda: Recipe(capacity=5.0, free_bits=0.1), "expected at most one"),
    (lambda: Recipe(beta=4.0, objective="iwae"), "expected at most one"),
    (lambda: warm_up(0), "steps: got 0, expected at least 1"),
    (lambda: Recipe(warm_up=-1), "warm_up: got -1, expected at least 0"),
    (lambda: Recipe(warm_up=3, free_bits=0.1), "expected at most one"),
    (lambda: Recipe(objective="iwae", warm_up=3), "expected at most one"),
    (lambda: Recipe(posterior="full", free_bits=0.1), "'full'; free_bits and dreg are for the diagonal one"),
    (lambda: Recipe(posterior="full", objective="dreg"), "'full'; free_bits and dreg are for the diagonal one"),
])
def test_bad_settings_are_explained(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize(("settings", "says"), [
    ({"beta": 4.0}, (4.0, 4.0)), ({"beta": 4.0, "warm_up": 2}, (0.0, 4.0)), ({"warm_up": 2}, (0.0, 1.0)),
])
def test_a_recipes_beta_with_and_without_warm_up(settings, says):
    """At the first step, and after the two epochs of 29 steps."""
    beta = Recipe(**settings).new_objective(steps=29).beta
    assert tuple(beta(t) if callable(beta) else beta for t in (0, 58)) == says


def test_a_capacity_is_reached_and_the_reported_elbo_is_the_true_bound():
    """|kl − C| within 5% at the end (VARIANTS), C having risen over the first half of the run."""
    images = load("digits").train[:1000]
    recipe = Recipe(hidden=(64,), latents=5, capacity=8.0, gamma=50.0, warm_up=10, epochs=20, valid=0)
    vae = recipe.vae((28, 28)).build(images=images, objective=recipe.new_objective(steps=8))
    history = fit(vae, images, epochs=20, batch_size=128, progress=False)
    assert history[-1]["train_kl"] == pytest.approx(8.0, rel=0.05)
    assert history[0]["train_kl"] < 1.0
    assert all(r["train_elbo"] == pytest.approx(-(r["train_nll"] + r["train_kl"]), rel=1e-5) for r in history)


class Hears:
    """A model whose terms are these, and which remembers what its pullback is told."""

    def __init__(self, nll, kl):
        self.nll, self.kl = np.array(nll), np.array(kl)

    def elbo_terms(self, *, x, eps):
        def pullback(dnll, dkl):
            self.dnll, self.dkl = dnll, dkl

        return (self.nll, self.kl), pullback


@pytest.mark.parametrize(("capacity", "sign"), [(0.0, 1.0), (1.9, 1.0), (2.0, 0.0), (2.1, -1.0), (99.0, -1.0)])
def test_a_capacity_s_derivative_is_one_price_for_all_images(capacity, sign):
    """∂loss/∂kl_b = γ sign(mean kl − C)/B, also of an image that says more than C while the mean says less."""
    heard = Hears([50.0, 60.0, 70.0, 80.0], [0.5, 1.0, 2.5, 4.0])             # the mean is 2
    told = Capacity(capacity, 30.0)(heard, x=np.zeros((4, X)), eps=np.zeros((1, 4, Z)), weight=0.25, step=0)
    np.testing.assert_allclose(heard.dkl, np.full(4, 30.0 * sign / 4))
    np.testing.assert_allclose(heard.dnll, np.full(4, 1 / 4))
    np.testing.assert_allclose(told, [-67.0, 65.0, 2.0])


def test_a_price_is_paid_for_every_nat_of_kl_and_none_of_nll():
    """∂loss/∂nll_b = 1/B,   ∂loss/∂kl_b = β/B"""
    heard = Hears([50.0, 60.0], [0.5, 1.0])
    WeightedKL(4.0)(heard, x=np.zeros((2, X)), eps=np.zeros((1, 2, Z)), weight=0.5, step=7)
    assert heard.dnll.tolist() == [0.5, 0.5]
    assert heard.dkl.tolist() == [2.0, 2.0]


def test_at_capacity_0_the_kl_is_pressed_to_0_and_only_the_average_image_is_known():
    images = (load("digits").train[:1000] > 0.5).astype(np.float32)
    vae = VAEConfig(784, (32,), 3).build(images=images, objective=Capacity(0.0, 50.0))
    history = fit(vae, images, epochs=20, batch_size=100, progress=False)
    p = np.clip(images.mean(axis=0, dtype=np.float64), 1e-6, 1.0 - 1e-6)
    average = -(images * np.log(p) + (1.0 - images) * np.log1p(-p)).sum(axis=1).mean()
    assert history[-1]["train_kl"] < 0.02
    assert history[-1]["train_nll"] == pytest.approx(average, rel=0.03)


def test_a_larger_beta_says_less_and_explains_less():
    images, found = (load("digits").train[:1000] > 0.5).astype(np.float32), []
    for beta in (0.5, 2.0, 8.0):
        vae = VAEConfig(784, (32,), 5).build(images=images, objective=WeightedKL(beta))
        found.append(fit(vae, images, epochs=8, batch_size=50, progress=False)[-1])
    assert found[0]["train_kl"] > found[1]["train_kl"] > found[2]["train_kl"]
    assert found[0]["train_nll"] < found[1]["train_nll"] < found[2]["train_nll"]


def test_a_capacity_looks_at_the_whole_batch_so_one_thread_computes_it():
    vae = model(Capacity(1.0))
    vae.workers.rows_each, vae.workers.team = 1, Team(3)
    assert vae.workers.undivided
    assert vae.train_step(x, np.random.default_rng(0))["kl"] > 0


def test_a_resumed_warm_up_goes_on_where_it_stopped(tmp_path):
    """β is a function of the optimizer's steps, which the checkpoint keeps."""
    images = np.random.default_rng(0).random((40, X)).astype(np.float32)

    def new():
        return VAEConfig(X, (4,), 2).build(objective=WeightedKL(warm_up(12)))

    whole = new()
    fit(whole, images, epochs=4, batch_size=10, progress=False)
    first = new()
    fit(first, images, epochs=2, batch_size=10, progress=False, run=tmp_path / "run")
    second = new()
    fit(second, images, epochs=4, batch_size=10, progress=False, run=tmp_path / "run", resume=True)
    assert np.array_equal(whole.arena.value, second.arena.value)


def test_iwae_trains_through_the_recipe_and_its_bound_is_recorded():
    images = np.random.default_rng(1).random((60, X)).astype(np.float32)
    recipe = Recipe(hidden=(8,), latents=2, objective="iwae", samples=5, binarize=True)
    vae = recipe.vae((1, X)).build(objective=IWAE(), samples=5)
    history = fit(vae, images, epochs=3, batch_size=20, binarize=True, progress=False)
    assert all(record["train_bound"] > record["train_elbo"] for record in history)
    assert importance_weighted_bound(vae, (images > 0.5).astype(np.float32), samples=5).mean < 0
    assert vae.arena.device == device("cpu")
