"""Learned noise: the discretised logistic is a mass, the closed-form σ is the best one, and neither can be fooled."""

import numpy as np
import pytest
from scipy import optimize

from minivae import distributions as D
from minivae.backend import device
from minivae.data import load
from minivae.distributions import bits_of_density, bits_of_mass, dequantise
from minivae.evaluation import evaluate
from minivae.gradcheck import gradcheck
from minivae.nn import Adam, Arena, cosine
from minivae.parts import IWAE, LIKELIHOODS, GaussianOptimal, LogisticPixel, LogisticShared, likelihood
from minivae.variants import ConvVAEConfig, VAEConfig

LEVELS = np.arange(256) / 255.0


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def masses(mean, logscale, dtype=np.float64):
    """P(k/255) for k = 0 … 255 under every (mean, logscale)        (N,) (N,) -> (N, 256)"""
    n = len(mean)
    x = np.tile(LEVELS, n)[:, None].astype(dtype)
    mean, logscale = (np.repeat(np.asarray(a), 256)[:, None].astype(dtype) for a in (mean, logscale))
    return np.exp(-D.discretized_logistic_nll(mean, logscale, x=x)[0]).reshape(n, 256)


# ── the discretised logistic ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-11), (np.float32, 2e-3)])
def test_the_256_masses_add_up_to_one(dtype, tolerance, rng):
    scales = np.logspace(-4, 1, 21)
    means = np.concatenate([rng.uniform(-0.5, 1.5, 40), LEVELS[::51], [-30.0, 30.0]])
    mean, logscale = (a.ravel() for a in np.meshgrid(means, np.log(scales)))
    np.testing.assert_allclose(masses(mean, logscale, dtype).sum(axis=1), 1.0, rtol=0.0, atol=tolerance)


@pytest.mark.parametrize("config", [
    lambda name: VAEConfig(24, (6,), 2, likelihood=name),
    lambda name: ConvVAEConfig(4, 2, 3, filters=(2,), dense=4, latents=2, likelihood=name)])
@pytest.mark.parametrize("name", ["logistic_shared", "logistic_pixel", "gaussian_shared", "gaussian_pixel"])
def test_in_colour_each_channel_of_a_pixel_has_a_distribution_of_its_own(name, config, rng):
    """It adds up to one, over 256 levels or the real line, and an image's nll is the sum over pixels and channels."""
    images = np.rint(255 * rng.random((40, 24))) / 255
    model = config(name).build(images=images, dtype=np.float64)
    model.arena.value[...] += 0.1 * rng.standard_normal(model.arena.value.shape)
    outputs, p_x, x = model.decoder(rng.standard_normal((1, 2)))[0], model.likelihood, images[:1]
    values, width = (LEVELS, 1.0) if name.startswith("logistic") else (np.linspace(-12, 13, 20_001), 25 / 20_000)
    total = 0.0
    for i in range(24):
        own = np.broadcast_to(outputs[:, i::24], (len(values), p_x.outputs_per_pixel))
        assert np.exp(-p_x(own, x=values[:, None])[0]).sum() * width == pytest.approx(1.0, abs=1e-9)
        total = total + p_x(own[:1], x=x[:, i:i + 1])[0]
    np.testing.assert_allclose(p_x(outputs, x=x)[0], total, rtol=1e-12)


def test_a_mass_is_the_logistic_s_share_of_its_bin():
    """By numerical integration of the density e⁻ᵘ / s (1 + e⁻ᵘ)², which the op never writes down."""
    mean, scale = 0.31, 0.02
    found = masses([mean], [np.log(scale)])[0]
    for k in (1, 70, 79, 80, 130):
        t = np.linspace((k - 0.5) / 255, (k + 0.5) / 255, 2001)
        u = (t - mean) / scale
        density = np.exp(-np.abs(u)) / scale / (1.0 + np.exp(-np.abs(u))) ** 2
        np.testing.assert_allclose(found[k], np.trapezoid(density, t), rtol=1e-6)


def test_with_two_levels_it_is_the_bernoulli(rng):
    """bin = 1: x is 0 or 1, and P(x = 1) = sigmoid((μ − ½)/s)."""
    mean, logscale = rng.standard_normal((2, 5, 3))
    x = 1.0 * (rng.random((5, 3)) < 0.5)
    two = D.discretized_logistic_nll(mean, logscale, x=x, bin=1.0)[0]
    np.testing.assert_allclose(two, D.bernoulli_nll((mean - 0.5) / np.exp(logscale), x=x)[0], rtol=1e-12)


def test_far_in_the_tails_float32_is_exact_and_still_says_which_way():
    """(x − μ)/s = ±5,000: F(u₊) − F(u₋) would be 0 − 0, its clipped logarithm a constant."""
    mean, logscale, x = np.array([[0.0, 1.0, 0.5]]), np.log(np.full((1, 3), 1e-4)), np.array([[128, 128, 0]]) / 255
    exact, pull_exact = D.discretized_logistic_nll(mean, logscale, x=x)
    nll, pull = D.discretized_logistic_nll(*(a.astype(np.float32) for a in (mean, logscale)), x=x.astype(np.float32))
    distance = np.abs(x - mean) - 0.5 / 255                       # to the nearer edge of the bin
    np.testing.assert_allclose(exact, (distance * 1e4).sum(), rtol=1e-12)
    np.testing.assert_allclose(nll, exact, rtol=1e-6)
    for one, other in zip(pull(np.ones(1, np.float32)), pull_exact(np.ones(1))):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=1e-6)
    np.testing.assert_allclose(pull_exact(np.ones(1))[0], [[-1e4, 1e4, 1e4]], rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("logscale", [-80.0, -20.0, 0.0, 20.0, 80.0])
def test_of_any_scale_value_and_gradient_are_finite(logscale, dtype):
    mean, x = np.array([[-5.0, 0.5, 7.0, 0.2, 0.0, 1.0]], dtype), np.array([[0.2, 0.0, 1.0, 0.2, 0.0, 1.0]], dtype)
    nll, pull = D.discretized_logistic_nll(mean, np.full_like(mean, logscale), x=x)
    for array in (nll, *pull(np.ones_like(nll))):
        assert array.dtype == dtype
        assert np.isfinite(array).all()


def test_a_mass_never_exceeds_one(rng):
    """A density may: this is why the logistic cannot collapse, whatever its scale."""
    x = LEVELS[rng.integers(0, 256, (500, 1))]
    for logscale in (-80.0, -10.0, -5.0, 0.0):
        assert (D.discretized_logistic_nll(x, np.full_like(x, logscale), x=x)[0] >= 0.0).all()
        density = D.gaussian_nll(x, np.full_like(x, 2.0 * logscale), x=x)[0]
        assert (density < 0.0).all() == (logscale < -0.92)


def test_one_shared_scale_is_that_scale_everywhere(rng):
    mean, x = rng.random((4, 3)), LEVELS[rng.integers(0, 256, (4, 3))]
    dnll = rng.standard_normal(4)
    nll, pull = D.discretized_logistic_nll_shared(mean, np.array(-2.0), x=x)
    pixel, pull_pixel = D.discretized_logistic_nll(mean, np.full_like(mean, -2.0), x=x)
    assert np.array_equal(nll, pixel)
    assert np.array_equal(pull(dnll)[0], pull_pixel(dnll)[0])
    np.testing.assert_allclose(pull(dnll)[1], pull_pixel(dnll)[1].sum(), rtol=1e-12)


# ── the closed-form σ ─────────────────────────────────────────────────────────────────────────


def test_the_optimal_variance_is_the_one_that_minimises_the_mean_loss(rng):
    mean, x = rng.standard_normal((2, 7, 5))
    best = optimize.minimize_scalar(lambda v: D.gaussian_nll_shared(mean, np.array(v), x=x)[0].mean(), tol=1e-10)
    np.testing.assert_allclose(np.exp(best.x), ((x - mean) ** 2).mean(), rtol=1e-6)
    np.testing.assert_allclose(D.gaussian_nll_optimal(mean, x=x)[0].mean(), best.fun, rtol=1e-12)


def test_envelope(rng):
    """If all images count alike the gradient is that of a σ held fixed; if they do not, it is not."""
    mean, x = rng.standard_normal((2, 7, 5))
    var = ((x - mean) ** 2).mean()
    optimal, fixed = D.gaussian_nll_optimal(mean, x=x)[1], D.gaussian_nll_fixed(mean, x=x, std=np.sqrt(var))[1]
    alike, unlike = np.full(7, 1.0 / 7.0), rng.random(7)
    np.testing.assert_allclose(optimal(alike), fixed(alike), rtol=1e-12)
    assert np.abs(optimal(unlike) - fixed(unlike)).max() > 1e-2
    gradcheck(D.gaussian_nll_optimal, mean, x=x)


def test_a_perfect_reconstruction_ends_at_the_quantisation_noise():
    """No error at all: σ² stays at that of a grey level known to ± ½, and nothing is infinite."""
    x = np.full((2, 3), 0.5, np.float32)
    nll, pull = D.gaussian_nll_optimal(x, x=x)
    var = (1.0 / 255.0) ** 2 / 12.0
    np.testing.assert_allclose(nll, 1.5 * np.log(2.0 * np.pi * var), rtol=1e-6)
    assert np.array_equal(pull(np.ones(2, np.float32)), np.zeros((2, 3)))


def test_as_it_learns_the_batch_s_error_else_its_running_average(rng):
    p_x, (mean, x) = GaussianOptimal(momentum=0.25), rng.standard_normal((2, 6, 4))
    p_x.running_var.value[...] = 2.0
    mse = ((x - mean) ** 2).mean()
    nll, pullback = p_x.learning()(mean, x=x)
    np.testing.assert_allclose(nll, D.gaussian_nll_optimal(mean, x=x)[0])
    assert pullback(np.ones(6)).shape == (6, 4)
    np.testing.assert_allclose(p_x.running_var.value, 0.75 * 2.0 + 0.25 * mse)
    before = p_x.running_var.value.copy()
    outside = p_x(mean, x=x)[0]
    np.testing.assert_allclose(outside, D.gaussian_nll_shared(mean, np.log(before), x=x)[0])
    np.testing.assert_allclose(p_x(mean[:1], x=x[:1])[0], outside[:1], rtol=1e-12)       # an image by itself
    assert p_x.running_var.value == before
    assert p_x.running_var.grad == 0.0


def grey_images(rng, n=400, size=6):
    """Noisy pictures of one hidden number, as grey levels        (N, size²)"""
    z, edge = rng.standard_normal((n, 1)), np.linspace(-1.0, 1.0, size * size)
    x = 0.5 + 0.2 * np.tanh(z * 3.0 * edge) + 0.05 * rng.standard_normal((n, size * size))
    return (np.rint(255.0 * x.clip(0.0, 1.0)) / 255.0).astype(np.float32)


def trained(name, images, *, steps=600, dtype=np.float32, lr=5e-3, **more):
    model = VAEConfig(images.shape[1], (24,), 2, "tanh", name).build(
        images=images, dtype=dtype, optimizer=Adam(cosine(lr, steps=steps)), **more)
    rng = np.random.default_rng(1)
    for _ in range(steps):
        model.train_step(images[rng.integers(0, len(images), 100)].astype(dtype), rng)
    return model


@pytest.mark.parametrize("name", ["gaussian_shared", "gaussian_optimal"])
def test_sigma_squared_ends_at_the_training_error(name, rng):
    images = grey_images(rng)
    model = trained(name, images, steps=1_500, lr=2e-2)
    noise = np.random.default_rng(2)
    mse = np.mean([np.square(model.reconstruct(images, noise) - images).mean() for _ in range(10)])
    assert float(model.likelihood.std) ** 2 == pytest.approx(mse, rel=0.03)
    assert mse < 0.5 * images.var(axis=0).mean(), "and it has learned something"


def test_evaluation_does_not_look_at_the_test_error(rng):
    """Twice as noisy images must not be forgiven by a σ that follows them."""
    images = grey_images(rng)
    model = trained("gaussian_optimal", images, steps=100)
    kept = model.likelihood.running_var.value.copy()
    noisy = images + 0.3 * rng.standard_normal(images.shape).astype(np.float32)
    together, alone = evaluate(model, noisy), [evaluate(model, noisy[:1]).nll.mean]
    assert together.nll.mean > D.gaussian_nll_optimal(model.reconstruct(noisy, rng), x=noisy)[0].mean() + 1.0
    assert np.isfinite(alone).all()
    assert model.likelihood.running_var.value == kept


def test_a_batch_is_not_shared_out_and_the_running_average_is_no_parameter_to_move(rng):
    model = VAEConfig(6, (5,), 2, "tanh", "gaussian_optimal").build(dtype=np.float64)
    assert model.workers.undivided
    x = rng.random((8, 6))
    model.train_step(x, rng)
    assert model.arena.parameters["likelihood.running_var"].grad == 0.0


def test_images_that_count_differently_get_the_whole_gradient(rng):
    """The IWAE weighs draws: its gradient through σ̂² does not vanish, and is right."""
    model = VAEConfig(4, (3,), 2, "tanh", "gaussian_optimal").build(dtype=np.float64, objective=IWAE(), samples=3)
    x, eps = rng.random((5, 4)), rng.standard_normal((3, 5, 2))
    learned = {name: p for name, p in model.arena.parameters.items() if "running" not in name}

    def loss(*, x, eps):
        (nll, kl), pull = model.learning().monte_carlo_terms(x=x, eps=eps)
        return nll + kl, lambda dloss: pull(dloss, dloss)

    gradcheck(loss, parameters=learned, x=x, eps=eps)


# ── likelihoods of grey levels ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_samples_have_the_histogram_of_the_mass(dtype, rng):
    n, p_x = 40_000, LogisticPixel()
    outputs = np.array([0.3, 0.98, 0.02, np.log(0.03), np.log(0.02), np.log(0.002)], dtype)
    x = p_x.sample(np.tile(outputs, (n, 1)), rng)
    assert x.dtype == dtype
    p_x.check(x)
    counts = np.stack([np.bincount(np.rint(255.0 * column).astype(int), minlength=256) for column in x.T])
    expected = n * masses(outputs[:3], outputs[3:])
    likely = expected > 5.0
    score = (np.square(counts - expected)[likely] / expected[likely]).sum()             # χ²
    freedom = likely.sum()
    assert abs(score - freedom) < 5.0 * np.sqrt(2.0 * freedom)
    assert expected[1, 255] > 1_000, "the last level holds a tail of its own"


def test_the_mean_is_that_of_the_mass_to_half_a_level(rng):
    means, logscales = rng.uniform(-0.3, 1.3, 200), rng.uniform(np.log(1e-4), np.log(3.0), 200)
    found = LogisticPixel().mean(np.concatenate([means, logscales])[None])[0]
    exact = masses(means, logscales) @ LEVELS
    np.testing.assert_allclose(found, exact, rtol=0.0, atol=0.5 / 255 + 1e-9)
    wide = np.exp(logscales) > 2.0 / 255
    np.testing.assert_allclose(found[wide], exact[wide], rtol=0.0, atol=1e-4)
    shared = LogisticShared()
    shared.logscale.value[...] = logscales[0]
    np.testing.assert_allclose(shared.mean(means[None, :1])[0], found[:1], rtol=1e-12)
    assert shared.sample(means[None], rng).shape == (1, 200)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_an_untrained_model_is_the_constant_model_whatever_z(name, rng):
    """`start` says the best that one can without a latent; a decoder whose last weights are zero says just that."""
    images = grey_images(rng)
    if name == "bernoulli":
        images = 1.0 * (images > 0.5)
    images = images.astype(np.float64)
    model = VAEConfig(36, (5,), 2, "tanh", name).build(dtype=np.float64, images=images)
    model.decoder.layers[-1].W.value[...] = 0.0
    eps = rng.standard_normal((1, len(images), 2))
    constant = likelihood(name)
    outputs, _ = constant.start(images)
    nll = constant(np.tile(outputs, (len(images), 1)), x=images)[0]
    np.testing.assert_allclose(model.elbo_terms(x=images, eps=eps)[0][0], nll, rtol=1e-12)
    # and hardly any other constant does better
    Arena(constant.parameters() or model.likelihood.parameters() or {"none": model.encoder.mean.b}, device("cpu"),
          np.float64)
    start, logscale = outputs.copy(), getattr(constant, "logscale", None)
    for change in (-0.1, 0.1):
        if logscale is not None:
            logscale.value[...] += change
            assert constant(np.tile(outputs, (len(images), 1)), x=images)[0].mean() > nll.mean() - 0.5
            logscale.value[...] -= change
        else:
            start[:] = outputs + change
            assert constant(np.tile(start, (len(images), 1)), x=images)[0].mean() > nll.mean() - 0.5


# ── the collapse, and its two cures ───────────────────────────────────────────────────────────


def test_the_collapse_is_real_and_bounded_by_either_cure(rng):
    """Pixels that never change: a density on raw pixels promises fewer than 0 bits, which is impossible."""
    images = np.concatenate([grey_images(rng, size=3), np.zeros((400, 60), np.float32)], axis=1)
    pixels = images.shape[1]
    raw = trained("gaussian_pixel", images, steps=1_000, lr=5e-3)
    bits = bits_of_density(-evaluate(raw, images).elbo.mean, pixels=pixels)
    assert bits < 0.0, "a lie: nobody can describe images in less than nothing"
    spread = dequantise(images, rng=rng)
    assert bits_of_density(-evaluate(trained("gaussian_pixel", spread, steps=1_000, lr=5e-3), spread).elbo.mean,
                           pixels=pixels) > 0.0
    assert bits_of_mass(-evaluate(trained("logistic_pixel", images, steps=1_000, lr=5e-3), images).elbo.mean,
                        pixels=pixels) > 0.0


def test_dequantised_pixels_lie_in_their_cells(rng):
    x = np.tile(LEVELS.astype(np.float32), (50, 1))
    y = dequantise(x, rng=rng)
    assert y.dtype == np.float32
    assert (np.abs(256.0 * y - 0.5 - 255.0 * x) <= 0.5 + 2e-5).all()
    assert abs((256.0 * y - np.floor(256.0 * y)).mean() - 0.5) < 0.02


def test_bits():
    """To know nothing costs 8 bits a pixel, as a mass and as a density; a mass of 1 costs none."""
    assert bits_of_mass(5 * np.log(256.0), pixels=5) == pytest.approx(8.0)
    assert bits_of_density(0.0, pixels=5) == pytest.approx(8.0)
    assert bits_of_density(-5 * np.log(256.0), pixels=5) == pytest.approx(0.0)
    np.testing.assert_allclose(bits_of_mass(np.zeros(3), pixels=5), 0.0)


def test_the_density_of_dequantised_pixels_bounds_their_mass(rng):
    """E_u[log p(x + u)] ≤ log ∫ p(x + u) du: in bits, the density's score is never below the mass's."""
    x = np.array([[10, 128, 200]]) / 255.0
    mean, logvar = np.array([[0.05, 0.48, 0.9]]), np.log(np.array([[1e-4, 1e-3, 1e-2]]))
    cells = dequantise(np.tile(x, (100_000, 1)), rng=rng)
    tiled = [np.tile(a, (100_000, 1)) for a in (mean, logvar)]
    density = bits_of_density(D.gaussian_nll(*tiled, x=cells)[0].mean(), pixels=3)
    mass = np.exp(-np.stack([D.gaussian_nll(*(a[:1, i:i + 1].repeat(100_000, axis=0) for a in tiled),
                                            x=cells[:, i:i + 1])[0] for i in range(3)])).mean(axis=1) / 256.0
    assert density >= bits_of_mass(-np.log(mass).sum(), pixels=3) - 1e-3
    assert density == pytest.approx(bits_of_mass(-np.log(mass).sum(), pixels=3), abs=0.2)


# ── bad input ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["logistic_shared", "logistic_pixel"])
def test_pixels_off_the_grid_are_refused_with_advice(name, rng):
    p_x = likelihood(name)
    p_x.check(LEVELS[None].astype(np.float32))
    p_x.check(LEVELS[None] + 0.5e-4 * (LEVELS < 0.5))
    with pytest.raises(ValueError, match=r"train: pixels lie up to 0\.00\d+ off the grey levels k/255.*np\.rint"):
        p_x.check(dequantise(LEVELS[None], rng=rng), "train")
    with pytest.raises(ValueError, match=r"x: pixels lie in \[0, 255\], but Logistic\w+ explains \[0, 1\]"):
        p_x.check(255.0 * LEVELS[None])
    with pytest.raises(ValueError, match="holds NaN"):
        p_x.check(np.array([[np.nan]]))


one, zero = np.zeros((2, 3)), np.array(0.0)


@pytest.mark.parametrize(("call", "error", "said"), [
    (lambda: D.discretized_logistic_nll(one, one[:1], x=one), ValueError, r"logscale: got shape \(1, 3\)"),
    (lambda: D.discretized_logistic_nll(one, one, x=one, bin=0.0), ValueError, "bin is 0.0, expected a number in"),
    (lambda: D.discretized_logistic_nll(one, one, x=one.astype(np.float32)), TypeError, "x: got dtype float32"),
    (lambda: D.discretized_logistic_nll_shared(one, one, x=one), ValueError, r"logscale has shape \(2, 3\)"),
    (lambda: D.gaussian_nll_optimal(one, x=one[:1]), ValueError, r"x: got shape \(1, 3\), expected \(2, 3\)"),
    (lambda: GaussianOptimal(momentum=0.0), ValueError, "momentum is 0.0"),
    (lambda: ConvVAEConfig(likelihood="poisson"), ValueError, "likelihood: got 'poisson'"),
])
def test_bad_input_is_explained(call, error, said):
    with pytest.raises(error, match=said):
        call()


def test_a_convolutional_vae_takes_them(rng):
    x = grey_images(rng, n=20, size=8)
    for name in ("gaussian_optimal", "logistic_shared"):
        model = ConvVAEConfig(8, 8, filters=(3, 4), dense=6, latents=2, likelihood=name).build(images=x)
        model.check(x)
        assert all(np.isfinite(value) for value in model.train_step(x, rng).values())


def test_real_digits_lie_on_the_grid():
    digits = load("digits")
    LogisticShared().check(digits.train)
