"""The learned filter, see `nlm.learned.model`; on clips, `nlm.learned.spacetime`."""

import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nlm.learned.config import MOST_LEVELS, SQUARE
from nlm.limits import SMALLEST_SIGMA
from nlm.params import Halo, Params, parameter
from nlm.registry import Filter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nlm.backends import Backend
    from nlm.learned.config import ModelConfig
    from nlm.learned.model import NlNet
    from nlm.registry import Planes

log = logging.getLogger(__name__)

CLIP_TILE = 2048
"""Side of the tiles of a clip's frames, in pixels."""
MOST_PIXELS = 3 * 4096 * 2304
"""Of all frames that wait for those after them."""
HELD = 4.5
"""Bytes that are held for each number of theirs, with margins."""
UPRIGHT = 2
"""So many copies of a picture are as wide as it is; see `turns.QUARTERS`."""
PICTURES = 4
"""Pictures that are there at once; twice as many where they are turned."""
OF_GROUPS, OF_SHARES = 14, 10
"""Where groups of patches are looked at: more of them, and more numbers for every pixel."""
MAPS = 4.0
"""Maps of features of four bytes each for four pixels that live at once, smaller ones included."""

FAINT = 0.5 / 255
"""The noise in photographs below which networks do more harm than good."""
MUCH = 0.9999
"""A larger share than this is all."""
ALIGN = SQUARE << (MOST_LEVELS - 1)
"""Of tiles, in pixels: what networks of three levels need for equal rounding errors. The side of
tiles and the halo of one with four levels are multiples of twice as much anyway."""


@dataclass(frozen=True)
class NlnetParams(Params):
    """Parameters of the learned filter."""

    strength: float = parameter(
        1.0,
        "Noise level that is assumed, relative to sigma; by the classical half of a clip, too.",
        low=0.01,
        high=10,
    )

    turns: int = parameter(
        1,
        "Of a picture: how many turned and mirrored copies are denoised and averaged.",
        low=1,
        high=8,
    )

    refine: bool = parameter(
        False,
        "Of a picture: let the result guide a denoising of groups of similar patches, and take "
        "that where it is better: of structure that repeats.",
    )

    temporal_radius: int = parameter(
        2,
        "Of a clip: frames before and after that are searched, too; 0 = each frame for itself.",
        unit="frames",
        low=0,
        high=8,
    )

    blend: float = parameter(
        0.5,
        "Of a clip: share of the classical filter's result, whose errors are others.",
        low=0,
        high=1,
    )

    half: bool = parameter(
        False, "Compute in half precision, which is faster; on a GPU, or a processor with AMX."
    )

    small: bool = parameter(
        False,
        "Use the small networks that come with nlm, not the usual ones: faster, less good.",
    )

    weights: str | None = parameter(None, "Weights made by `nlm train`; those of nlm if left out.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights is not None:
            from nlm.learned.model import network_of

            network_of(self.weights)
            object.__setattr__(self, "small", False)  # there is nothing to choose

    @property
    def halo(self) -> Halo:
        reach = max(config.halo for config in self._networks)
        if self.refine:
            from nlm.learned.second_look import REACH

            reach = 2 * reach + REACH
        return (0, reach, reach)

    @property
    def align(self) -> int:
        if self.refine:
            from nlm.learned.second_look import PATTERN

            return math.lcm(PATTERN, ALIGN)
        return ALIGN

    @property
    def _networks(self) -> "list[ModelConfig]":
        from nlm.learned.model import config_for, network_of

        if self.weights is not None:
            return [network_of(self.weights).config]
        return [config_for(channels, self.small) for channels in (1, 3)]

    @property
    def comes_with_nlm(self) -> tuple[str, ...]:
        from nlm.learned import weights

        if self.weights is not None:
            return ()
        files = filter(None, (weights.shipped(channels, self.small) for channels in (1, 3)))
        return tuple(weights.load(path)[2]["sha256"] for path in files)

    @property
    def tall(self) -> bool:
        return self.turns <= UPRIGHT

    def working_memory(self, rows: int, columns: int, channels: int) -> float:
        """At half the picture's size, some maps of the first level's features live at once.

        Of a large picture, those of its bands; parts of it may be as large as the largest whole.
        Results of the classical filter are there of the whole picture.
        """
        from nlm.learned.band_sizes import LARGEST_WHOLE, numbers_held

        shape, pixels = (rows, columns), rows * columns

        def maps_of(config: "ModelConfig") -> float:
            whole, largest = (
                MAPS * size / 4 * config.widths[0] for size in (pixels, LARGEST_WHOLE)
            )
            guides = pixels * config.channels * len(config.estimates)
            first = pixels / 4 * config.inputs
            return min(whole, max(largest, numbers_held(shape, config))) + first + guides

        held = PICTURES * (2 if self.turns > 1 else 1) * channels
        if self.refine:
            held += OF_GROUPS * channels + OF_SHARES
        return 4 * (max(map(maps_of, self._networks)) + held * pixels)

    def held_in_time(self, channels: int) -> float:
        """Every plane has a network's features of its own."""
        reach = self.temporal_radius
        return HELD * channels * max(_numbers_held(one, reach) for one in self._networks)


def _numbers_held(config: "ModelConfig", reach: int) -> float:
    """For each pixel: frames that have come as far as the only non-local block, see `Halfway`."""
    level = config.only_block
    if reach == 0 or level is None:
        return 0.0
    shares = [0.25 ** (k + 1) for k in range(level + 1)]
    maps = sum(width * share for width, share in zip(config.widths, shares, strict=False))
    inner = config.inner_width(level) * shares[level]
    return (reach + 1) * (1 + maps + inner) + (2 * reach + 2) * 2 * inner


def apply(
    frames: "NDArray[np.float32]", sigma: float, params: NlnetParams, backend: "Backend"
) -> "NDArray[np.float32]":
    import numpy as np

    from nlm.backends import in_precision
    from nlm.learned import second_look, turns
    from nlm.learned.model import network_for

    channels = frames.shape[3]
    network = network_for(channels, params.weights, params.small).on(in_precision(backend, params))
    step = network.config.channels  # a network for one channel takes each by itself
    level = params.strength * sigma

    starts = range(0, channels, step)

    def by_network(noisy: "NDArray[np.float32]", place: "Backend") -> "NDArray[np.float32]":
        return turns.denoise(network, noisy, level, params.turns, place)

    def denoised(number: int, c: int) -> "NDArray[np.float32]":
        noisy = frames[number, ..., c : c + step]
        place = backend.part(number * len(starts) + c // step, len(frames) * len(starts))
        if params.refine:
            return trusted(noisy, second_look.denoise(noisy, level, by_network, place), level)
        return trusted(noisy, by_network(noisy, place), level)

    def joined(parts: "list[NDArray[np.float32]]", axis: int) -> "NDArray[np.float32]":
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis)

    done = [joined([denoised(k, c) for c in starts], -1) for k in range(len(frames))]
    return joined([frame[None] for frame in done], 0)


def trusted(
    noisy: "NDArray[np.float32]", denoised: "NDArray[np.float32]", sigma: float
) -> "NDArray[np.float32]":
    """As much of what a network does to a picture as is for the better.

    Parameters
    ----------
    noisy, denoised : ndarray of float32, shape (Y, X, C)
    sigma : float
        Noise level, fraction of full scale.

    Returns
    -------
    ndarray of float32, shape (Y, X, C)
        The network's result itself where the noise is more than 5 / 255.
    """
    share = sigma**4 / (sigma**4 + FAINT**4)
    return denoised if share > MUCH else noisy + share * (denoised - noisy)


def in_time(planes: "Planes", params: NlnetParams) -> bool:
    """Whether frames of such planes can see each other: with one non-local block, if not huge."""
    if params.temporal_radius == 0:
        return False
    why = None
    most = MOST_PIXELS / (params.temporal_radius + 1)
    if any(_network(plane, params).only_block is None for plane in planes):
        why = "the network has no non-local block, or passes through several"
    elif max(plane.shape[0] * plane.shape[1] for plane in planes) > most:
        why = f"with temporal radius {params.temporal_radius} frames may have {most:.0f} pixels"
    if why:
        log.info("nlnet denoises each frame for itself: %s", why)
    return why is None


def stream(
    frames: "Iterable[Planes]", sigmas: tuple[float, ...], params: NlnetParams, backend: "Backend"
) -> "Iterator[Planes]":
    """What the network says of each plane by itself, and what the classical filter says."""
    from itertools import tee

    from nlm.filters import nlm

    levels = tuple(params.strength * sigma for sigma in sigmas)
    share = params.blend
    if share == 0:
        yield from learned(frames, levels, params, backend)
        return
    one, other = tee(frames)
    by_patches = nlm.ClipParams(temporal_radius=params.temporal_radius)
    both = zip(
        learned(one, levels, params, backend),
        nlm.stream(other, levels, by_patches, backend),
        strict=True,
    )
    for ours, theirs in both:
        yield tuple(
            plane if level <= SMALLEST_SIGMA else (1 - share) * plane + share * other
            for plane, other, level in zip(ours, theirs, levels, strict=True)
        )


def learned(
    frames: "Iterable[Planes]", levels: tuple[float, ...], params: NlnetParams, backend: "Backend"
) -> "Iterator[Planes]":
    """Every plane through the network, by itself; those without noise stay."""
    from itertools import chain, tee

    from nlm.backends import fallback, in_precision
    from nlm.learned import spacetime
    from nlm.resuming import as_memory_allows_in_time

    frames, before = tee(frames)
    first = next(frames, None)
    if first is None:
        return

    def plane_by_plane(
        index: int, source: "Iterator[Planes]", place: "Backend"
    ) -> "Iterator[NDArray[np.float32]]":
        own = (planes[index] for planes in source)
        if levels[index] <= SMALLEST_SIGMA:
            return own
        return spacetime.denoise(
            own,
            levels[index],
            _network(first[index], params).on(place),
            params.temporal_radius,
            place.for_each,
            CLIP_TILE,
        )

    def all_planes(frames: "Iterable[Planes]", place: "Backend") -> "Iterator[Planes]":
        sources = tee(frames, len(first))
        return zip(*(plane_by_plane(*one, place) for one in enumerate(sources)), strict=True)

    found = as_memory_allows_in_time(
        all_planes,
        chain([first], frames),
        params.temporal_radius,
        in_precision(backend, params),
        fallback(backend, params),
    )
    for noisy, denoised in zip(before, found, strict=True):
        yield tuple(
            result if level <= SMALLEST_SIGMA else trusted(plane, result, level)
            for plane, result, level in zip(noisy, denoised, levels, strict=True)
        )


def _network(plane: "NDArray[np.float32]", params: NlnetParams) -> "NlNet":
    from nlm.learned.model import network_for

    return network_for(plane.shape[2], params.weights, params.small)


FILTER = Filter(
    name="nlnet",
    params=NlnetParams,
    apply=apply,
    summary="a learned network: better, and slower; small ones with --preset fast",
    presets={"fast": {"small": True, "blend": 0.8}, "best": {"turns": 8}},
    tile=2048,
    tolerance=1e-5,
    constant=0.03,
    bounded=True,
    stream=stream,
    in_time=in_time,
)
