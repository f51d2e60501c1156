"""The frames of a clip's file through the filter: read ahead, denoised, written behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm import backends, registry
from nlm.clip import Scene, denoise_clip
from nlm.errors import FileError
from nlm.io import Frame, FrameReader, FrameWriter, Info
from nlm.noise import Plan, plan
from nlm.overlap import Behind, ahead, quick_turns
from nlm.planes import restored, visible_pixels
from nlm.scenes import Map, thumbnail
from nlm.settings import Settings

__all__ = ["as_asked", "denoise_stream", "judge_of", "levels"]

FRAMES_AHEAD = 2
"""Frames that are decoded in advance, and that wait for the way back or to be encoded."""

TellFrames = Callable[[int, int | None], None]


def as_asked(info: Info, stack: str) -> Info:
    """A source as it is to be treated: pages are a clip if a person says so."""
    return replace(info, clip=True) if stack == "clip" else info


def denoise_stream(
    reader: FrameReader,
    writer: FrameWriter,
    info: Info,
    chosen: registry.Filter,
    params: Any,
    settings: Settings,
    tell: TellFrames | None = None,
) -> tuple[int, list[Scene]]:
    """Denoise a clip from a reader to a writer.

    Reading, with the way to floats and a look for cuts, the way back, and writing have threads of
    their own.

    Parameters
    ----------
    reader, writer : FrameReader, FrameWriter
    info : Info
        Of the clip.
    chosen, params
        The filter and its parameters.
    settings : Settings
    tell : callable, optional
        Told after each frame how many of how many are done.

    Returns
    -------
    count : int
        Number of frames.
    scenes : list of Scene
        What was used for each scene.

    Raises
    ------
    FileError
        If a frame is unlike the first, or the noise model does not fit.
    """
    place = backends.choose(settings.backend, settings.threads)
    told = (settings.sigma, settings.noise_model, settings.gain)
    judge = judge_of(reader.name, info, *told)
    waiting: deque[Frame] = deque()  # in order, like the maps
    maps: deque[Map] = deque()
    scenes: list[Scene] = []
    count = 0

    def seen() -> Iterator[registry.Planes]:
        shapes: list[tuple[int, ...]] = []
        for number, frame in enumerate(reader):
            here = [plane.shape for plane in frame.planes]
            shapes = shapes or here
            if here != shapes:
                raise FileError(
                    f"{reader.name}: frame {number} has {here[0][1]} x {here[0][0]} pixels, the "
                    f"first {shapes[0][1]} x {shapes[0][0]}; frames of a clip must be alike "
                    "(pages are denoised one by one with: --stack pages)"
                )
            waiting.append(frame)
            planes = tuple(visible_pixels(plane, frame, info) for plane in frame.planes)
            maps.append(thumbnail(planes[0]))
            yield planes

    def store(item: tuple[Frame, registry.Planes]) -> None:
        writing.put(restored(*item, info))

    with (
        quick_turns(),
        closing(ahead(seen(), FRAMES_AHEAD)) as planes,
        Behind(writer.write, FRAMES_AHEAD) as writing,
        Behind(store, FRAMES_AHEAD) as storing,
    ):
        how = (chosen, params, judge, place, settings.tile, scenes)
        clip = denoise_clip(planes, *how, look=lambda _: maps.popleft())
        for filtered in clip:
            storing.put((waiting.popleft(), filtered))
            count += 1
            if tell is not None:
                tell(count, info.frames)
    return count, scenes


def judge_of(
    name: str, info: Info, sigma: float | None, model: str, gain: float | None
) -> Callable[[NDArray[np.float32]], Plan]:
    """What tells the noise of a clip's planes.

    Parameters
    ----------
    name : str
        The clip's, for messages.
    info : Info
    sigma, model, gain
        See `nlm.noise.plan`.

    Raises
    ------
    FileError
        If the noise model is not for such a clip.
    """
    if info.chroma is not None:
        if gain is not None or model == "poisson-gaussian":
            raise FileError(
                f"{name}: the noise of YUV video is taken as Gaussian, one level for each scene; "
                "leave out --poisson and --noise-model poisson-gaussian"
            )
        model = "gaussian"
    return lambda plane: plan(plane, sigma, model, gain)


def levels(scenes: list[Scene]) -> tuple[float, list[float] | None]:
    """Noise level of a clip and of its planes or channels, the mean over all frames."""
    weights = [max(scene.frames, 1) for scene in scenes]
    rows = [
        (
            scene.plans[0].sigma_channels
            if len(scene.plans) == 1
            else tuple(plan.sigma for plan in scene.plans)
        )
        for scene in scenes
    ]
    sigma = float(np.average([scene.plans[0].sigma for scene in scenes], weights=weights))
    if any(row is None for row in rows):
        return sigma, None
    return sigma, [float(level) for level in np.average(np.array(rows), axis=0, weights=weights)]
