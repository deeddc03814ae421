"""The VampPrior: its value against what is known of it, both of its gradients, and all that users meet."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import standin
from conftest import traced_memory

from minivae.backend import device
from minivae.cli import main
from minivae.data import load
from minivae.distributions import gaussian_kl_between, gaussian_log_prob, gaussian_mixture_log_prob
from minivae.evaluation import annealed_importance_sampling, diagnose, evaluate, log_likelihoods
from minivae.evaluation.diagnosis import information
from minivae.explorer import explorer
from minivae.explorer.prior import prior_of
from minivae.gradcheck import GradientError, gradcheck
from minivae.nn import Adam, Linear, mlp
from minivae.ops import hardtanh
from minivae.parts import IWAE, GaussianMixture, Objective, StandardNormal, VampPrior, WeightedKL, first_pseudo_inputs
from minivae.training import Recipe, fit, load_run
from minivae.vae import Encoder
from minivae.variants import ConvVAEConfig, VAEConfig

CPU = device("cpu")


def vamp(K=3, Z=2, X=5, seed=0, cls=VampPrior):
    """A VampPrior whose components are uneven, with a pixel that was clipped, and its parameters with the encoder's."""
    rng = np.random.default_rng(seed)
    encoder = Encoder(mlp(X, 4, rng=rng, activation="tanh", last=True), Linear(4, Z, rng=rng), Linear(4, Z, rng=rng))
    for p in encoder.parameters().values():
        p.value[...] = 0.6 * rng.standard_normal(p.value.shape)
    raw = rng.uniform(0.05, 0.95, (K, X))
    raw[0, 0] = 1.3
    prior = cls(encoder, Z, raw)
    return prior, prior.parameters("prior.") | encoder.parameters("encoder.")


def each(z, mean, logvar):
    """log N(z_b; mean_k, exp(logvar_k)), one component after the other        -> (B, K)"""
    return np.stack([gaussian_log_prob(z, np.tile(m, (len(z), 1)), np.tile(v, (len(z), 1)))[0]
                     for m, v in zip(mean, logvar)], axis=1)


# ── the value ─────────────────────────────────────────────────────────────────────────────────────


def test_its_density_integrates_to_one_and_its_draws_have_its_moments():
    prior, _ = vamp()
    line = np.linspace(-20.0, 20.0, 801)
    z, cell = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2), (line[1] - line[0]) ** 2
    p = np.exp(prior.log_prob(z)[0]) * cell
    assert p.sum() == pytest.approx(1.0, abs=1e-8)
    mean, variance = prior.moments()
    np.testing.assert_allclose((p[:, None] * z).sum(axis=0), mean, atol=1e-7)
    np.testing.assert_allclose((p[:, None] * (z - mean) ** 2).sum(axis=0), variance, rtol=1e-6)
    by_latent = np.exp(prior.log_prob_by_latent(np.stack([line, line], axis=1)))
    np.testing.assert_allclose(by_latent.sum(axis=0) * (line[1] - line[0]), 1.0, atol=1e-8)
    n = 40_000
    drawn = prior.sample(n, np.random.default_rng(1), dtype=np.float64)
    assert (np.abs(drawn.mean(axis=0) - mean) < 5 * np.sqrt(variance / n)).all()
    errors = ((drawn - mean) ** 2).std(axis=0) / np.sqrt(n)
    assert (np.abs(((drawn - mean) ** 2).mean(axis=0) - variance) < 5 * errors).all()


def test_one_pseudo_input_is_a_gaussian_and_the_kl_by_draws_is_the_closed_form():
    model = VAEConfig(6, (5,), 3, "tanh", prior="vamp", components=1).build(dtype=np.float64)
    rng = np.random.default_rng(0)
    model.arena.value[...] += 0.4 * rng.standard_normal(model.arena.value.shape)
    x, L = 1.0 * (rng.random((4, 6)) < 0.5), 20_000
    kls = model.monte_carlo_terms(x=x, eps=rng.standard_normal((L, 4, 3)))[0][1].reshape(L, 4)
    (mean, logvar), ((one, its),) = model.encode(x), (model.prior.mixture()[1:],)
    exact = gaussian_kl_between(mean, logvar, np.repeat(one, 4, axis=0), np.repeat(its, 4, axis=0))[0]
    assert (np.abs(kls.mean(axis=0) - exact) < 5 * kls.std(axis=0) / np.sqrt(L)).all()
    assert exact.min() > 0.01


def with_log_k_inside(z, prior):
    """The misplaced parenthesis: log Σ (exp aₖ − log K) instead of log Σ exp aₖ − log K, as near as it can be had."""
    a = each(z, *prior.mixture()[1:])
    return np.log(np.maximum((np.exp(a) - np.log(len(prior.raw.value))).sum(axis=1), 1e-300))


def without_log_k(z, prior):
    return np.log(np.exp(each(z, *prior.mixture()[1:])).sum(axis=1))


def check_equal_ones_count_as_one(log_prob):
    (one, _), z = vamp(K=1), np.random.default_rng(3).standard_normal((7, 2))
    alone = each(z, *one.mixture()[1:])[:, 0]
    many = VampPrior(one.encoder, 2, np.repeat(one.raw.value, 5, axis=0))
    np.testing.assert_allclose(log_prob(z, many), alone, rtol=1e-12)


def test_equal_pseudo_inputs_are_as_good_as_one():
    check_equal_ones_count_as_one(lambda z, prior: prior.log_prob(z)[0])


@pytest.mark.parametrize("planted", [with_log_k_inside, without_log_k])
def test_a_misplaced_log_k_is_caught(planted):
    with pytest.raises(AssertionError):
        check_equal_ones_count_as_one(planted)


def test_the_order_of_the_pseudo_inputs_does_not_matter():
    prior, _ = vamp(K=6)
    z = np.random.default_rng(2).standard_normal((9, 2))
    other = VampPrior(prior.encoder, 2, prior.raw.value[[3, 1, 5, 0, 4, 2]])
    np.testing.assert_allclose(other.log_prob(z)[0], prior.log_prob(z)[0], rtol=1e-12)


def aggregated(N=60):
    """An encoder, N images of its own, and the VampPrior whose pseudo-inputs they are."""
    prior, _ = vamp()
    x = np.random.default_rng(4).uniform(0.0, 1.0, (N, 5))
    return prior.encoder, x, VampPrior(prior.encoder, 2, x)


def test_with_the_data_as_pseudo_inputs_it_is_the_aggregated_posterior():
    encoder, x, prior = aggregated()
    (mean, logvar), _ = encoder(x)
    rng = np.random.default_rng(5)
    z = mean + np.exp(0.5 * logvar) * rng.standard_normal(mean.shape)
    log_p = prior.log_prob(z)[0]
    np.testing.assert_allclose(log_p, np.logaddexp.reduce(each(z, mean, logvar), axis=1) - np.log(len(x)), rtol=1e-11)
    log_q = gaussian_log_prob(z, mean, logvar)[0]
    np.testing.assert_allclose(log_q - log_p, information(z, mean, logvar), atol=1e-10)      # of the diagnosis


def test_the_aggregated_posterior_is_the_best_prior_of_all():
    """Σₙ E_q(z|xₙ)[log p(z)], the only place in the ELBO where the prior is."""
    encoder, x, best = aggregated()
    (mean, logvar), _ = encoder(x)
    eps = np.random.default_rng(6).standard_normal((400, *mean.shape))
    z = (mean + np.exp(0.5 * logvar) * eps).reshape(-1, 2)
    top = best.log_prob(z)[0]
    rivals = [StandardNormal(2), VampPrior(encoder, 2, x[:10]), VampPrior(encoder, 2, np.clip(x + 0.2, 0, 1)),
              GaussianMixture(2, 3, rng=np.random.default_rng(0))]
    for rival in rivals:
        lead = top - rival.log_prob(z)[0]
        assert lead.mean() > 5 * lead.std() / np.sqrt(len(lead))


def test_float32_is_near_float64_where_codes_are_sharp():
    """Means ten standard deviations of a posterior apart in each latent: the expansion of the square must not tell."""
    rng = np.random.default_rng(7)
    K, Z, B = 200, 40, 100
    mean, logvar = rng.standard_normal((K, Z)), 2 * np.log(0.1) + 0.3 * rng.standard_normal((K, Z))
    k = rng.integers(0, K, B)
    z = mean[k] + np.exp(0.5 * logvar[k]) * rng.standard_normal((B, Z))
    single = [a.astype(np.float32) for a in (z, np.zeros(K), mean, logvar)]
    value, pullback = gaussian_mixture_log_prob(*single)
    exact, pull_exact = gaussian_mixture_log_prob(*(a.astype(np.float64) for a in single))
    np.testing.assert_allclose(value, exact, atol=1e-4)
    for ours, theirs in zip(pullback(np.ones(B, np.float32)), pull_exact(np.ones(B))):
        assert np.linalg.norm(ours - theirs) < 1e-4 * np.linalg.norm(theirs)


def test_the_distances_are_never_one_array_of_b_k_z():
    rng = np.random.default_rng(0)
    B, K, Z = 200, 500, 40
    z, mean = rng.standard_normal((B, Z)), rng.standard_normal((K, Z))
    with traced_memory() as peak:
        log_p, pullback = gaussian_mixture_log_prob(z, np.zeros(K), mean, np.zeros((K, Z)))
        pullback(log_p)
        most = peak()
    assert most < B * K * Z * 8 / 3


# ── both gradients ────────────────────────────────────────────────────────────────────────────────


class DeafPseudoInputs(VampPrior):
    """The path into u is cut: they never move."""

    def components(self):
        q, pull = super().components()

        def pullback(dmean, dlogvar):
            before = self.raw.grad.copy()
            pull(dmean, dlogvar)
            self.raw.grad[...] = before

        return q, pullback


class DeafEncoder(VampPrior):
    """The second use of the encoder is forgotten."""

    def components(self):
        u, pull_u = hardtanh(self.raw.value, low=0.0, high=1.0)
        q, pull_encoder = self.encoder(u)
        return q, lambda *dq: self.raw.add(pull_u(pull_encoder(*dq, need_dp=False)))


class ClippedLearn(VampPrior):
    """The clip is taken for the identity on the way back."""

    def components(self):
        q, pull_encoder = self.encoder(hardtanh(self.raw.value, low=0.0, high=1.0)[0])
        return q, lambda *dq: self.raw.add(pull_encoder(*dq))


@pytest.mark.parametrize(("cls", "who"), [(DeafPseudoInputs, "prior.raw"), (DeafEncoder, "encoder"),
                                          (ClippedLearn, "prior.raw")])
def test_a_path_that_is_cut_is_caught(cls, who):
    z = np.random.default_rng(1).standard_normal((4, 2))
    right, parameters = vamp()
    gradcheck(right.log_prob, z, parameters=parameters)
    wrong, parameters = vamp(cls=cls)
    with pytest.raises(GradientError, match=who):
        gradcheck(wrong.log_prob, z, parameters=parameters)


def small(**options):
    return VAEConfig(12, (8,), 2, "tanh", prior="vamp", components=5).build(**options)


def test_the_encoder_hears_the_data_and_the_pseudo_inputs():
    """The whole gradient is that with the prior held still, and that of the prior alone, at the same draws."""
    rng = np.random.default_rng(2)
    model = small(dtype=np.float64)
    model.arena.value[...] += 0.3 * rng.standard_normal(model.arena.value.shape)
    x, eps = 1.0 * (rng.random((6, 12)) < 0.5), rng.standard_normal((1, 6, 2))

    def gradient(prior):
        kept, model.prior = model.prior, prior
        (nll, _), pullback = model.monte_carlo_terms(x=x, eps=eps)
        model.arena.zero_grad()
        pullback(np.full_like(nll, 1 / 6), np.full_like(nll, 1 / 6))
        model.prior = kept
        return model.arena.grad.copy()

    fixed = GaussianMixture(2, 5, rng=rng)
    for parameter, value in zip((fixed.logits, fixed.mean, fixed.logvar), model.prior.mixture()):
        parameter.value[...] = value
    first = gradient(fixed)
    z = model.posterior_samples(x=x, eps=eps)[0][0]
    model.arena.zero_grad()
    model.prior.log_prob(z)[1](np.full(6, -1 / 6))
    second = model.arena.grad.copy()
    np.testing.assert_allclose(gradient(model.prior), first + second, rtol=1e-12, atol=1e-14)
    of_encoder = slice(0, sum(p.value.size for p in model.encoder.parameters().values()))
    assert np.linalg.norm(first[of_encoder]) > 0
    assert np.linalg.norm(second[of_encoder]) > 0.01 * np.linalg.norm(first[of_encoder])


def test_without_need_dp_nobody_learns_and_dz_is_the_same():
    model = small(dtype=np.float64)
    z = np.random.default_rng(0).standard_normal((4, 2))
    model.arena.zero_grad()
    dz = model.prior.log_prob(z)[1](np.ones(4), need_dp=False)
    assert not model.arena.grad.any()
    np.testing.assert_array_equal(dz, model.prior.log_prob(z)[1](np.ones(4)))
    assert model.arena.grad.any()


# ── where the pseudo-inputs start ─────────────────────────────────────────────────────────────────


def test_pseudo_inputs_start_at_images_and_where_they_can_move():
    images = (np.random.default_rng(0).random((40, 12)) < 0.5).astype(np.float32)
    raw = first_pseudo_inputs(30, 12, rng=np.random.default_rng(1), images=images)
    assert ((raw > 0) & (raw < 1)).all(), "a pixel outside of (0, 1) would stay there for ever"
    nearest = np.array([np.abs(images - one).sum(axis=1).argmin() for one in raw])
    assert len(set(nearest)) == 30, "no image twice, as long as there are enough"
    np.testing.assert_array_equal((raw > 0.5), images[nearest] > 0.5)
    assert first_pseudo_inputs(90, 12, rng=np.random.default_rng(1), images=images).shape == (90, 12)
    noise = first_pseudo_inputs(50, 100, rng=np.random.default_rng(2))
    assert noise.mean() == pytest.approx(0.05, abs=1e-3)
    assert noise.std() == pytest.approx(0.01, abs=1e-3)


@pytest.mark.parametrize("start", ["images", "noise"])
def test_training_moves_the_pseudo_inputs(start):
    x = (np.random.default_rng(0).random((60, 12)) < 0.5).astype(np.float32)
    model = small(images=x if start == "images" else None, optimizer=Adam(1e-2))
    before = model.prior.pseudo_inputs().copy()
    fit(model, x, epochs=3, batch_size=20, progress=False)
    after = model.prior.pseudo_inputs()
    assert (np.abs(after - before).max(axis=1) > 1e-3).all()
    assert after.min() >= 0
    assert after.max() <= 1


@pytest.mark.parametrize(("call", "says"), [
    (lambda: VampPrior(vamp()[0].encoder, 2, np.zeros(5)), r"raw: got shape \(5,\), expected \(K, X\)"),
    (lambda: VampPrior(vamp()[0].encoder, 0, np.zeros((2, 5))), "latents: got 0, expected at least 1"),
    (lambda: first_pseudo_inputs(0, 5, rng=np.random.default_rng(0)), "components: got 0, expected at least 1"),
    (lambda: first_pseudo_inputs(2, 5, rng=np.random.default_rng(0), images=np.ones((3, 4))),
     r"images: got shape \(3, 4\), expected \(N, 5\)"),
    (lambda: small(images=np.full((3, 12), 255.0)), r"images: numbers lie in \[255, 255\].*--scale unit"),
    (lambda: VAEConfig(4, posterior="full", prior="vamp"), "prior: got 'vamp' with the posterior 'full'"),
    (lambda: ConvVAEConfig(posterior="planar", prior="vamp"), "prior: got 'vamp' with the posterior 'planar'"),
    (lambda: Recipe(posterior="rank_one", prior="vamp"), "prior: got 'vamp' with the posterior 'rank_one'"),
    (lambda: Recipe(prior="vamp", free_bits=0.1), "prior: got 'vamp'; free_bits"),
])
def test_what_does_not_fit_is_said(call, says):
    with pytest.raises(ValueError, match=says):
        call()


# ── threads, devices, evaluation ──────────────────────────────────────────────────────────────────


def test_the_encoder_has_one_name_and_the_same_weights_under_every_prior():
    vamped, plain = small(seed=3), VAEConfig(12, (8,), 2, "tanh").build(seed=3)
    assert vamped.arena.parameters.keys() - plain.arena.parameters.keys() == {"prior.raw"}
    assert vamped.prior.encoder is vamped.encoder
    np.testing.assert_array_equal(vamped.arena.value[:plain.arena.value.size], plain.arena.value)


@pytest.mark.parametrize("objective", [WeightedKL(0.3), IWAE()], ids=["weighted", "iwae"])
def test_every_thread_s_copy_asks_its_own_encoder_and_the_gradient_is_that_of_one(objective):
    rng = np.random.default_rng(0)
    x, eps = 1.0 * (rng.random((90, 12)) < 0.5), rng.standard_normal((2, 90, 2))
    gradients, values = [], []
    for threads in (1, 3):
        model = small(dtype=np.float64, objective=objective)
        model.workers.rows_each = 30
        model.workers.hire(threads)
        values.append(model.workers.gradient(
            lambda m, rows: m.objective(m, x=x[rows], eps=eps[:, rows], weight=1 / 90, step=0), 90))
        gradients.append(model.arena.grad.copy())
    np.testing.assert_allclose(*values, rtol=1e-12)
    assert len(model.workers.copies) == 3
    for other in model.workers.copies[1:]:
        assert other.prior.encoder is other.encoder
        assert other.encoder is not model.encoder
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("prior", ["mixture", "vamp"])
def test_a_step_stays_on_the_device(cupy_standin, prior):
    gpu = device("cuda")
    x = (np.random.default_rng(0).random((8, 12)) < 0.5).astype(np.float32)
    model = VAEConfig(12, (6,), 3, prior=prior, components=4).build(on=gpu, images=x)
    batch, rng = gpu.asarray(x), gpu.rng(0)
    model.train_step(batch, rng)
    with standin.forbid():
        model.train_step(batch, rng)
        model.terms(batch, rng)
        model.sample(5, rng)


def test_threads_share_the_pseudo_inputs_out(monkeypatch):
    asked, encode = [], VampPrior._encode
    monkeypatch.setattr(VampPrior, "_encode", lambda self, some: asked.append(some) or encode(self, some))
    model, x = small(), np.ones((60, 12), np.float32)
    model.workers.rows_each = 30
    model.workers.hire(2)
    model.train_step(x, np.random.default_rng(0))
    assert sorted((some.start, some.stop) for some in asked) == [(0, 2), (2, 5)]
    model.terms(x, np.random.default_rng(0))
    assert asked[2:] == [slice(None)], "after the step nothing is kept"
    model.objective = Broken()
    with pytest.raises(ArithmeticError, match="in a thread"):
        model.train_step(x, np.random.default_rng(0))
    assert all(copy.prior._kept is None for copy in model.workers.copies)


class Broken(Objective):
    def __call__(self, model, **rest):
        raise ArithmeticError("in a thread")


def counting(model):
    """Counts the rows that the encoder is asked about."""
    rows, encoder = [], model.encoder

    class Counting:
        def __call__(self, x):
            rows.append(len(x))
            return encoder(x)

    model.encoder = model.prior.encoder = Counting()
    return rows


def test_what_evaluates_asks_the_encoder_once_about_the_pseudo_inputs():
    x = (np.random.default_rng(0).random((1000, 12)) < 0.5).astype(np.float32)
    model, other = small(), small()
    other.prior.still = nullcontext                                  # asks anew for each part
    rows, more = counting(model), counting(other)
    for of in (evaluate, lambda m, x: log_likelihoods(m, x, samples=3).mean(),
               lambda m, x: diagnose(m, x[:300]).total_kl,
               lambda m, x: annealed_importance_sampling(m, x[:4], chains=3, temperatures=3, leapfrog=2).log_p.mean()):
        rows.clear(), more.clear()
        assert of(model, x) == of(other, x)
        assert rows.count(5) in (1, 2)                               # AIS: once for its pilot run
        assert more.count(5) > rows.count(5)
    with model.still():
        held = model.prior.log_prob(np.zeros((1, 2), np.float32))[0]
        model.prior.raw.value[...] += 0.3
        assert model.prior.log_prob(np.zeros((1, 2), np.float32))[0] == held
    assert model.prior.log_prob(np.zeros((1, 2), np.float32))[0] != held


def test_log_p_by_importance_sampling_and_by_annealing_is_the_integral():
    rng = np.random.default_rng(0)
    model = VAEConfig(5, (4,), 1, "tanh", prior="vamp", components=3).build(dtype=np.float64)
    model.arena.value[...] += 0.7 * rng.standard_normal(model.arena.value.shape)
    model.prior.raw.value[...] = rng.uniform(0.1, 0.9, (3, 5))
    x, line = 1.0 * (rng.random((3, 5)) < 0.5), np.linspace(-15.0, 15.0, 4001)[:, None]
    log_p, decoded = model.prior.log_prob(line)[0], model.decoder(line)[0]
    truth = [np.log(np.exp(log_p - model.likelihood(decoded, x=np.tile(row, (len(line), 1)))[0]).sum() * 0.0075)
             for row in x]
    weighted = np.array([log_likelihoods(model, x, samples=2000, seed=s) for s in range(6)])
    assert (np.abs(weighted.mean(axis=0) - truth) < 5 * weighted.std(axis=0) / np.sqrt(6) + 5e-3).all()
    annealed = np.array([annealed_importance_sampling(model, x, chains=40, temperatures=20, leapfrog=5, seed=s).log_p
                         for s in range(4)])
    assert (np.abs(annealed.mean(axis=0) - truth) < 5 * annealed.std(axis=0) / 2 + 1e-2).all()


def test_the_page_draws_from_the_mixture_that_it_is():
    model = small()
    page, (_, mean, logvar) = prior_of(model), model.prior.mixture()
    assert len(explorer(model, None, None, (3, 4), title="").encode()) < 400_000
    np.testing.assert_allclose(page.pi, 0.2, rtol=1e-6)
    np.testing.assert_array_equal(page.mean, mean)
    np.testing.assert_allclose(page.std, np.exp(0.5 * logvar), rtol=1e-6)
    assert not page.standard


# ── as users meet it ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """300 digits to train on, 30 to test on, in a file."""
    digits, path = load("digits"), tmp_path_factory.mktemp("data") / "few.npz"
    np.savez(path, train=digits.train[:300], test=digits.test[:30], train_labels=digits.train_labels[:300],
             test_labels=digits.test_labels[:30])
    return path


def test_a_run_is_kept_and_resumed_bit_for_bit(few, tmp_path):
    recipe = Recipe(data=str(few), prior="vamp", components=40, hidden=(12,), latents=2, warm_up=2, binarize=True,
                    epochs=3)
    dataset, once = load(recipe.data), replace(recipe, epochs=1)
    recipe.train(dataset, CPU, run=tmp_path / "whole", progress=False, threads=1)
    once.train(dataset, CPU, run=tmp_path / "cut", progress=False, threads=1)
    recipe.train(dataset, CPU, run=tmp_path / "cut", resume=True, progress=False, threads=1)
    whole, cut = (load_run(tmp_path / name, CPU)[0] for name in ("whole", "cut"))
    np.testing.assert_array_equal(whole.arena.value, cut.arena.value)
    assert isinstance(whole.prior, VampPrior)
    assert whole.prior.raw.value.shape == (40, 784)


def test_the_command_line_has_it(few, tmp_path, capsys):
    run = str(tmp_path / "run")
    assert main(["train", "--data", str(few), "--prior", "vamp", "--components", "40", "--hidden", "12", "--latents",
                 "2", "--warm-up", "1", "--epochs", "1", "--out", run, "--device", "cpu", "--threads", "1"]) == 0
    assert {"samples.png", "latents.png", "manifold.png"} <= {path.name for path in (tmp_path / "run").iterdir()}
    capsys.readouterr()
    assert main(["evaluate", run, "--samples", "20", "--ais", "3", "--chains", "2", "--images", "20", "--latents",
                 "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("NLL", "latents active", "log p(x)"))
    assert main(["sample", run, "--n", "4", "--out", str(tmp_path / "s.npz"), "--device", "cpu"]) == 0
