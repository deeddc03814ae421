"""A folder of pictures: what is made of each, what is left out and said, what is refused."""

import numpy as np
import pytest
from PIL import Image

from minivae.data import DataError, load
from minivae.data.pictures import CROPPED, ENLARGED, read_picture

RNG = np.random.default_rng(0)


def colours(height=6, width=6):
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def greys(height=6, width=6):
    return RNG.integers(0, 256, (height, width), np.uint8)


def put(folder, name, picture, **how):
    """Write a picture (an array, or one of Pillow's); its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    picture.save(path, **how)
    return path


@pytest.fixture
def photos(tmp_path):
    """Twenty coloured squares, 00.png … 19.png, and their pixels."""
    pixels = [colours() for _ in range(20)]
    for i, x in enumerate(pixels):
        put(tmp_path / "photos", f"{i:02}.png", x)
    return tmp_path / "photos", np.stack(pixels)


def rows(x):
    return {row.tobytes() for row in (x.reshape(len(x), -1) / np.float32(255))}


def test_pixels_arrive_as_they_are(photos):
    folder, x = photos
    data = load(folder)
    assert (data.name, data.image_shape, data.kind, data.notes) == ("photos", (6, 6, 3), "unit", ())
    assert (data.train.shape, data.test.shape, data.train_labels) == ((18, 108), (2, 108), None)
    assert {row.tobytes() for row in [*data.train, *data.test]} == rows(x)
    assert str(data) == "photos: 18 train + 2 test images of 6×6×3, colour in [0, 1]"


def test_grey_pictures_are_grey_however_they_are_stored(tmp_path):
    x = greys()
    for name, picture in (("l.png", x), ("rgb.png", np.stack([x] * 3, axis=-1)),
                          ("rgba.png", np.stack([x, x, x, np.full_like(x, 255)], axis=-1)),
                          ("16.png", (257 * x.astype(np.uint16)))):
        put(tmp_path / "a", name, picture)
    data = load(tmp_path / "a")
    assert data.image_shape == (6, 6)
    for row in (*data.train, *data.test):
        assert np.array_equal(255 * row, x.ravel().astype(np.float32))
    assert "grey in [0, 1]" in str(data)


def test_the_held_out_are_told_by_their_names(photos):
    """Whoever is added or taken away, the others stay where they are, but for one at the border."""
    folder, _ = photos
    first = load(folder)
    assert np.array_equal(first.test, load(folder).test)
    put(folder, "another.png", colours())
    more = load(folder)
    moved = {x.tobytes() for x in first.test} - {x.tobytes() for x in more.test}
    assert len(more.test) == 2
    assert len(moved) <= 1
    assert not rows(255 * more.test) & rows(255 * more.train)


def test_folders_are_classes(tmp_path):
    for name in ("dogs/a.png", "dogs/deeper/b.png", "cats/a.png", "cats/b.JPG", ".cache/c.png"):
        put(tmp_path / "pets", name, np.full((4, 4, 3), 200 if "dogs" in name else 20, np.uint8))
    data = load(tmp_path / "pets")
    assert data.notes == ("classes: 0 cats, 1 dogs",)
    assert (len(data.train), len(data.test)) == (3, 1)
    for images, labels in ((data.train, data.train_labels), (data.test, data.test_labels)):
        assert np.array_equal(images.mean(axis=1) > 0.5, labels == 1)
        assert labels.dtype == np.int64


def test_one_folder_in_it_is_no_class(tmp_path):
    for i in range(3):
        put(tmp_path / "zip", f"zip/{i}.png", colours())
    assert load(tmp_path / "zip").train_labels is None


def test_folders_named_train_and_test_are_the_parts(tmp_path):
    for name in ("train/a.png", "train/b.png", "train/c.png", "test/d.png"):
        put(tmp_path / "one", name, np.full((4, 4), ord(name[-5]), np.uint8))
        put(tmp_path / "two", name.replace("/", "/cats/"), np.full((4, 4), 1, np.uint8))
        put(tmp_path / "two", name.replace("/", "/dogs/"), np.full((4, 4), 2, np.uint8))
    one = load(tmp_path / "one")
    assert (255 * one.train[:, 0]).round().tolist() == [ord(c) for c in "abc"]
    assert (255 * one.test[:, 0]).round().tolist() == [ord("d")]
    assert one.train_labels is None
    two = load(tmp_path / "two")
    assert (two.train_labels.tolist(), two.test_labels.tolist()) == ([0, 0, 0, 1, 1, 1], [0, 1])
    assert (255 * two.train[:, 0]).round().tolist() == [1, 1, 1, 2, 2, 2]


# ── size ──────────────────────────────────────────────────────────────────────────────────────────


def test_each_is_cut_about_its_middle_and_resampled(tmp_path):
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = (250, 120, 10)                     # the middle square, of one colour
    put(tmp_path / "p", "wide.png", wide)
    put(tmp_path / "p", "high.png", wide.transpose(1, 0, 2))
    put(tmp_path / "p", "small.png", np.full((2, 2, 3), (250, 120, 10), np.uint8))
    put(tmp_path / "p", "right.png", np.full((4, 4, 3), (250, 120, 10), np.uint8))
    data = load(tmp_path / "p", size=4)
    assert data.image_shape == (4, 4, 3)
    for row in (*data.train, *data.test):
        assert np.array_equal((255 * row).round().reshape(-1, 3), [[250, 120, 10]] * 16)
    assert data.notes == (f"2 of 4 files {CROPPED}: high.png, wide.png", f"1 of 4 files {ENLARGED}: small.png")


def test_resampling_averages_and_does_not_drop_pixels(tmp_path):
    """A fine chequered board becomes grey: whoever takes every eighth pixel finds black or white."""
    board = np.indices((64, 64)).sum(axis=0) % 2 * np.uint8(255)
    x, _ = read_picture(put(tmp_path, "board.png", board.astype(np.uint8)), 8)
    assert np.abs(x.astype(int) - 127).max() < 12


def test_what_has_the_size_is_left_alone(photos):
    folder, x = photos
    data = load(folder, size=6)
    assert {row.tobytes() for row in [*data.train, *data.test]} == rows(x)


def test_without_a_size_all_have_one(tmp_path):
    put(tmp_path / "p", "a.png", colours(6, 4))
    put(tmp_path / "p", "b.png", colours(6, 4))
    assert load(tmp_path / "p").image_shape == (6, 4, 3)
    put(tmp_path / "p", "c.png", colours(4, 6))
    with pytest.raises(DataError, match=r"a.png is 6×4, c.png is 4×6: say to which square all are .*--size 32"):
        load(tmp_path / "p")


@pytest.mark.parametrize(("call", "error", "said"), [
    (lambda folder: load(folder, size=0), ValueError, "size: got 0, expected a whole number of at least 1"),
    (lambda folder: load("digits", size=32), ValueError, "size: got 32, which means nothing to digits: it is of a"),
    (lambda folder: load(folder / "mine.npz", size=32), ValueError, "size: got 32, which means nothing to .*mine.npz"),
    (lambda folder: load(folder / "gone.x", size=32), DataError, "gone.x: no such file or folder"),
])
def test_a_size_that_makes_no_sense(photos, call, error, said):
    np.savez(photos[0] / "mine.npz", x=photos[1])
    with pytest.raises(error, match=said):
        call(photos[0])


def test_photos_as_large_as_a_camera_s_are_refused_without_a_size(tmp_path):
    big = Image.new("RGB", (1000, 600))
    for name in ("a.jpg", "b.jpg"):
        put(tmp_path / "p", name, big)
    with pytest.raises(DataError, match=r"a.jpg: 600×1000 is more than these networks .*--size 32"):
        load(tmp_path / "p")
    assert load(tmp_path / "p", size=8).image_shape == (8, 8)                  # black is grey


# ── what is said ──────────────────────────────────────────────────────────────────────────────────


def only(folder):
    """The only note of a data set that has one."""
    (note,) = load(folder).notes
    return note


def pixels_of(folder, value):
    """The pictures but for 00.png … 19.png: those that hold this value first."""
    data = load(folder)
    found = np.concatenate([data.train, data.test]).reshape(-1, *data.image_shape)
    return [x for x in (255 * found).round() if (x[0, 0] == value).all()]


def test_transparent_places_are_laid_on_white(photos):
    folder, _ = photos
    x = np.dstack([np.full((6, 6, 3), 100, np.uint8), np.full((6, 6), 255, np.uint8)])
    x[0, 0, 3], x[5, 5, 3], x[..., 0] = 0, 51, 0
    put(folder, "logo.png", x)
    assert only(folder) == "1 of 21 files had transparent places: laid on white: logo.png"
    (logo,) = pixels_of(folder, 255)
    assert logo[2, 2].tolist() == [0, 100, 100]
    np.testing.assert_allclose(logo[5, 5], 0.2 * np.array([0, 100, 100]) + 0.8 * 255, atol=1)


def test_what_could_be_transparent_and_is_not_needs_no_note(photos):
    folder, _ = photos
    put(folder, "screen.png", np.dstack([np.full((6, 6, 3), (1, 2, 3), np.uint8), np.full((6, 6), 255, np.uint8)]))
    assert load(folder).notes == ()
    assert len(pixels_of(folder, (1, 2, 3))) == 1


def test_palettes_are_read_in_their_colours(photos):
    folder, _ = photos
    picture = Image.fromarray(np.eye(6, dtype=np.uint8), mode=None).convert("P")
    picture.putpalette([9, 8, 7, 10, 200, 30])
    put(folder, "drawing.png", picture)
    assert only(folder) == "1 of 21 files had a palette: read in its colours: drawing.png"
    (drawing,) = pixels_of(folder, (10, 200, 30))
    assert drawing[0, 1].tolist() == [9, 8, 7]
    put(folder, "drawing.png", picture, transparency=0)
    assert load(folder).notes[1] == "1 of 21 files had transparent places: laid on white: drawing.png"
    assert pixels_of(folder, (10, 200, 30))[0][0, 1].tolist() == [255, 255, 255]


def png_of_16_bits(x):
    """A PNG (H, W, 3) of 16 bits a channel, which Pillow does not write."""
    import struct
    import zlib

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in x)
    head = struct.pack(">IIBBBBB", x.shape[1], x.shape[0], 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def test_16_bits_become_8(photos):
    folder, _ = photos
    x = np.full((6, 6, 3), (7, 70, 200), np.uint16) * 257
    (folder / "scan.png").write_bytes(png_of_16_bits(x))
    put(folder, "grey.png", np.full((6, 6), 60_000, np.uint16))
    notes = load(folder).notes
    assert notes == ("2 of 22 files had 16 bits a channel: read as 8: grey.png, scan.png",
                     "1 of 22 files are grey among coloured ones: three equal channels: grey.png")
    assert len(pixels_of(folder, (7, 70, 200))) == 1
    assert len(pixels_of(folder, round(60_000 / 257))) == 1


def test_grey_among_coloured(photos):
    folder, _ = photos
    for name in ("a.png", "b.jpg", "c.png", "d.png"):
        put(folder, name, np.full((6, 6), 77, np.uint8))
    assert only(folder) == ("4 of 24 files are grey among coloured ones: three equal channels: a.png, b.jpg, c.png, …")
    assert len(pixels_of(folder, 77)) == 4


def test_a_photo_is_turned_as_its_camera_says(tmp_path):
    x = np.zeros((8, 16, 3), np.uint8)
    x[:, :8] = 255                                     # light on the left
    turned = Image.Exif()
    turned[0x0112] = 6                                 # to be turned clockwise: light above
    y, _ = read_picture(put(tmp_path, "a.jpg", Image.fromarray(x), exif=turned, quality=95))
    assert y.shape == (16, 8, 3)
    assert y[:7].mean() > 240
    assert y[9:].mean() < 15


def test_cmyk_is_read(tmp_path):
    x, said = read_picture(put(tmp_path, "print.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), quality=95))
    assert said == []
    np.testing.assert_allclose(x[4, 4], (255, 0, 0), atol=4)


# ── what is left out ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ending", [".png", ".jpg"])
@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[:30], lambda whole: whole[:len(whole) // 2],
                                    lambda whole: b"not a picture"])
def test_what_cannot_be_read_is_left_out_and_said(photos, ending, damage):
    folder, x = photos
    path = put(folder, f"bad{ending}", colours())
    path.write_bytes(damage(path.read_bytes()))
    assert only(folder).startswith(f"1 of 21 files left out, they cannot be read: bad{ending} (")
    data = load(folder)
    assert {row.tobytes() for row in [*data.train, *data.test]} == rows(x)


def test_a_png_with_a_wrong_checksum_is_left_out(photos):
    folder, _ = photos
    path = put(folder, "bad.png", colours())
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    assert only(folder).startswith("1 of 21 files left out, they cannot be read: bad.png (")


def test_other_files_are_left_out_and_said(photos):
    folder, _ = photos
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    (folder / ".DS_Store").write_text("hidden", encoding="utf-8")
    put(folder, "moving.gif", greys())
    put(folder, "__MACOSX/00.png", colours())
    assert only(folder) == "2 of 22 files left out, no .png, .jpg or .jpeg: moving.gif, notes.txt"


def test_another_format_in_disguise_is_left_out(photos):
    folder, _ = photos
    put(folder, "moving.png", Image.fromarray(greys()), format="GIF")
    assert only(folder).startswith("1 of 21 files left out, they cannot be read: moving.png (cannot identify image")


def test_a_bomb_is_not_unpacked(photos, monkeypatch):
    folder, _ = photos
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    put(folder, "bomb.png", Image.new("L", (15, 10)))                          # Pillow would warn
    put(folder, "large.png", Image.new("L", (100, 100)))                       # and raise
    assert only(folder).startswith("2 of 22 files left out, they cannot be read: bomb.png (Image size (150 pixels) exc")


# ── what is refused ───────────────────────────────────────────────────────────────────────────────


def test_too_few_pictures(tmp_path):
    (tmp_path / "p").mkdir()
    with pytest.raises(DataError, match=r"p: got 0 pictures \(.png, .jpg, .jpeg\), expected at least 2$"):
        load(tmp_path / "p")
    put(tmp_path / "p", "a.png", colours())
    (tmp_path / "p" / "b.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"got 1 pictures .* at least 2; left out, they cannot be read: b.png \(cannot"):
        load(tmp_path / "p")


def test_pictures_beside_classes(tmp_path):
    for name in ("cats/a.png", "dogs/b.png", "c.png"):
        put(tmp_path / "p", name, colours())
    with pytest.raises(DataError, match=r"c.png lies beside folders of pictures \(cats, dogs\), which are classes"):
        load(tmp_path / "p")


def test_a_part_of_which_nothing_can_be_read(tmp_path):
    for name in ("train/a.png", "train/b.png", "test/c.png"):
        put(tmp_path / "p", name, colours())
    (tmp_path / "p" / "test" / "c.png").write_bytes(b"")
    with pytest.raises(DataError, match="no picture in test can be read"):
        load(tmp_path / "p")


def test_a_folder_needs_no_slash_unless_a_data_set_has_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "digits"):
        for i in range(2):
            put(tmp_path / name, f"{i}.png", colours())
    assert load("photos").image_shape == (6, 6, 3)
    assert len(load("digits").train) == 4000
    assert load("digits/").image_shape == (6, 6, 3)
    assert load("./photos").name == load(".").name.replace(tmp_path.name, "photos") == "photos"
