"""A frame's planes as the filter sees them, and back as the file stores them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm import frames
from nlm.inputs import finite
from nlm.io import Frame, Info

__all__ = ["known_pixels", "restored", "visible_pixels"]


def visible_pixels(plane: NDArray[Any], frame: Frame, info: Info) -> NDArray[np.float32]:
    """A plane as finite float32 (Y, X, C) without the colours of transparent pixels."""
    return frames.fill_transparent(finite(plane, info), _alpha_over(plane, frame.alpha))


def known_pixels(plane: NDArray[Any], frame: Frame, info: Info) -> NDArray[np.float32]:
    """The same with NaN where nothing is known or seen: for judging the noise."""
    return frames.known(plane, info, _alpha_over(plane, frame.alpha))


def restored(frame: Frame, filtered: tuple[NDArray[np.float32], ...], info: Info) -> Frame:
    """A frame with filtered planes as stored; alpha, NaN and colours nobody sees stay."""
    planes = tuple(
        frames.to_stored(pixels, plane, info, _alpha_over(plane, frame.alpha))
        for pixels, plane in zip(filtered, frame.planes, strict=True)
    )
    return replace(frame, planes=planes)


def _alpha_over(plane: NDArray[Any], alpha: NDArray[Any] | None) -> NDArray[Any] | None:
    """Alpha at a plane's own resolution: what any pixel of subsampled chroma lets be seen."""
    if alpha is None or alpha.shape == plane.shape[:2]:
        return alpha
    for axis in (0, 1):
        step = -(-alpha.shape[axis] // plane.shape[axis])
        alpha = np.maximum.reduceat(alpha, np.arange(0, alpha.shape[axis], step), axis=axis)
    return alpha
