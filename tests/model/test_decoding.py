"""Encoded images become bytes if there is one right way; otherwise one sentence refuses them."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from sweeper.model import TaskDefinition, TaskError, load_task
from sweeper.model.decoding import MOST_PIXELS, Decoder

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 8), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)


def encoded(image, kind="PNG", **how):
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def read(data, **how):
    return Decoder(**how).read(data, "row 3 of a.parquet")


def read_or_refused(data):
    """Return the refusal of an image and None, or an empty text and its pixels."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return "", read(data)[0]
    except TaskError as error:
        return str(error), None


def test_grey_and_colour_are_as_they_were_kept():
    for array in (GREY, COLOUR):
        pixels, done = read(encoded(Image.fromarray(array)))
        assert np.array_equal(pixels, array[None] if array.ndim == 2 else array.transpose(2, 0, 1))
        assert done == ()


def test_palette_cmyk_and_bits_are_made_rgb_or_grey():
    palette = Image.fromarray(COLOUR).quantize(16)
    assert read(encoded(palette))[1] == ("with a palette, made RGB",)
    assert np.array_equal(read(encoded(palette))[0], np.asarray(palette.convert("RGB")).transpose(2, 0, 1))
    pixels, done = read(encoded(Image.fromarray(COLOUR).convert("CMYK"), "TIFF"))
    assert (pixels.shape, done) == ((3, 6, 8), ("in CMYK, made RGB",))
    assert np.abs(pixels.transpose(1, 2, 0).astype(int) - COLOUR).max() <= 2
    bits = Image.fromarray(GREY > 127)
    assert set(np.unique(read(encoded(bits))[0])) == {0, 255}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_become_eight_by_rounding(kind):
    values = np.array([[0, 128, 129, 257], [32767, 32896, 65406, 65535]], np.uint16)
    pixels, done = read(encoded(Image.fromarray(values), kind))
    assert np.array_equal(pixels[0], np.round(values / 257).astype(np.uint8))
    assert done == ("of 16 bits, made 8",)


def test_numbers_whose_black_and_white_are_not_known_are_refused():
    for mode in ("F", "I"):
        with pytest.raises(TaskError, match=f"row 3 of a.parquet has mode {mode}"):
            read(encoded(Image.fromarray(GREY).convert(mode), "TIFF"))


def test_transparent_images_are_laid_on_the_background():
    alpha = np.linspace(0, 255, 48).astype(np.uint8).reshape(6, 8, 1)
    data = encoded(Image.fromarray(np.concatenate([COLOUR, alpha], 2)))
    for background in ((0, 0, 0), (255, 255, 255), (10, 200, 30)):
        pixels, done = read(data, background=background)
        share = alpha / 255
        expected = np.round(COLOUR * share + np.array(background) * (1 - share))
        assert np.abs(pixels.transpose(1, 2, 0) - expected).max() <= 1
        assert done == ("transparent, laid on a background",)
    assert np.array_equal(read(data)[0], read(data, background=(0, 0, 0))[0])


def test_alpha_that_hides_nothing_changes_nothing():
    opaque = np.concatenate([COLOUR, np.full((6, 8, 1), 255, np.uint8)], 2)
    pixels, done = read(encoded(Image.fromarray(opaque)))
    assert np.array_equal(pixels, COLOUR.transpose(2, 0, 1))
    assert done == ()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_image_that_is_drawn_in_its_transparency_alone_is_refused_until_a_background_is_said(mode):
    mask = np.zeros((6, 8, 4), np.uint8)
    mask[..., 3] = GREY
    image = Image.fromarray(mask)
    if mode == "P":
        indices = Image.fromarray((GREY > 127).astype(np.uint8), "L").convert("P")
        indices.putpalette([0, 0, 0, 0, 0, 0])
        data = encoded(indices, transparency=bytes([0, 255]))
    else:
        data = encoded(image.convert(mode))
    with pytest.raises(
        TaskError, match=r"row 3 of .* is drawn in its transparency alone: .*\(0, 0, 0\).*task\.background"
    ):
        read(data)
    with pytest.raises(TaskError, match="Name another colour"):
        read(data, background=(0, 0, 0))
    pixels, _ = read(data, background=(255, 255, 255))
    assert np.ptp(pixels) > 200


def test_orientation_of_a_camera_is_applied():
    whole = Image.new("RGB", (32, 16))
    whole.paste((255, 0, 0), (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn: the left side is the top
    for kind in ("JPEG", "PNG", "TIFF"):
        pixels, done = read(encoded(whole, kind, exif=exif))
        assert pixels.shape == (3, 32, 16)
        assert pixels[0, :14].mean() > 230 > 30 > pixels[0, 18:].mean()
        assert done == ("turned as its camera was held",)
    exif[0x0112] = 1
    assert read(encoded(whole, "JPEG", exif=exif))[1] == ()


def test_resize_keeps_the_form_or_gives_the_sides_and_crop_keeps_the_middle():
    data = encoded(Image.fromarray(COLOUR).resize((40, 30)))
    assert read(data, resize=(15,))[0].shape == (3, 15, 20)
    assert read(data, resize=(7, 9))[0].shape == (3, 7, 9)
    whole = read(data)[0]
    assert np.array_equal(read(data, crop=(10, 20))[0], whole[:, 10:20, 10:30])
    assert read(data, resize=(15,), crop=(15, 15))[0].shape == (3, 15, 15)
    with pytest.raises(TaskError, match=r"row 3 of .* 15×20 pixels \(height × width\) after resizing.* cut 16×16"):
        read(data, resize=(15,), crop=(16, 16))


def parquet(tmp_path, images):
    path = tmp_path / "a.parquet"
    values = [{"bytes": one, "path": None} for one in images]
    pq.write_table(pa.table({"image": values, "label": [n % 2 for n in range(len(images))]}), path)
    return str(path)


def test_grey_among_colour_is_made_rgb_with_a_note_that_counts(tmp_path):
    images = [encoded(Image.fromarray(COLOUR if n >= 9 else GREY)) for n in range(24)]  # grey first: colour comes later
    task = load_task(TaskDefinition(data=parquet(tmp_path, images)))
    assert task.image == (3, 6, 8)
    assert [note for note in task.notes if "9 images" in note and "grey among 15 in colour" in note]
    kept = {one.numpy().tobytes() for one in (*task.train.pixels, *task.validation.pixels, *task.test.pixels)}
    assert kept == {np.repeat(GREY[None], 3, 0).tobytes(), COLOUR.transpose(2, 0, 1).tobytes()}


def test_notes_count_what_was_done_and_name_the_file(tmp_path):
    images = [encoded(Image.fromarray(COLOUR).quantize(8) if n < 5 else Image.fromarray(COLOUR)) for n in range(24)]
    task = load_task(TaskDefinition(data=parquet(tmp_path, images)))
    assert f"5 images of {tmp_path}/a.parquet are with a palette, made RGB" in task.notes


def test_images_of_several_sizes_are_refused_with_the_settings_and_fit_once_they_are_given(tmp_path):
    images = [encoded(Image.fromarray(COLOUR).resize((8 + n % 3, 9))) for n in range(24)]
    data = parquet(tmp_path, images)
    with pytest.raises(TaskError, match=r"one size and kind, but found .*task\.resize and task\.crop"):
        load_task(TaskDefinition(data=data))
    assert load_task(TaskDefinition(data=data, resize=(6, 6))).image == (3, 6, 6)
    assert load_task(TaskDefinition(data=data, resize=(8,), crop=(7, 7))).image == (3, 7, 7)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width, height):
    """Return a PNG of some hundred bytes that declares a size."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore:Image size")  # only readers of whole files silence Pillow
@pytest.mark.parametrize("side", [8193, 12_000, 40_000, 2**31 - 1])
def test_image_that_says_it_fills_the_memory_is_refused_at_once(side):
    assert side * side > MOST_PIXELS
    with pytest.raises(
        TaskError, match=r"row 3 of a\.parquet says that it has .*: a small file may, to fill the memory"
    ):
        read(bomb(side, side))


KINDS = [kind for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "ICO", "SGI") if kind]
if not features.check("webp"):
    KINDS.remove("WEBP")


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(data=st.data())
def test_whatever_a_decoder_makes_of_a_damaged_file_is_one_sentence_with_its_place(kind, data):
    whole = bytearray(encoded(Image.fromarray(COLOUR), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    said, pixels = read_or_refused(damaged)
    if pixels is None:
        assert "row 3 of a.parquet" in said
        assert "\n" not in said
        assert "0x" not in said
    else:
        assert pixels.dtype == np.uint8
        assert pixels.shape[0] in (1, 3)


def test_formats_that_run_programs_of_others_are_not_read():
    data = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    with pytest.raises(TaskError, match="its bytes are of no known format"):
        read(data)
