"""Streams that cannot seek: read as they come where the format allows it, gathered first elsewhere.

Videos flow, so that a pipe may run for hours; an MP4, whose index is at its end, is gathered in a
temporary file; pictures are gathered in memory.
"""

from __future__ import annotations

import io
import os
import select
import shutil
import tempfile
from contextlib import nullcontext
from typing import BinaryIO

from nlm.io.formats import sniff
from nlm.io.video.containers import CONTAINERS
from nlm.overlap import unwanted

__all__ = ["buffered", "heed_interruption"]

PATIENCE = 0.1
"""Seconds between two looks at whether anybody still waits for what a silent pipe might send."""


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
    start = _filled(stream, head)
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


def heed_interruption(file: BinaryIO) -> None:
    """Raise what interrupted the reading of a pipe: libav took it for the pipe's end."""
    raw = getattr(file, "raw", None)
    if isinstance(raw, _Headed) and raw.interruption is not None:
        raise raw.interruption


def _filled(stream: BinaryIO, count: int) -> bytes:
    """So many bytes, fewer only at the end, of a stream that may give them bit by bit."""
    data = b""
    while len(data) < count:
        more = stream.read(count - len(data))
        if not more:
            break
        data += more
    return data


class _Headed(io.RawIOBase):
    """A stream with its first bytes put back.

    Attributes
    ----------
    interruption : BaseException or None
        What ended the reading before the stream's end.
    """

    def __init__(self, head: bytes, stream: BinaryIO, owned: bool) -> None:
        self._head, self._stream, self._owned = head, stream, owned
        self._given = 0
        self.interruption: BaseException | None = None

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
        try:
            data = self._next(len(buffer))
        except (KeyboardInterrupt, SystemExit) as error:
            self.interruption = error
            data = b""
        buffer[: len(data)] = data
        self._given += len(data)
        return len(data)

    def _next(self, most: int) -> bytes:
        if isinstance(self._stream, io.FileIO) and os.name != "nt":
            while not select.select([self._stream], [], [], PATIENCE)[0]:
                if unwanted():
                    return b""
        read = getattr(self._stream, "read1", self._stream.read)
        data: bytes = read(most)
        return data

    def tell(self) -> int:
        return self._given
