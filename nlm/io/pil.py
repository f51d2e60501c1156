"""Samples to and from Pillow pictures, without its global checks and guesses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nlm.io.base import Frame
from nlm.io.samples import join

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["dots_per_inch", "to_pil"]

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def to_pil(frame: Frame, gray_to_rgb: bool = False) -> Image.Image:
    """An 8-bit frame as a Pillow picture: L, LA, RGB, RGBA, or CMYK for four colours."""
    from PIL import Image

    samples: NDArray[np.uint8] = join(frame, gray_to_rgb)
    rows, columns = samples.shape[:2]
    mode = _MODES[samples.size // (rows * columns)]
    if mode == "RGBA" and frame.alpha is None:
        mode = "CMYK"
    return Image.frombytes(mode, (columns, rows), samples.tobytes())


def dots_per_inch(info: dict[Any, Any]) -> tuple[float, float] | None:
    """Resolution that Pillow found, if it makes sense."""
    dpi = info.get("dpi")
    if not dpi or not all(0 < dots < 1e6 for dots in dpi):
        return None
    return float(dpi[0]), float(dpi[1])
