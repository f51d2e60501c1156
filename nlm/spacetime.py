"""Classical non-local means in space and time: each frame averaged with its neighbours.

For every patch, alike ones are searched for in a window of its own frame and of those up to
`temporal_radius` before and after it, which lies where the patch's surroundings have moved to. At
the ends of a clip there are fewer. Luma is compared by itself, chroma jointly with luma, which is
brought to its grid; RGB is taken to a luma/chroma space for it.

A. Buades, B. Coll, J.-M. Morel, "Nonlocal image and movie denoising", IJCV 2008,
doi:10.1007/s11263-007-0052-1 (averaging over frames without motion); patchwise aggregation:
doi:10.5201/ipol.2011.bcm_nlm.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from nlm.backends import Backend
from nlm.backends.cpu_clip import Clip, Geometry
from nlm.noise import estimate, from_opponent, to_opponent
from nlm.sliding import sliding

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
    clip = chain([first], frames)
    if len(first) == 1 and first[0].shape[2] == 3:
        apart = (_luma_chroma(rgb) for (rgb,) in clip)
        levels = _luma_chroma_levels(first[0], sigmas[0])
        for planes in _averaged(apart, levels, search, backend):
            yield (from_opponent(np.concatenate(planes, axis=2)),)
    else:
        yield from _averaged(clip, sigmas, search, backend)


def _luma_chroma(rgb: Picture) -> Planes:
    opponent = to_opponent(rgb)
    return tuple(opponent[..., c : c + 1] for c in range(3))


def _luma_chroma_levels(rgb: Picture, sigma: float) -> tuple[float, ...]:
    """Noise levels that amount to `sigma`, shared out as the noise is: not all of it is white."""
    found = estimate(rgb)
    if found.sigma_channels is None or not found.sigma:
        return (sigma,) * 3
    return tuple(
        sigma * max(channel / found.sigma, LEAST_SHARE) for channel in found.sigma_channels
    )


def _averaged(
    frames: Iterable[Planes], sigmas: Sequence[float], search: Search, backend: Backend
) -> Iterator[Planes]:
    reach = search.temporal_radius
    slots = 2 * reach + 1
    layers: list[_Layer] = []

    def take(number: int, planes: Planes) -> None:
        layers[:] = layers or _layers(planes, sigmas, search, backend)
        for layer in layers:
            layer.put(number % slots, planes)

    for number, near in sliding(frames, reach, take):
        order = sorted(near, key=lambda other: abs(other - number))
        places = [other % slots for other in order]
        yield tuple(plane for layer in layers for plane in layer.denoised(places))


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
    """

    clip: Clip
    guide: bool
    planes: slice
    strength: float

    def put(self, slot: int, planes: Planes) -> None:
        own = planes[self.planes]
        channels = [plane[..., c] for plane in own for c in range(plane.shape[2])]
        if self.guide:
            channels.insert(0, shrunk(planes[0][..., 0], channels[0].shape))
        self.clip.put(slot, channels)

    def denoised(self, slots: Sequence[int]) -> list[Picture]:
        average = self.clip.denoise(slots, self.clip.moves(slots), self.strength)
        if not self.guide:
            return [average]
        return [average[..., c : c + 1] for c in range(average.shape[2])]


def _layers(
    planes: Planes, sigmas: Sequence[float], search: Search, backend: Backend
) -> list[_Layer]:
    slots = 2 * search.temporal_radius + 1

    def layer(which: slice, guide: bool, radius: int, strength: float) -> _Layer:
        own = planes[which]
        values = sum(plane.shape[2] for plane in own)
        levels = [
            sigma
            for plane, sigma in zip(own, sigmas[which], strict=True)
            for _ in range(plane.shape[2])
        ]
        if guide:
            levels.insert(0, sigmas[0])
        height, width = own[0].shape[:2]
        clip = Clip(
            Geometry(height, width, values + guide, values, search.patch_size, radius, slots),
            levels,
            backend.for_each,
        )
        return _Layer(clip, guide, which, strength)

    first = layer(slice(0, 1), False, search.search_radius, search.strength)
    if len(planes) == 1:
        return [first]
    return [first, layer(slice(1, None), True, search.search_radius + 1, search.strength_chroma)]


def shrunk(luma: Picture, shape: tuple[int, ...]) -> Picture:
    """Luma (Y, X) brought to the grid of subsampled chroma: means of its blocks."""
    for axis in (0, 1):
        factor = -(-luma.shape[axis] // shape[axis])
        missing = shape[axis] * factor - luma.shape[axis]
        luma = np.pad(luma, [(0, missing if one == axis else 0) for one in (0, 1)], mode="edge")
        parts = [luma[k::factor] if axis == 0 else luma[:, k::factor] for k in range(factor)]
        luma = sum(parts[1:], parts[0]) / np.float32(factor)
    return luma
