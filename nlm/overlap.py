"""Reading ahead and writing behind in threads of their own, a bounded number of items at a time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator, Iterable
from queue import Empty, Full, Queue
from typing import Generic, TypeVar

__all__ = ["Behind", "ahead", "quick_turns", "unwanted"]

Item = TypeVar("Item")

PATIENCE = 0.1
"""Seconds between two looks at whether the other side is still there."""
TURN = 1e-4
"""Seconds that a thread may wait for Python while another one runs it."""


class _QuickTurns:
    """Counts who wants them: Python has one interval for all threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.before = 0.0

    def __enter__(self) -> None:
        with self.lock:
            if self.users == 0:
                self.before = sys.getswitchinterval()
                sys.setswitchinterval(min(self.before, TURN))
            self.users += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0:
                sys.setswitchinterval(self.before)


_quick_turns = _QuickTurns()


def quick_turns() -> _QuickTurns:
    """Let threads take turns in Python often, inside a `with`.

    Each large operation of a thread that reads or writes ends in waiting for Python, for up to five
    milliseconds at Python's own interval: longer than the operation.
    """
    return _quick_turns


class _End:
    """Marks the end of a queue, with the error that caused it."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


_here = threading.local()


def unwanted() -> bool:
    """Whether this thread works ahead for somebody who has left: what waits should give up."""
    stop = getattr(_here, "stop", None)
    return stop is not None and stop.is_set()


def ahead(items: Iterable[Item], count: int) -> Generator[Item, None, None]:
    """The same items, up to `count` of them made in advance in another thread.

    Errors come out where the item would have. Closing the iterator ends the thread.
    """
    queue: Queue[Item | _End] = Queue(count)
    stop = threading.Event()

    def put(item: Item | _End) -> bool:
        while not stop.is_set():
            try:
                queue.put(item, timeout=PATIENCE)
            except Full:
                continue
            return True
        return False

    def work() -> None:
        _here.stop = stop
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as error:
            put(_End(error))
        else:
            put(_End())

    thread = threading.Thread(target=work, name="nlm-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item = queue.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stop.set()
        thread.join()


class Behind(Generic[Item]):
    """Hands items to a function in another thread; `put` waits while `count` are due.

    Use as a context manager: leaving it waits for the rest, or, after an error, drops it. An error
    of the function comes out of the next `put` or at the end.
    """

    def __init__(self, consume: Callable[[Item], None], count: int) -> None:
        self._consume = consume
        self._queue: Queue[Item | _End] = Queue(count)
        self._dropped = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="nlm-behind", daemon=True)

    def _work(self) -> None:
        while not self._dropped.is_set():
            try:
                item = self._queue.get(timeout=PATIENCE)
            except Empty:
                continue
            if isinstance(item, _End):
                return
            try:
                self._consume(item)
            except BaseException as error:
                self._error = error
                return

    def _hand(self, item: Item | _End) -> None:
        """Wait for room; no longer once nobody takes anything any more."""
        while self._error is None and not self._dropped.is_set():
            try:
                self._queue.put(item, timeout=PATIENCE)
            except Full:
                continue
            return

    def put(self, item: Item) -> None:
        """Hand over an item."""
        self._hand(item)
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Behind[Item]:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._dropped.set()
        try:
            self._hand(_End())
            self._thread.join()
        except BaseException:
            self._dropped.set()
            raise
        if kind is None and self._error is not None:
            raise self._error
