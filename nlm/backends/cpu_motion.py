"""Where the blocks of one frame lie in another: block matching, coarse to fine."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nlm.backends.compiled import kernel, simd_width

COARSE, FINE = 7, 3
"""How far is searched on the quarter-size and on the half-size picture, in their pixels."""
MARGIN = max(COARSE, FINE)
SMALLEST = 32
"""Least rows and columns of a picture whose parts are followed."""
DOUBT = 6.0
"""A block stays unless moving explains more than so many standard deviations of the noise's part
in its squared differences: the best of hundreds of moves explains some of it by chance."""

Picture = NDArray[np.float32]
Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Level:
    """A picture of which blocks are looked for.

    Attributes
    ----------
    padded : ndarray of float32
        The picture, with `MARGIN` more rows and columns on each side, and a vector on the right.
    size : (int, int)
        Rows and columns without these.
    """

    padded: Picture
    size: tuple[int, int]

    @classmethod
    def of(cls, picture: Picture) -> "Level":
        sides = ((MARGIN, MARGIN), (MARGIN, MARGIN + MARGIN + simd_width()))
        return cls(np.pad(picture, sides, mode="edge"), (picture.shape[0], picture.shape[1]))


@dataclass(frozen=True)
class Pyramid:
    """A picture at half and quarter size."""

    half: Level
    quarter: Level

    @classmethod
    def of(cls, picture: Picture) -> "Pyramid | None":
        """None where the picture is too small for its parts to be followed."""
        if min(picture.shape) < SMALLEST:
            return None
        half = halved(picture)
        return cls(Level.of(half), Level.of(halved(half)))


def halved(picture: Picture) -> Picture:
    """Means of 2x2 pixels; an odd last row or column is left out."""
    rows, columns = (size // 2 * 2 for size in picture.shape)
    part = picture[:rows, :columns]
    total = part[::2, ::2] + part[1::2, ::2] + part[::2, 1::2] + part[1::2, 1::2]
    return np.asarray(total * np.float32(0.25))


def follow(
    here: Pyramid, there: Pyramid, corners: Positions, block: tuple[int, int], sigma: float
) -> Positions:
    """How far blocks have moved from one picture to another.

    Parameters
    ----------
    here, there : Pyramid
    corners : ndarray of int64, shape (blocks, 2)
        First row and column of each block in `here`, in pixels.
    block : (int, int)
        Rows and columns of a block; what reaches beyond the picture is left out.
    sigma : float
        Noise level of both.

    Returns
    -------
    ndarray of int64, shape (blocks, 2)
        Rows and columns, even numbers of pixels.
    """
    still = np.zeros_like(corners)
    quarter, half = ((block[0] // n, block[1] // n) for n in (4, 2))
    rough, _ = _best(here.quarter, there.quarter, corners // 4, quarter, still, COARSE)
    moves, moved = _best(here.half, there.half, corners // 2, half, 2 * rough, FINE)
    _, unmoved = _best(here.half, there.half, corners // 2, half, still, 0)
    pixels = _extent(here.half, corners // 2, half).prod(axis=1)
    chance = 2 * (sigma / 2) ** 2 * np.sqrt(2 * pixels)
    moves[unmoved - moved < DOUBT * chance] = 0
    return 2 * moves


def _best(
    here: Level,
    there: Level,
    corners: Positions,
    block: tuple[int, int],
    centre: Positions,
    reach: int,
) -> tuple[Positions, NDArray[np.float32]]:
    """The best of the moves within `reach` of the centre, and its sum of squared differences."""
    size = np.array(here.size)
    corners = np.minimum(corners, size - 1)
    extent = _extent(here, corners, block)
    centre = np.clip(centre, -corners, size - corners - extent)
    side = 2 * reach + 1
    vectors = -(-side // simd_width())
    blocks = np.hstack([corners + MARGIN, extent, corners + centre + MARGIN - reach])
    sums = np.empty((len(blocks), side, vectors * simd_width()), np.float32)
    kernel("cpu_matching", "mismatch")(
        *(array.ctypes.data for array in (here.padded, there.padded, blocks, sums)),
        *(len(blocks), side, vectors, here.padded.shape[1]),
    )
    costs = sums[:, :, :side].reshape(len(blocks), -1)
    best = costs.argmin(axis=1)
    moves = centre + np.stack(np.unravel_index(best, (side, side)), axis=1) - reach
    moves = np.clip(moves, -corners, size - corners - extent)
    return moves, costs[np.arange(len(costs)), best]


def _extent(level: Level, corners: Positions, block: tuple[int, int]) -> Positions:
    """Rows and columns of the blocks as far as they are in the picture, at least one."""
    return np.asarray(np.clip(level.size - corners, 1, np.maximum(block, 1)))
