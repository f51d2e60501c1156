"""Small steps on samples that several formats share: alpha apart, depth, orientation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.io.base import Frame

__all__ = ["expand_bits", "join", "rescale", "split", "turn"]

Samples = NDArray[Any]


def split(samples: Samples, channels: int, alpha: bool, duration: float | None = None) -> Frame:
    """A frame from interleaved samples.

    Parameters
    ----------
    samples : ndarray, shape (Y, X) or (Y, X, channels [+ 1])
        Not copied.
    channels : int
        Colour channels.
    alpha : bool
        The last channel is alpha.
    duration : float, optional
        Seconds.

    Raises
    ------
    ValueError
        If the number of channels is another one.
    """
    if samples.ndim == 2:
        samples = samples[:, :, None]
    if samples.shape[2] != channels + alpha:
        raise ValueError(f"{samples.shape[2]} channels where {channels + alpha} were announced")
    if not alpha:
        return Frame((samples,), None, duration)
    return Frame((samples[:, :, :channels],), samples[:, :, channels], duration)


def join(frame: Frame, gray_to_rgb: bool = False) -> Samples:
    """Interleaved contiguous samples, alpha last; (Y, X) for plain gray."""
    (plane,) = frame.planes
    if gray_to_rgb and plane.shape[2] == 1:
        plane = plane.repeat(3, axis=2)
    if frame.alpha is not None:
        plane = np.concatenate([plane, frame.alpha[:, :, None]], axis=2)
    elif plane.shape[2] == 1:
        plane = plane[:, :, 0]
    return np.ascontiguousarray(plane)


def expand_bits(samples: Samples, bits: int) -> Samples:
    """Integers of 1..7 bits as 8-bit grey levels: 0 stays black, full scale becomes 255."""
    levels = (np.arange(2**bits) * 255 / (2**bits - 1)).round().astype(np.uint8)
    return np.asarray(levels[samples.astype(np.uint8)])


def rescale(frame: Frame, bits: int, new_bits: int) -> Frame:
    """Unsigned samples from one full scale to a larger one; the way back rounds to the same."""
    if bits == new_bits:
        return frame
    dtype = np.min_scalar_type(2**new_bits - 1)

    def scale(samples: Samples) -> Samples:
        wide = samples.astype(np.uint64) * (2**new_bits - 1)
        top = np.uint64(2**bits - 1)
        scaled: Samples = np.minimum((wide + top // 2) // top, 2**new_bits - 1).astype(dtype)
        return scaled

    planes = tuple(scale(plane) for plane in frame.planes)
    return replace(frame, planes=planes, alpha=None if frame.alpha is None else scale(frame.alpha))


def turn(frame: Frame, orientation: int) -> Frame:
    """The frame upright: what a viewer shows for this EXIF orientation (1..8)."""
    if orientation == 1:
        return frame

    def upright(samples: Samples) -> Samples:
        if orientation in (5, 6, 7, 8):
            samples = samples.swapaxes(0, 1)
        if orientation in (3, 4, 7, 8):
            samples = samples[::-1]
        if orientation in (2, 3, 6, 7):
            samples = samples[:, ::-1]
        return np.ascontiguousarray(samples)

    planes = tuple(upright(plane) for plane in frame.planes)
    alpha = None if frame.alpha is None else upright(frame.alpha)
    return replace(frame, planes=planes, alpha=alpha)
