"""How a picture is laid out for the kernel of `cpu_nlm.py`: blocks, and tiles for lanes."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nlm.backends.compiled import simd_width
from nlm.backends.cpu_tiles import Corners, filled

PIXELWISE, PATCH_SUMS, PATCHWISE = range(3)
"""Forms of the kernel, see cpu_nlm.py."""
LARGEST_TILE = 288
"""Most rows and columns of the tile of a lane, what reaches beyond its block aside."""
PARTS = 12
"""How many ways of dividing a short side of the picture are compared."""
CACHED = 9 * 2**20
"""Bytes that a thread can go through again and again without waiting for memory."""
SLOWER = 0.09
"""By how much pixels take longer where tiles fill `CACHED`."""
GROUPS = (7, 6, 3)
"""How many neighbouring offsets may be taken together: what leaves the fewest idle."""
BESIDE = 3
"""Groups of offsets that the kernel goes through row by row."""
STRETCH = 32
"""Columns of a row whose weights the kernel computes before it uses them."""


@dataclass(frozen=True)
class Layout:
    """What the kernel keeps of a tile.

    Attributes
    ----------
    radius, half : (int, int)
        Reach of the search window and half the patch, in rows and columns.
    form : int
    features, values : int
        Channels that are compared and averaged.
    guided : bool
        The values are another picture than the features.
    """

    radius: tuple[int, int]
    half: tuple[int, int]
    form: int
    features: int
    values: int
    guided: bool

    @property
    def margin(self) -> tuple[int, int]:
        reach = 2 if self.form == PATCHWISE else 1
        beyond = self.group - 1  # a group of offsets may reach beyond the window
        return (
            self.radius[0] + reach * self.half[0] + 1,
            self.radius[1] + reach * self.half[1] + beyond,
        )

    @property
    def group(self) -> int:
        """How many neighbouring offsets are taken together."""
        offsets = 2 * self.radius[1] + 1
        return min(GROUPS, key=lambda group: -offsets % group)

    @property
    def beside(self) -> int:
        """How many groups are gone through row by row."""
        return 1 if self.features > 1 or self.form == PATCHWISE else BESIDE

    @property
    def beyond(self) -> tuple[int, int]:
        """By how many rows and columns tiles of a block must reach beyond it together.

        That is how far its pixels have pairs; see `left` and `inner` in cpu_nlm.py.
        """
        radius, last = self.radius[1], self.group - 1
        starts = {*range(-radius, radius + 1, self.group), *range(1, radius + 1, self.group)}
        columns = (max(0, -dx) - max(-radius, min(0, -dx - last)) for dx in starts)
        return self.radius[0], max(columns)

    @property
    def rim(self) -> tuple[int, int]:
        """Rows above a tile and columns left of it that its lane sums, too: `join` in cpu_nlm.py.

        They must lie in the neighbouring tile.
        """
        return self.radius[0], max(self.radius[1], self.group - 1)

    @property
    def planes(self) -> list[int]:
        """Vectors for each pixel: of features, values, sums and patch sums."""
        factored = 2 if self.features == 1 else 0  # differences and sums of rows
        return [
            self.features + factored,
            self.values if self.guided else 0,
            2 if self.form == PATCH_SUMS else self.values + 1,
            2 if self.form == PATCHWISE else 0,
        ]

    def scratch(self, rows: int, cols: int) -> list[int]:
        """Vectors needed for each of the kernel's areas, in the order of its arguments."""
        stride = cols + 2 * self.margin[1]
        plane, row = (rows + 2 * self.margin[0]) * stride, stride * self.group
        ring = row * (2 * self.half[0] + 1)
        patchwise = self.form == PATCHWISE
        return [
            *(plane * vectors for vectors in self.planes),
            ring if self.features > 1 else 0,  # squared differences
            row * self.beside,  # column sums, then masks of lanes
            (STRETCH + self.group - 1) * self.group,  # weights
            ring if patchwise else 0,  # rows of weights
            row if patchwise else 0,  # column sums of the ring
        ]


@dataclass(frozen=True)
class Tiles:
    """How a picture is cut into blocks, and these into tiles for lanes.

    Attributes
    ----------
    down, across : int
        How many tiles of a block lie on top of each other and side by side: one, or as many as
        there are lanes. Then lanes leave pairs of pixels to their neighbours, see cpu_nlm.py.
    block : (int, int)
        Rows and columns of a block.
    rows, cols : int
        Of a tile. Those of a block reach beyond it, as far as its pixels have pairs.
    """

    down: int
    across: int
    block: tuple[int, int]
    rows: int
    cols: int

    def covered(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns from the first to the last tile's end."""
        last_y = (height - 1) // self.block[0] * self.block[0]
        last_x = (width - 1) // self.block[1] * self.block[1]
        return last_y + self.down * self.rows, last_x + self.across * self.cols

    def jobs(self, height: int, width: int) -> list[Corners]:
        """First row and column of the lanes' tiles, and row and column where their block ends."""
        block_y, block_x = self.block
        corners: Corners = [
            (y + down * self.rows, x + across * self.cols,
             min(y + block_y, height), min(x + block_x, width))
            for y in range(0, height, block_y)
            for x in range(0, width, block_x)
            for down in range(self.down)
            for across in range(self.across)
        ]  # fmt: skip
        return filled(corners)


@lru_cache(maxsize=64)
def tiles_for(layout: Layout, height: int, width: int, threads: int) -> Tiles:
    """The tiles that take the least time.

    A tile costs time for its pixels, for some round them where a patch begins, and for pairs that
    reach into another block; in x all offsets of a group reach as far as the furthest. All lanes of
    all threads take as long as the busiest. A thread goes through all planes of its tiles again and
    again: they should fit into `CACHED`.
    """
    lanes, margin = simd_width(), layout.margin
    patch = [2 * half + 1 for half in layout.half]
    cached = CACHED / (4 * lanes * sum(layout.planes))
    best, least = None, math.inf
    for down, across in grids():
        y = _cuts(height, down, layout.beyond[0], layout.rim[0])
        x = _cuts(width, across, layout.beyond[1], layout.rim[1])
        if not (y.blocks.size and x.blocks.size):
            continue
        rows, cols = y.tile[:, None], x.tile
        jobs = -(-y.blocks[:, None] * x.blocks * down * across // lanes)
        around_y = patch[0] + (layout.radius[0] / 2 if down == 1 else 0)
        around_x = patch[1] + (layout.beyond[1] if across == 1 else 0)
        time = -(-jobs // threads) * (rows + around_y) * (cols + around_x)
        held = (rows + 2 * margin[0]) * (cols + 2 * margin[1]) / cached
        time = time * np.where(held <= 1, 1 + SLOWER * held, 2.0**40)
        k, n = np.unravel_index(np.argmin(time), time.shape)
        if time[k, n] < least:
            least = time[k, n]
            block = int(y.block[k]), int(x.block[n])
            best = Tiles(down, across, block, int(y.tile[k]), int(x.tile[n]))
    assert best
    return best


def grids() -> list[tuple[int, int]]:
    """Rows and columns of tiles that a block may have."""
    lanes = simd_width()
    return [(1, 1), *((2**k, lanes >> k) for k in range(lanes.bit_length()))]


class _Cuts(NamedTuple):
    """Ways of cutting a side: how many blocks, the size of one and of its tiles."""

    blocks: NDArray[np.int64]
    block: NDArray[np.int64]
    tile: NDArray[np.int64]


def _cuts(size: int, tiles: int, beyond: int, rim: int) -> _Cuts:
    """Ways of cutting a side into equal blocks of so many tiles, the largest first."""
    fewest = -(-size // (tiles * LARGEST_TILE))
    parts = np.arange(fewest, min(2 * fewest + PARTS, size + 1))
    block = -(-size // parts)
    if tiles == 1:
        return _Cuts(-(-size // block), block, block)
    tile = -(-(block + beyond) // tiles)
    block, tile = block[tile >= rim], tile[tile >= rim]
    return _Cuts(-(-size // block), block, tile)
