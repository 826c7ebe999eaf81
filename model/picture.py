"""Checks the small pictures in a network's file before they are used. Does not load torch."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

from PIL import Image

#: Longest side of a kept image, in pixels.
LONGEST_SIDE = 48


def png_problem(data: bytes) -> str:
    """Return the problem of an untrusted image, as the rest of a sentence that begins with its name.

    The result is empty for a readable PNG, grey or RGB, no larger than `examples.png_of` makes them.
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
    except (OSError, SyntaxError, ValueError, zlib.error, struct.error, *bombs) as error:  # damage raises any of these
        return f"is no readable PNG ({next(iter(str(error).splitlines()), type(error).__name__)})"
    return ""
