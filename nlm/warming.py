"""Compile ahead what nlm's filters need, side by side: one kernel after the other takes minutes."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

import numpy as np

from nlm import arrays, backends, registry
from nlm.backends.compiled import cache_folder
from nlm.backends.threads import available_threads
from nlm.clip import denoise_clip
from nlm.errors import FileError
from nlm.noise import Plan

WEAK_TO_STRONG = (0.0015, 0.1, 0.25)
"""Noise levels for each of which a filter may choose other parameters and kernels."""


@dataclass(frozen=True)
class Task:
    """A small picture or clip to be denoised, for the kernels that this takes."""

    method: str
    channels: int
    preset: str
    sigma: float
    clip: bool = False

    def __call__(self) -> None:
        # Kernels are chosen by the range of values, too.
        steep = np.repeat(np.array([0, 1], np.float32), 32)[:, None, None]
        picture = np.broadcast_to(steep, (64, 64, self.channels))
        if not self.clip:
            arrays.denoise(picture, self.sigma, self.method, -1, backend="cpu", preset=self.preset)
            return
        params = registry.parameters(self.method, self.preset, {}, clip=True)
        frames = [(picture,) * 3 if self.channels == 1 else (picture,)] * 2
        chosen, place = registry.get(self.method), backends.choose("cpu")
        list(denoise_clip(frames, chosen, params, lambda _: Plan(self.sigma), place))


def tasks() -> list[Task]:
    """What compiles everything; those that take longest come first."""
    own = [method for method in registry.methods() if not registry.get(method).reference]
    variants = product(own, (3, 1), reversed(registry.PRESETS), WEAK_TO_STRONG, (False, True))
    return [Task(*variant) for variant in variants]


def warm_up(
    tell: Callable[[float], None] = lambda _: None, processes: int | None = None
) -> list[str]:
    """Compile what nlm's filters need for pictures and clips, gray and colour.

    Processes share the work, each kernel is compiled by one of them.

    Parameters
    ----------
    tell : callable
        Told the share that is done.
    processes : int, optional
        Left out: one more than processors, for some wait for what another compiles.

    Returns
    -------
    list of str
        Names of the filters that are ready.

    Raises
    ------
    FileError
        If there is no folder to keep kernels in.
    """
    if cache_folder() is None:
        raise FileError(
            "compiled kernels can be kept nowhere; let NUMBA_CACHE_DIR name a folder that can be "
            "written"
        )
    every = tasks()
    left, count = list(every), len(every)
    try:
        with _processes(min(count, processes or available_threads() + 1)) as pool:
            waiting = {pool.submit(task): task for task in left}
            for future in as_completed(waiting):
                future.result()
                left.remove(waiting[future])
                tell(1 - len(left) / count)
    except (BrokenProcessPool, OSError):  # no process, or no memory for so many
        for number, task in enumerate(left, 1):
            task()
            tell(1 - (len(left) - number) / count)
    return list(dict.fromkeys(task.method for task in every))


@contextmanager
def _processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that are gone afterwards, however that comes about."""
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(count, context, _begin)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()


def _begin() -> None:
    """Ctrl-C is for the parent, who also tells what is done; without it there is nothing to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stderr = None
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
