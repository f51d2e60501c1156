"""What stands behind a picture in its file: clips of motion photos, archives, notes of programs."""

from __future__ import annotations

from typing import BinaryIO

__all__ = ["PADDING", "dropped_behind"]

PADDING = b"\0\t\n\r \x1a\xff"
"""Bytes that fill a file up."""


def dropped_behind(file: BinaryIO, end: int) -> tuple[str, ...]:
    """The loss of whatever but padding stands in a file from `end` on, in words."""
    file.seek(end)
    while part := file.read(1 << 16):
        if part.strip(PADDING):
            return ("what stands behind the picture in the file",)
    return ()
