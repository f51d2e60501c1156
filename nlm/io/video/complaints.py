"""What libav's decoders complain of without failing: damage that they patch over and only log."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import av
from av.video.codeccontext import VideoCodecContext

__all__ = ["Complaints", "complaints_of"]

_NO_DAMAGE = re.compile(r"mmco|POC|\bRPS\b|\b[PSV]PS\b|reference frames|no frame|frame dimensions")
"""Complaints about what lies before a recording's beginning, before a cut or before a jump."""

_log = logging.getLogger("libav")
_lock = threading.Lock()
_open: list[Complaints] = []
_before: tuple[int | None, bool] = (None, True)


class Complaints(logging.Handler):
    """Counts what decoders of one name complain of.

    Attributes
    ----------
    count : int
    """

    def __init__(self, decoder: str) -> None:
        super().__init__(logging.ERROR)
        self._source = f"libav.{decoder}"
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count a complaint; "at 0.16 seconds" goes on with one."""
        text = record.getMessage()
        if record.name != self._source or _NO_DAMAGE.search(text) or text.startswith("at "):
            return
        self.count += 1


@contextmanager
def complaints_of(decoder: VideoCodecContext) -> Iterator[Complaints]:
    """Listen to a decoder; afterwards it is empty and takes no more packets.

    Its threads take Python's lock when they complain. One that does so while the decoder is freed,
    by somebody who holds that lock and waits for the thread, would stop both for ever: hence it is
    emptied, which waits for its threads without the lock.
    """
    complaints = Complaints(decoder.name)
    _listen(complaints)
    try:
        yield complaints
    finally:
        decoder.flush_buffers()
        _leave(complaints)


def _listen(complaints: Complaints) -> None:
    global _before
    with _lock:
        if not _open:
            _before = av.logging.get_level(), av.logging.get_skip_repeated()
            av.logging.set_level(max(av.logging.ERROR, _before[0] or 0))
            av.logging.set_skip_repeated(False)
        _open.append(complaints)
    _log.addHandler(complaints)


def _leave(complaints: Complaints) -> None:
    _log.removeHandler(complaints)
    with _lock:
        _open.remove(complaints)
        if not _open:
            av.logging.set_level(_before[0])
            av.logging.set_skip_repeated(_before[1])
