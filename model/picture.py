"""Small pictures of images in a network's file, looked at before they are believed. Loads no torch."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

from PIL import Image

#: Pixels of the longest side of an image that is kept.
LONGEST_SIDE = 48


def png_problem(data: bytes) -> str:
    """Return what is wrong with an image that may come from anywhere, as it follows its name.

    Empty for a PNG, grey or RGB and no larger than `examples.png_of` makes one, whose pixels can be read.
    """
    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:  # reads no pixels yet
                if max(picture.size) > LONGEST_SIDE or picture.mode not in ("L", "RGB"):
                    width, height = picture.size
                    return f"has {width} × {height} pixels of kind {picture.mode}"
                picture.load()
    except (OSError, SyntaxError, ValueError, zlib.error, struct.error, *bombs) as error:  # what damage raises varies
        return f"is no readable PNG ({next(iter(str(error).splitlines()), type(error).__name__)})"
    return ""
