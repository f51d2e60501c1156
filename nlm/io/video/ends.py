"""Whether a video ends before it should, by the sizes that its container announces."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

__all__ = ["FrameTrail", "is_cut_short"]

_SEGMENT = 0x18538067


def is_cut_short(file: BinaryIO, demuxer: str) -> bool:
    """Whether announced bytes are missing at the end; False where nothing is announced.

    Parameters
    ----------
    file : binary file
        Seekable; its position is restored.
    demuxer : str
        libav's name of the container.
    """
    ends = _ENDS.get(demuxer)
    if ends is None:
        return False
    here = file.tell()
    try:
        size = file.seek(0, os.SEEK_END)
        return ends(file, size) > size
    except (struct.error, IndexError):
        return True
    finally:
        file.seek(here)


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    """ISO base media: boxes of 32-bit or 64-bit lengths one after the other."""
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(16)
        (length,) = struct.unpack_from(">I", head)
        if length == 1:
            (length,) = struct.unpack_from(">Q", head, 8)
        if length == 0:  # to the end of the file
            return size
        if length < 8:
            return size
        at += length
    return at


def _end_of_segment(file: BinaryIO, size: int) -> int:
    """Matroska and WebM: the head, then one segment that holds everything."""
    file.seek(0)
    head = file.read(4096)
    at = 0
    while at < len(head):
        mark, at = _number(head, at, keep_length=True)
        length, at = _number(head, at, keep_length=False)
        if length is None:
            return size
        assert mark is not None
        if mark == _SEGMENT:
            return at + length
        at += length
    return size


def _number(data: bytes, at: int, keep_length: bool) -> tuple[int | None, int]:
    """A variable-length number and where it ends; None = "unknown"."""
    count = 9 - data[at].bit_length()
    raw = int.from_bytes(data[at : at + count], "big")
    bits = 7 * count
    value = raw if keep_length else raw & ((1 << bits) - 1)
    unknown = not keep_length and value == (1 << bits) - 1
    return (None if unknown else value), at + count


def _end_of_riff(file: BinaryIO, size: int) -> int:
    """AVI: one or, beyond a gigabyte, several RIFF chunks."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        kind, length = struct.unpack("<4sI", file.read(8))
        if kind != b"RIFF":
            return size
        at += 8 + length + length % 2
    return at


def _end_of_tags(file: BinaryIO, size: int) -> int:
    """FLV: tags, each followed by its length."""
    file.seek(max(0, size - 4))
    (last,) = struct.unpack(">I", file.read(4))
    if last < size and _end_of_tag(file, size - 4 - last) == size - 4:
        return size
    file.seek(5)
    at = int.from_bytes(file.read(4), "big") + 4
    while at < size:
        at = _end_of_tag(file, at) + 4
    return at - 4  # some leave out the last length


def _end_of_tag(file: BinaryIO, at: int) -> int:
    file.seek(max(0, at))
    head = file.read(4)
    return at + 11 + int.from_bytes(head[1:], "big") if len(head) == 4 else at + 11


_ENDS = {
    "mov": _end_of_boxes,
    "matroska": _end_of_segment,
    "avi": _end_of_riff,
    "flv": _end_of_tags,
}


class FrameTrail:
    """Follows the frames of YUV4MPEG2, which announces their size alone, to where they end."""

    def __init__(self) -> None:
        self._end: int | None = None

    def follow(self, at: int, size: int) -> None:
        """A frame whose samples lie there."""
        self._end = at + size

    def ends_within_frame(self, total: int) -> bool:
        """Whether a file or pipe of so many bytes has something after its last whole frame."""
        return self._end is not None and self._end < total
