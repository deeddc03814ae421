"""VQ-VAE-2: what the bound is, who hears what, words from the data, PyTorch."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from minivae.batch import Batch
from minivae.data import load
from minivae.nn import Adam, MovingAverage
from minivae.parts import perplexity
from minivae.training import fit
from minivae.variants import VQVAEConfig

RNG = np.random.default_rng(0)
X = 1.0 * (RNG.random((6, 64)) < 0.5)


def small(levels=2, dtype=np.float64, classes=0, **options):
    sizes = VQVAEConfig(8, 8, 1, levels, 4, 2, 3, prior_channels=2, prior_blocks=1, likelihood="bernoulli",
                        classes=classes)
    return sizes.build(dtype=dtype, **options)


def state(model):
    return {name: network.arena.value.tobytes() for name, network in model.networks.items()}


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_bound_is_what_the_codes_cost_and_what_they_leave(levels):
    model = small(levels)
    codes = model.codes(X)
    assert [c.shape[1:] for c in codes] == [(8 // 2**i,) * 2 for i in range(1, levels + 1)]
    nll, kl = model.terms(X, RNG)
    p = np.clip(model.decode(codes), 1e-12, 1.0 - 1e-12)
    np.testing.assert_allclose(nll, -(X * np.log(p) + (1.0 - X) * np.log1p(-p)).sum(axis=1), rtol=1e-9)
    np.testing.assert_allclose(kl, model.prior_nll(codes=codes)[0], rtol=1e-12)
    model.first_steps = 1                              # the uniform prior, as long as the autoencoder learns
    np.testing.assert_allclose(model.terms(X, RNG)[1], sum(c[0].size for c in codes) * np.log(4.0))
    (first, apart), _ = model.autoencoder_terms(x=X)
    np.testing.assert_allclose(first, nll, rtol=1e-12)
    z, words = model.levels.encode(X.reshape(-1, 8, 8, 1)), [level.codebook.words() for level in model.levels.layers]
    np.testing.assert_allclose(apart, sum(np.square(vectors - e[c]).sum(axis=(1, 2, 3))
                                          for vectors, e, c in zip(z, words, codes)), rtol=1e-12)
    np.testing.assert_array_equal(model.log_weights(X, RNG, 3), np.repeat(model.elbo(X, RNG)[None], 3, axis=0))


def test_the_autoencoder_learns_first_and_hears_no_prior_then_the_priors_alone():
    model, rng, moved = small(first_steps=2), np.random.default_rng(0), []
    for _ in range(4):
        before, terms = state(model), model.train_step(X, rng)
        moved.append({name for name, value in state(model).items() if value != before[name]})
        assert terms["elbo"] == pytest.approx(-(terms["nll"] + terms["kl"]))
    assert moved == [{"vae", "codebooks"}] * 2 + [{"prior_0", "prior_1"}] * 2


def test_the_coarse_words_are_heard_by_the_fine_ones_and_by_the_image():
    model = small()
    before = model.codes(X), model.decode(model.codes(X))
    model.levels.layers[1].codebook.sums.value[...] *= -3.0
    after = model.levels.encode(X.reshape(-1, 8, 8, 1))[0]
    assert not np.array_equal(before[0][0], model.levels.layers[0].codebook.nearest(after))
    assert not np.allclose(before[1], model.decode(before[0]))


def test_words_that_start_at_random_stay_few_and_words_from_the_data_do_not():
    """The famous bug: a codebook drawn from N(0, I), and no word ever drawn again."""
    x = load("digits").train[:128].astype(np.float32)
    used = []
    for restarts in (True, False):
        model = VQVAEConfig(codes=32, dimensions=8, filters=8, levels=1).build(images=x, first_steps=10**6)
        if not restarts:
            model.levels.layers[0].codebook.restart = lambda *args, **how: None
        rng = np.random.default_rng(0)
        for _ in range(30):
            model.train_step(x, rng)
        used.append(perplexity(np.bincount(model.codes(x)[0].ravel(), minlength=32)))
    assert used[0] > 2.0 * used[1]


@pytest.mark.parametrize("classes", [0, 10])
def test_a_stop_changes_nothing(classes, tmp_path):
    digits = load("digits")
    x = Batch(x=digits.train[:60], labels=digits.train_labels[:60])

    def trained(epochs, **how):
        model = VQVAEConfig(codes=8, dimensions=4, filters=4, prior_channels=4, prior_blocks=1, classes=classes).build(
            images=x.x, first_steps=4)
        return model, fit(model, x, valid=x, epochs=epochs, batch_size=20, progress=False, threads=1, **how)

    whole, history = trained(3)
    trained(1, run=tmp_path / "run")
    resumed, again = trained(3, run=tmp_path / "run", resume=True)
    assert state(resumed) == state(whole)
    assert [r["valid_elbo"] for r in again] == [r["valid_elbo"] for r in history]


@pytest.mark.parametrize("classes", [0, 3])
def test_threads_share_a_batch(classes):
    models = [small(first_steps=25, classes=classes) for _ in range(2)]
    x = Batch(x=1.0 * (RNG.random((40, 64)) < 0.5), labels=np.arange(40) % 3)
    for model, threads in zip(models, (1, 2)):
        model.workers.hire(threads)
        rng = np.random.default_rng(0)
        for _ in range(30):
            model.train_step(x, rng)
    one, two = ({name: network.arena.value for name, network in model.networks.items()} for model in models)
    for name in one:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-8, atol=1e-12)


def test_samples_are_images_of_codes_from_the_priors():
    model = small(dtype=np.float32)
    images = model.sample(7, np.random.default_rng(3))
    assert images.shape == (7, 64)
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, model.decode(model.sample_codes(7, np.random.default_rng(3))))


# ── told a class ──────────────────────────────────────────────────────────────────────────────

TOLD = Batch(x=X, labels=np.array([0, 2, 1, 1, 0, 2]))


def of_classes(dtype=np.float64, **options):
    model = small(classes=3, dtype=dtype, **options)
    for prior in model.priors.layers:
        prior.kind.table.value[...] = np.random.default_rng(2).standard_normal(prior.kind.table.value.shape)
    return model


def test_the_autoencoder_is_the_one_that_is_told_no_class_and_hears_of_none():
    one, other, rngs = small(first_steps=3), small(first_steps=3, classes=3), [np.random.default_rng(0) for _ in "ab"]
    for _ in range(3):
        terms = [model.train_step(TOLD, rng) for model, rng in zip((one, other), rngs)]
        assert terms[0] == terms[1]
    for name in ("vae", "codebooks"):
        np.testing.assert_array_equal(one.networks[name].arena.value, other.networks[name].arena.value)


def test_every_level_is_told_and_the_label_costs_log_c():
    model, codes = of_classes(), small().codes(X)
    nll, kl = model.terms(TOLD, RNG)
    above = [codes[1], np.zeros_like(codes[1])]
    costs = [prior(codes=c, above=a, labels=TOLD.labels)[0] for prior, c, a in zip(model.priors.layers, codes, above)]
    np.testing.assert_allclose(kl, sum(costs) + np.log(3.0), rtol=1e-12)
    np.testing.assert_allclose(nll, small().terms(X, RNG)[0], rtol=1e-12)
    for prior in model.priors.layers:
        before = model.terms(TOLD, RNG)[1]
        prior.kind.table.value[...] *= -1.0
        assert not np.isclose(model.terms(TOLD, RNG)[1], before).any()
    terms = of_classes().train_step(TOLD, np.random.default_rng(0))
    assert terms["elbo"] == pytest.approx(of_classes().elbo(TOLD, RNG).mean()), "a step reports the same bound"


def test_samples_are_of_the_class_that_is_asked_for_or_of_all_in_turn():
    model = of_classes(dtype=np.float32)
    for label, labels in ((None, np.arange(7) % 3), (2, np.full(7, 2))):
        drawn = model.sample(7, np.random.default_rng(3), label)
        np.testing.assert_array_equal(drawn, model.decode(model.sample_codes(7, np.random.default_rng(3), labels)))


def test_it_learns_what_a_class_looks_like():
    """Black images and white ones: the word of a place is known from the class alone."""
    x = np.repeat(np.eye(2), 30, axis=0)[:, :1] * np.ones((60, 64))
    data, rng = Batch(x=x, labels=np.repeat([1, 0], 30)), np.random.default_rng(0)
    fast = {"vae": Adam(1e-2), "prior_0": Adam(2e-2), "prior_1": Adam(2e-2)}
    model = VQVAEConfig(8, 8, 1, 2, 4, 2, 4, prior_channels=4, prior_blocks=1, likelihood="bernoulli", classes=2).build(
        dtype=np.float64, first_steps=60, optimizers=fast)
    for _ in range(180):
        model.train_step(data, rng)
    codes = model.codes(x)
    told, lied = (model.prior_nll(codes=codes, labels=labels)[0].mean() for labels in (data.labels, 1 - data.labels))
    assert lied > told + 5.0
    white, black = (model.sample(20, rng, label) for label in (1, 0))
    assert white.mean() > 0.9
    assert black.mean() < 0.1


def test_bad_labels_are_named():
    with pytest.raises(ValueError, match=r"data.labels: got int64 \(6,\) from 0 to 2, expected whole numbers"):
        small(classes=2).check(TOLD, "data")
    with pytest.raises(ValueError, match="VQVAE needs labels"):
        small(classes=3).check(X)
    with pytest.raises(ValueError, match="label: got 3, expected a class from 0 to 2"):
        of_classes().sample(2, RNG, 3)
    with pytest.raises(ValueError, match="label: got 0, expected None: this model's priors are told no class"):
        small().sample(2, RNG, 0)
    with pytest.raises(ValueError, match="classes: got -1, expected at least 0"):
        VQVAEConfig(classes=-1)


def test_its_codebooks_learn_by_moving_averages_unless_told_otherwise():
    assert isinstance(small().networks["codebooks"].optimizer, MovingAverage)


def test_bad_input_is_named():
    for sizes, said in (({"height": 6, "levels": 2}, "height: got 6, expected a multiple of 4, for 2 levels"),
                        ({"codes": 0}, "codes: got 0, expected at least 1"),
                        ({"likelihood": "gaussian_pixel"}, "likelihood: gaussian_pixel wants two numbers per pixel")):
        with pytest.raises(ValueError, match=said):
            VQVAEConfig(**sizes)
    with pytest.raises(ValueError, match=r"x: got shape \(2, 5\), expected \(N, 64\)"):
        small().check(np.zeros((2, 5)))
    with pytest.raises(TypeError, match="x: got int64, expected a float array"):
        small().check(np.zeros((2, 64), int))
    with pytest.raises(ValueError, match=r"images: got shape \(2, 5\), expected \(N, 64\)"):
        small(images=np.zeros((2, 5)))


@pytest.mark.peers
def test_pytorch_finds_the_same_terms_and_gradients():
    """The straight-through estimator as everybody writes it there: z + (e − z).detach()."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch = pytest.importorskip("torch")
    import torch.nn.functional as F
    model = small()
    vae = model.networks["vae"].arena
    theirs = {name: torch.tensor(p.value, requires_grad=True) for name, p in vae.parameters.items()}

    def conv(h, name, transposed=False, **how):
        W, b = theirs[f"{name}.W"].permute(3, 2, 0, 1), theirs[f"{name}.b"]
        return (F.conv_transpose2d if transposed else F.conv2d)(h, W, b, **how)

    def residual(h, name):
        return h + conv(F.relu(conv(F.relu(h), f"{name}.f.1", padding=1)), f"{name}.f.3")

    def quantised(z, book):
        rows = z.permute(0, 2, 3, 1)
        words = torch.tensor(book.words())
        e = words[torch.cdist(rows, words).argmin(dim=-1)]
        return (rows + (e - rows).detach()).permute(0, 3, 1, 2), (rows - e.detach()).square().sum(dim=(1, 2, 3))

    h, pictures, told, apart = torch.tensor(X).reshape(-1, 1, 8, 8), [], torch.zeros(6, 0, 2, 2), 0.0
    for i in range(2):
        h = conv(F.relu(conv(h, f"levels.{i}.down.0", stride=2, padding=1)), f"levels.{i}.down.2", padding=1)
        h = F.relu(residual(h, f"levels.{i}.down.3"))
        pictures.append(h)
    for i in (1, 0):
        z = conv(torch.cat([pictures[i], told], dim=1), f"levels.{i}.to_code")
        e, a = quantised(z, model.levels.layers[i].codebook)
        up = residual(conv(torch.cat([e, told], dim=1), f"levels.{i}.up.0", padding=1), f"levels.{i}.up.1")
        told, apart = conv(F.relu(up), f"levels.{i}.up.3", transposed=True, stride=2, padding=1), apart + a
    nll = F.binary_cross_entropy_with_logits(told.reshape(6, 64), torch.tensor(X), reduction="none").sum(dim=1)
    weights = RNG.standard_normal((2, 6))
    (torch.tensor(weights[0]) @ nll + torch.tensor(weights[1]) @ apart).backward()
    (ours_nll, ours_apart), pullback = model.autoencoder_terms(x=X)
    vae.zero_grad()
    pullback(*weights)
    np.testing.assert_allclose(ours_nll, nll.detach().numpy(), rtol=1e-10)
    np.testing.assert_allclose(ours_apart, apart.detach().numpy(), rtol=1e-10)
    for name, p in vae.parameters.items():
        np.testing.assert_allclose(p.grad, theirs[name].grad.numpy(), rtol=1e-10, atol=1e-10, err_msg=name)
