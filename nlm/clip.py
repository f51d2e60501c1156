"""Clips: scene by scene, with one noise level for each, through a filter that looks at neighbours.

A filter without `stream` sees every frame and every plane by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from nlm import arrays, backends, scenes
from nlm.limits import SMALLEST_SIGMA
from nlm.noise import Plan
from nlm.registry import Filter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nlm.registry import Planes

__all__ = ["Scene", "denoise_clip"]

LOOKED_AT = 3
"""Frames of a scene by which its noise is judged."""
APART = 2
"""Frames from one of them to the next."""


@dataclass
class Scene:
    """What was used for a scene.

    Attributes
    ----------
    plans : tuple of Plan
        What the filter was told of the noise in each plane.
    frames : int
        How many the scene has; known when the next one begins.
    """

    plans: tuple[Plan, ...]
    frames: int = 0


def denoise_clip(
    frames: Iterable[Planes],
    chosen: Filter,
    params: Any,
    judge: Callable[[NDArray[np.float32]], Plan],
    backend: backends.Backend,
    tile: int | None = None,
    scenes_seen: list[Scene] | None = None,
    look: Callable[[Planes], scenes.Map] | None = None,
) -> Iterator[Planes]:
    """Denoise the frames of a clip.

    Parameters
    ----------
    frames : iterable of tuple of ndarray
        Planes (y, x, C), finite float32, full scale 1.0.
    chosen : Filter
    params : dataclass
        The filter's parameters.
    judge : callable
        What a plane's noise is: plane -> Plan.
    backend : Backend
    tile : int, optional
        Side of the tiles of large frames, for filters that see every frame by itself.
    scenes_seen : list, optional
        Receives what was used for each scene.
    look : callable, optional
        Gives a frame's map, by which scenes are told apart, and is called once for each, in order;
        left out, that of the first plane.

    Yields
    ------
    tuple of ndarray
        The frames, in order.
    """
    in_time = None
    for scene in scenes.split(frames, look or _map_of_first_plane):
        first = list(islice(scene, (LOOKED_AT - 1) * APART + 1))
        if in_time is None:
            in_time = _in_time(chosen, first[0], params)
        used = Scene(_judge_scene(first[::APART], judge))
        if scenes_seen is not None:
            scenes_seen.append(used)
        how = (chosen, params, used, backend, tile, in_time)
        for planes in _denoise_scene(chain(first, scene), *how):
            used.frames += 1
            yield planes


def _map_of_first_plane(planes: Planes) -> scenes.Map:
    return scenes.thumbnail(planes[0])


def _judge_scene(
    samples: Sequence[Planes], judge: Callable[[NDArray[np.float32]], Plan]
) -> tuple[Plan, ...]:
    """For each plane, what is found in the frame of median noise."""
    plans = []
    for plane in zip(*samples, strict=True):
        found = sorted((judge(one) for one in plane), key=lambda plan: plan.sigma)
        plans.append(found[len(found) // 2])
    return tuple(plans)


def _denoise_scene(
    frames: Iterable[Planes],
    chosen: Filter,
    params: Any,
    scene: Scene,
    backend: backends.Backend,
    tile: int | None,
    in_time: bool,
) -> Iterator[Planes]:
    plans = scene.plans
    if all(plan.sigma < SMALLEST_SIGMA for plan in plans):
        yield from frames
        return
    if chosen.stream is None or not in_time:
        for planes in frames:
            yield tuple(
                arrays.apply(chosen, params, plane[None], plan, backend, tile)[0]
                for plane, plan in zip(planes, plans, strict=True)
            )
        return
    even = (_mapped(_forward, planes, plans) for planes in frames)
    levels = tuple(max(_level(plan), SMALLEST_SIGMA) for plan in plans)
    for planes in chosen.stream(even, levels, params, backend):
        yield _mapped(_inverse, planes, plans)


def _in_time(chosen: Filter, planes: Planes, params: Any) -> bool:
    """Whether frames go through the filter's `stream`, or each for itself."""
    if chosen.stream is None:
        return False
    if chosen.in_time is not None:
        return chosen.in_time(planes, params)
    return bool(getattr(params, "temporal_radius", None) != 0)


def _mapped(
    step: Callable[[NDArray[np.float32], Plan], NDArray[np.float32]],
    planes: Planes,
    plans: tuple[Plan, ...],
) -> Planes:
    return tuple(step(plane, plan) for plane, plan in zip(planes, plans, strict=True))


def _level(plan: Plan) -> float:
    return plan.stabiliser.sigma if plan.stabiliser else plan.sigma


def _forward(plane: NDArray[np.float32], plan: Plan) -> NDArray[np.float32]:
    return plan.stabiliser.forward(plane) if plan.stabiliser else plane


def _inverse(plane: NDArray[np.float32], plan: Plan) -> NDArray[np.float32]:
    return plan.stabiliser.inverse(plane) if plan.stabiliser else plane
