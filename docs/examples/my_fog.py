"""A degradation of your own: fog, which is thicker at some heights of an image than at others."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]


def fog(pixels: Pixels, level: float, rng: np.random.Generator) -> Pixels:
    """Mix each row of an image with white: at level 1 the thickest rows are nearly white.

    The random draws do not depend on the level, so that images can be compared level by level.
    """
    images, _, height, _ = pixels.shape
    thickness = level * rng.random((images, 1, height, 1))
    return np.float32(thickness) + np.float32(1 - thickness) * pixels
