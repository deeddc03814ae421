"""The explorer: what is in its page, how weights are rounded, what is refused, and the page itself in a browser."""

import base64
import html
import json
import os
import re
import zlib
from itertools import pairwise

import numpy as np
import pytest
from browser import browser, opened  # noqa: F401 - fixtures

from minivae import data, ops
from minivae.backend import device
from minivae.cli import main
from minivae.explorer import explorer, quantise
from minivae.explorer.export import AGREE, MARK, TOLERANCE
from minivae.nn import Activation, Layer, Linear, Parameter, Sequential, mlp
from minivae.parts import LIKELIHOODS, POSTERIORS, GaussianPixel
from minivae.runs import BEST, CHECKPOINT
from minivae.variants import DeepLatentConfig, VAEConfig

F = np.float32
RNG = np.random.default_rng(0)
X = np.rint(255 * RNG.random((60, 20), dtype=F)) / F(255)
LABELS = np.arange(60) % 3
ACTIVATIONS = ("relu", "leaky_relu", "elu", "gelu", "tanh", "sigmoid", "softplus")


def small(activation="relu", likelihood="bernoulli", latents=3, images=X):
    """An untrained model of 5×4 images, but for weights that make its images lively."""
    model = VAEConfig(20, (30, 12), latents, activation, likelihood).build(seed=1, images=images)
    for name, parameter in model.arena.parameters.items():
        if name.startswith("decoder") and name.endswith("W"):
            parameter.value *= 2
    return model


def page(model, images=X, labels=LABELS, title="Five by four"):
    return explorer(model, images, labels, (5, 4), title=title)


def unpacked(text):
    """The spec of a page, and its arrays by name."""
    spec = json.loads(re.search(r'<script type="application/json" id="spec">(.*?)</script>', text)[1])
    raw = zlib.decompress(base64.b64decode(re.search(r'id="data">(.*?)</script>', text)[1]))
    arrays = {}
    for part in spec["parts"]:
        at, n, half = part["at"], part["count"], (part["count"] + 1) // 2
        if part["kind"] == "float32":
            arrays[part["name"]], size = np.frombuffer(raw, "<f4", n, at), 4 * n
        elif part["kind"] == "pairs":
            low = np.frombuffer(raw, np.uint8, half, at).astype(int)
            low, high, size = np.stack([low & 15, low >> 4], axis=1).ravel()[:n], 16, half + n
        else:
            low, high, size = np.frombuffer(raw, np.uint8, n, at).astype(int), 256, 2 * n
        if part["kind"] == "float32":
            continue
        folded = low + high * np.frombuffer(raw, np.uint8, n, at + size - n).astype(int)
        arrays[part["name"]] = np.where(folded % 2, -(folded + 1) // 2, folded // 2)
    assert at + size == len(raw)
    return spec, arrays


def decoded(model, text):
    """The images that the page's weights give for its latents, by the library's own layers."""
    spec, arrays = unpacked(text)
    chain = []
    for i, (layer, said) in enumerate(zip(model.decoder.layers, spec["steps"])):
        if f"W{i}" in arrays:
            W, octaves = arrays[f"W{i}"].reshape(-1), arrays[f"octaves{i}"]
            shape = (*layer.W.value.shape[:-1], -1) if isinstance(layer, Linear) else layer.W.value.shape
            layer = quantise.Rounded(W.reshape(shape), F(said["step"]), octaves, arrays[f"b{i}"]).into(layer)
        chain.append(layer)
    outputs = Sequential(*chain)(arrays["z"].reshape(-1, spec["latents"]).astype(np.float64))[0]
    return outputs if isinstance(model.likelihood, GaussianPixel) else model.likelihood.mean(outputs)     # means alone


# ── what is in the page ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("activation", "likelihood"), list(zip(ACTIVATIONS, LIKELIHOODS)))
def test_the_page_holds_the_decoder_rounded(activation, likelihood):
    model = small(activation, likelihood)
    text = page(model)
    spec, arrays = unpacked(text)
    images = arrays["images"].reshape(-1, 20)
    assert len(images) == 4
    np.testing.assert_allclose(decoded(model, text), images, atol=1e-6)
    exact = model.decode(arrays["z"].reshape(-1, 3))
    assert 0 < np.abs(images - exact).mean() < 3 * TOLERANCE
    assert 0 < spec["rounding"]["mean"] < TOLERANCE
    assert np.abs(images - images[0]).max() > 0.05                             # they are not all the same


def test_the_page_says_where_images_lie():
    model = small()
    spec, arrays = unpacked(page(model))
    mean, logvar = model.encode(X)
    np.testing.assert_allclose(arrays["codes"].reshape(60, 3) / spec["per_unit"], mean, atol=0.5 / 64 + 1e-6)
    assert arrays["labels"].tolist() == LABELS.tolist()
    assert spec["classes"] == ["0", "1", "2"]
    kl = 0.5 * (mean**2 + np.exp(logvar) - logvar - 1).mean(axis=0)
    np.testing.assert_allclose(spec["kl"], kl, atol=1e-3)
    assert spec["plane"] == sorted(np.argsort(-kl)[:2].tolist())


def test_a_page_without_labels_and_one_without_images():
    spec, _ = unpacked(page(small(), labels=None))
    assert (spec["points"], spec["classes"], len(spec["colours"])) == (60, [], 1)
    spec, arrays = unpacked(page(small(), images=None, labels=None))
    assert (spec["points"], spec["kl"], spec["plane"]) == (0, None, [0, 1])
    assert "codes" not in arrays


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_any_posterior_will_do(posterior):
    model = VAEConfig(20, (30,), 3, "tanh", "bernoulli", posterior).build(seed=1, images=X)
    text = page(model)
    np.testing.assert_allclose(decoded(model, text), unpacked(text)[1]["images"].reshape(-1, 20), atol=1e-6)


def test_the_same_model_gives_the_same_page_and_is_left_as_it_was():
    model = small("tanh", "logistic_shared")
    before = model.arena.value.copy()
    assert page(model) == page(model)
    assert (model.arena.value == before).all()


@pytest.mark.parametrize("likelihood", ["bernoulli", "logistic_shared"])
def test_a_model_on_a_gpu_gives_the_same_page(cupy_standin, likelihood):
    config = VAEConfig(20, (30,), 2, "relu", likelihood)
    one, other = (config.build(seed=1, on=device(name)) for name in ("cpu", "cuda"))
    assert unpacked(page(one))[0]["steps"] == unpacked(page(other))[0]["steps"]
    for (name, here), there in zip(unpacked(page(one))[1].items(), unpacked(page(other))[1].values()):
        np.testing.assert_allclose(here, there, atol=1.0 if name == "codes" else 1e-6)       # codes may round otherwise


def test_nothing_in_a_page_would_be_fetched():
    text = page(small(), title='</title><script src="http://a.org">&')
    code = re.sub(r'id="data">[^<]*', "", text)
    fetching = r"https?:|//[a-z]+\.|\bsrc=|url\(|@import|fetch\(|XMLHttpRequest|WebSocket|import\(|sendBeacon"
    assert not re.search(fetching, code.replace("http://a.org", "").replace("script src=", ""))
    assert re.findall(r'href="([^"]*)"', code) == ["data:,"]
    assert "default-src 'none'" in code
    assert "<title>&lt;/title&gt;&lt;script src=&quot;" in code
    assert code.count("</script>") == 4                # theme, spec, data, the page: none is the title's
    assert "{{" not in code


def test_the_page_of_chapter_10_is_small():
    digits = data.load("digits")
    model = VAEConfig(784, (500, 250), 2).build(images=digits.train)
    text = explorer(model, digits.test, digits.test_labels, (28, 28), title="The size of chapter 10's")
    assert len(text.encode()) < 400_000
    assert unpacked(text)[0]["rounding"]["mean"] < TOLERANCE


# ── rounding ──────────────────────────────────────────────────────────────────────────────────────


def sheet(n=800, units=40):
    """Activations on a sheet of two dimensions, with a last column of ones, and weights."""
    z = RNG.standard_normal((n, 2))
    x = np.tanh(z @ RNG.standard_normal((2, units)) + RNG.standard_normal(units))
    return np.concatenate([x, np.ones((n, 1))], axis=1), RNG.standard_normal((units + 1, 30))


def test_the_last_row_makes_good_what_is_left():
    """Of the real-valued rows only the bias is not rounded: given the others it must be where the error is least."""
    x, W = sheet()
    fineness = 0.25
    [whole], step, b = quantise.with_feedback([(x, x @ W)], fineness=fineness)
    residual = x @ W - x[:, :-1] @ (step * whole)
    ridge = quantise.RIDGE * fineness**2 * (x**2).mean()
    np.testing.assert_allclose(b * (1 + ridge), residual.mean(axis=0), atol=1e-5)
    assert np.abs(whole).max() < 100                                           # that is: it is coarse


def test_feedback_beats_rounding():
    x, W = sheet()
    [whole], step, b = quantise.with_feedback([(x, x @ W)], fineness=0.25)
    off = np.abs(x[:, :-1] @ (step * whole) + b - x @ W).mean()
    rounded = np.concatenate([step * np.rint(W[:-1] / step), W[-1:]])
    assert off < 0.2 * np.abs(x @ rounded - x @ W).mean()


def test_the_finer_the_step_the_closer():
    rng, z = np.random.default_rng(3), RNG.standard_normal((500, 3)).astype(F)
    chain = mlp(3, 30, 20, 10, rng=rng, activation="relu").layers
    for layer in chain[::2]:
        layer.W.value, layer.b.value = layer.W.value.astype(F), RNG.standard_normal(layer.b.value.shape).astype(F)
    wanted = Sequential(*chain)(z)[0]
    aim = quantise.aim_at(chain, z, np.ones_like)
    off = [np.abs(quantise.chain_of(quantise.rounded(aim, fineness), chain)(z)[0] - wanted).mean()
           for fineness in (2**-1, 2**-3, 2**-5, 2**-7)]
    assert all(fine < 0.5 * coarse for coarse, fine in pairwise(off))


def test_as_fine_as_the_budget_allows_and_finer_where_the_error_asks_for_it():
    z = RNG.standard_normal((500, 3)).astype(F)
    chain = mlp(3, 30, 20, rng=np.random.default_rng(3), activation="relu").layers
    for layer in chain[::2]:
        layer.W.value = layer.W.value.astype(F)
    wanted = Sequential(*chain)(z)[0]

    def error(layers):
        return float(np.abs(quantise.chain_of(layers, chain)(z)[0] - wanted).mean())

    def size(layers):
        return sum(int(np.ptp(layer.whole)) for layer in layers)               # finer steps, larger numbers

    aim = quantise.aim_at(chain, z, np.ones_like)
    coarse, middle, fine = (quantise.rounded(aim, quantise.COARSEST * quantise.FINER**k) for k in (8, 16, 20))
    found = quantise.fitting(aim, error=error, tolerance=np.inf, size=size, budget=size(middle))
    assert (found[-1].whole == middle[-1].whole).all()
    assert error(found) < error(coarse)
    found = quantise.fitting(aim, error=error, tolerance=error(fine), size=size, budget=0)
    assert (found[-1].whole == fine[-1].whole).all(), "too large, but the coarser ones are not good enough"
    found = quantise.fitting(aim, error=error, tolerance=np.inf, size=size, budget=10**9)
    assert (found[-1].whole == quantise.rounded(aim, quantise.FINEST)[-1].whole).all()
    assert found[-1].whole.dtype == np.int32


def test_a_decoder_of_zeros_stays_zero():
    chain = mlp(2, 5, 4, rng=np.random.default_rng(0)).layers
    for layer in chain[::2]:
        layer.W.value = np.zeros_like(layer.W.value, dtype=F)
    layers = quantise.rounded(quantise.aim_at(chain, RNG.standard_normal((50, 2)).astype(F), np.ones_like), 0.5)
    assert all((layer.whole == 0).all() and np.isfinite(layer.step) for layer in layers)


# ── what is refused ───────────────────────────────────────────────────────────────────────────────


class Learned(Layer):
    """A prior that is no mixture."""

    def __init__(self):
        self.u = Parameter(np.ones(3))


def with_prior(prior):
    model = small()
    model.prior = prior
    return model


def with_decoder(decoder):
    model = small()
    model.decoder = decoder
    return model


def broken():
    model = small()
    model.arena.parameters["decoder.0.W"].value[0, 0] = np.nan
    return model


@pytest.mark.parametrize(("call", "says"), [
    (lambda: page(small(latents=1)), "model: it has 1 latent, expected at least 2"),
    (lambda: explorer(small(), X, LABELS, (5, 5), title=""), r"shape: got 5×5, expected a picture of 20 pixels"),
    (lambda: page(broken()), "model: decoder.0.W holds a NaN or an infinity"),
    (lambda: page(small(), labels=LABELS[:5]), "labels: got 5 for 60 images"),
    (lambda: page(small(), images=X[:, :7]), r"x: got shape \(60, 7\), expected \(N, 20\)"),
    (lambda: explorer(small(), X, LABELS, (20,), title=""), r"shape: got \(20,\), expected \(height, width\)"),
    (lambda: explorer(small(), X, LABELS, (5, 4), title="", low=1.0), "low, high: got 1.0 and 1.0"),
    (lambda: page(DeepLatentConfig(20, (6,), (2, 3)).build(), None, None),
     "its decoder has a layer of type DeepDecoder; the page can run only a Sequential of Linear, Conv2d, ConvTr"),
    (lambda: page(with_decoder(Sequential(Linear(3, 20, rng=RNG), Activation(ops.average_pool, factor=1)))),
     "a layer of type Activation of average_pool; .* with the activations relu, .* and upsample"),
    (lambda: page(with_prior(Learned())), "its prior is a Learned with u; the page can draw only from N"),
])
def test_what_the_page_cannot_do(call, says):
    with pytest.raises(ValueError, match=says):
        call()


# ── the command ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on images of 5×4 in a file of the user's own."""
    folder = tmp_path_factory.mktemp("runs")
    np.savez(folder / "mine.npz", train=X.reshape(-1, 5, 4), test=X[:20].reshape(-1, 5, 4), test_labels=LABELS[:20],
             train_labels=LABELS)
    assert main(["train", "--data", str(folder / "mine.npz"), "--hidden", "6", "--latents", "2", "--epochs", "1",
                 "--out", str(folder / "run"), "--device", "cpu"]) == 0
    return folder


@pytest.mark.parametrize("file", ["", CHECKPOINT, BEST])
def test_the_command_writes_a_page(trained, tmp_path, capsys, file):
    out = tmp_path / "new" / "page.html"
    assert main(["explore", str(trained / "run" / file), "-o", str(out)]) == 0
    assert re.search(rf"{out}, \d+ kB\n", capsys.readouterr().out)
    spec, _ = unpacked(out.read_text(encoding="utf-8"))
    assert (spec["shape"], spec["points"], spec["title"]) == ([5, 4], 20, "Mine, 2 latents")
    assert [path.name for path in out.parent.iterdir()] == ["page.html"]


def without_data(trained, tmp_path, **changes):
    """The run, with the data set or more of its recipe changed."""
    run = tmp_path / "run"
    run.mkdir()
    (run / CHECKPOINT).write_bytes((trained / "run" / CHECKPOINT).read_bytes())
    config = json.loads((trained / "run" / "config.json").read_text(encoding="utf-8"))
    (run / "config.json").write_text(json.dumps(config | changes), encoding="utf-8")
    return run


def test_without_its_data_set_a_page_has_no_test_images(trained, tmp_path, capsys):
    run, out = without_data(trained, tmp_path, data=str(tmp_path / "gone.npz")), tmp_path / "page.html"
    assert main(["explore", str(run), "-o", str(out)]) == 2
    assert "gone.npz is not here to say how its 20 pixels lie; give --shape" in capsys.readouterr().err
    assert main(["explore", str(run), "-o", str(out), "--shape", "5", "4"]) == 0
    assert re.search(r"page.html, \d+ kB; without test images: .*gone.npz", capsys.readouterr().out)
    assert unpacked(out.read_text(encoding="utf-8"))[0]["points"] == 0


@pytest.mark.parametrize(("change", "says"), [
    ({"data": "nothing_of_that_name"}, "nothing_of_that_name"), ({"hidden": [7]}, "holds another model"),
    ({"latents": 1}, "holds another model"), ({"likelihood": "nonsense"}, "likelihood: got 'nonsense'")])
def test_a_run_that_cannot_be_explored(trained, tmp_path, capsys, change, says):
    assert main(["explore", str(without_data(trained, tmp_path, **change)), "-o", str(tmp_path / "page.html")]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert "Traceback" not in err
    assert not (tmp_path / "page.html").exists()


def test_no_such_run(tmp_path, capsys):
    assert main(["explore", str(tmp_path / "no")]) == 2
    assert "no: no such run folder or checkpoint" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["explore", str(tmp_path / "empty")]) == 2
    assert "is not a run folder" in capsys.readouterr().err


def test_only_a_page_of_ours_is_replaced(trained, tmp_path, capsys, monkeypatch):
    out, command = tmp_path / "page.html", ["explore", str(trained / "run"), "-o", str(tmp_path / "page.html")]
    out.write_text("a letter", encoding="utf-8")
    assert main(command) == 2
    assert "exists already and is no page of `minivae explore`" in capsys.readouterr().err
    assert out.read_text(encoding="utf-8") == "a letter"
    out.write_text(MARK, encoding="utf-8")
    assert main(command) == 0
    whole = out.read_text(encoding="utf-8")

    def full(*paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert main([*command, "--title", "another"]) == 2
    assert out.read_text(encoding="utf-8") == whole
    assert list(tmp_path.iterdir()) == [out]


# ── in a browser ──────────────────────────────────────────────────────────────────────────────────

IMAGE = "() => document.getElementById('image').toDataURL()"
MAP = "() => document.getElementById('map').toDataURL()"
FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
QUIET = "() => new Promise(done => { let n = 60; const f = () => --n ? requestAnimationFrame(f) : done(); f(); })"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The addresses of a page of chapter 10's size, and one of five latents."""
    folder, digits = tmp_path_factory.mktemp("pages"), data.load("digits")
    for name, model in (("flat", VAEConfig(784, (500, 250), 2)), ("five", VAEConfig(784, (60,), 5, "tanh"))):
        text = explorer(model.build(images=digits.train), digits.test, digits.test_labels, (28, 28), title=name)
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {path.stem: path.as_uri() for path in folder.iterdir()}


@pytest.fixture
def ready(opened, pages):  # noqa: F811
    """ready("flat", …): that page, checked and drawn."""
    def open_(name, **how):
        page = opened(pages.get(name, name), **how)
        page.wait_for_selector("[data-check]", state="attached")
        page.evaluate(QUIET)
        return page
    return open_


def z_of(page):
    """The two numbers of the readout."""
    page.evaluate(FRAMES)
    return [float(text.split("=")[1].replace("−", "-")) for text in page.locator("#readout span").all_inner_texts()]


@pytest.mark.browser
@pytest.mark.parametrize(("activation", "likelihood"), list(zip(ACTIVATIONS, LIKELIHOODS)))
def test_javascript_computes_what_the_library_does(ready, tmp_path, activation, likelihood):
    (tmp_path / "page.html").write_text(page(small(activation, likelihood)), encoding="utf-8")
    shown = ready((tmp_path / "page.html").as_uri())
    assert shown.get_attribute("html", "data-check") == "passed", shown.inner_text("#check")
    assert f"differ by at most {AGREE}" not in shown.inner_text("#check")
    assert shown.problems == []


@pytest.mark.browser
def test_the_check_can_fail(ready, tmp_path):
    text = page(small())
    step = re.findall(r'"step":([\d.e-]+)', text)[-1]
    (tmp_path / "page.html").write_text(text.replace(f'"step":{step}', f'"step":{1.01 * float(step)}'),
                                        encoding="utf-8")
    shown = ready((tmp_path / "page.html").as_uri())
    assert shown.get_attribute("html", "data-check") == "failed"
    assert "Check FAILED" in shown.inner_text("#check")


@pytest.mark.browser
def test_a_drag_moves_z_and_the_image(ready):
    page = ready("flat")
    box, seen = page.locator("#map").bounding_box(), [page.evaluate(IMAGE)]
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    for x, y in ((150, 300), (300, 420), (900, -50)):
        page.mouse.move(box["x"] + x, box["y"] + y, steps=3)
        page.evaluate(FRAMES)
        seen.append(page.evaluate(IMAGE))
    page.mouse.up()
    assert len(set(seen)) == 4
    edge = z_of(page)
    assert edge == [abs(edge[0])] * 2                                # it stays on the plane: the upper right corner
    assert edge[0] >= 3
    page.mouse.move(box["x"] + 200, box["y"] + 200)                            # the button is up
    assert z_of(page) == edge
    page.wait_for_function("() => /z₁ = \\d/.test(document.getElementById('status').textContent)")
    assert page.problems == []


@pytest.mark.browser
def test_keys(ready):
    page = ready("flat")
    page.focus("#map")
    page.keyboard.press("Home")
    assert z_of(page) == [0, 0]
    origin = page.evaluate(IMAGE)
    for key, z in (("ArrowRight", [0.1, 0]), ("ArrowUp", [0.1, 0.1]), ("Shift+ArrowLeft", [-0.4, 0.1]),
                   ("Shift+ArrowDown", [-0.4, -0.4])):
        page.keyboard.press(key)
        assert z_of(page) == z
    assert page.evaluate(IMAGE) != origin
    page.keyboard.press("a")
    page.keyboard.press("r")
    drawn = z_of(page)
    assert drawn != [-0.4, -0.4]
    page.keyboard.press("b")
    for i, z in ((0, [-0.4, -0.4]), (8, drawn)):                               # A and B are where they were set
        page.locator("#strip button").nth(i).click()
        assert z_of(page) == z
        assert page.locator("#strip button[aria-current=true]").count() == 1
    assert page.problems == []


@pytest.mark.browser
@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_from_a_to_b(ready, motion):
    page = ready("five", reduced_motion=motion)
    page.fill("#t", "0.5")
    half, image = z_of(page), page.evaluate(IMAGE)
    page.locator("#strip button").nth(4).click()
    assert z_of(page) == half
    assert page.evaluate(IMAGE) == image
    page.click("#play")
    page.wait_for_function("() => Number(document.getElementById('t').value) > 0.55")
    assert page.get_attribute("#play", "aria-pressed") == "true"
    page.click("#play")
    stopped = z_of(page)
    page.wait_for_timeout(100)
    assert z_of(page) == stopped
    assert page.problems == []


@pytest.mark.browser
def test_sliders_and_the_choice_of_the_plane(ready):
    page = ready("five")
    assert page.locator("#sliders input, #more-sliders input").count() == 3
    page.click("#reset")
    page.evaluate(QUIET)
    image, plane = page.evaluate(IMAGE), page.evaluate(MAP)
    slider = page.locator("#sliders input, #more-sliders input").first
    slider.fill("2")
    page.evaluate(QUIET)
    assert page.evaluate(IMAGE) != image
    assert page.evaluate(MAP) != plane                                         # the mosaic is another
    assert z_of(page) == [0, 0]
    latent = slider.get_attribute("id").split("-")[1]
    page.select_option("#across", latent)
    assert z_of(page)[0] == 2                                                  # z is where it was; the plane has turned
    assert page.locator(f"#latent-{latent}").count() == 0
    page.select_option("#up", latent)                                          # the same twice: they change places
    assert page.input_value("#up") == latent
    assert page.input_value("#across") != latent
    page.click("#random")
    assert page.evaluate(IMAGE) != image
    page.click("#reset")
    assert z_of(page) == [0, 0]
    page.evaluate(FRAMES)
    assert page.evaluate(IMAGE) == image
    assert page.problems == []


@pytest.mark.browser
def test_what_the_map_shows(ready):
    page = ready("flat")
    seen = [page.evaluate(MAP)]
    for act in (lambda: page.locator("#legend button").first.click(), lambda: page.uncheck("#show-points"),
                lambda: page.uncheck("#show-images")):
        act()
        page.evaluate(FRAMES)
        seen.append(page.evaluate(MAP))
    assert len(set(seen)) == 4
    assert page.get_attribute("#legend button >> nth=0", "aria-pressed") == "false"
    assert page.locator("#legend button").count() == 10


@pytest.mark.browser
def test_a_page_without_test_images(ready, tmp_path):
    (tmp_path / "page.html").write_text(page(small(), images=None, labels=None), encoding="utf-8")
    shown = ready((tmp_path / "page.html").as_uri())
    assert shown.get_attribute("html", "data-check") == "passed"
    assert not shown.is_visible("#show-points")
    assert shown.locator("#legend button").count() == 0
    assert shown.problems == []


@pytest.mark.browser
@pytest.mark.parametrize("name", ["flat", "five"])
def test_on_a_phone_with_a_finger(ready, name):
    page = ready(name, width=360, height=740, has_touch=True, is_mobile=True, device_scale_factor=3)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate("innerWidth") == 360
    page.locator("#map").scroll_into_view_if_needed()
    box, before, top = page.locator("#map").bounding_box(), page.evaluate(IMAGE), page.evaluate("scrollY")
    finger = page.context.new_cdp_session(page)

    def touch(kind, *points):
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [
            {"x": box["x"] + x, "y": box["y"] + y} for x, y in points]})

    touch("touchStart", (100, 100))
    for y in (120, 160, 220):
        touch("touchMove", (140, y))
    touch("touchEnd")
    page.evaluate(FRAMES)
    assert page.evaluate(IMAGE) != before
    assert page.evaluate("scrollY") == top                                     # the map moved z, not the page
    assert page.evaluate("document.getElementById('map').width") == round(3 * box["width"])
    assert page.problems == []


PAPER = "() => getComputedStyle(document.documentElement).backgroundColor"
CORNER = "() => [...document.getElementById('image').getContext('2d').getImageData(0, 0, 1, 1).data]"


@pytest.mark.browser
def test_light_and_dark(ready):
    page = ready("flat", color_scheme="light")
    light = page.evaluate(PAPER), page.evaluate(CORNER), page.evaluate(MAP)
    page.emulate_media(color_scheme="dark")
    page.evaluate(QUIET)
    dark = page.evaluate(PAPER), page.evaluate(CORNER), page.evaluate(MAP)
    assert all(one != other for one, other in zip(light, dark))
    assert light[0] == "rgb(255, 255, 255)"
    assert sum(dark[1][:3]) < sum(light[1][:3])


@pytest.mark.browser
def test_in_a_book_it_takes_the_books_theme_and_is_as_tall_as_it_needs(opened, tmp_path):  # noqa: F811
    (tmp_path / "book.html").write_text(
        f'<!doctype html><title>book</title><link rel="icon" href="data:,"><body data-theme="dark">'
        f'<iframe srcdoc="{html.escape(page(small()))}" style="width: 100%"></iframe>', encoding="utf-8")
    book = opened((tmp_path / "book.html").as_uri(), color_scheme="light")
    inside = book.frame_locator("iframe")
    inside.locator("[data-check=passed]").wait_for(state="attached")
    inside.locator("[data-theme=dark]").wait_for(state="attached")
    for chosen, shown in (("light", "light"), ("dark", "dark"), ("auto", "light")):
        book.evaluate(f"document.body.dataset.theme = '{chosen}'")
        inside.locator(f"[data-theme={shown}]").wait_for(state="attached")
    assert not inside.locator("h1").is_visible()
    frame = book.frames[1]
    book.wait_for_function("() => document.querySelector('iframe').clientHeight > 500")
    assert frame.evaluate("document.documentElement.scrollHeight <= innerHeight")
    assert book.problems == []


@pytest.mark.browser
def test_a_decode_takes_less_than_5_ms(ready):
    page = ready("flat")
    assert len(page.locator("#time").inner_text()) > 5
    assert 0 < float(page.get_attribute("html", "data-decode-ms")) < 5                       # the median of the last 64
