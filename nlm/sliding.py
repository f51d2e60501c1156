"""A window that slides over the frames of a scene, and is shorter at its ends."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def sliding(
    frames: Iterable[Item], reach: int, take: Callable[[int, Item], None]
) -> Iterator[tuple[int, range]]:
    """Tell for each frame which ones are near it.

    Parameters
    ----------
    frames : iterable
    reach : int
        Frames before and after one that are near it.
    take : callable
        Given each frame's number and the frame as soon as it comes.

    Yields
    ------
    number : int
        From 0 on, in order, as soon as all frames near it have been taken.
    near : range
        Numbers of these, its own among them.
    """
    given = 0
    for given, frame in enumerate(frames, 1):
        take(given - 1, frame)
        if given > reach:
            number = given - 1 - reach
            yield number, range(max(number - reach, 0), given)
    for number in range(max(given - reach, 0), given):
        yield number, range(max(number - reach, 0), given)
