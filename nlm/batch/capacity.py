"""How much fits at once: processors and memory, and a gate that hands them out."""

import math
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nlm.batch.need import PROCESS, THREAD
from nlm.errors import UsageError

SHARE_OF_AVAILABLE = 0.7
CAUTIOUS = 2 * 2**30
"""Taken where the system does not tell."""

UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def default_memory() -> int:
    """Bytes that a batch may use where nobody says: most of what is free now."""
    free = [room for room in (_system(), _container()) if room is not None]
    return int(SHARE_OF_AVAILABLE * min(free)) if free else CAUTIOUS


def to_share(memory: int, threads: int) -> int:
    """What is left of so many bytes for files, without the parent and what threads hold."""
    return max(memory - PROCESS - threads * THREAD, memory // 2)


def _system() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if "MemAvailable" in line)
    except (OSError, StopIteration):
        pass
    if sys.platform == "win32":
        return None
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (OSError, ValueError):
        return None


def _container() -> int | None:
    """What the control group leaves, where one sets a limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = int((folder / "memory.max").read_text())
        used = int((folder / "memory.current").read_text())
        counts = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
        cache = next(int(count) for name, count in counts if name == "inactive_file")
        return max(0, limit - used + cache)
    except (OSError, ValueError, StopIteration):
        return None


def parse_memory(text: str) -> int:
    """Bytes from ``3G``, ``800M`` and the like.

    Raises
    ------
    UsageError
        If it is no amount of memory.
    """
    number = text.strip().lower().removesuffix("b").removesuffix("i")
    unit = number[-1:] if number[-1:].isalpha() else ""
    try:
        size = float(number.removesuffix(unit)) * UNITS[unit]
        if not 0 < size < float("inf"):
            raise ValueError
    except (KeyError, ValueError):
        raise UsageError(
            f"memory {text!r} is not allowed; give an amount like 3G or 800M"
        ) from None
    return int(size)


class GateClosedError(Exception):
    """The gate was closed while somebody waited."""


class Gate:
    """Lets work in, first come first served, while there is memory and there are threads.

    Parameters
    ----------
    threads : int
        Processor threads to share out.
    lanes : int
        Most files at once.
    memory : int
        Bytes to share out. What needs more runs alone.
    """

    def __init__(self, threads: int, lanes: int, memory: int) -> None:
        self.threads, self.lanes, self.memory = threads, lanes, memory
        self._free_threads, self._free_memory = max(threads, lanes), memory
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def threads_for(self, memory: int) -> int:
        """Threads that work of this size gets so that all are busy: the fewer fit, the more."""
        together = self.lanes
        if memory > 0:
            together = max(1, min(self.lanes, self.memory // memory))
        return max(1, math.ceil(self.threads / together))

    @contextmanager
    def admit(self, memory: int) -> Iterator[int]:
        """Wait until work of this size fits; gives its number of threads.

        Raises
        ------
        GateClosedError
            If the gate closes first.
        """
        memory = min(memory, self.memory)
        threads = self.threads_for(memory)
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                self._changed.wait_for(
                    lambda: (
                        self._closed or (self._queue[0] is ticket and self._fits(threads, memory))
                    )
                )
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()
            if self._closed:
                raise GateClosedError
            self._free_threads -= threads
            self._free_memory -= memory
        try:
            yield threads
        finally:
            with self._changed:
                self._free_threads += threads
                self._free_memory += memory
                self._changed.notify_all()

    def _fits(self, threads: int, memory: int) -> bool:
        all_free = self._free_threads == max(self.threads, self.lanes)
        return all_free or (threads <= self._free_threads and memory <= self._free_memory)

    def close(self) -> None:
        """Let nobody in any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
