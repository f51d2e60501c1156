"""Non-local means in space and time on the CPU: a few frames held, one of them denoised."""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nlm.backends.compiled import kernel, simd_width
from nlm.backends.cpu import EXP2_OFFSET, SELF_FLOOR
from nlm.backends.cpu_motion import Pyramid, follow
from nlm.backends.cpu_tiles import ForEach, aligned_areas, reflected
from nlm.backends.threads import for_each

TILE_ROWS = 16
LENGTH = 32
"""Least cells of a tile's rows, those beside it in which covering patches begin included."""
WEIGHTS = 2**24
"""Most weights that are kept at once by each thread, unless one row of cells has more."""

ROUNDING = 2
"""How far a tile of odd size, or in a picture of odd size, may be moved out of the picture."""

Picture = NDArray[np.float32]
Moves = NDArray[np.int64]


@dataclass(frozen=True)
class Geometry:
    """How frames are arranged and cut into tiles; cells are `cell` pixels wide and high.

    Attributes
    ----------
    height, width : int
        Of a frame, in pixels.
    features, values : int
        Channels that are compared; the last ones of them are also averaged.
    patch, radius : int
        Side of a patch and reach of the search window in each frame, in pixels.
    frames : int
        How many are compared at most, the denoised one included.
    """

    height: int
    width: int
    features: int
    values: int
    patch: int
    radius: int
    frames: int

    @cached_property
    def cell(self) -> int:
        return 3 if self.patch % 3 == 0 else 1

    @cached_property
    def cells(self) -> int:
        return self.patch // self.cell

    @cached_property
    def group(self) -> int:
        """Offsets that are taken together: up to five."""
        offsets = 2 * self.radius + 1
        return -(-offsets // -(-offsets // 5))

    @cached_property
    def length(self) -> int:
        least = max(LENGTH, 4 * (self.cells - 1))
        return -(-least // simd_width()) * simd_width()

    @cached_property
    def core(self) -> int:
        """Cells in a row of a tile."""
        return self.length - 2 * (self.cells - 1)

    @cached_property
    def offsets(self) -> int:
        offsets = 2 * self.radius + 1
        return self.frames * offsets * -(-offsets // self.group) * self.group

    @cached_property
    def core_rows(self) -> int:
        rows = WEIGHTS // (self.offsets * self.length) - (self.cells - 1)
        return min(max(rows, 1), TILE_ROWS, -(-self.height // self.cell))

    @cached_property
    def tile(self) -> tuple[int, int]:
        """Rows and columns of a tile, in pixels."""
        return self.core_rows * self.cell, self.core * self.cell

    @cached_property
    def tiles(self) -> tuple[int, int]:
        return -(-self.height // self.tile[0]), -(-self.width // self.tile[1])

    @cached_property
    def corners(self) -> NDArray[np.int64]:
        """First row and column of each tile, shape (tiles, 2)."""
        y, x = np.mgrid[: self.tiles[0], : self.tiles[1]]
        return np.stack([y.ravel() * self.tile[0], x.ravel() * self.tile[1]], axis=1)

    @cached_property
    def margin(self) -> int:
        reach = (self.cells - 1) * self.cell + self.radius + ROUNDING
        return -(-reach // self.cell) * self.cell

    @cached_property
    def span(self) -> int:
        """Cells in a row of an arranged frame."""
        cells = (self.tiles[1] * self.tile[1] + 2 * self.margin) // self.cell
        return cells + -(-self.group // self.cell) + 1

    @cached_property
    def rows(self) -> int:
        """Rows of pixels of an arranged frame."""
        return self.tiles[0] * self.tile[0] + 2 * self.margin

    @cached_property
    def plane(self) -> int:
        return self.rows * self.span * self.cell

    @cached_property
    def scratch(self) -> list[int]:
        """Vectors needed for each of the kernel's areas, in the order of its arguments."""
        row = self.length // simd_width()
        patches = (self.core_rows + self.cells - 1) * row
        pixels = self.values * self.cell**2
        beyond = -(-self.cells // simd_width())  # where the last sums along a row end
        return [
            patches * self.offsets,  # weights
            patches + beyond,  # sums of weights, then shares
            patches + beyond,  # largest weights
            row * self.offsets // self.frames + beyond,  # differences, or columns of shares
            row * self.cells * self.offsets // self.frames,  # the same of the rows of a patch
            self.core_rows * row * pixels,  # numerator
            self.core_rows * row,  # denominator
            self.group,
        ]


class Clip:
    """Some frames of a clip, held in slots and arranged for the kernel."""

    def __init__(
        self, geometry: Geometry, sigmas: Sequence[float], for_each: ForEach = for_each
    ) -> None:
        """Frames of this geometry, whose channels have these noise levels."""
        self.geometry = one = geometry
        self.sigmas = np.array(sigmas, np.float32)
        self.for_each = for_each
        self.size = one.features * one.plane
        beyond = one.length + simd_width()  # the last vectors of a frame end there
        self.frames = np.zeros(one.frames * self.size + beyond, np.float32)
        self.pyramids: list[Pyramid | None] = [None] * one.frames
        self.local = threading.local()
        self.row_of = reflected(one.height, one.rows, one.margin)
        columns = reflected(one.width, one.span * one.cell, one.margin)
        columns = columns[: one.span * one.cell].reshape(one.span, one.cell)
        self.column_of = np.ascontiguousarray(columns.T)

    def put(self, slot: int, planes: Sequence[Picture]) -> None:
        """Hold a frame: its planes (Y, X, C), which have a channel for each noise level."""
        one = self.geometry
        channels = [plane[..., c] for plane in planes for c in range(plane.shape[2])]
        run = kernel("cpu_nlm_clip", "arrange")
        band = 64
        for channel, (picture, sigma) in enumerate(zip(channels, self.sigmas, strict=True)):
            steps = [stride // 4 for stride in picture.strides]
            row_of = self.row_of * steps[0]
            place = self.frames[slot * self.size + channel * one.plane :]

            def arrange(
                first: int,
                picture: Picture = picture,
                row_of: NDArray[np.int64] = row_of,
                place: Picture = place,
                step: int = steps[1],
                factor: float = 1 / sigma,
            ) -> None:
                run(
                    picture.ctypes.data,
                    place.ctypes.data,
                    row_of.ctypes.data,
                    self.column_of.ctypes.data,
                    first,
                    min(first + band, one.rows),
                    one.span * one.cell,
                    step,
                    factor,
                )

            self.for_each(arrange, range(0, one.rows, band))
        self.pyramids[slot] = Pyramid.of(channels[0])

    def moves(self, slots: Sequence[int]) -> Moves:
        """How far each tile of the first slot's frame has moved in each, (tiles, slots, 2)."""
        one, sigma = self.geometry, float(self.sigmas[0])
        moves = np.zeros((len(one.corners), len(slots), 2), np.int64)

        def look(k: int) -> None:
            here, there = self.pyramids[slots[0]], self.pyramids[slots[k]]
            if here is not None and there is not None:
                moves[:, k] = follow(here, there, one.corners, one.tile, sigma)

        self.for_each(look, range(1, len(slots)))
        return moves

    def denoise(self, slots: Sequence[int], moves: Moves, strength: float) -> Picture:
        """The first slot's frame averaged with the others', shape (Y, X, values)."""
        one = self.geometry
        run = kernel(
            "cpu_nlm_clip",
            "average",
            cell=one.cell,
            cells=one.cells,
            group=one.group,
            features=one.features,
            values=one.values,
        )
        starts = np.broadcast_to(np.array(slots) * self.size, moves.shape[:2])
        windows = np.concatenate([starts[..., None], moves], axis=2)
        factors = self.sigmas[-one.values :].copy()
        out = np.empty((one.height, one.width, one.values), np.float32)
        per_unit = 2**16 * math.log2(math.e) / strength**2
        scale = -per_unit / (one.features * one.patch**2)
        start = EXP2_OFFSET * 2**16 + 2 * per_unit
        row = one.tiles[1]

        def denoise_row(first: int) -> None:
            corners, where = one.corners[first : first + row], windows[first : first + row]
            if not hasattr(self.local, "areas"):
                self.local.areas = aligned_areas(one.scratch)
                for area in self.local.areas:
                    area[:] = 0
            seen = np.empty((one.cell + one.group) * (2 * one.radius + 1), np.int64)
            images = (self.frames, factors, out, corners, where, seen, *self.local.areas)
            run(
                *(image.ctypes.data for image in images),
                *(row, len(slots), one.radius, one.core_rows, one.length),
                *(one.span, one.span * one.cell, one.plane, one.height, one.width, one.margin),
                *(scale, start, SELF_FLOOR),
            )

        self.for_each(denoise_row, range(0, len(one.corners), row))
        return out


def clip_of(geometry: Geometry, sigmas: Sequence[float], for_each: ForEach) -> Clip:
    """A place for frames."""
    return Clip(geometry, sigmas, for_each)


class Transfer:
    """Frames on their way to where they are computed and back: here, they are there already."""

    ahead = 0
    """Results that are under way when the next one is asked for."""

    def bring(self, planes: tuple[Picture, ...]) -> tuple[Picture, ...]:
        """Planes where they are needed."""
        return planes

    def fetch(self, planes: tuple[Picture, ...]) -> Callable[[], tuple[Picture, ...]]:
        """What gives the planes back."""
        return lambda: planes


def shrunk(luma: Picture, shape: tuple[int, ...]) -> Picture:
    """Luma (Y, X, 1) brought to the grid (y, x) of subsampled chroma: means of its blocks."""
    for axis in (0, 1):
        factor = -(-luma.shape[axis] // shape[axis])
        missing = shape[axis] * factor - luma.shape[axis]
        sides = [(0, missing if one == axis else 0) for one in range(3)]
        luma = np.pad(luma, sides, mode="edge")
        parts = [luma[k::factor] if axis == 0 else luma[:, k::factor] for k in range(factor)]
        luma = sum(parts[1:], parts[0]) / np.float32(factor)
    return luma
