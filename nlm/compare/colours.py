"""How pixels look on a screen whose channels are not red, green and blue."""

import numpy as np

from nlm.compare.pictures import Float32
from nlm.compat.lab import bgr_of_lab

LAB_UNITS = np.array([2.55, 1, 1])
"""Of L*, a* and b* as they are, for those of 8 bits."""


def rgb_of_cmyk(pixels: Float32) -> Float32:
    """Cyan, magenta, yellow and black as inks without a profile."""
    return np.asarray((1 - pixels[..., :3]) * (1 - pixels[..., 3:]), np.float32)


def rgb_of_lab(pixels: Float32, bounded: bool) -> Float32:
    """SRGB of CIELab, whose white becomes white.

    Parameters
    ----------
    pixels : ndarray, shape (Y, X, 3)
    bounded : bool
        They come from integers, gray in the middle of a* and b*; else they are L* of 0 to 100 and
        a* and b* about 0.
    """
    values = pixels.astype(float) * 255 if bounded else pixels * LAB_UNITS + np.array([0, 128, 128])
    linear = np.clip(bgr_of_lab(values)[..., ::-1], 0, 1)
    curved = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return np.asarray(curved, np.float32)
