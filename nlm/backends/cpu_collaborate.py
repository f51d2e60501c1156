"""Collaborative filtering on the CPU: arrays in, arrays out."""

import math
import threading
from dataclasses import dataclass

import numpy as np

from nlm.backends.compiled import kernel, simd_width
from nlm.backends.cpu_tiles import (
    Corners,
    ForEach,
    Picture,
    aligned_areas,
    reflected,
    tile_jobs,
)
from nlm.backends.threads import for_each

TILE = 36
"""Side of a tile in pixels, a multiple of all usual steps, so that a part of a picture that begins
at such a multiple is tiled like the whole."""
BLOCK = 4
FIXED_POINT = 24
"""Sums over groups are kept as integers, 2^-24 of sigma, so that their order does not matter; of
larger numbers than 2^LARGEST sigma with as many bits less."""
LARGEST = 20


@dataclass(frozen=True)
class Groups:
    """How patches are grouped.

    Attributes
    ----------
    patch : int
        Side in pixels.
    members : int
        Patches in a group.
    step : int
        Pixels from one reference patch to the next.
    radius : int
        How far members are searched for.
    by_pixels : bool
        What is regressed on each other: the pixels of a patch, or the patches.
    """

    patch: int
    members: int
    step: int
    radius: int
    by_pixels: bool


def collaborate(
    noisy: Picture,
    pilot: Picture,
    sigma: float,
    groups: Groups,
    *,
    matched: int = 1,
    from_pilot: bool = True,
    for_each: ForEach = for_each,
) -> Picture:
    """Denoise patches that are alike together.

    Parameters
    ----------
    noisy, pilot : ndarray of float32, shape (Y, X, C)
        Groups are found in `pilot`.
    sigma : float
        Noise level of every channel.
    groups : Groups
    matched : int
        How many channels of the pilot are compared.
    from_pilot : bool
        The pilot also tells how the members predict each other; otherwise the noisy picture.
    for_each : callable
        Runs a function over jobs, in parallel.

    Returns
    -------
    ndarray of float32, shape of `noisy`
    """
    height, width, channels = noisy.shape
    noisy, pilot = (np.ascontiguousarray(one / np.float32(sigma)) for one in (noisy, pilot))
    run = kernel(
        "cpu_groups",
        "collaborate",
        patch=groups.patch,
        channels=channels,
        matched=min(matched, channels),
        by_pixels=int(groups.by_pixels),
        from_pilot=int(from_pilot),
    )
    gather = kernel("cpu_groups", "gather_tiles", channels=channels)
    side = -(-TILE // groups.step) * groups.step
    margin = groups.radius + groups.patch
    row_of = reflected(height, side, margin) * width
    column_of = reflected(width, side, margin)
    sizes = scratch(groups, channels, side)
    sums = np.zeros((2, height, width, channels), np.int64)
    scale = 2.0 ** (FIXED_POINT + min(0, LARGEST - math.frexp(float(np.abs(noisy).max()))[1]))
    local, adding = threading.local(), threading.Lock()
    members = min(groups.members, (2 * groups.radius + 1) ** 2)

    def filter_tiles(corners: Corners) -> None:
        if not hasattr(local, "areas"):
            local.areas = aligned_areas(sizes)
            local.places = np.empty((groups.members + 1) * simd_width(), np.int64)
        areas = [area.ctypes.data for area in local.areas]
        areas.insert(5, local.places.ctypes.data)
        lane_corners = np.array(corners, np.int64)
        place = (height, width, side, side)
        run(
            *(one.ctypes.data for one in (noisy, pilot, row_of, column_of, lane_corners)),
            *areas,
            *place,
            *(groups.radius, groups.step, members, 1.0),
        )
        tiles = len(set(corners))
        with adding:
            gather(
                *(areas[2], areas[3], sums[0].ctypes.data, sums[1].ctypes.data),
                *(lane_corners.ctypes.data, tiles, *place, margin, scale),
            )

    for_each(filter_tiles, tile_jobs(height, width, side, side))
    denoised: Picture = (sums[0] / sums[1] * sigma).astype(np.float32)
    return denoised


def scratch(groups: Groups, channels: int, side: int) -> list[int]:
    """Vectors needed for each of the kernel's areas but the members' places."""
    plane = (side + 2 * (groups.radius + groups.patch)) ** 2 * channels
    pixels, members = groups.patch**2, groups.members
    size, columns = (pixels, members) if groups.by_pixels else (members, pixels)
    padded = -(-size // BLOCK) * BLOCK
    matrix = padded * padded
    group = (padded + BLOCK) * columns
    window = (2 * groups.radius + 1) ** 2
    counts = [plane, plane, plane, plane, window, group, group, padded, matrix, matrix]
    return [*counts, members, 1]
