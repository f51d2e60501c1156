"""Non-local means in space and time on the GPU: as in `cpu_clip.py`, frames lie on the card."""

import logging
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from nlm.backends import gpu_device
from nlm.backends.cpu import SELF_FLOOR
from nlm.backends.cpu_clip import Geometry
from nlm.backends.cpu_motion import COARSE, DOUBT, FINE, SMALLEST
from nlm.backends.cpu_tiles import ForEach
from nlm.backends.gpu_transfer import Transfer
from nlm.backends.threads import for_each

__all__ = ["Clip", "Geometry", "Transfer", "clip_of", "shrunk"]

log = logging.getLogger(__name__)

THREADS, AVERAGING = 256, 512
"""Of a block, and of one that averages; see cuda/clip.cu."""


class Clip:
    """Some frames of a clip, held in slots on the card and arranged for the kernel."""

    def __init__(
        self, geometry: Geometry, sigmas: Sequence[float], for_each: ForEach = for_each
    ) -> None:
        """Frames of this geometry, whose channels have these noise levels."""
        self.geometry = one = geometry
        self.sigmas = np.array(sigmas, np.float32)
        self.device = gpu_device.device()
        beyond = one.length + one.group  # the last cells of a frame are read with these
        shape = one.frames * one.features * one.plane + beyond
        self.frames = self.device.xp.zeros((shape,), np.float32)
        self.factors = self.device.put(self.sigmas[-one.values :])
        self.followed = min(one.height, one.width) >= SMALLEST
        self.half = (one.height // 2, one.width // 2)
        self.quarter = (self.half[0] // 2, self.half[1] // 2)
        if self.followed:
            self.halves = self.device.xp.empty((one.frames, *self.half), np.float32)
            self.quarters = self.device.xp.empty((one.frames, *self.quarter), np.float32)

    def put(self, slot: int, planes: Sequence[Any]) -> None:
        """Hold a frame: its planes (Y, X, C) on the card, a channel for each noise level."""
        one = self.geometry
        columns = one.span * one.cell
        channels = [(plane, c) for plane in planes for c in range(plane.shape[2])]
        for n, ((plane, c), sigma) in enumerate(zip(channels, self.sigmas, strict=True)):
            self._launch(
                "clip.cu", "arrange", (columns, one.rows),
                (plane, self.frames, one.height, one.width, plane.shape[2], c, one.rows, one.span,
                 one.margin, (slot * one.features + n) * one.plane, float(1 / sigma)),
            )  # fmt: skip
        if self.followed:
            for source, target, columns, step in (
                (planes[0], self.halves, one.width, planes[0].shape[2]),
                (self.halves[slot], self.quarters, self.half[1], 1),
            ):
                rows, across = target.shape[1:]
                self._launch(
                    "motion.cu", "halve", (across, rows),
                    (source, target, columns, step, rows, across, slot * rows * across),
                )  # fmt: skip

    def moves(self, slots: Sequence[int]) -> Any:
        """How far each tile of the first slot's frame has moved in each, (slots, tiles, 2)."""
        one = self.geometry
        tiles = len(one.corners)
        if not self.followed:
            return self.device.xp.zeros((len(slots), tiles, 2), np.int32)
        moves = self.device.xp.empty((len(slots), tiles, 2), np.int32)
        self.device.launch(
            "motion.cu", "follow", (), (tiles, len(slots)), THREADS,
            (self.halves, self.quarters, self._on_card(slots), self.least, moves,
             *self.half, *self.quarter, *one.tile, one.tiles[1], COARSE, FINE),
            4 * THREADS,
        )  # fmt: skip
        return moves

    @cached_property
    def least(self) -> Any:
        """What moving has to explain of each tile's differences, on the card."""
        one, sigma = self.geometry, float(self.sigmas[0])
        block = np.maximum(np.array(one.tile) // 2, 1)
        pixels = np.clip(np.array(self.half) - one.corners // 2, 1, block).prod(axis=1)
        return self.device.put(DOUBT * (2 * (sigma / 2) ** 2 * np.sqrt(2 * pixels)))

    def denoise(self, slots: Sequence[int], moves: Any, strength: float) -> Any:
        """The first slot's frame averaged with the others', (Y, X, values) on the card."""
        one = self.geometry
        out = self.device.xp.empty((one.height, one.width, one.values), np.float32)
        group = fitting(one, self.device)
        h2 = strength**2
        log2_e = math.log2(math.e)
        self.device.launch(
            "clip.cu", "average", constants(one, group), one.tiles[::-1],
            AVERAGING,
            (self.frames, self.factors, self._on_card(slots), moves, out, len(slots), one.radius,
             one.span, one.plane, one.height, one.width, one.margin,
             -log2_e / (h2 * one.features * one.patch**2), 2 * log2_e / h2, SELF_FLOOR),
            shared_bytes(one, group),
        )  # fmt: skip
        return out

    def _on_card(self, slots: Sequence[int]) -> Any:
        return self.device.put(np.array(slots, np.int32))

    def _launch(
        self, source: str, kernel: str, size: tuple[int, int], arguments: tuple[Any, ...]
    ) -> None:
        """A thread for each of so many columns and rows."""
        grid = (-(-size[0] // THREADS), size[1])
        known = constants(self.geometry, 1) if source == "clip.cu" else ()
        self.device.launch(source, kernel, known, grid, THREADS, arguments)


def constants(one: Geometry, group: int) -> tuple[tuple[str, int], ...]:
    """Macros for the compiler."""
    return (
        ("CELL", one.cell),
        ("CELLS", one.cells),
        ("CORE_ROWS", one.core_rows),
        ("LENGTH", one.length),
        ("FEATURES", one.features),
        ("VALUES", one.values),
        ("GROUP", group),
    )


def shared_bytes(one: Geometry, group: int) -> int:
    """Shared memory of a block that takes so many offsets together."""
    edge = one.cells - 1
    return 4 * group * (one.core_rows + 2 * edge) * (2 * one.length - edge)


def fitting(one: Geometry, device: gpu_device.Device) -> int:
    """How many offsets a block has room to take together; 0 = it has not even room for one."""
    groups = range(one.group, 0, -1)
    fits = (group for group in groups if shared_bytes(one, group) <= device.shared_per_block)
    return next(fits, 0)


def clip_of(geometry: Geometry, sigmas: Sequence[float], for_each: ForEach) -> Any:
    """A place for frames; None where the card has no room for such patches."""
    if fitting(geometry, gpu_device.device()) == 0:
        log.info("patches of %d pixels are too large for the GPU", geometry.patch)
        return None
    return Clip(geometry, sigmas, for_each)


def shrunk(luma: Any, shape: tuple[int, ...]) -> Any:
    """Luma (Y, X, 1) on the card, brought to the grid (y, x) of subsampled chroma."""
    device = gpu_device.device()
    factors = [-(-size // small) for size, small in zip(luma.shape, shape, strict=False)]
    small = device.xp.empty((*shape[:2], 1), np.float32)
    device.launch(
        "motion.cu", "shrink", (), (-(-shape[1] // THREADS), shape[0]), THREADS,
        (luma, small, *luma.shape[:2], shape[1], *factors),
    )  # fmt: skip
    return small
