"""VQ-VAE-2: what the bound is, who hears what, words from the data, PyTorch."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from minivae.data import load
from minivae.nn import MovingAverage
from minivae.parts import perplexity
from minivae.training import fit
from minivae.variants import VQVAEConfig

RNG = np.random.default_rng(0)
X = 1.0 * (RNG.random((6, 64)) < 0.5)


def small(levels=2, dtype=np.float64, **options):
    sizes = VQVAEConfig(8, 8, 1, levels, 4, 2, 3, prior_channels=2, prior_blocks=1, likelihood="bernoulli")
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


def test_a_stop_changes_nothing(tmp_path):
    x = load("digits").train[:60]

    def trained(epochs, **how):
        model = VQVAEConfig(codes=8, dimensions=4, filters=4, prior_channels=4, prior_blocks=1).build(
            images=x, first_steps=4)
        return model, fit(model, x, valid=x, epochs=epochs, batch_size=20, progress=False, threads=1, **how)

    whole, history = trained(3)
    trained(1, run=tmp_path / "run")
    resumed, again = trained(3, run=tmp_path / "run", resume=True)
    assert state(resumed) == state(whole)
    assert [r["valid_elbo"] for r in again] == [r["valid_elbo"] for r in history]


def test_threads_share_a_batch():
    models = [small(first_steps=25) for _ in range(2)]
    x = 1.0 * (RNG.random((40, 64)) < 0.5)
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
