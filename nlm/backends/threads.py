"""One pool of threads for everything that computes: kernels release the GIL and share it."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
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
    """Call `work` on every item, in parallel.

    The first error is raised, and an error or Ctrl-C cancels what has not begun.
    """
    threads = threads or available_threads()
    items = list(items)
    if threads == 1 or len(items) <= 1:
        for item in items:
            work(item)
        return
    futures = [_pool(threads, os.getpid()).submit(work, item) for item in items]
    try:
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
    finally:
        for future in futures:
            future.cancel()
        wait(futures)
