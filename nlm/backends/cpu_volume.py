"""Non-local means over many slices on the CPU: volumes of any number of axes, and clips."""

import math
import threading
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nlm.backends.compiled import kernel, simd_width
from nlm.backends.cpu import CUTOFF, SELF_FLOOR, power_of_two, rounded_span, value_range
from nlm.backends.cpu_tiles import ForEach, aligned_areas, reflected
from nlm.backends.slices import Indices, Neighbourhood, grid
from nlm.backends.threads import for_each

GROUP = 3
TILE = 48
PIXELWISE, PATCH_SUMS, PATCHWISE = range(3)  # forms of the kernel, see cpu_nlm_volume.py

Volume = NDArray[np.float32]


@dataclass(frozen=True)
class Weights:
    """How unlike patches may be: w = exp(-max(d2 - 2 sigma^2, 0) / h^2).

    Attributes
    ----------
    sigma, h : float
    patch : (int, int)
        Sides of a patch in its plane (odd).
    radius : (int, int)
        Reach of the search window in the plane.
    """

    sigma: float
    h: float
    patch: tuple[int, int]
    radius: tuple[int, int]

    def numbers(self, planes: int, span: float) -> tuple[float, ...]:
        """What the kernel needs, for patches over so many planes whose values have this range."""
        pixels = self.patch[0] * self.patch[1]
        size, h2 = pixels * planes, self.h**2
        cap = size * (2 * self.sigma**2 + CUTOFF * h2)
        largest = min(cap, planes * rounded_span(span) ** 2)  # of a pixel's squared differences
        crowd = max(1, pixels / 255)  # so that sums of integers stay below 2^31
        unit, weight_unit = power_of_two(largest * crowd), power_of_two(crowd)
        scale = -unit / 2**23 / (size * h2) * math.log2(math.e)
        bias = 2 * self.sigma**2 / h2 * math.log2(math.e)
        return (scale, bias, unit, unit + cap, weight_unit, SELF_FLOOR)


def nlm_volume(
    features: Volume,
    values: Volume,
    sigma: float,
    strength: float,
    *,
    patch: int,
    radius: int,
    aggregate: bool,
    for_each: ForEach = for_each,
) -> Volume:
    """Non-local means of a volume, with patches and search windows along all its axes.

    Parameters
    ----------
    features, values : ndarray of float32, shape (Z, Y, X, C) or with more axes before
        Patches are compared in `features`, averaged are `values`; usually the same array. Axes of
        one voxel are left out of patches and windows.
    sigma, strength : float
        Noise level of the features, and h / sigma.
    patch, radius : int
        Side of a patch (odd), and reach of the search window, in voxels.
    aggregate : bool
        Patchwise, or one weight per pair of voxels and 1 for the voxel itself.
    for_each : callable
        Runs a function over jobs, in parallel.

    Returns
    -------
    ndarray of float32, shape of `values`
    """
    *axes, height, width, _ = features.shape
    shape, half = tuple(axes), patch // 2
    planar = Weights(
        sigma,
        strength * sigma,
        (patch if height > 1 else 1, patch if width > 1 else 1),
        (radius if height > 1 else 0, radius if width > 1 else 0),
    )
    features, values = (
        np.ascontiguousarray(one.reshape(-1, *one.shape[-3:])) for one in (features, values)
    )
    inner = Neighbourhood.of(shape, radius, half)
    if not aggregate:
        sums = weighted_sums(features, values, inner, planar, for_each=for_each)
    else:
        patches = _visit(PATCH_SUMS, features, values, None, inner, planar, for_each)
        wide = Neighbourhood.of(shape, radius, half, reach=half)
        parts = _visit(PATCHWISE, features, values, patches[..., ::-1], wide, planar, for_each)
        sums = _gathered(parts, shape, half, values.shape[-1])
    return (sums[..., :-1] / sums[..., -1:]).reshape(*shape, height, width, -1)


def weighted_sums(
    features: Volume,
    values: Volume,
    neighbourhood: Neighbourhood,
    weights: Weights,
    *,
    for_each: ForEach = for_each,
) -> Volume:
    """Sums of values and of their weights, one weight per pair of pixels.

    Parameters
    ----------
    features, values : ndarray of float32, shape (slices, Y, X, C)

    Returns
    -------
    ndarray of float32, shape (jobs, Y, X, C + 1)
    """
    return _visit(PIXELWISE, features, values, None, neighbourhood, weights, for_each)


def _visit(
    form: int,
    features: Volume,
    values: Volume,
    patches: Volume | None,
    neighbourhood: Neighbourhood,
    weights: Weights,
    for_each: ForEach,
) -> Volume:
    """One visit to all pairs of patches, in one of the kernel's forms."""
    _, height, width, channels = features.shape
    jobs, neighbours, stack = neighbourhood.slices.shape
    half = (weights.patch[0] // 2, weights.patch[1] // 2)
    value_stack = stack if form == PATCHWISE else 1
    tile = _Tile.of(height, width, jobs, weights.radius, half, form)
    sizes = tile.scratch(stack * channels, value_stack * values.shape[3])
    planes = 2 if form == PATCH_SUMS else value_stack * values.shape[3] + 1
    out = np.empty((jobs, height, width, planes), np.float32)
    row_of = reflected(height, tile.rows, tile.margin[0]) * width
    column_of = reflected(width, tile.cols, tile.margin[1])
    patches = np.empty(0, np.float32) if patches is None else np.ascontiguousarray(patches)
    run = kernel("cpu_nlm_volume", "average", group=GROUP, form=form)
    numbers = weights.numbers(stack * channels, value_range(features, for_each))
    local = threading.local()

    def visit_tiles(corners: Indices) -> None:
        if not hasattr(local, "areas"):
            local.areas = aligned_areas(sizes)
            for area in local.areas:
                area[:] = 0
        slices = np.ascontiguousarray(neighbourhood.slices[corners[:, 0]])
        images = (features, values, patches, out, row_of, column_of, corners, slices)
        run(
            *(image.ctypes.data for image in images),
            *(area.ctypes.data for area in local.areas),
            *(stack, neighbours - 1, neighbourhood.itself, channels, values.shape[3], value_stack),
            *(height, width, tile.rows, tile.cols, *weights.radius, *half),
            *numbers,
        )

    for_each(visit_tiles, tile.jobs(height, width, jobs))
    return out


def _gathered(parts: Volume, shape: tuple[int, ...], half: int, channels: int) -> Volume:
    """What the patches round all slices say of each slice, summed.

    `parts` are of slices up to `half` beyond the grid's ends, for each slice of their stacks.
    """
    reach = tuple(half if size > 1 else 0 for size in shape)
    wide = tuple(size + 2 * r for size, r in zip(shape, reach, strict=True))
    parts = parts.reshape(*wide, *parts.shape[1:])
    sums = np.zeros((*shape, *parts.shape[len(shape) : -1], channels + 1), np.float32)
    for k, offset in enumerate(grid(tuple((-r, r + 1) for r in reach))):
        there = tuple(
            slice(r - step, r - step + size)
            for r, step, size in zip(reach, offset, shape, strict=True)
        )
        sums[..., :-1] += parts[there][..., k * channels : (k + 1) * channels]
        sums[..., -1] += parts[there][..., -1]
    return sums


@dataclass(frozen=True)
class _Tile:
    """Sizes of the tile that each lane of a vector works on, in pixels."""

    rows: int
    cols: int
    margin: tuple[int, int]
    half: tuple[int, int]
    form: int

    @classmethod
    def of(
        cls,
        height: int,
        width: int,
        slices: int,
        radius: tuple[int, int],
        half: tuple[int, int],
        form: int,
    ) -> "_Tile":
        """As large as leaves no lane without work."""
        reach = 2 if form == PATCHWISE else 1
        margin = (radius[0] + reach * half[0], radius[1] + reach * half[1])
        tile = cls(min(TILE, height), min(TILE, width), margin, half, form)
        while len(tile.corners(height, width)) * slices < simd_width():
            rows, cols = tile.rows, tile.cols
            if max(rows, cols) <= 8:
                break
            tile = replace(
                tile,
                rows=-(-rows // 2) if rows >= cols else rows,
                cols=cols if rows >= cols else -(-cols // 2),
            )
        return tile

    def corners(self, height: int, width: int) -> list[tuple[int, int]]:
        return [(y, x) for y in range(0, height, self.rows) for x in range(0, width, self.cols)]

    def jobs(self, height: int, width: int, slices: int) -> list[Indices]:
        """Slice and corner of all tiles, as many at a time as a vector has lanes."""
        lanes = simd_width()
        tiles = [(k, y, x) for k in range(slices) for y, x in self.corners(height, width)]
        tiles += tiles[-1:] * (-len(tiles) % lanes)
        return list(np.array(tiles, np.int64).reshape(-1, lanes, 3))

    def scratch(self, feature_planes: int, value_planes: int) -> list[int]:
        """Vectors needed for each of the kernel's areas, in the order of its arguments."""
        stride = self.cols + 2 * self.margin[1]
        plane = (self.rows + 2 * self.margin[0]) * stride
        slack = stride + GROUP  # a group of offsets may reach beyond the window
        row = stride * GROUP
        patchwise = self.form == PATCHWISE
        return [
            plane * feature_planes + slack,
            plane * feature_planes + slack,
            plane * value_planes + slack if self.form != PATCH_SUMS else 0,
            plane * value_planes + slack,  # numerator
            plane + slack,  # denominator
            2 * plane + slack if patchwise else 0,
            2 * plane + slack if patchwise else 0,
            row,  # column sums
            row,  # a row of weights
            row * (2 * self.half[0] + 1) if patchwise else 0,  # ring of such rows
            row if patchwise else 0,  # column sums of the ring
            GROUP,
        ]
