"""Clips on a GPU whose memory ends: the CPU goes on where it was."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import TypeVar

from nlm.backends import Backend
from nlm.errors import FileError

log = logging.getLogger(__name__)

Item = TypeVar("Item")


def as_memory_allows_in_time(
    run: Callable[[Iterable[Item], Backend], Iterator[Item]],
    frames: Iterable[Item],
    reach: int,
    backend: Backend,
    fallback: Backend | None,
) -> Iterator[Item]:
    """Run what denoises the frames of a scene; where its memory ends, run it elsewhere from there.

    Parameters
    ----------
    run : callable
        Frames and a backend to the same frames denoised, in order.
    frames : iterable
    reach : int
        Frames before and after one on which its result depends.
    backend, fallback : Backend
        None as the second: there is nowhere else. Otherwise, frames on which results to come
        depend are held for it.

    Raises
    ------
    FileError
        If memory ends and there is nowhere else.
    """
    source, begun, given = iter(frames), 0, 0
    held: deque[Item] = deque()

    def taken() -> Iterator[Item]:
        for frame in source:
            if fallback is not None:
                held.append(frame)
            yield frame

    try:
        for frame in run(taken(), backend):
            yield frame
            given += 1
            while held and begun < given - reach:
                held.popleft()
                begun += 1
    except backend.out_of_memory as error:
        if fallback is None:
            raise FileError(
                "the GPU's memory is too small for frames of this size that see each other; use "
                "--temporal-radius 0, or --backend cpu"
            ) from error
    else:
        return
    log.info("the GPU's memory is full: the CPU goes on from frame %d of the scene", given + 1)
    yield from islice(run(chain(held, source), fallback), given - begun, None)
