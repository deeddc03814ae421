"""The explorer with convolutions, mixtures as priors and pixels in other units; its JavaScript is run by node."""

import json
import shutil
import subprocess

import numpy as np
import pytest
from browser import browser, opened  # noqa: F401 - fixtures
from coloured import shapes
from test_explorer import LABELS, small, unpacked
from test_explorer import X as IMAGES

from minivae import ops
from minivae.backend import device
from minivae.distributions import gaussian_kl_by_latent
from minivae.explorer import explorer, export, quantise
from minivae.explorer.export import TOLERANCE
from minivae.explorer.prior import prior_of
from minivae.explorer.rows import as_rows
from minivae.nn import Activation, BatchNorm, Conv2d, ConvTranspose2d, Linear, Reshape, Sequential
from minivae.parts import Bernoulli, GaussianFixed, GaussianMixture, Likelihood, Prior
from minivae.training import fit
from minivae.vae import VAE, Encoder
from minivae.variants import ConvVAEConfig

F = np.float32


@pytest.fixture(scope="module")
def node():
    """node(text, expression): what an expression of `spec`, `found` and the functions of the page's scripts gives."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("no node is installed to run the page's scripts; the tests in a browser run them too")
    scripts = "\n".join(map(export._read, ("steps.js", "decoder.js", "prior.js")))

    def run(text, expression):
        spec, data = (text.split(f'id="{name}">')[1].split("</script>")[0] for name in ("spec", "data"))
        code = (f"{scripts}\nconst spec = {spec};\nunpack({json.dumps(data)}, spec.parts)"
                f".then(found => console.log(JSON.stringify({expression})));")
        done = subprocess.run([path, "--random-seed=1", "-"], input=code, capture_output=True, timeout=60, check=False,
                              encoding="utf-8")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


DIFFERENCE = "new Decoder(spec, found).largestDifference(found.z, found.images)"


def lively(model):
    """The untrained model with larger weights, so that its images differ, and moments that are not 0 and 1."""
    rng = np.random.default_rng(1)
    for name, parameter in model.arena.parameters.items():
        if name.startswith("decoder"):
            parameter.value *= 1.5
            if not name.endswith("W"):
                parameter.value += 0.2 * np.abs(rng.standard_normal(parameter.value.shape))
    return model


def model_of(*decoder, pixels, latents=2, likelihood=None):
    """A VAE with this decoder."""
    rng = np.random.default_rng(0)
    encoder = Encoder(Linear(pixels, 8, rng=rng), Linear(8, latents, rng=rng), Linear(8, latents, rng=rng))
    return lively(VAE(encoder, Sequential(*decoder), likelihood or Bernoulli(), pixels=pixels, latents=latents,
                      device=device("cpu")))


def conv(height=8, width=8, channels=1, **more):
    sizes = {"filters": (3, 4), "dense": 6, "latents": 2} | more
    return lively(ConvVAEConfig(height, width, channels, **sizes).build())


def up_and_over():
    """Everything that no decoder of the library has: batch normalisation, upsampling, a convolution, a nested list."""
    rng = np.random.default_rng(2)
    return model_of(Linear(2, 24, rng=rng), BatchNorm(24), Activation(ops.tanh), Reshape(3, 4, 2),
                    Sequential(Activation(ops.upsample, factor=2), Conv2d(2, 5, kernel=3, padding=1, rng=rng)),
                    BatchNorm(5), Activation(ops.leaky_relu, slope=0.3),
                    Conv2d(5, 1, kernel=2, stride=2, padding=1, rng=rng), Reshape(20), pixels=20)


def odd(kernel, stride, padding, extra):
    """A transposed convolution of any shape, from 3×4 pixels."""
    rng, size = np.random.default_rng(3), [stride * (n - 1) + kernel - 2 * padding + extra for n in (3, 4)]
    return model_of(Linear(2, 24, rng=rng), Activation(ops.relu), Reshape(3, 4, 2), Activation(ops.sigmoid),
                    ConvTranspose2d(2, 1, kernel=kernel, stride=stride, padding=padding, extra=extra, rng=rng),
                    Reshape(size[0] * size[1]), pixels=size[0] * size[1]), tuple(size)


CASES = {
    "8×8": lambda: (conv(), (8, 8)), "12×20": lambda: (conv(12, 20), (12, 20)),
    "colour": lambda: (conv(8, 4, 3), (8, 4, 3)),
    "colour, Gaussian": lambda: (conv(8, 4, 3, likelihood="gaussian_pixel"), (8, 4, 3)),
    "colour, logistic": lambda: (conv(8, 4, 3, likelihood="logistic_pixel"), (8, 4, 3)),
    "28×28": lambda: (conv(28, 28, likelihood="gaussian_shared"), (28, 28)),
    "layers": lambda: (up_and_over(), (4, 5)), "kernel 3": lambda: odd(3, 2, 1, 1), "kernel 5": lambda: odd(5, 3, 2, 2),
    "gaps": lambda: odd(2, 3, 0, 0), "stride 1": lambda: odd(3, 1, 0, 0), "cut off": lambda: odd(4, 2, 2, 0),
}


@pytest.mark.parametrize("case", CASES)
def test_node_computes_what_the_library_does(node, case):
    model, shape = CASES[case]()
    text = explorer(model, None, None, shape, title=case)
    spec, arrays = unpacked(text)
    images, z = arrays["images"].reshape(4, -1), arrays["z"].reshape(4, -1)
    np.testing.assert_allclose(images, model.decode(z.astype(F)), atol=0.01 * np.ptp(images))      # rounded
    assert 0 < spec["rounding"]["mean"] < TOLERANCE
    assert np.abs(images - images[0]).max() > 0.01
    assert node(text, DIFFERENCE) < 1e-5              # of float32, after some thousand additions


@pytest.mark.parametrize("layer", [
    Conv2d(2, 3, kernel=3, stride=2, padding=1, rng=np.random.default_rng(0)),
    ConvTranspose2d(2, 3, kernel=4, stride=2, padding=1, rng=np.random.default_rng(0)),
    ConvTranspose2d(2, 3, kernel=5, stride=3, padding=2, extra=1, rng=np.random.default_rng(0)),
    ConvTranspose2d(2, 1, kernel=3, rng=np.random.default_rng(0)),
])
def test_a_convolution_is_rows_times_matrices(layer):
    """Every weight is in one matrix, and the products are the layer's outputs, in some order."""
    x = np.random.default_rng(1).standard_normal((5, 6, 5, 2))
    parts, W = list(as_rows(layer, x, x)), layer.W.value.ravel()
    assert sorted(np.concatenate([index.ravel() for _, _, index in parts])) == list(range(W.size))
    found = np.concatenate([(rows @ W[index]).ravel() for rows, _, index in parts])
    np.testing.assert_allclose(np.sort(found), np.sort(layer(x)[0].ravel()), atol=1e-12)


def test_feedback_beats_rounding_for_a_convolution_too():
    chain = conv().decoder.layers
    z = np.random.default_rng(0).standard_normal((600, 2)).astype(F)
    aim = quantise.aim_at(chain, z, np.ones_like)
    layers = quantise.rounded(aim, 0.5)
    nearest = [quantise.Rounded(np.rint(layer.W.value / one.into(layer).W.value.std() / 0.5).astype(np.int32),
                                F(0.5 * one.into(layer).W.value.std()), 0 * one.octaves, layer.b.value)
               for layer, one in zip([layer for layer in chain if hasattr(layer, "W")], layers)]
    off = [np.abs(quantise.chain_of(way, chain)(z)[0] - aim.true[-1]).mean() for way in (layers, nearest)]
    assert off[0] < 0.3 * off[1]


def test_what_moves_no_pixel_gets_the_widest_steps():
    rng = np.random.default_rng(0)
    first, last = Linear(2, 6, rng=rng), Linear(6, 4, rng=rng)
    last.W.value[3] = 0.0                                                      # nobody hears unit 3
    aim = quantise.aim_at([first, Activation(ops.tanh), last], rng.standard_normal((300, 2)), np.ones_like)
    assert aim.octaves[0][3] == quantise.OCTAVES * quantise.PER_OCTAVE
    assert (np.delete(aim.octaves[0], 3) < 12).all()
    assert aim.octaves[0].min() == 0
    assert max(aim.shares) == 1


@pytest.mark.parametrize("numbers", [2**22, pytest.param(export.NUMBERS, marks=pytest.mark.slow)])
def test_the_page_of_a_convolutional_vae_in_colour_is_small(numbers, monkeypatch):
    """The networks that `minivae train --network conv` has for pictures of 32×32: 1,083,392 weights of the decoder.

    With an eighth of the draws to round by, too: it is not they that make the page small, nor the rounding good enough.
    """
    monkeypatch.setattr(export, "NUMBERS", numbers)
    x = (shapes(160, 32)[0] / 255).reshape(160, -1).astype(F)
    model = ConvVAEConfig(32, 32, 3, latents=2).build(images=x)
    fit(model, x, epochs=2, batch_size=32, progress=False)
    text = explorer(model, x, None, (32, 32, 3), title="colours")
    spec, arrays = unpacked(text)
    assert len(text.encode()) < 400_000
    assert spec["rounding"]["mean"] < TOLERANCE
    assert spec["rounding"]["weights"] == 1_083_392
    assert len(arrays["images"]) == 2 * 3072                                   # fewer to check with: they are large


def test_a_page_is_no_larger_than_it_may_be(monkeypatch):
    monkeypatch.setattr(export, "NUMBERS", 2**20)      # of draws to round by; it is the size that is looked at
    model = conv(28, 28, filters=(4, 8), dense=32)
    large = len(explorer(model, None, None, (28, 28), title="").encode())
    monkeypatch.setattr(export, "PAGE", large - 8000)
    text = explorer(model, None, None, (28, 28), title="")
    assert large - 16_000 < len(text.encode()) < large - 7500
    assert unpacked(text)[0]["rounding"]["mean"] < TOLERANCE


# ── the prior ─────────────────────────────────────────────────────────────────────────────────────

PI = [0.6, 0.399, 0.001]
MEAN = [[4.0, -2.0, 0.0], [8.0, 1.0, 0.0], [99.0, 0.0, 0.0]]
STD = [[0.5, 1, 1], [1, 2, 1], [1, 1, 1]]


def mixture(logits, mean, logvar):
    prior = GaussianMixture(np.shape(mean)[1], len(logits), rng=np.random.default_rng(0))
    for parameter, value in ((prior.logits, logits), (prior.mean, mean), (prior.logvar, logvar)):
        parameter.value[...] = value
    return prior


def mixed():
    """A model with three components in its prior, one of which is hardly ever drawn."""
    model = small()
    model.prior = mixture(np.log(PI) + 7, MEAN, 2 * np.log(STD))
    return model


def test_a_mixture_is_in_the_page():
    spec, arrays = unpacked(explorer(mixed(), IMAGES, LABELS, (5, 4), title=""))
    np.testing.assert_allclose(arrays["pi"], PI, rtol=1e-5)
    np.testing.assert_allclose(arrays["means"].reshape(3, 3), MEAN)
    np.testing.assert_allclose(arrays["stds"].reshape(3, 3), STD, rtol=1e-6)
    np.testing.assert_allclose([spec["prior"]["low"], spec["prior"]["high"]], [[2.5, -5, -3], [11, 7, 3]], rtol=1e-6)
    np.testing.assert_allclose(spec["prior"]["mean"], np.array(PI) @ MEAN, rtol=1e-5)
    np.testing.assert_allclose(arrays["z"][:3], spec["prior"]["mean"], rtol=1e-6)         # where the page is checked
    assert len(spec["kl"]) == 3


def test_without_a_prior_of_its_own_it_is_the_standard_normal():
    plain, standard = small(), small()
    standard.prior = Prior()
    pages = [explorer(model, IMAGES, LABELS, (5, 4), title="") for model in (plain, standard)]
    assert pages[0] == pages[1]
    assert unpacked(pages[0])[0]["prior"] is None
    low, high = prior_of(plain).extent()
    assert (low == -3).all()
    assert (high == 3).all()


def test_draws_of_a_mixture_have_its_moments():
    prior, share = prior_of(mixed()), np.array(PI)
    z = prior.draw(40_000, np.random.default_rng(0))
    mean = share @ MEAN
    var = share @ (np.square(STD) + np.square(MEAN)) - mean**2
    np.testing.assert_allclose(z.mean(axis=0), mean, atol=5 * np.sqrt(var / len(z)).max())
    np.testing.assert_allclose(z[:, 1:].var(axis=0), var[1:], rtol=0.05)


def test_nats_of_a_latent_against_one_component_are_the_closed_form():
    model, rng = small(), np.random.default_rng(0)
    model.prior = mixture([0.3, 0.3], np.zeros((2, 3)), np.zeros((2, 3)))
    mean, logvar = rng.standard_normal((20_000, 3)), rng.standard_normal((20_000, 3)) - 1
    found = prior_of(model).nats_by_latent(mean, logvar, rng).mean(axis=0)
    np.testing.assert_allclose(found, gaussian_kl_by_latent(mean, logvar)[0].mean(axis=0), atol=0.03)


def test_node_draws_from_the_prior(node):
    text = explorer(mixed(), None, None, (5, 4), title="")
    z = np.array(node(text, "Array.from({length: 4000}, () => [...drawFrom(priorOf(spec, found))])"))
    left = z[:, 0] < 5.5                       # 3 deviations from the left one's mean, 2.5 from the right one's
    assert abs(left.mean() - 0.6) < 0.05
    np.testing.assert_allclose(z[left].mean(axis=0), MEAN[0], atol=0.15)
    np.testing.assert_allclose(z[left, 1:].std(axis=0), STD[0][1:], atol=0.1)
    plain = explorer(small(), None, None, (5, 4), title="")
    z = np.array(node(plain, "Array.from({length: 4000}, () => [...drawFrom(priorOf(spec, found))])"))
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=0.08)
    np.testing.assert_allclose(z.std(axis=0), 1, atol=0.06)
    assert node(plain, "[middleOf, unitOf].map(f => f(priorOf(spec, found), 2))") == [0, 1]


# ── pixels in other units ─────────────────────────────────────────────────────────────────────────


class Scaled(Likelihood):
    """Pixels 0 … 255 for a likelihood of pixels 0 … 1."""

    def __init__(self, inner, bend=False):
        self.unit, self.bend = inner, bend

    def mean(self, outputs):
        mean = 255 * self.unit.mean(outputs) + 3
        return mean**2 if self.bend else mean


def test_pixels_in_other_units_become_ink(node):
    plain = small()
    model = small()
    model.likelihood = Scaled(Bernoulli())
    text = explorer(model, None, None, (5, 4), title="", low=3, high=258)
    there, here = unpacked(explorer(plain, None, None, (5, 4), title=""))[1], unpacked(text)[1]
    np.testing.assert_allclose(here["images"], there["images"], atol=1e-4)
    assert node(text, DIFFERENCE) < 2e-6


def test_a_gaussian_of_grey_levels(node):
    model = small(likelihood="gaussian_fixed")
    model.decoder.layers[-1].W.value *= 100
    text = explorer(model, None, None, (5, 4), title="", low=-50, high=150)
    spec, arrays = unpacked(text)
    outputs = model.decode(arrays["z"].reshape(4, 3))
    np.testing.assert_allclose(arrays["images"].reshape(4, 20), (outputs + 50) / 200, atol=0.02)
    assert spec["rounding"]["mean"] < TOLERANCE
    assert node(text, DIFFERENCE) < 2e-6


def test_a_likelihood_that_bends_another_is_refused():
    model = small()
    model.likelihood = Scaled(GaussianFixed(), bend=True)
    with pytest.raises(ValueError, match="does not know the mean of a Scaled: it is not that of the Gauss"):
        explorer(model, None, None, (5, 4), title="")


# ── in a browser ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def shown(opened, tmp_path):  # noqa: F811
    def show(text, **how):
        (tmp_path / "page.html").write_text(text, encoding="utf-8")
        page = opened((tmp_path / "page.html").as_uri(), **how)
        page.wait_for_selector("[data-check=passed]", state="attached")
        page.wait_for_function("() => document.getElementById('readout').children.length === 2")
        return page
    return show


def readout(page):
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return [float(text.split("=")[1].replace("−", "-")) for text in page.locator("#readout span").all_inner_texts()]


@pytest.mark.browser
def test_the_plane_covers_a_mixture(shown):
    page = shown(explorer(mixed(), IMAGES, LABELS, (5, 4), title="mixed"))
    assert "each component" in page.inner_text("#dashed")
    page.select_option("#across", "0")
    page.select_option("#up", "1")
    page.click("#reset")
    np.testing.assert_allclose(readout(page), (np.array(PI) @ MEAN)[:2], atol=0.01)
    box = page.locator("#map").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] - 100, box["y"] - 100, steps=3)
    page.mouse.up()
    left, top = readout(page)
    assert left <= 2.5                                                         # three standard deviations of the first
    assert top >= 7                                                            # and of the second
    page.click("#random")
    assert readout(page) != [left, top]
    assert float(page.get_attribute("#latent-2", "max")) == 4
    assert page.problems == []


@pytest.mark.browser
@pytest.mark.parametrize("case", ["colour", "colour, logistic", "layers"])
def test_images_of_convolutions_are_drawn(shown, case):
    model, shape = CASES[case]()
    page = shown(explorer(model, None, None, shape, title=case), width=360)
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    painted = np.array(page.evaluate("() => { const c = document.getElementById('image'); return "
                                     "[...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]; }"))
    painted = painted.reshape(shape[0], shape[1], 4)
    coloured = np.ptp(painted[..., :3], axis=-1).max() > 10
    assert coloured == case.startswith("colour")
    if coloured:
        z = np.array([readout(page)], F)
        np.testing.assert_allclose(painted[..., :3] / 255, model.decode(z).reshape(shape), atol=0.02)
    assert page.problems == []
