"""Classical non-local means in space and time: each frame averaged with its neighbours.

For every patch, alike ones are searched for in a window of its own frame and of those up to
`temporal_radius` before and after it, which lies where the patch's surroundings have moved to. At
the ends of a clip there are fewer. Luma is compared by itself, chroma jointly with luma, which is
brought to its grid; RGB is taken to a luma/chroma space for it.

A. Buades, B. Coll, J.-M. Morel, "Nonlocal image and movie denoising", IJCV 2008,
doi:10.1007/s11263-007-0052-1 (averaging over frames without motion); patchwise aggregation:
doi:10.5201/ipol.2011.bcm_nlm.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.backends import Backend, fallback
from nlm.backends.cpu_clip import Geometry
from nlm.noise import estimate
from nlm.noise.colour import OPPONENT
from nlm.resuming import as_memory_allows_in_time
from nlm.sliding import sliding

log = logging.getLogger(__name__)

LEAST_SHARE = 1 / 64
"""A colour channel has at least this share of the noise level."""

Picture = NDArray[np.float32]
Planes = tuple[Picture, ...]


@dataclass(frozen=True)
class Search:
    """What is compared, and how strictly.

    Attributes
    ----------
    patch_size : int
        Side of a patch in pixels; multiples of 3 are several times as fast as other sides.
    search_radius : int
        Reach of the window in every frame, in pixels of the plane; for chroma, which is smoother,
        one pixel more.
    temporal_radius : int
        Frames before and after that are searched.
    strength, strength_chroma : float
        h / sigma for gray and luma, and for chroma.
    """

    patch_size: int
    search_radius: int
    temporal_radius: int
    strength: float
    strength_chroma: float


def denoise(
    frames: Iterable[Planes], sigmas: Sequence[float], search: Search, backend: Backend
) -> Iterator[Planes]:
    """Denoise the frames of one scene.

    Parameters
    ----------
    frames : iterable of tuple of ndarray
        Planes of each frame, float32 (Y, X, C), full scale 1.0, finite: one of RGB or any
        other number of channels, or luma (Y, X, 1) and chroma, (y, x, 1) twice, as subsampled.
    sigmas : sequence of float
        Noise level of each plane, more than 0, as a fraction of full scale.
    search : Search
    backend : Backend

    Yields
    ------
    tuple of ndarray
        The frames, in order. No more than ``2 * temporal_radius + 1`` are held.
    """
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        return
    rgb = len(first) == 1 and first[0].shape[2] == 3
    levels = _luma_chroma_levels(first[0], sigmas[0]) if rgb else sigmas

    def averaged(frames: Iterable[Planes], place: Backend) -> Iterator[Planes]:
        return _averaged(iter(frames), levels, search, place, rgb)

    yield from as_memory_allows_in_time(
        averaged, chain([first], frames), search.temporal_radius, backend, fallback(backend)
    )


def _luma_chroma_levels(rgb: Picture, sigma: float) -> tuple[float, ...]:
    """Noise levels that amount to `sigma`, shared out as the noise is: not all of it is white."""
    found = estimate(rgb)
    if found.sigma_channels is None or not found.sigma:
        return (sigma,) * 3
    return tuple(
        sigma * max(channel / found.sigma, LEAST_SHARE) for channel in found.sigma_channels
    )


def _averaged(
    frames: Iterator[Planes],
    sigmas: Sequence[float],
    search: Search,
    backend: Backend,
    rgb: bool,
) -> Iterator[Planes]:
    reach = search.temporal_radius
    slots = 2 * reach + 1
    first = next(frames)
    shapes = [(*first[0].shape[:2], 1)] * 3 if rgb else [plane.shape for plane in first]
    place, layers = _place_for(shapes, sigmas, search, backend)
    transfer = place.clip.Transfer()

    def take(number: int, planes: Planes) -> None:
        brought = transfer.bring(planes)
        if rgb:
            brought = _luma_chroma(brought, place)
        for layer in layers:
            layer.put(number % slots, brought)

    def fetched(averages: tuple[Any, ...]) -> Callable[[], Planes]:
        """What waits for a frame to come back."""
        if rgb:
            return transfer.fetch((_rgb(averages, place),))  # type: ignore[no-any-return]
        wait = transfer.fetch(averages)
        return lambda: _planes(wait(), layers)

    waiting: deque[Callable[[], Planes]] = deque()
    try:
        for number, near in sliding(chain([first], frames), reach, take):
            order = sorted(near, key=lambda other: abs(other - number))
            places = [other % slots for other in order]
            waiting.append(fetched(tuple(layer.denoised(places) for layer in layers)))
            while len(waiting) > transfer.ahead:
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()
    finally:  # copies under way end before their memory does, also where nobody wants them
        for wait in waiting:
            wait()


def _luma_chroma(planes: tuple[Any, ...], place: Backend) -> tuple[Any, ...]:
    """Luma and two planes of chroma, from one of RGB, where that lies."""
    return tuple(place.kernels.mixed(planes, OPPONENT[c : c + 1], place.for_each) for c in range(3))


def _rgb(averages: tuple[Any, ...], place: Backend) -> Any:
    """The inverse: of luma (Y, X, 1) and chroma (Y, X, 2)."""
    return place.kernels.mixed(averages, OPPONENT.T, place.for_each)


def _planes(averages: Planes, layers: "list[_Layer]") -> Planes:
    """One array for each plane of a frame, from those of the layers."""
    return tuple(
        part
        for average, layer in zip(averages, layers, strict=True)
        for part in ([average[..., c : c + 1] for c in range(average.shape[2])] if layer.guide
                     else [average])
    )  # fmt: skip


@dataclass
class _Layer:
    """Planes that are compared and averaged together.

    Attributes
    ----------
    clip : Clip
        The frames held.
    guide : bool
        Luma comes first and is compared only.
    planes : slice
        Those that are averaged.
    strength : float
    place : Backend
        Where this is done.
    """

    clip: Any
    guide: bool
    planes: slice
    strength: float
    place: Backend

    def put(self, slot: int, planes: tuple[Any, ...]) -> None:
        own = list(planes[self.planes])
        if self.guide:
            own.insert(0, self.place.clip.shrunk(planes[0], own[0].shape))
        self.clip.put(slot, own)

    def denoised(self, slots: Sequence[int]) -> Any:
        return self.clip.denoise(slots, self.clip.moves(slots), self.strength)


def _place_for(
    shapes: Sequence[tuple[int, ...]], sigmas: Sequence[float], search: Search, backend: Backend
) -> "tuple[Backend, list[_Layer]]":
    """The backend, or the CPU where that has no room, and the layers there."""
    try:
        layers = _layers(shapes, sigmas, search, backend)
    except backend.out_of_memory:
        log.info("the GPU's memory is too small for these frames: they go to the CPU")
        layers = None
    if layers is None:
        backend = replace(backend, name="cpu")
        layers = _layers(shapes, sigmas, search, backend) or []
    return backend, layers


def _layers(
    shapes: Sequence[tuple[int, ...]], sigmas: Sequence[float], search: Search, backend: Backend
) -> "list[_Layer] | None":
    slots = 2 * search.temporal_radius + 1

    def layer(which: slice, guide: bool, radius: int, strength: float) -> _Layer:
        own = shapes[which]
        values = sum(channels for *_, channels in own)
        levels = [
            sigma
            for (*_, channels), sigma in zip(own, sigmas[which], strict=True)
            for _ in range(channels)
        ]
        if guide:
            levels.insert(0, sigmas[0])
        height, width = own[0][:2]
        geometry = Geometry(height, width, values + guide, values, search.patch_size, radius, slots)
        clip = backend.clip.clip_of(geometry, levels, backend.for_each)
        return _Layer(clip, guide, which, strength, backend)

    layers = [layer(slice(0, 1), False, search.search_radius, search.strength)]
    if len(shapes) > 1:
        strength = search.strength_chroma
        layers.append(layer(slice(1, None), True, search.search_radius + 1, strength))
    return None if any(one.clip is None for one in layers) else layers
