"""Where one scene of a clip ends and the next begins.

Each frame is reduced to a small map of block means, which noise does not reach. Two maps differ by
what remains after the better of "brighter" and "more contrast" is taken out, so that flashes,
fades and exposure do not count; the next scene begins where that is much more than it was lately,
and where the frames after it do not come back to the one before.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["AHEAD", "Map", "difference", "split", "thumbnail"]

Item = TypeVar("Item")

GRID = 16
"""Blocks of a map along each axis, at most."""
SMALLEST_BLOCK = 4
"""Rows and columns of a block, at least."""
AHEAD = 2
"""Frames that a flash may last."""
ROWS_APART = 8
"""Of rows in which noise is looked for."""
FLOOR = 3 / 255
"""Contrast below which a map says nothing."""
NOISE = 3
"""Standard errors of block means below which contrast is noise."""
CUT = 0.5
"""Difference that may be a cut; 0 = the same picture, about 1.1 = nothing in common."""
JUMP = 2.5
"""How much more than lately that must be."""
BACK = 0.6
"""Part of a flash's difference below which a picture is the one of before it."""
LATELY = 6
"""Differences that are remembered."""


@dataclass(frozen=True)
class Map:
    """A small picture of a frame.

    Attributes
    ----------
    means : ndarray, shape (rows, columns)
        Of blocks of the frame.
    error : float
        Their standard error, from differences of neighbouring pixels in some rows.
    """

    means: NDArray[np.float32]
    error: float


def thumbnail(plane: NDArray[np.float32]) -> Map:
    """Block means of a plane (Y, X, C) over all channels."""
    gray = plane.mean(axis=2, dtype=np.float32) if plane.shape[2] > 1 else plane[:, :, 0]
    means = gray
    for axis in (1, 0):  # along rows first: what is left for columns is small
        length = gray.shape[axis]
        count = max(1, min(GRID, length // SMALLEST_BLOCK))
        starts = np.arange(count) * length // count
        widths = np.diff([*starts, length]).astype(np.float32)
        sums = np.add.reduceat(means, starts, axis=axis)
        means = sums / (widths[:, None] if axis == 0 else widths)
    steps = np.diff(gray[::ROWS_APART], axis=1)
    variance = float(np.square(steps).mean()) / 2 if steps.size else 0.0
    return Map(means, math.sqrt(variance * means.size / gray.size))


def difference(one: Map, other: Map) -> float:
    """How little two maps have in common, contrast and brightness apart; 0 = the same picture."""
    a, b = (map_.means - map_.means.mean() for map_ in (one, other))
    spread_a, spread_b = float(np.abs(a).mean()), float(np.abs(b).mean())
    weak, strong = (a, b) if spread_a <= spread_b else (b, a)
    most = max(spread_a, spread_b)
    gain = min(2.0, most / max(min(spread_a, spread_b), 1e-6))
    left = min(float(np.abs(a - b).mean()), float(np.abs(weak * gain - strong).mean()))
    return left / (most + FLOOR + NOISE * max(one.error, other.error))


def split(frames: Iterable[Item], look: Callable[[Item], Map]) -> Iterator[Iterator[Item]]:
    """The scenes of a clip, one after the other.

    Parameters
    ----------
    frames : iterable
        `AHEAD` of them are held.
    look : callable
        Gives a frame's map; called once for each, in order.

    Yields
    ------
    iterator
        The frames of a scene; what is left of one is skipped when the next is asked for.
    """
    marked = _marked(iter(frames), look)
    first = next(marked, None)
    while first is not None:
        following: list[Item] = []

        def scene(begin: Item, following: list[Item] = following) -> Iterator[Item]:
            yield begin
            for is_cut, frame in marked:
                if is_cut:
                    following.append(frame)
                    return
                yield frame

        current = scene(first[1])
        yield current
        deque(current, maxlen=0)
        first = (True, following[0]) if following else None


def _marked(frames: Iterator[Item], look: Callable[[Item], Map]) -> Iterator[tuple[bool, Item]]:
    """Frames with a mark on those that begin a new scene."""
    window: deque[tuple[Item, Map]] = deque()
    lately: deque[float] = deque(maxlen=LATELY)
    before: Map | None = None

    def fill(count: int) -> None:
        for frame in islice(frames, max(0, count - len(window))):
            window.append((frame, look(frame)))

    fill(1)
    while window:
        frame, small = window.popleft()
        fill(AHEAD)
        if before is None:
            before = small
            yield False, frame
            continue
        here = difference(before, small)
        differs = here >= _least(lately)
        is_flash = differs and any(difference(before, later) < BACK * here for _, later in window)
        if differs and not is_flash:
            lately.clear()
        elif not differs:
            lately.append(here)
        if not is_flash:
            before = small
        yield differs and not is_flash, frame


def _least(lately: deque[float]) -> float:
    """The difference from which on a frame belongs to another scene, or to a flash."""
    usual = float(np.median(lately)) if lately else 0.0
    return min(1.0, max(CUT, JUMP * usual) if usual < CUT else CUT + usual)
