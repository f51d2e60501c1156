"""CIELAB as OpenCV scales it for 8 bits, from linear BGR: its names for channels, no gamma."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float64]

XYZ_OF_RGB = np.array(
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ]
)
WHITE = np.array([0.950456, 1.0, 1.088754])
KNEE = 0.008856


def lab_of_bgr(bgr: Pixels) -> Pixels:
    """Linear BGR 0..1, shape (Y, X, 3), to L of 0..255 and a, b of about 0..255 round 128."""
    x, y, z = np.moveaxis(bgr[..., ::-1] @ XYZ_OF_RGB.T / WHITE, -1, 0)
    fx, fy, fz = (np.where(t > KNEE, np.cbrt(t), 7.787 * t + 16 / 116) for t in (x, y, z))
    lightness = np.where(y > KNEE, 116 * fy - 16, 903.3 * y)
    return np.stack([lightness * 2.55, 500 * (fx - fy) + 128, 200 * (fy - fz) + 128], axis=-1)


def bgr_of_lab(lab: Pixels) -> Pixels:
    """Back from `lab_of_bgr`; values outside 0..1 may come out."""
    lightness, a, b = np.moveaxis(lab, -1, 0)
    fy = np.where(
        lightness / 2.55 > 903.3 * KNEE,
        (lightness / 2.55 + 16) / 116,
        7.787 * lightness / 2.55 / 903.3 + 16 / 116,
    )
    f = np.stack([(a - 128) / 500 + fy, fy, fy - (b - 128) / 200], axis=-1)
    xyz = np.where(f > np.cbrt(KNEE), f**3, (f - 16 / 116) / 7.787) * WHITE
    return np.asarray(xyz @ np.linalg.inv(XYZ_OF_RGB).T)[..., ::-1]
