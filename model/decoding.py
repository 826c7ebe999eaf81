"""Decodes one image in any usual format into pixels of one byte.

If there is one right way to convert an image to grey or RGB of 8 bits, it is converted, and the conversion is reported.
Otherwise the image is refused with a reason. A damaged or hostile file always ends in a one-sentence error.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from sweeper.model.errors import TaskError

Bytes = NDArray[np.uint8]

#: Formats that are read, if this Pillow supports them. Pillow's other formats run programs (EPS) or hold no pictures.
FORMATS = (
    *("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "DIB", "ICO", "PCX", "SGI", "TGA", "QOI"),
)

#: Most pixels of an image before it is resized. A file of a few kilobytes may declare billions.
MOST_PIXELS = 64 * 2**20

#: Named backgrounds: red, green and blue, 0–255.
COLOURS = {"black": (0, 0, 0), "grey": (128, 128, 128), "white": (255, 255, 255)}

#: Default background of transparent images.
BACKGROUND = "black"

#: EXIF's entry for the orientation of a picture, and its value for an upright one.
_ORIENTATION, _UPRIGHT = 0x0112, 1

#: Largest value of 16 bits, and of 8 bits.
_LARGEST_16, _LARGEST = 65535, 255


@dataclass(frozen=True)
class Decoder:
    """How images become pixels.

    Attributes:
        resize: One number: new length of the shorter side; the aspect ratio stays. Two numbers: new height and width.
        crop: Height and width of the central part that is kept, after resizing.
        background: Colour behind transparent pixels: red, green and blue. None takes `BACKGROUND`, and refuses images
            that cannot be seen on it.
    """

    resize: tuple[int, ...] | None = None
    crop: tuple[int, int] | None = None
    background: tuple[int, int, int] | None = None

    def read(self, data: bytes, where: str) -> tuple[Bytes, tuple[str, ...]]:
        """Return the pixels of an image, shape (C, H, W), 0–255, and the conversions that were needed, in words.

        Args:
            data: The encoded image.
            where: Its position in the data, for messages.

        Raises:
            TaskError: If the data are no image or damaged, or cannot be converted to 8 bits a channel in one right way.
        """
        try:
            with Image.open(io.BytesIO(data), formats=_formats()) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise TaskError(_too_large(where, image.size))
                done: list[str] = []
                plain = self._plain(_upright(image, done), image.format or "", where, done)
                return _channels_first(self._fitted(plain, where)), tuple(done)
        except TaskError:
            raise
        except Image.DecompressionBombError as error:
            raise TaskError(_too_large(where, None)) from error
        except Exception as error:  # each format raises its own errors: ValueError, SyntaxError, struct.error, …
            raise TaskError(f"{where} is no readable image: {_reason(error)}. Remove it, or restore it.") from error

    def _plain(self, image: Image.Image, kind: str, where: str, done: list[str]) -> Image.Image:
        """Convert an image to grey or RGB of 8 bits."""
        if image.mode.startswith(("I", "F")):
            image = Image.fromarray(_of_16_bits(image, kind, where))
            done.append("of 16 bits, made 8")
        if image.mode != "1" and image.has_transparency_data and (laid := self._laid(image, where)) is not None:
            done.append("transparent, laid on a background")
            return laid
        if image.mode in {"1", "L"}:
            return image.convert("L")
        if image.mode in {"P", "PA"}:
            done.append("with a palette, made RGB")
        elif image.mode == "CMYK":
            done.append("in CMYK, made RGB")
        elif image.mode in {"HSV", "YCbCr"}:
            done.append(f"in {image.mode}, made RGB")
        return image.convert("RGB")

    def _laid(self, image: Image.Image, where: str) -> Image.Image | None:
        """Blend a transparent image with the background; return None if no pixel is transparent."""
        rgba = np.asarray(image.convert("RGBA"))
        alpha = rgba[..., 3:].astype(np.uint16)
        if (alpha == _LARGEST).all():
            return None
        colours, background = rgba[..., :3], self.background or COLOURS[BACKGROUND]
        seen = colours[alpha[..., 0] > 0]
        is_drawn_in_alpha = len(seen) and (seen == seen[0]).all() and np.ptp(alpha)
        if is_drawn_in_alpha and (self.background is None or tuple(seen[0].tolist()) == self.background):
            drawn = ", ".join(map(str, seen[0].tolist()))
            raise TaskError(
                f"{where} is drawn in its transparency alone: all that can be seen of it has one colour ({drawn}), so "
                "the background decides what is seen. Name another colour with task.background: black, white, grey, or "
                "[red, green, blue]."
            )
        laid = (colours * alpha + np.asarray(background, np.uint16) * (_LARGEST - alpha) + 127) // _LARGEST
        is_grey = image.mode in {"L", "LA", "La"} and len(set(background)) == 1
        return Image.fromarray(laid[..., 0].astype(np.uint8) if is_grey else laid.astype(np.uint8))

    def fitted(self, pixels: NDArray[Any], where: str) -> NDArray[Any]:
        """Resize and crop an image that is an array already, shape (C, H, W).

        Raises:
            TaskError: If the image is too small to be cropped.
        """
        if not (self.resize or self.crop):
            return pixels
        channels = [np.asarray(self._fitted(Image.fromarray(channel), where)) for channel in pixels]
        return np.stack(channels)

    def _fitted(self, image: Image.Image, where: str) -> Image.Image:
        if self.resize:
            image = image.resize(_size(image.size, self.resize), Image.Resampling.BILINEAR)
        if self.crop:
            (height, width), (wide, high) = self.crop, image.size
            if height > high or width > wide:
                raise TaskError(
                    f"{where} is an image of {high}×{wide} pixels (height × width)"
                    f"{' after resizing' if self.resize else ''}, from which task.crop cannot cut {height}×{width}. "
                    "Crop less, or resize to more."
                )
            left, top = (wide - width) // 2, (high - height) // 2
            image = image.crop((left, top, left + width, top + height))
        return image


@cache
def _formats() -> tuple[str, ...]:
    """Return the formats that this Pillow reads."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _size(size: tuple[int, int], asked: tuple[int, ...]) -> tuple[int, int]:
    """Return width and height of a resized image."""
    if len(asked) == 2:
        return asked[1], asked[0]
    factor = asked[0] / min(size)
    wide, high = (asked[0] if side == min(size) else max(1, int(side * factor)) for side in size)
    return wide, high


def _upright(image: Image.Image, done: list[str]) -> Image.Image:
    """Turn an image upright by its EXIF orientation."""
    if "exif" not in image.info and "Raw profile type exif" not in image.info and image.format != "TIFF":
        return image  # most images have no EXIF, and looking for it would take longer than decoding
    if image.getexif().get(_ORIENTATION, _UPRIGHT) not in range(_UPRIGHT + 1, 9):
        return image
    done.append("turned as its camera was held")
    return ImageOps.exif_transpose(image)


def _of_16_bits(image: Image.Image, kind: str, where: str) -> Bytes:
    """Convert grey of 16 bits to 8 bits, rounded."""
    values = np.asarray(image)
    is_16 = image.mode.startswith("I;16") or (image.mode == "I" and kind in {"PNG", "PPM"})
    if not is_16 or values.min() < 0 or values.max() > _LARGEST_16:
        raise TaskError(
            f"images must have 8 or 16 bits a channel, but {where} has mode {image.mode}, whose black and white are "
            "not known. Convert it to 8 bits first."
        )
    return narrowed(values)


def narrowed(values: NDArray[np.generic]) -> Bytes:
    """Convert values of 16 bits, 0–65535, to bytes, 0–255, rounded."""
    return ((values.astype(np.uint32) * _LARGEST + _LARGEST_16 // 2) // _LARGEST_16).astype(np.uint8)


def _channels_first(image: Image.Image) -> Bytes:
    array = np.array(image, np.uint8)
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))


def _too_large(where: str, size: tuple[int, int] | None) -> str:
    found = f"{size[0]} × {size[1]} pixels" if size else "far more"
    return (
        f"an image must have at most {MOST_PIXELS // 2**20} million pixels, but {where} says that it has {found}: a "
        "small file may, to fill the memory. Take it out, or make it smaller."
    )


def _reason(error: Exception) -> str:
    """Return a decoder's error message in one line."""
    if "cannot identify image file" in str(error):
        return "its bytes are of no known format"
    line = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return re.sub(r"\s*<[^>]*\bobject at 0x[0-9a-f]+>", "", line).rstrip(". ")[:200]
