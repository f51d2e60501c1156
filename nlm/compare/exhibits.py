"""What page and contact sheet show of a picture: 8 bits, and of a large one the telling part."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nlm.boxes import box_sums
from nlm.compare.clips import Clip
from nlm.compare.colours import rgb_of_cmyk, rgb_of_lab
from nlm.compare.pictures import Picture
from nlm.compare.trials import Result

Levels = NDArray[np.uint8]
Window = tuple[slice, slice]

NOISY, REFERENCE = "noisy", "reference"
BUDGET = 16e6
"""Samples that a page holds at most: about as many bytes."""
MOST_PICTURES = 4
VISIBLE = 50
"""Grey levels that differences of one sigma are shown with, about."""


@dataclass(frozen=True)
class Exhibit:
    """A picture as it is shown.

    Attributes
    ----------
    path : str
    size : (rows, columns)
        Of the whole picture.
    window : (slice, slice)
        Rows and columns that are shown.
    pictures : dict of str to ndarray of uint8, shape (Y, X, 1 or 3)
        "noisy", "reference" where there is one, and the methods that gave a result.
    results : dict of str to Result
    noisy_psnr : float or None
        Of the whole noisy picture, where there is a clean one.
    moment : str
        Which frame of a clip it is, in words; empty for a picture.
    """

    path: str
    size: tuple[int, int]
    window: Window
    pictures: dict[str, Levels]
    results: dict[str, Result]
    noisy_psnr: float | None
    moment: str = ""

    @property
    def name(self) -> str:
        """Its file's name."""
        return Path(self.path).name

    @property
    def whole(self) -> bool:
        """Whether all of the picture is shown."""
        return self.pictures[NOISY].shape[:2] == self.size

    @property
    def gain(self) -> int:
        """With which what was taken away is shown, so that noise is seen and not cut off."""
        sigma = next((one.sigma for one in self.results.values() if one.sigma), 0.0)
        return round(min(max(VISIBLE / sigma, 1), 10)) if sigma else 1

    def cut(self, side: int) -> "Exhibit":
        """The square where methods differ most."""
        window = telling_window(self._contenders(), side)
        pictures = {name: levels[window] for name, levels in self.pictures.items()}
        inner = tuple(
            slice(outer.start + part.start, outer.start + part.stop)
            for outer, part in zip(self.window, window, strict=True)
        )
        return replace(self, window=(inner[0], inner[1]), pictures=pictures)

    def _contenders(self) -> list[Levels]:
        return [levels for name, levels in self.pictures.items() if name != NOISY]


def exhibit(picture: Picture | Clip, results: Sequence[Result], side: int) -> Exhibit:
    """What is shown of a picture, of a clip its middle frame.

    Parameters
    ----------
    picture : Picture or Clip
    results : sequence of Result
        With their pictures.
    side : int
        Side in pixels of the square that is shown where the picture is larger.
    """
    shown = {NOISY: picture.noisy, REFERENCE: picture.reference}
    shown |= {one.method: one.denoised for one in results}
    low, high = _range(picture)
    levels = {
        name: _levels(rgb_of_lab(pixels, picture.bounded) if picture.lab else pixels, low, high)
        for name, pixels in shown.items()
        if pixels is not None
    }
    rows, columns = picture.noisy.shape[:2]
    whole = Exhibit(
        picture.path,
        (rows, columns),
        (slice(0, rows), slice(0, columns)),
        levels,
        {one.method: one.without_pictures() for one in results},
        picture.noisy_psnr,
        picture.moment,
    )
    return whole if rows * columns <= side * side else whole.cut(side)


def affordable_side(pictures: int, methods: int, channels: int) -> int:
    """The side of squares with which a page keeps within its budget."""
    panels = min(pictures, MOST_PICTURES) * (methods + 2) * channels
    return max(64, math.isqrt(int(BUDGET / panels)))


def telling_window(pictures: Sequence[Levels], side: int) -> Window:
    """The square, at most `side` pixels a side, where the pictures differ most; else the middle.

    Parameters
    ----------
    pictures : sequence of ndarray, shape (Y, X, C)
    side : int
    """
    shape = pictures[0].shape[:2] if pictures else (side, side)
    rows, columns = (min(side, size) for size in shape)
    total, squares = np.zeros(shape), np.zeros(shape)
    for levels in pictures:
        gray = levels.mean(axis=2)
        total += gray
        squares += gray**2
    spread = np.sqrt(np.maximum(squares / len(pictures) - (total / len(pictures)) ** 2, 0))
    boxes = box_sums(spread, rows, columns)
    top, left = np.unravel_index(np.argmax(boxes), boxes.shape)
    if spread.max() == 0:
        top, left = (size // 2 for size in boxes.shape)
    return slice(int(top), int(top) + rows), slice(int(left), int(left) + columns)


def _range(picture: Picture | Clip) -> tuple[float, float]:
    """What is shown black and white: 0 and 1, and of floats beyond them nearly all."""
    if picture.bounded or picture.lab:
        return 0.0, 1.0
    low, high = np.percentile(picture.noisy, (1, 99))
    return min(0.0, float(low)), max(1.0, float(high))


def _levels(pixels: NDArray[np.float32], low: float, high: float) -> Levels:
    if pixels.shape[2] == 4:
        pixels = rgb_of_cmyk(pixels)
    elif pixels.shape[2] != 3:
        pixels = pixels[..., :1]
    scaled = np.rint((pixels - low) * (255 / (high - low)))
    return np.asarray(np.clip(scaled, 0, 255), np.uint8)
