"""One pool of threads for everything that computes: kernels release the GIL and share it."""

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import Any


def available_threads() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="nlm")


def for_each(work: Callable[[Any], None], items: Iterable[Any], threads: int | None = None) -> None:
    """Call `work` on every item, in parallel; the calling thread is one of the threads.

    The first error is raised, and an error or Ctrl-C cancels what has not begun.
    """
    left = deque(items)
    threads = threads or available_threads()

    def take() -> None:
        try:
            while left:
                try:
                    item = left.popleft()
                except IndexError:  # another thread was faster
                    return
                work(item)
        finally:
            left.clear()

    helping = min(threads, len(left)) - 1
    helpers = [_pool(threads, os.getpid()).submit(take) for _ in range(helping)]
    try:
        take()
    finally:
        wait(helpers)
    for helper in helpers:
        helper.result()
