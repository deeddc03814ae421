"""Sprites are drawn from their factors and from nothing else, and look like what they are called."""

import hashlib

import numpy as np
import pytest

from minivae.data import available, fetch, load, sprites

SIZES = tuple(sprites.SIZES.values())


def page(*factors, side):
    """One picture as an array (side, side)."""
    return sprites.draw(np.array([factors]), side=side)[0].reshape(side, side)


def test_a_number_is_its_digits_and_back():
    assert np.prod(SIZES) == sprites.COUNT == 92_160
    everything = np.arange(sprites.COUNT)
    digits = sprites.factors(everything)
    assert digits[1].tolist() == [0, 0, 0, 0, 1]
    assert digits[16 * 16].tolist() == [0, 0, 1, 0, 0]
    assert digits[-1].tolist() == [2, 5, 19, 15, 15]
    assert np.array_equal(sprites.numbers(digits), everything)
    assert all((np.bincount(column) == sprites.COUNT // size).all() for column, size in zip(digits.T, SIZES))


def test_the_same_picture_for_ever():
    drawn = sprites.draw(sprites.factors(np.arange(0, sprites.COUNT, 300)))
    assert drawn.shape == (308, 784)
    assert drawn.dtype == np.float32
    assert np.array_equal(np.unique(drawn), [0, 1])
    assert hashlib.sha256(np.packbits(drawn.astype(bool)).tobytes()).hexdigest()[:16] == "46929e9fc4b6c364"
    assert np.array_equal(drawn[5:9], sprites.draw(sprites.factors(np.arange(1500, 2700, 300))))


@pytest.mark.parametrize(("shape", "area"), [(0, 2.0), (1, np.pi / 2), (2, 3.66197 / 1.25**2)])
@pytest.mark.parametrize("scale", [0, 5])
def test_a_shape_has_its_area_and_stays_in_its_circle(shape, area, scale):
    side, radius = 400, (5 + scale) / 40
    for rotation in (0, 7):
        picture = page(shape, scale, rotation, 3, 12, side=side)
        assert picture.mean() == pytest.approx(area * radius**2, rel=0.025)       # an edge in step with the pixels
        rows, columns = np.nonzero(picture)
        away = np.hypot((columns + 0.5) / side - (0.25 + 3 / 30), (rows + 0.5) / side - (0.25 + 12 / 30))
        assert radius - 0.03 * radius < away.max() < radius + 1 / side


def test_a_step_of_x_or_y_moves_the_picture():
    """At 30 pixels a step is one pixel: to the right, and downwards."""
    picture = page(2, 4, 3, 6, 7, side=30)
    assert np.array_equal(page(2, 4, 3, 8, 7, side=30), np.roll(picture, 2, axis=1))
    assert np.array_equal(page(2, 4, 3, 6, 10, side=30), np.roll(picture, 3, axis=0))


def test_rotation_turns_to_the_left_and_ends_where_the_shape_looks_as_before():
    """Twenty steps are a quarter of the circle for a square, a half for an ellipse, all of it for a heart."""
    def turned(shape, rotation):                       # around the middle of pixel 15, 15
        return page(shape, 5, rotation, 8, 8, side=30)[1:, 1:]

    assert np.array_equal(turned(2, 5), np.rot90(turned(2, 0)))
    assert np.array_equal(turned(2, 10), np.rot90(turned(2, 0), 2))
    assert np.array_equal(turned(1, 10), np.rot90(turned(1, 0)))
    assert np.array_equal(turned(0, 10), np.rot90(turned(0, 10)))
    for shape in range(3):
        pictures = sprites.draw(np.array([[shape, 5, rotation, 8, 8] for rotation in range(20)]), side=64)
        assert len(np.unique(pictures, axis=0)) == 20, "every angle has a picture of its own"


def test_the_heart_stands_upright():
    picture = page(2, 5, 0, 8, 8, side=30)[1:, 1:]     # its middle is that of pixel 15, 15
    assert np.array_equal(picture, picture[:, ::-1])
    wide = picture.sum(axis=1)
    inked = np.nonzero(wide)[0]
    assert wide[inked[-1]] == 1, "it ends in a point below"
    assert wide.argmax() < inked.mean(), "and is widest above"


@pytest.mark.slow
@pytest.mark.parametrize(("side", "different"), [(28, 89_296), (64, 92_160)])
def test_how_many_pictures_there_are(side, different):
    packed = np.concatenate([np.packbits(sprites.draw(sprites.factors(some), side=side).astype(bool), axis=1)
                             for some in np.array_split(np.arange(sprites.COUNT), 40)])
    assert len(np.unique(packed.view(f"V{packed.shape[1]}"))) == different


@pytest.mark.parametrize("side", [28, 64])
def test_both_sizes_show_the_same_thing(side):
    factors = sprites.some(200, np.random.default_rng(1))
    pictures = sprites.draw(factors, side=side).reshape(-1, side, side)
    ink = pictures.sum(axis=(1, 2))
    place = (np.arange(side) + 0.5) / side
    for axis, column in ((1, 3), (2, 4)):             # the middle of the ink lies at the centre; a heart's a little off
        middle = pictures.sum(axis=axis) @ place / ink
        assert np.abs(middle - (0.25 + factors[:, column] / 30)).max() < 0.04
    radius = (5 + factors[:, 1]) / 40
    assert np.corrcoef(ink / side**2, np.array([2.0, np.pi / 2, 2.344])[factors[:, 0]] * radius**2)[0, 1] > 0.99


def test_any_factors_can_be_fixed_and_the_others_are_uniform():
    drawn = sprites.some(6000, np.random.default_rng(2), shape=2, x=15)
    assert (drawn[:, [0, 3]] == [2, 15]).all()
    for f in (1, 2, 4):
        expected = 6000 / SIZES[f]
        assert np.abs(np.bincount(drawn[:, f], minlength=SIZES[f]) - expected).max() < 5 * np.sqrt(expected)


def test_the_data_set_is_some_of_the_pictures_labelled_by_shape():
    found = load("sprites")
    assert str(found) == "sprites: 20,000 train + 2,000 test images of 28×28, 0 or 1, 3 classes"
    train, test = sprites.parts()
    assert (len(train), len(test), len({*train, *test})) == (20_000, 2_000, 22_000)
    assert test[:5].tolist() == [78538, 53924, 25556, 57691, 20554]              # for ever
    for images, labels, numbers in ((found.train, found.train_labels, train), (found.test, found.test_labels, test)):
        factors = sprites.factors(numbers)
        assert np.array_equal(labels, factors[:, 0])
        assert np.array_equal(images[:300], sprites.draw(factors[:300]))
    assert found.has == ("x", "y")
    assert np.array_equal(found.test, load("Sprites").test)


def test_the_large_one_is_the_same_at_64(monkeypatch):
    monkeypatch.setattr(sprites, "TRAIN", 30)
    monkeypatch.setattr(sprites, "TEST", 20)
    large = load("sprites64")
    assert (large.train.shape, large.image_shape, large.kind) == ((30, 4096), (64, 64), "binary")
    assert np.array_equal(large.test, sprites.draw(sprites.factors(sprites.parts()[1]), side=64))


def test_it_needs_no_file():
    assert fetch("sprites64") == []
    rows = {row.name: row for row in available()}
    assert rows["sprites"].where == "drawn by the package"
    assert (rows["sprites"].train, rows["sprites64"].image_shape) == (20_000, (64, 64))


@pytest.mark.parametrize(("call", "said"), [
    (lambda: sprites.factors(np.array([0, 92_160])), "numbers: got 0 … 92160, expected 0 … 92,159"),
    (lambda: sprites.draw(np.zeros((4, 4), int)), r"factors: got int64 of shape \(4, 4\), expected"),
    (lambda: sprites.draw(np.zeros((4, 5))), "factors: got float64 of shape"),
    (lambda: sprites.draw(np.array([[3, 0, 0, 0, 0]])), "values outside of 0 … size − 1, where the sizes are shape 3"),
    (lambda: sprites.numbers(np.array([[0, 0, -1, 0, 0]])), "values outside of 0 … size − 1"),
    (lambda: sprites.draw(np.zeros((1, 5), int), side=4), "side: got 4, expected at least 8 pixels"),
    (lambda: sprites.some(3, np.random.default_rng(0), color=1), "fixed: got color, expected some of shape, scale"),
    (lambda: sprites.some(3, np.random.default_rng(0), shape=3), "values outside of"),
])
def test_bad_factors_are_explained(call, said):
    with pytest.raises(ValueError, match=said):
        call()
