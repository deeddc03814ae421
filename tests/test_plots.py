"""Pictures: every function returns a labelled figure, pixels land where they belong, files are whole."""

import base64
import os
import re
import struct
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from minivae import plots
from minivae.batch import Batch
from minivae.data import Quadrants
from minivae.variants import CVAEConfig, M2Config, VAEConfig

SHAPE = (4, 3)                                        # height is not width: a swap shows
COLOUR = (2, 2, 3)                                    # as many numbers
RNG = np.random.default_rng(0)
X = RNG.random((30, 12), dtype=np.float32)
HISTORY = [{"epoch": e, **{f"{kind}_{term}": float(e) for kind in ("train", "valid") for term in ("elbo", "nll", "kl")}}
           for e in (1, 2, 3)]


@pytest.fixture(scope="module")
def flat():
    return VAEConfig(12, (5,), 2).build()


def page(fig):
    """The array that is shown."""
    return np.asarray(fig.axes[0].images[0].get_array())


def completed(asked):
    model = CVAEConfig(*asked.sizes, (5,), 2).build()
    return plots.completions(model, asked.ask(Batch(x=X[:3])), asked.whole, asked.shape, draws=4)


MAKERS = {
    "image_grid": lambda model, shape: plots.image_grid(X, shape, title="title"),
    "reconstructions": lambda model, shape: plots.reconstructions(X, X, shape),
    "side_by_side": lambda model, shape: plots.side_by_side([("one", shape, X[:10], X[10:20], X[:4], X[15:19]),
                                                             ("two", (3, 4), X[:10], X[10:20], X[4:8], X[15:19])]),
    "completions": lambda model, shape: completed(Quadrants(shape, 2)),
    "analogies": lambda model, shape: plots.analogies(M2Config(12, 3, (5,), 2).build(), X[:4], shape),
    "manifold": lambda model, shape: plots.manifold(model, shape, size=5),
    "residuals": lambda model, shape: plots.residuals(X[:4], X[1:5], {"drawn": X[2:6]}, SHAPE),
    "numbers": lambda model, shape: plots.numbers(X[:4], [np.arange(8).reshape(4, 1, 2)], X[1:5], shape),
    "atlas": lambda model, shape: plots.atlas([model] * 5, shape, size=3, titles=["title"] * 5),
    "latent_scatter": lambda model, shape: plots.latent_scatter(X[:, :2], np.arange(30) % 3, title="title"),
    "interpolation": lambda model, shape: plots.interpolation(model, X[:3], X[3:6], shape),
    "learning_curves": lambda model, shape: plots.learning_curves(HISTORY, title="title"),
    "traversals": lambda model, shape: plots.traversals(model, X[0], np.array([0.1, 2.0]), shape, steps=4),
    "kl_by_latent": lambda model, shape: plots.kl_by_latent({"one": X[0], "two": X[1]}, title="title"),
    "spectrograms": lambda model, shape: plots.spectrograms({"one": X[:6], "two": X[6:12]}, rate=8000, hop=64),
}
NO_IMAGES = {"latent_scatter", "learning_curves", "kl_by_latent", "spectrograms",
             "residuals"}                             # of grey images


@pytest.mark.parametrize("shape", [SHAPE, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("name", MAKERS)
def test_every_picture_is_a_figure_with_a_title(name, shape, flat, tmp_path):
    fig = MAKERS[name](flat, shape)
    assert isinstance(fig, Figure)
    assert fig.axes[0].get_title()
    if shape == COLOUR and name not in NO_IMAGES:
        assert page(fig).shape[2] == 3
    assert plots.save(fig, tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_a_coloured_page_shows_each_pixel_in_its_place_and_colour():
    shown = page(plots.image_grid(X[:2], COLOUR, columns=2))
    assert np.array_equal(shown[:, :2], X[0].reshape(COLOUR).clip(0, 1))
    assert np.array_equal(shown[:, 4:], X[1].reshape(COLOUR).clip(0, 1))
    assert (shown[:, 2:4] == 0).all()


@pytest.mark.parametrize(("scale", "shift"), [(255.0, 0.0), (6.0, -3.0)])
def test_colours_in_other_units_fill_the_range_of_the_data(scale, shift):
    data = scale * X + shift
    shown = page(plots.image_grid(data[:1], COLOUR, like=data))
    low, high = np.percentile(data, (0.5, 99.5))
    np.testing.assert_allclose(shown[:, :2], ((data[0].reshape(COLOUR) - low) / (high - low)).clip(0, 1), rtol=1e-5)


def test_models_side_by_side_share_the_data_that_they_share():
    """A strip of the data above all that had the same; a long name is broken, and keeps clear of the images."""
    path = "runs/of/a/folder/with_a_long/name"
    fig = plots.side_by_side([("one", SHAPE, X[:20], X[5:25], X[:8], X[20:28]),
                              ("two", SHAPE, X[:20], X[5:25], X[1:9], X[20:28]),
                              (path, SHAPE, X[:20], X[5:25], X[:8], X[:8])])
    strips = [fig.axes[i:i + 2] for i in range(0, len(fig.axes), 2)]
    names = [left.texts[0].get_text() for left, _ in strips]
    assert names[:4] == ["the data", "one", "two", "the data"]
    assert names[4].replace("\n", "") == path
    assert max(map(len, names[4].splitlines())) <= 20
    shown = [[np.asarray(ax.images[0].get_array()) for ax in strip] for strip in strips]
    np.testing.assert_array_equal(shown[0][0], plots.mosaic(X[5:25], SHAPE, 20))
    np.testing.assert_array_equal(shown[0][1], plots.mosaic(X[20:28], SHAPE, 8))
    np.testing.assert_array_equal(shown[1][0], plots.mosaic(X[:20], SHAPE, 20))
    np.testing.assert_array_equal(shown[2][1], plots.mosaic(X[1:9], SHAPE, 8))
    fig.draw_without_rendering()
    boxes = [[ax.get_window_extent() for ax in strip] for strip in strips]
    for (left, right), (ax, _) in zip(boxes, strips):
        assert ax.texts[0].get_window_extent().x0 >= 0
        assert ax.texts[0].get_window_extent().x1 <= left.x0
        assert left.x1 < right.x0
    assert all(above[0].y0 >= below[0].y1 for above, below in pairwise(boxes))
    assert boxes[0][0].height / boxes[0][0].width == pytest.approx(SHAPE[0] / (SHAPE[1] * 20 + 2 * 19), rel=0.02)


def test_models_side_by_side_are_drawn_as_their_data_are():
    """Means of a Gaussian that leave [0, 1] are cut off there; of themselves they would be drawn as light."""
    ink = np.zeros((8, 12), np.float32)
    ink[:, :2] = 1.0
    fig = plots.side_by_side([("gaussian", SHAPE, 3.0 * ink - 1.5, ink, ink, ink), ("b", SHAPE, ink, ink, ink, ink)])
    assert {(ax.images[0].get_cmap().name, ax.images[0].get_clim()) for ax in fig.axes} == {("gray_r", (0.0, 1.0))}


def test_samples_that_stray_are_drawn_as_the_data_are():
    ink = np.zeros((9, 12), np.float32)
    ink[:, :2] = 1.0
    stray = 3.0 * ink - 1.5
    alone, beside = (plots.image_grid(stray, SHAPE, like=like).axes[0].images[0] for like in (None, ink))
    assert alone.get_clim() != (0.0, 1.0)
    assert (beside.get_cmap().name, beside.get_clim()) == ("gray_r", (0.0, 1.0))


@pytest.mark.parametrize("name", ["manifold", "latent_scatter", "learning_curves", "kl_by_latent"])
def test_axes_are_labelled(name, flat):
    for ax in MAKERS[name](flat, SHAPE).axes:
        assert ax.axison
        assert ax.get_xlabel()
        assert ax.get_ylabel()


def test_every_public_picture_is_in_the_table():
    helpers = {"figure", "use_style", "save", "save_for_slides", "svg", "mosaic", "show_page", "spread", "portrait"}
    public = {name for name, f in vars(plots).items()
              if callable(f) and getattr(f, "__module__", "").startswith(plots.__name__)}
    assert public == helpers | MAKERS.keys()


def test_mosaic_puts_every_pixel_in_its_place():
    images = np.arange(5 * 6).reshape(5, 6)
    found = plots.mosaic(images, (2, 3), 3, gap=1, paper=-1)
    P = -1
    np.testing.assert_array_equal(found, [
        [0, 1, 2, P, 6, 7, 8, P, 12, 13, 14],
        [3, 4, 5, P, 9, 10, 11, P, 15, 16, 17],
        [P] * 11,
        [18, 19, 20, P, 24, 25, 26, P, P, P, P],
        [21, 22, 23, P, 27, 28, 29, P, P, P, P]])


def test_ink_is_dark_and_nothing_is_rescaled():
    """With automatic limits a grey image would look black and white."""
    image = plots.image_grid(X * 0.1, SHAPE).axes[0].images[0]
    assert image.get_clim() == (0.0, 1.0)
    assert image.cmap(0.0)[:3] == (1.0, 1.0, 1.0)
    assert image.cmap(1.0)[:3] == (0.0, 0.0, 0.0)


def test_each_image_is_above_its_reconstruction():
    found = page(plots.reconstructions(X[:14], 1 - X[:14], SHAPE))
    h, w = SHAPE[0] + 2, SHAPE[1] + 2
    for i in range(14):
        y, x = 2 * (i // 12) * h, (i % 12) * w
        np.testing.assert_allclose(found[y:y + 4, x:x + 3], X[i].reshape(SHAPE), rtol=1e-6)
        np.testing.assert_allclose(found[y + h:y + h + 4, x:x + 3], 1 - X[i].reshape(SHAPE), rtol=1e-6)


def test_analogies_show_the_image_a_gap_and_every_class():
    model = M2Config(12, 3, (5,), 2).build()
    found, w = page(plots.analogies(model, X[:2], SHAPE)), SHAPE[1] + 2
    np.testing.assert_array_equal(found[:4, :3], X[0].reshape(SHAPE))
    assert not found[:, w:w + 3].any()
    expected = model.analogies(X[:2])
    for c in range(3):
        np.testing.assert_allclose(found[6:10, (c + 2) * w:(c + 2) * w + 3], expected[1, c].reshape(SHAPE), rtol=1e-6)


def test_the_manifold_is_even_in_probability(flat, monkeypatch):
    """z₁ grows to the right, z₂ upwards, and Φ(z) is evenly spaced."""
    asked = []
    monkeypatch.setattr(flat, "decode", lambda z: asked.append(z) or np.repeat(z[:, :1], 12, axis=1), raising=False)
    found = page(plots.manifold(flat, SHAPE, size=4))
    u = np.vectorize(NormalDist().cdf)(asked[0]).reshape(4, 4, 2)
    np.testing.assert_allclose(u[0, :, 0], [0.125, 0.375, 0.625, 0.875], atol=1e-6)
    np.testing.assert_allclose(u[:, 0, 1], [0.875, 0.625, 0.375, 0.125], atol=1e-6)
    assert (np.diff(u[:, :, 0], axis=0) == 0).all()
    np.testing.assert_allclose(found[::4, ::3], asked[0][:, 0].reshape(4, 4))


def test_manifold_ticks_say_where_z_is(flat):
    fig = plots.manifold(flat, SHAPE, size=20)
    ax = fig.axes[0]
    for ticks, labels, size, sign in ((ax.get_xticks(), ax.get_xticklabels(), 60, 1),
                                      (ax.get_yticks(), ax.get_yticklabels(), 80, -1)):
        for tick, label in zip(ticks, labels):
            u = tick / size if sign > 0 else 1 - tick / size
            assert float(label.get_text().replace("−", "-")) == pytest.approx(NormalDist().inv_cdf(u), abs=0.051)


def test_manifold_wants_a_plane():
    with pytest.raises(ValueError, match="the model has 3 latents, expected 2"):
        plots.manifold(VAEConfig(12, (5,), 3).build(), SHAPE)


def test_interpolation_begins_and_ends_at_the_images(flat):
    found = page(plots.interpolation(flat, X[:2], X[2:4], SHAPE, steps=5))
    ends = [flat.decode(flat.encode(images)[0]) for images in (X[:2], X[2:4])]
    for row in range(2):
        for end, column in ((0, 0), (1, 4)):
            y, x = row * 6, column * 5
            np.testing.assert_allclose(found[y:y + 4, x:x + 3], ends[end][row].reshape(SHAPE), rtol=1e-5)


def test_scatter_draws_every_point_once_and_the_ring(flat):
    labels = np.arange(30) % 3
    ax = plots.latent_scatter(X[:, :2], labels).axes[0]
    assert [len(c.get_offsets()) for c in ax.collections] == [10, 10, 10]
    np.testing.assert_allclose(ax.collections[1].get_offsets(), X[labels == 1, :2])
    (ring,) = ax.patches
    assert 1 - np.exp(-ring.radius**2 / 2) == pytest.approx(0.95)         # P(‖z‖ < r) in two dimensions


def test_curves_show_both_parts_of_every_term():
    axes = plots.learning_curves(HISTORY).axes
    assert [[line.get_label() for line in ax.lines] for ax in axes] == [["train", "valid"]] * 3
    for ax in axes:
        for line in ax.lines:
            np.testing.assert_array_equal(line.get_xydata(), [[1, 1], [2, 2], [3, 3]])
    only_train = [{k: v for k, v in record.items() if "valid" not in k} for record in HISTORY]
    assert len(plots.learning_curves(only_train).axes[0].lines) == 1


def test_spread_takes_the_first_the_last_and_between():
    numbers = np.arange(10)
    assert plots.spread(numbers, 4).tolist() == [0, 3, 6, 9]
    assert plots.spread(numbers, 10) is plots.spread(numbers, None) is plots.spread(numbers, 99) is numbers


@pytest.mark.parametrize(("latents", "labels", "names"), [
    (2, True, ["samples", "reconstructions", "interpolation", "manifold", "latents"]),
    (2, False, ["samples", "reconstructions", "interpolation", "manifold"]),
    (3, True, ["samples", "reconstructions", "interpolation"])])
def test_a_portrait_has_what_can_be_drawn(latents, labels, names):
    model = VAEConfig(12, (5,), latents).build()
    drawn = dict(plots.portrait(model, X, np.arange(30) % 3 if labels else None, SHAPE))
    assert list(drawn) == names
    assert all(isinstance(fig, Figure) for fig in drawn.values())


# Files

def test_save_closes_the_figure(tmp_path):
    """Thirty open figures fill the memory, and matplotlib complains from twenty on."""
    before = plt.get_fignums()
    plots.save(plots.image_grid(X, SHAPE), tmp_path / "a" / "b" / "p.png")
    assert plt.get_fignums() == before
    assert os.listdir(tmp_path / "a" / "b") == ["p.png"]


def test_a_full_disk_keeps_the_old_picture(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    path = plots.save(plots.image_grid(X, SHAPE), tmp_path / "p.png")
    old = path.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        plots.save(plots.image_grid(1 - X, SHAPE), path)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["p.png"]
    assert plt.get_fignums() == []


def test_the_style_stays_inside():
    """Importing minivae must not change a user's own figures."""
    before = dict(plt.rcParams)
    fig, _ = plots.figure()
    assert dict(plt.rcParams) == before
    assert fig.dpi == plots.STYLE["figure.dpi"]
    with plt.rc_context():
        plots.use_style()
        assert plt.rcParams["figure.dpi"] == plots.STYLE["figure.dpi"]


def test_svg_takes_the_pages_ink_and_paper_and_says_what_there_is_to_see():
    fig, ax = plots.figure()
    ax.plot([0, 1], [0, 1], "k", label="a line")
    ax.legend(facecolor="white", frameon=True)
    html = plots.svg(fig, alt='a "rising" line')
    assert html.startswith('<figure class="picture" role="img" aria-label="a &quot;rising&quot; line"><svg')
    assert "stroke: currentColor" in html
    assert "fill: var(--paper, #ffffff)" in html
    assert "#000000" not in html
    assert html == plots.svg(fig, alt='a "rising" line'), "the same figure, the same text"


def test_svg_keeps_the_pixels_of_an_image():
    """28 × 28 of them go into the page, and it scales them: nothing is drawn larger first."""
    fig, ax = plots.figure()
    ax.imshow(np.random.default_rng(0).random((28, 28)), cmap="gray")
    data = re.search(r"data:image/png;base64,([^\"]+)", plots.svg(fig, alt="noise"))[1]
    width, height = struct.unpack(">II", base64.b64decode("".join(data.split()))[16:24])
    assert (width, height) == (28, 28)


def test_svg_wants_words():
    with pytest.raises(ValueError, match="alt: got nothing, expected what the picture shows"):
        plots.svg(plots.figure()[0], alt=" ")


def test_traversals_move_one_latent_a_row_the_most_talkative_first(flat):
    fig = plots.traversals(flat, X[0], np.array([0.1, 2.0]), SHAPE, steps=3, reach=1.5)
    start = flat.encode(X[:1])[0]
    z = np.repeat(start, 6, axis=0)
    z[:3, 1], z[3:, 0] = [-1.5, 0.0, 1.5], [-1.5, 0.0, 1.5]
    np.testing.assert_array_equal(page(fig), plots.mosaic(flat.decode(z), SHAPE, 3))
    assert [text.get_text() for text in fig.axes[0].get_yticklabels()] == ["$z_{2}$: 2.00 nats", "$z_{1}$: 0.10 nats"]
    assert page(plots.traversals(flat, X[0], np.array([0.1, 2.0]), SHAPE, rows=1, steps=3)).shape == (4, 13)
    for kl, steps in ((np.ones(3), 4), (np.ones(2), 1)):
        with pytest.raises(ValueError, match=r"traversals: got \d steps and kl of shape \(\d,\), expected at least 2"):
            plots.traversals(flat, X[0], kl, SHAPE, steps=steps)


def test_a_spectrogram_has_a_panel_for_each_in_decibels_below_its_loudest():
    power = np.full((9, 20), 1e-3)
    power[2, 3] = 10.0
    power[0] = 0.0
    fig = plots.spectrograms({"one": power, "two": 5.0 * power, "three": power}, rate=8000, hop=100, columns=2)
    shown = [ax for ax in fig.axes if ax.get_visible()]
    assert [ax.get_title() for ax in shown] == ["one", "two", "three"]
    for ax in shown:
        (image,) = ax.images
        values = np.asarray(image.get_array())
        assert values.max() == 0.0 == values[2, 3]
        np.testing.assert_allclose(values[1], -40.0)
        np.testing.assert_allclose(values[0], -60.0)
        assert image.get_extent() == [0.0, 0.25, 0.0, 4.0]
