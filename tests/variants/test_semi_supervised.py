"""M2 and M1+M2: what the maths says of their values, who hears what, famous mistakes, and what PyTorch says."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from conftest import traced_memory
from scipy import special, stats

from minivae.batch import Batch
from minivae.data import HiddenLabels, load
from minivae.distributions import bernoulli_nll
from minivae.nn import Adam
from minivae.ops import one_hot
from minivae.training import fit
from minivae.variants import M2, M1M2Config, M2Config, VAEConfig

X, C, Z, B = 4, 3, 2, 5
RNG = np.random.default_rng(0)
IMAGES, LABELS = 1.0 * (RNG.standard_normal((B, X)) > 0), np.array([0, 2, 1, 1, 0])
EPS = RNG.standard_normal((C, B, Z))
UNEVEN = (0.6, 0.3, 0.1)


def shaken(model, seed=1, by=0.3):
    """The same, its parameters moved away from where they are born."""
    for network in model.networks.values():
        network.arena.value[...] += by * np.random.default_rng(seed).standard_normal(network.arena.value.shape)
    return model


def m2(pixels=X, classes=C, latents=Z, class_prior=UNEVEN, model=M2, **options):
    sizes = M2Config(pixels, classes, (4,), latents, "tanh", class_prior=class_prior)
    found = shaken(sizes.build(dtype=float, **options))
    found.__class__ = model
    return found


def m1m2(by=0.3, **options):
    return shaken(M1M2Config(X, C, (4,), Z, 2, "tanh", class_prior=UNEVEN).build(dtype=float, **options), by=by)


def each_bound(model, x=IMAGES, eps=EPS):
    """L(x, y) for all y, one after another        -> (B, C)"""
    terms = [model.labelled_terms(x=x, labels=np.full(len(x), y), eps=eps[y])[0] for y in range(model.classes)]
    return np.stack([-(nll + kl) for nll, kl in terms], axis=1)


def says(model, logits):
    """From now on the classifier says this, whatever it sees; what comes back to it is kept in `heard`."""
    heard = []
    model.classifier = lambda x: (logits, lambda d, **need: heard.append(d))
    return heard


def gradient(model, *pullings):
    """The gradient that these (pullback, cotangents …) add."""
    model.arena.zero_grad()
    for pullback, *d in pullings:
        pullback(*d)
    return model.arena.grad.copy()


# ── the bound ─────────────────────────────────────────────────────────────────────────────────


def check_bound(model, x=IMAGES, eps=EPS):
    """U by brute force: Σ_y q(y|x) (L(x, y) − log q(y|x)), class after class."""
    (nll, kl), _ = model.unlabelled_terms(x=x, eps=eps)
    q = special.softmax(model.classifier(x)[0], axis=1)
    np.testing.assert_allclose(-(nll + kl), (q * (each_bound(model, x, eps) - np.log(q))).sum(axis=1), rtol=1e-12)


def test_the_bound_is_the_sum_over_classes():
    check_bound(m2())


def test_where_q_is_proportional_to_exp_l_the_bound_is_their_logsumexp():
    model = m2()
    L = each_bound(model)
    says(model, L + 3.0)                               # a softmax does not see a constant
    (nll, kl), _ = model.unlabelled_terms(x=IMAGES, eps=EPS)
    np.testing.assert_allclose(-(nll + kl), special.logsumexp(L, axis=1), rtol=1e-12)


def test_no_q_does_better_than_that():
    model = m2()
    best = special.logsumexp(each_bound(model), axis=1)
    for seed in range(20):
        says(model, 3.0 * np.random.default_rng(seed).standard_normal((B, C)))
        (nll, kl), _ = model.unlabelled_terms(x=IMAGES, eps=EPS)
        assert (-(nll + kl) < best).all()


def test_the_gradient_for_the_classifier_is_the_short_formula():
    """∂U/∂logit(y) = q (L − log q − U), from the pullbacks of two expectations and a KL."""
    model, logits = m2(), RNG.standard_normal((B, C))
    heard, L = says(model, logits), each_bound(model)
    (nll, kl), pullback = model.unlabelled_terms(x=IMAGES, eps=EPS)
    dU = RNG.standard_normal(B)
    pullback(-dU, -dU)
    log_q = special.log_softmax(logits, axis=1)
    np.testing.assert_allclose(heard[0], np.exp(log_q) * (L - log_q + (nll + kl)[:, None]) * dU[:, None], rtol=1e-10,
                               atol=1e-12)


def test_with_one_class_it_is_a_vae():
    model = m2(classes=1, class_prior=None)
    vae = VAEConfig(X, (4,), Z, "tanh").build(dtype=float)
    ours, theirs = model.parameters(), vae.parameters()
    for name, p in theirs.items():
        name = name.replace("encoder.trunk.0", "encoder.image")
        p.value[...] = ours[name].value[:len(p.value)]
    theirs["encoder.trunk.0.b"].value[...] += ours["encoder.V"].value[0]
    theirs["decoder.0.b"].value[...] += ours["decoder.0.W"].value[Z]
    terms, pull = model.unlabelled_terms(x=IMAGES, eps=EPS[:1])
    expected, pull_vae = vae.elbo_terms(x=IMAGES, eps=EPS[:1])
    np.testing.assert_allclose(terms, expected, rtol=1e-12)
    dterms = RNG.standard_normal((2, B))
    gradient(model, (pull, *dterms))
    gradient(vae, (pull_vae, *dterms))
    for name, p in theirs.items():
        name = name.replace("encoder.trunk.0", "encoder.image")
        np.testing.assert_allclose(ours[name].grad[:len(p.grad)], p.grad, rtol=1e-9, atol=1e-12, err_msg=name)


def test_at_a_sure_classifier_an_image_without_label_teaches_as_one_with():
    """All but H, whose slope is infinite there for q, and through the softmax nothing."""
    model = m2()
    heard = says(model, 1e3 * one_hot(LABELS, classes=C, dtype=float))
    chosen = EPS[LABELS, np.arange(B)]
    (terms, pull), (labelled, pull_labelled) = (model.unlabelled_terms(x=IMAGES, eps=EPS),
                                                model.labelled_terms(x=IMAGES, labels=LABELS, eps=chosen))
    np.testing.assert_allclose(terms, labelled, rtol=1e-12)
    d = np.full(B, 0.7)
    one, other = gradient(model, (pull, d, d)), gradient(model, (pull_labelled, d, d))
    np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
    assert np.abs(heard[0]).max() == 0.0


def test_an_uneven_prior_is_in_both_bounds():
    uneven, even = m2(), m2(class_prior=None)
    gain = np.log(np.array(UNEVEN) * C)
    np.testing.assert_allclose(each_bound(uneven) - each_bound(even), np.tile(gain, (B, 1)), rtol=1e-9)
    both = [-sum(model.unlabelled_terms(x=IMAGES, eps=EPS)[0]) for model in (uneven, even)]
    q = special.softmax(uneven.classifier(IMAGES)[0], axis=1)
    np.testing.assert_allclose(both[0] - both[1], q @ gain, rtol=1e-9)


def test_where_classes_say_nothing_the_best_guess_is_the_prior():
    """Encoder and decoder do not hear y: then U is the bound of a VAE, reached at q(y|x) = p(y), and only there."""
    model = m2()
    model.encoder.V.value[...] = 0.0
    model.decoder.layers[0].W.value[Z:] = 0.0
    eps = np.tile(EPS[:1], (C, 1, 1))
    heard = says(model, np.tile(np.log(UNEVEN), (B, 1)))
    (nll, kl), pullback = model.unlabelled_terms(x=IMAGES, eps=eps)
    pullback(np.ones(B), np.ones(B))
    assert np.abs(heard[0]).max() < 1e-12
    terms, _ = model.conditional_terms(x=IMAGES, y=one_hot(LABELS, classes=C, dtype=float), eps=EPS[0])
    np.testing.assert_allclose((nll, kl), terms, rtol=1e-12)
    heard = says(model, np.zeros((B, C)))
    pullback = model.unlabelled_terms(x=IMAGES, eps=eps)[1]
    pullback(np.ones(B), np.ones(B))
    assert np.abs(heard[0]).max() > 0.1


GRID = np.linspace(-7.0, 7.0, 281)


def exact_log_prob(model, x):
    """log Σ_y p(y) ∫ p(x|y, z) N(z; 0, 1) dz on a grid, for one latent        (B, X) -> (B,)"""
    weights = stats.norm.logpdf(GRID) + np.log(GRID[1] - GRID[0])
    found = []
    for y, p_y in enumerate(UNEVEN):
        code = np.concatenate([GRID[:, None], np.tile(np.eye(C)[y], (len(GRID), 1))], axis=1)
        logits, _ = model.decoder(code)
        nll = [bernoulli_nll(logits, x=np.tile(one, (len(GRID), 1)))[0] for one in x]
        found.append(np.log(p_y) + special.logsumexp(weights - np.array(nll), axis=1))
    return special.logsumexp(found, axis=0)


def test_it_is_a_bound_and_the_weights_estimate_what_it_bounds():
    model, rng = m2(latents=1), np.random.default_rng(2)
    all_images = np.array([[a, b, c, d] for a in (0, 1) for b in (0, 1) for c in (0, 1) for d in (0, 1)], dtype=float)
    exact = exact_log_prob(model, all_images)
    assert special.logsumexp(exact) == pytest.approx(0.0, abs=1e-6)               # a distribution over images
    weights = model.log_weights(Batch(x=all_images), rng, samples=10_000)
    np.testing.assert_allclose(special.logsumexp(weights, axis=0) - np.log(10_000), exact, atol=0.04)
    bound = -sum(model.terms(Batch(x=np.tile(all_images, (3000, 1))), rng)).reshape(3000, 16).mean(axis=0)
    assert (bound < exact + 0.01).all()
    assert (weights.mean(axis=0) > bound - 0.02).all()


# ── famous mistakes ───────────────────────────────────────────────────────────────────────────


class WithoutThePrior(M2):
    """log p(y) commented out: "it works all the same", with uniform classes."""

    def unlabelled_terms(self, *, x, eps):
        log_p, self.log_p = self.log_p, np.zeros_like(self.log_p)
        try:
            return super().unlabelled_terms(x=x, eps=eps)
        finally:
            self.log_p = log_p


class AverageOfClasses(M2):
    """A mean over classes where a sum belongs."""

    def unlabelled_terms(self, *, x, eps):
        (nll, kl), pullback = super().unlabelled_terms(x=x, eps=eps)
        return (nll / C, kl / C), lambda dnll, dkl: pullback(dnll / C, dkl / C)


class DrawnClass(M2):
    """One class drawn from q(y|x) instead of all of them: no gradient reaches the classifier but the entropy's."""

    def unlabelled_terms(self, *, x, eps):
        q = special.softmax(self.classifier(x)[0], axis=1)
        y = (np.random.default_rng(0).random((len(x), 1)) > np.cumsum(q, axis=1)).sum(axis=1)
        (nll, kl), pullback = self.labelled_terms(x=x, labels=y, eps=eps[0])
        return (nll, kl + (q * np.log(q)).sum(axis=1)), pullback


class EntropyForgotten(M2):
    """Σ q L alone: the classifier is rewarded for being sure."""

    def unlabelled_terms(self, *, x, eps):
        (nll, kl), pullback = super().unlabelled_terms(x=x, eps=eps)
        q = special.softmax(self.classifier(x)[0], axis=1)
        return (nll, kl - (q * np.log(q)).sum(axis=1)), pullback


@pytest.mark.parametrize("planted", [WithoutThePrior, AverageOfClasses, DrawnClass, EntropyForgotten])
def test_famous_mistakes_in_the_sum_over_classes_are_caught(planted):
    with pytest.raises(AssertionError):
        check_bound(m2(model=planted))


def check_objective(model):
    """The gradient of a step is that of −J^α / N on all images, with α = 0.1 N, whatever the batch."""
    others, known, labels = RNG.random((6, X)), IMAGES[:3], LABELS[:3]
    N, eps = 9, np.random.default_rng(3).standard_normal((C + 1, 6, Z))
    beside = np.arange(6) % 3
    data = Batch(x=others, labelled=known[beside], labels=labels[beside])
    unlabelled, pull_u = model.unlabelled_terms(x=others, eps=eps[:-1])
    _, pull_l = model.labelled_terms(x=known[beside], labels=labels[beside], eps=eps[-1])
    _, pull_c = model.class_nll(x=known, labels=labels)
    half = np.full(6, 1.0 / 2.0)                       # two draws of each of the three
    alpha = 0.1 * N
    whole = gradient(model, (pull_u, np.ones(6), np.ones(6)), (pull_l, half, half), (pull_c, np.full(3, alpha / 3)))
    expected = whole / N
    drawn = gradient(model, (lambda: model._step(data, eps, 1.0 / 6.0),))
    np.testing.assert_allclose(drawn, expected, rtol=1e-9, atol=1e-12)
    halves = [gradient(model, (lambda rows=rows: model._step(data[rows], eps[:, rows], 1.0 / 3.0),))
              for rows in (slice(3), slice(3, 6))]
    np.testing.assert_allclose(sum(halves) / 2.0, expected, rtol=1e-9, atol=1e-12)
    nll, kl, _ = model._step(data, eps, 1.0 / 6.0)
    np.testing.assert_allclose((nll, kl), np.mean(unlabelled, axis=1), rtol=1e-12)


class ScaledByTheBatch(M2):
    """α times the batch's images instead of the data's: half of the batch, half of the weight."""

    def _step(self, part, eps, weight):
        self.label_weight *= len(part) / 9.0
        try:
            return super()._step(part, eps, weight)
        finally:
            self.label_weight /= len(part) / 9.0


def test_the_weights_of_the_three_terms_are_the_papers():
    check_objective(m2(labelled_share=1.0 / 3.0))
    with pytest.raises(AssertionError):
        check_objective(m2(labelled_share=1.0 / 3.0, model=ScaledByTheBatch))


# ── training ──────────────────────────────────────────────────────────────────────────────────


def state(model):
    return {name: network.arena.value.tobytes() for name, network in model.networks.items()}


def test_only_its_own_images_teach_each_network():
    """The bounds of images with labels never reach the classifier; its cross-entropy reaches nobody else."""
    model = m2()
    parameters = model.arena.parameters
    of_x = {"encoder", "decoder"}
    for (_, pullback), d, hear in ((model.labelled_terms(x=IMAGES, labels=LABELS, eps=EPS[0]), 2, of_x),
                                   (model.class_nll(x=IMAGES, labels=LABELS), 1, {"classifier"}),
                                   (model.unlabelled_terms(x=IMAGES, eps=EPS), 2, of_x | {"classifier"})):
        gradient(model, (pullback, *[np.ones(B)] * d))
        assert {name.split(".")[0] for name, p in parameters.items() if p.grad.any()} == hear


def clusters(n=120):
    """Two kinds of images, 20 bits that are mostly 0 or mostly 1."""
    rng, y = np.random.default_rng(4), np.arange(n) % 2
    x = (rng.random((n, 20)) < np.where(y == 1, 0.8, 0.2)[:, None]).astype(np.float32)
    return Batch(x=x, y=y)


def test_ten_labels_are_enough_for_two_clusters():
    """One of the first epochs errs where the labels alone leave it; the images without labels do the rest."""
    data, wrong = clusters(), []
    told = HiddenLabels(10).ask(data)
    model = M2Config(20, 2, (16,), 1).build(images=told.x, labelled_share=10 / 120, label_weight=1.0,
                                            optimizer=Adam(1e-2))
    history = fit(model, told, epochs=30, batch_size=30, progress=False, threads=1,
                  callback=lambda record, model: wrong.append(np.mean(model.classify(data.x) != data.y)))
    assert wrong[3] > 0.05
    assert wrong[-1] <= 0.02
    assert history[-1]["train_elbo"] > history[0]["train_elbo"]
    assert history[-1]["train_elbo"] == pytest.approx(-(history[-1]["train_nll"] + history[-1]["train_kl"]), rel=1e-5)
    drawn = model.sample(20, np.random.default_rng(0))
    assert drawn[1::2].mean() > drawn[::2].mean() + 0.3              # the classes in turn


@pytest.mark.parametrize("build", [
    lambda: M2Config(784, hidden=(16,), latents=3).build(labelled_share=0.2, optimizer=Adam(2e-3)),
    lambda: M1M2Config(784, hidden=(16,), latents=3, m1_latents=4).build(labelled_share=0.2, m1_steps=4)],
    ids=["M2", "M1+M2"])
def test_threads_and_a_stop_change_nothing(build, tmp_path):
    part = load("digits").part("train")[:80]
    part = part.but(x=(part.x > 0.5).astype(np.float32))
    told, judged = HiddenLabels(20).ask(part), HiddenLabels.judge(part)

    def trained(epochs, threads=1, **how):
        model = build()
        return model, fit(model, told, valid=judged, epochs=epochs, batch_size=20, progress=False, threads=threads,
                          **how)

    whole, history = trained(3)
    trained(1, run=tmp_path / "run")
    resumed, again = trained(3, run=tmp_path / "run", resume=True)
    assert state(resumed) == state(whole)
    assert [r["valid_elbo"] for r in again] == [r["valid_elbo"] for r in history]
    two = trained(3, threads=2)[1][-1]
    assert two["train_elbo"] == pytest.approx(history[-1]["train_elbo"], rel=1e-5)
    assert two["train_cross_entropy"] == pytest.approx(history[-1]["train_cross_entropy"], rel=1e-4)


def test_a_step_holds_the_batch_once_for_each_class():
    """The pixels of C·B rows, and of each a logit, what pulls at it, … : as many numbers, and not as many per layer."""
    model = M2Config(784, 10, (50,)).build()
    x, labels = np.zeros((20, 784), np.float32), np.zeros(20, np.int64)
    batch, rng = Batch(x=x, labelled=x, labels=labels), np.random.default_rng(0)
    model.workers.hire(1)
    model.train_step(batch, rng)                       # the optimizer's moments are made
    with traced_memory() as peak:
        model.train_step(batch, rng)
        held = peak()
    assert 3.0 < held / (10 * x.nbytes) < 8.0


# ── M1 + M2 ───────────────────────────────────────────────────────────────────────────────────


def test_m1_learns_first_and_then_never_again():
    model, rng = m1m2(m1_steps=2), np.random.default_rng(0)
    batch = Batch(x=IMAGES, labelled=IMAGES, labels=LABELS)
    for step in range(4):
        before, terms = state(model), model.train_step(batch, rng)
        moved = {name for name, value in state(model).items() if value != before[name]}
        assert moved == {"m1" if step < 2 else "m2"}
        assert terms["elbo"] == pytest.approx(-(terms["nll"] + terms["kl"]))
        assert (terms["cross_entropy"] == 0.0) == (step < 2)
    assert not model.networks["m1"].arena.grad.any()


def test_m1_alone_is_a_vae():
    model, vae = m1m2(), VAEConfig(X, (4,), 2, "tanh").build(dtype=float)
    for name, p in vae.parameters().items():
        p.value[...] = model.parameters()[f"m1_{name}"].value
    expected, _ = vae.elbo_terms(x=IMAGES, eps=EPS[:1])
    np.testing.assert_allclose(model.m1_terms(x=IMAGES, eps=EPS[0])[0], expected, rtol=1e-12)


def test_the_bound_of_both_is_that_of_m2_on_the_latents_of_m1():
    model = m1m2()
    nll, kl = model.terms(Batch(x=IMAGES), np.random.default_rng(5))
    rng = np.random.default_rng(5)
    mean, logvar = model.codes(IMAGES)
    z = mean + np.exp(0.5 * logvar) * rng.standard_normal((B, 2))
    inner = sum(model.unlabelled_terms(x=z, eps=rng.standard_normal((C, B, Z)))[0])
    log_q = stats.norm.logpdf(z, mean, np.exp(0.5 * logvar)).sum(axis=1)
    np.testing.assert_allclose(nll, bernoulli_nll(model.m1_decoder(z)[0], x=IMAGES)[0], rtol=1e-12)
    np.testing.assert_allclose(kl, log_q + inner, rtol=1e-10)


def test_the_weights_of_both_estimate_a_probability():
    """Σₓ p(x) = 1 over all images, and the bound lies below log p(x)."""
    model, rng = m1m2(by=0.1), np.random.default_rng(6)
    all_images = np.array([[a, b, c, d] for a in (0, 1) for b in (0, 1) for c in (0, 1) for d in (0, 1)], dtype=float)
    weights = model.log_weights(Batch(x=all_images), rng, samples=10_000)
    log_p = special.logsumexp(weights, axis=0) - np.log(10_000)
    assert np.exp(log_p).sum() == pytest.approx(1.0, abs=0.03)
    bound = -sum(model.terms(Batch(x=np.tile(all_images, (2000, 1))), rng)).reshape(2000, 16).mean(axis=0)
    assert (bound < log_p + 0.02).all()


# ── predictions ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("model", [m2(), m1m2()], ids=["M2", "M1+M2"])
def test_predictions_fit_together(model):
    log_q, guess = model.class_log_prob(IMAGES), model.classify(IMAGES)
    np.testing.assert_allclose(np.exp(log_q).sum(axis=1), 1.0)
    assert np.array_equal(guess, log_q.argmax(axis=1))
    found = model.analogies(IMAGES)
    assert found.shape == (B, C, X)
    np.testing.assert_allclose(found[np.arange(B), LABELS], model.decode(model.encode(IMAGES, guess)[0], LABELS))
    assert model.sample(7, np.random.default_rng(0)).shape == (7, X)
    assert model.reconstruct(Batch(x=IMAGES), np.random.default_rng(0)).shape == (B, X)


def test_labels_are_hidden_and_come_round():
    part = load("digits").part("train")[:500]
    hide = HiddenLabels(20, seed=3)
    kept, told = hide.kept(part), hide.ask(part)
    assert np.array_equal(np.bincount(part.y[kept]), np.full(10, 2))
    assert len(told) == 480
    shown = {row.tobytes() for row in part.x[kept]}
    assert {row.tobytes() for row in told.labelled} == shown
    assert not {row.tobytes() for row in told.x} & shown
    assert np.array_equal(np.bincount(told.labels), np.full(10, 48))
    right = {row.tobytes(): label for row, label in zip(part.x, part.y)}
    assert all(right[row.tobytes()] == label for row, label in zip(told.labelled, told.labels))
    assert not np.array_equal(hide.kept(part), HiddenLabels(20, seed=4).kept(part))
    judged = hide.judge(part)
    assert np.array_equal(judged.x, part.x)
    assert np.array_equal(judged.labels, part.y)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"class_prior: got \(0.5, 0.6\), expected 2 numbers > 0 that add up to 1"):
        m2(classes=2, class_prior=(0.5, 0.6))
    with pytest.raises(ValueError, match=r"labelled_share, label_weight: got \(1.5, 0.1\)"):
        m2(labelled_share=1.5)
    with pytest.raises(ValueError, match=r"M2 needs labelled and labels"):
        m2().check(IMAGES)
    good = Batch(x=IMAGES, labelled=IMAGES, labels=LABELS)
    m2().check(good)
    with pytest.raises(ValueError, match=r"images.labelled: got float64 \(5, 3\), expected floats \(N, 4\)"):
        m2().check(good.but(labelled=IMAGES[:, :3]), "images")
    with pytest.raises(ValueError, match=r"x.labels: got int64 \(5,\) from 0 to 3, expected .* \(N,\) in 0 … 2"):
        m2().check(good.but(labels=LABELS + (LABELS == 2)))
    with pytest.raises(ValueError, match="pixels lie in"):
        m1m2().check(good.but(x=2.0 * IMAGES))
    with pytest.raises(ValueError, match="likelihood: got 'gaussian_optimal'"):
        M2Config(4, likelihood="gaussian_optimal").build()
    with pytest.raises(ValueError, match="classes: got 0, expected at least 1"):
        M2Config(4, classes=0).build()
    few = Batch(x=IMAGES, y=LABELS)
    with pytest.raises(ValueError, match=r"labels: got 5 of 5 images, expected some left without a label"):
        HiddenLabels(5).ask(few)
    with pytest.raises(ValueError, match=r"count: got 4, expected a multiple of 3"):
        HiddenLabels(4).ask(few)


# ── an independent judge ──────────────────────────────────────────────────────────────────────


@pytest.mark.peers
def test_pytorch_finds_the_same_values_and_gradients():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch = pytest.importorskip("torch")
        from torch.distributions import Bernoulli, Categorical, Independent, Normal, kl_divergence
    model = m2()
    theirs = {name: torch.tensor(p.value, requires_grad=True) for name, p in model.arena.parameters.items()}

    def dense(name, h):
        return h @ theirs[f"{name}.W"] + theirs[f"{name}.b"]

    x, eps, log_prior = (torch.tensor(a) for a in (IMAGES, EPS, np.log(UNEVEN)))

    def terms(y, noise):
        """nll and kl of one class for all images, without log p(y)"""
        told = torch.nn.functional.one_hot(y, C).double()
        h = torch.tanh(dense("encoder.image", x) + told @ theirs["encoder.V"])
        q = Independent(Normal(dense("encoder.mean", h), torch.exp(0.5 * dense("encoder.logvar", h))), 1)
        code = torch.cat([q.mean + q.stddev * noise, told], 1)
        p = Independent(Bernoulli(logits=dense("decoder.2", torch.tanh(dense("decoder.0", code)))), 1)
        p_z = Independent(Normal(torch.zeros(B, Z).double(), torch.ones(B, Z).double()), 1)
        return -p.log_prob(x), kl_divergence(q, p_z)

    q_y = Categorical(logits=dense("classifier.2", torch.tanh(dense("classifier.0", x))))
    each = [terms(torch.full((B,), y), eps[y]) for y in range(C)]
    nll = sum(q_y.probs[:, y] * each[y][0] for y in range(C))
    kl = sum(q_y.probs[:, y] * (each[y][1] - log_prior[y]) for y in range(C)) - q_y.entropy()
    labels = torch.tensor(LABELS)
    nll_l, kl_l = terms(labels, eps[0])
    everything = (nll, kl, nll_l, kl_l - log_prior[labels], -q_y.log_prob(labels))
    weights = RNG.standard_normal((5, B))
    sum((torch.tensor(w) * term).sum() for w, term in zip(weights, everything)).backward()

    (ours, pull), (ours_l, pull_l), (ours_c, pull_c) = (
        model.unlabelled_terms(x=IMAGES, eps=EPS), model.labelled_terms(x=IMAGES, labels=LABELS, eps=EPS[0]),
        model.class_nll(x=IMAGES, labels=LABELS))
    for value, other in zip((*ours, *ours_l, ours_c), everything):
        np.testing.assert_allclose(value, other.detach().numpy(), rtol=1e-10, atol=1e-12)
    gradient(model, (pull, *weights[:2]), (pull_l, *weights[2:4]), (pull_c, weights[4]))
    for name, parameter in model.arena.parameters.items():
        np.testing.assert_allclose(parameter.grad, theirs[name].grad.numpy(), rtol=1e-10, atol=1e-12, err_msg=name)
