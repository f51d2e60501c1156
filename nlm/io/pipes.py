"""Streams that cannot seek: read as they come where the format allows it, gathered first elsewhere.

Videos flow, so that a pipe may run for hours; an MP4, whose index is at its end, is gathered in a
temporary file; pictures are gathered in memory.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from contextlib import nullcontext
from typing import BinaryIO

from nlm.io.formats import sniff
from nlm.io.video.containers import CONTAINERS

__all__ = ["buffered"]


def buffered(stream: BinaryIO, head: int, owned: bool = False) -> BinaryIO:
    """A file that begins with the stream's first bytes again.

    Parameters
    ----------
    stream : binary stream
    head : int
        Bytes that decide about the format.
    owned : bool
        The stream is closed once it is read, or with the file.
    """
    start = stream.read(head)
    row = sniff(start)
    if row is not None and row.is_video and CONTAINERS[row.name].flows:
        return io.BufferedReader(_Headed(start, stream, owned), 1 << 16)
    with stream if owned else nullcontext():
        if row is None or not row.is_video:
            return io.BytesIO(start + stream.read())
        gathered = tempfile.TemporaryFile()  # noqa: SIM115 - the reader closes it
        gathered.write(start)
        shutil.copyfileobj(stream, gathered)
        return gathered


class _Headed(io.RawIOBase):
    """A stream with its first bytes put back."""

    def __init__(self, head: bytes, stream: BinaryIO, owned: bool) -> None:
        self._head, self._stream, self._owned = head, stream, owned
        self._given = 0

    def close(self) -> None:
        if self._owned:
            self._stream.close()
        super().close()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._head:
            count = min(len(buffer), len(self._head))
            buffer[:count], self._head = self._head[:count], self._head[count:]
            self._given += count
            return count
        data = (
            self._stream.read1(len(buffer))
            if hasattr(self._stream, "read1")
            else (self._stream.read(len(buffer)))
        )
        buffer[: len(data)] = data
        self._given += len(data)
        return len(data)

    def tell(self) -> int:
        return self._given
