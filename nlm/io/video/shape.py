"""The shape of pixels, where libav's muxers take it from a place PyAV cannot reach.

A stream gets a placeholder behind its title when it is written. Afterwards the title is put right,
and the room that this frees holds the shape, so that nothing else moves.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

__all__ = ["HOLD", "IncompleteError", "ShapedPipe", "Shaper", "shape_file"]

HOLD = " " * 120
"""Put behind a stream's title to make room."""

HEAD = 1 << 24
"""Bytes of a file that its head never exceeds."""

Shaper = Callable[[bytes], tuple[int, bytes]]
"""Finds in the beginning of a file where other bytes belong, and which."""


class IncompleteError(ValueError):
    """The head of a file goes on behind what was given."""


def shape_file(path: Path, shaper: Shaper) -> None:
    """Put a shape into a finished file with a placeholder."""
    with open(path, "r+b") as file:
        at, patch = shaper(file.read(HEAD))
        file.seek(at)
        file.write(patch)


class ShapedPipe:
    """A pipe that puts a shape into what flows through it.

    Parameters
    ----------
    file : binary file
        Where it flows to.
    shaper : callable
    """

    def __init__(self, file: BinaryIO, shaper: Shaper) -> None:
        self._file, self._shaper = file, shaper
        self._head = b""
        self._flows = False

    def write(self, data: bytes) -> int:
        """Pass data on; the head of the file waits until it is complete."""
        if self._flows:
            return self._file.write(data)
        self._head += data
        try:
            at, patch = self._shaper(self._head)
        except IncompleteError:
            return len(data)
        self._flows = True
        self._file.write(self._head[:at] + patch + self._head[at + len(patch) :])
        return len(data)
