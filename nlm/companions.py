"""Files that come with a picture: a guide for its weights, a map of its noise."""

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import TypeVar

import numpy as np

from nlm import frames
from nlm.errors import FileError, UsageError
from nlm.inputs import finite, guide_of
from nlm.io import Frame, Info, open_reader
from nlm.noise import Plan
from nlm.registry import Guide

Made = TypeVar("Made")


def guides(path: str | None, info: Info, max_pixels: int) -> Iterator[Guide | None]:
    """A guide for each frame of a picture: the file's frames in turn, or its only one for all.

    Raises
    ------
    FileError
        If it cannot be read, or its size or number of frames does not fit.
    """
    return _for_each_frame(path, info, max_pixels, _guide)


def sigma_plans(path: str | None, info: Info, max_pixels: int) -> Iterator[Plan | None]:
    """The noise of each frame, from a picture of its level.

    Integers tell 8-bit grey levels by their brightness: full scale is level 255, whatever the
    depth. Floats are 8-bit grey levels as they stand.

    Raises
    ------
    FileError
        If it cannot be read, does not fit, or holds what is no noise level.
    """
    return _for_each_frame(path, info, max_pixels, _plan)


def _for_each_frame(
    path: str | None, info: Info, max_pixels: int, make: Callable[[Frame, Info, Info], Made]
) -> Iterator[Made | None]:
    if path is None:
        yield from repeat(None)
        return
    with open_reader(path, max_pixels=max_pixels) as reader:
        if reader.info.frames not in (1, info.frames):
            raise FileError(
                f"{path}: has {reader.info.frames} frames, the picture {info.frames}; "
                "give as many, or one for all"
            )
        try:
            made = (make(frame, reader.info, info) for frame in reader)
            yield from repeat(next(made)) if reader.info.frames == 1 else made
        except UsageError as error:
            raise FileError(f"{path}: {error}") from None


def _guide(frame: Frame, its: Info, info: Info) -> Guide:
    return guide_of(finite(frame.planes[0], its), (info.height, info.width, info.channels))


def _plan(frame: Frame, its: Info, info: Info) -> Plan:
    levels = frames.to_float(frame.planes[0], its)
    if levels.shape != (info.height, info.width, 1):
        height, width, channels = levels.shape
        raise UsageError(
            f"a sigma map of {width} x {height} pixels and {channels} channels does not fit; "
            f"give one of {info.width} x {info.height} and 1 channel"
        )
    if not (np.isfinite(levels).all() and levels.min() >= 0):
        raise UsageError("a sigma map holds noise levels, 0 or more; these are not all")
    return Plan.of_map(levels[..., 0] / 255 if its.dtype.kind == "f" else levels[..., 0])
