"""Large arrays to the card and back: by pinned memory in pieces, filled and emptied by threads.

The driver copies pageable memory on one thread, at a tenth of what the bus carries.
"""

import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.backends.threads import available_threads, for_each

PIECE = 4 * 2**20
"""Numbers that are copied at once, 16 MiB."""
MOST_THREADS = 8

_lock = threading.Lock()
"""Of the pinned memory, which all threads share."""


@cache
def _pinned() -> list[tuple[NDArray[np.float32], Any]]:
    """Two pieces of pinned memory, and for each an event: the card is done with it."""
    import cupy
    import cupyx

    return [(cupyx.empty_pinned((PIECE,), np.float32), cupy.cuda.Event()) for _ in range(2)]


def _pieces(size: int) -> Iterator[tuple[slice, NDArray[np.float32], Any]]:
    for number, start in enumerate(range(0, size, PIECE)):
        part = slice(start, min(start + PIECE, size))
        pinned, event = _pinned()[number % 2]
        yield part, pinned[: part.stop - start], event


def is_large(array: Any) -> bool:
    """Whether copying in pieces pays."""
    return bool(array.dtype == np.float32 and array.size >= PIECE)


def put(array: NDArray[np.float32], on_card: Any) -> None:
    """Copy a large contiguous array to one on the card."""
    import cupy

    stream = cupy.cuda.get_current_stream()
    source, target = array.reshape(-1), on_card.reshape(-1)
    with _lock:
        for part, pinned, event in _pieces(source.size):
            event.synchronize()
            _copy(source[part], pinned)
            target[part].set(pinned, stream=stream)
            event.record(stream)


def fetch(on_card: Any, array: NDArray[np.float32]) -> None:
    """Copy a large contiguous array from the card."""
    import cupy

    stream = cupy.cuda.get_current_stream()
    source, target = on_card.reshape(-1), array.reshape(-1)
    under_way: tuple[slice, NDArray[np.float32], Any] | None = None
    with _lock:
        for part, pinned, event in _pieces(target.size):
            source[part].get(stream=stream, out=pinned, blocking=False)
            event.record(stream)
            if under_way is not None:
                _arrived(target, *under_way)
            under_way = (part, pinned, event)
        if under_way is not None:
            _arrived(target, *under_way)


def _arrived(
    target: NDArray[np.float32], part: slice, pinned: NDArray[np.float32], event: Any
) -> None:
    event.synchronize()
    _copy(pinned, target[part])


def _copy(source: NDArray[np.float32], target: NDArray[np.float32]) -> None:
    threads = min(available_threads(), MOST_THREADS)
    step = -(-source.size // threads)
    parts = (slice(start, start + step) for start in range(0, source.size, step))
    for_each(lambda part: np.copyto(target[part], source[part]), parts, threads)
