"""Classical non-local means on the CPU: arrays in, arrays out."""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nlm.backends.compiled import kernel, simd_width
from nlm.backends.cpu_collaborate import Groups, collaborate
from nlm.backends.cpu_layout import (
    PATCH_SUMS,
    PATCHWISE,
    PIXELWISE,
    STRETCH,
    Layout,
    tiles_for,
)
from nlm.backends.cpu_tiles import Corners, ForEach, Picture, kept_areas, reflected
from nlm.backends.threads import available_threads, for_each
from nlm.noise.colour import OPPONENT

__all__ = ["Groups", "Part", "collaborate", "nlm", "nlm_colour"]

CUTOFF = 28.0
"""exp(-CUTOFF) counts as zero: squared differences beyond it are capped."""
FINE = 2**7
"""The usual `unit` of integers: exponents have 16 bits of a fraction then."""
FINER = (2, 2**4, FINE, 2**8)
"""Units for where many roundings would show; few of them, since each has kernels of its own."""
ROUNDINGS = 256
"""Numbers in a patch whose roundings do not show where the unit is `FINE`."""
USUAL_SPAN = 2.0
"""Range of values that pictures and their luma and chroma rarely exceed."""
EXP2_OFFSET = 277
"""Of the exponents that the kernel raises 2 to, see simd.py."""
FLOAT_SUMS = 2**13
"""Where squared differences may add up to such an exponent, float32 is too coarse for them."""
ONE = 2.0**20
"""The weight of equal patches where exponents are floats: the faintest have room below it."""
ONE_AT = 149 + 20
"""The float whose bits are the exponent of `ONE`: EXP2_OFFSET + 20, but for a multiple of 2^9."""
FLOATS_END = 256
"""Exponents that are floats lie below: from half of it on, these are multiples of 2^-16."""
SELF_FLOOR = 1e-2
"""Least weight of a patch for itself, where no other patch is alike."""
SELF_WEIGHT = 1.0
"""Weight of a pixel for itself in the pixelwise form."""
BAND = 64
"""Rows whose channels are mixed at once."""
SCANNED = 2**18
"""Numbers in which a thread looks for the least and the largest."""
SCANNED_AT_ONCE = 4
"""Vectors of them that are compared independently."""


def nlm(
    features: Picture,
    values: Picture,
    sigma: float,
    strength: float,
    *,
    patch: tuple[int, int],
    radius: tuple[int, int],
    aggregate: bool,
    for_each: ForEach = for_each,
) -> Picture:
    """Non-local means of one picture.

    Parameters
    ----------
    features, values : ndarray of float32, shape (Y, X, C)
        Patches are compared in `features`, averaged are `values`; usually the same array.
    sigma, strength : float
        Noise level of the features, and h / sigma.
    patch, radius : (int, int)
        Sides of a patch (odd) and reach of the search window, in rows and columns.
    aggregate : bool
        Patchwise: average what all patches say of a pixel, a patch's own weight being the largest
        of its others'. Otherwise one weight per pixel pair, and 1 for the pixel itself.
    for_each : callable
        Runs a function over jobs, in parallel.

    Returns
    -------
    ndarray of float32, shape of `values`
    """
    features, values = np.ascontiguousarray(features), np.ascontiguousarray(values)
    span, channels = value_range(features, for_each), features.shape[2]
    arithmetic = arithmetic_for(span, channels, sigma, strength, patch)
    half = (patch[0] // 2, patch[1] // 2)

    def average(form: int, patches: Picture, channels: int) -> Picture:
        return _average(
            form, features, values, patches, channels, half, radius, arithmetic, for_each
        )

    none = np.empty(0, np.float32)
    if not aggregate:
        return average(PIXELWISE, none, values.shape[2])
    return average(PATCHWISE, average(PATCH_SUMS, none, 2), values.shape[2])


@dataclass(frozen=True)
class Part:
    """Channels of a colour picture, as luma and chroma, that are averaged with the same weights.

    Attributes
    ----------
    channels : slice
    share : (float, float, float)
        What luma and the two of chroma are multiplied by where patches are compared.
    sigma : float
        Noise level of these.
    strength : float
    """

    channels: slice
    share: tuple[float, float, float]
    sigma: float
    strength: float


def nlm_colour(
    frame: Picture,
    guide: Picture,
    parts: Sequence[Part],
    *,
    patch: tuple[int, int],
    radius: tuple[int, int],
    aggregate: bool,
    for_each: ForEach = for_each,
) -> Picture:
    """Non-local means of a picture (Y, X, 3) in a luma/chroma space.

    Patches are compared in `guide`, often the frame itself; the rest is as for `nlm`.
    """
    options = {"patch": patch, "radius": radius, "aggregate": aggregate, "for_each": for_each}
    guided = guide is not frame
    frame = np.ascontiguousarray(frame)  # once, not for each part
    guide = np.ascontiguousarray(guide) if guided else frame
    means = []
    for part in parts:
        compared = mixed([guide], np.array(part.share)[:, None] * OPPONENT, for_each)
        averaged = mixed([frame], OPPONENT[part.channels], for_each)
        means.append(nlm(compared, averaged, part.sigma, part.strength, **options))  # type: ignore[arg-type]
    order = [c for part in parts for c in range(3)[part.channels]]
    return mixed(means, OPPONENT[order].T, for_each)


def mixed(
    pictures: Sequence[Picture], matrix: NDArray[np.floating], for_each: ForEach = for_each
) -> Picture:
    """Linear combinations of the channels of one or two pictures.

    Parameters
    ----------
    pictures : sequence of ndarray of float32, shape (Y, X, C)
    matrix : ndarray, shape (channels of the result, channels of the pictures)
    for_each : callable
        Runs a function over jobs, in parallel.

    Returns
    -------
    ndarray of float32, shape (Y, X, channels of the result)
    """
    first, last = (np.ascontiguousarray(pictures[k]) for k in (0, -1))
    matrix = np.ascontiguousarray(matrix, np.float32)
    outputs, inputs = matrix.shape
    height, width, own = first.shape
    out = np.empty((height, width, outputs), np.float32)
    run = kernel("cpu_mix", "mix", inputs=inputs, own=own, outputs=outputs)
    addresses = [array.ctypes.data for array in (first, last, matrix, out)]

    def mix_rows(rows: range) -> None:
        run(*addresses, rows.start * width, rows.stop * width)

    for_each(mix_rows, [range(y, min(y + BAND, height)) for y in range(0, height, BAND)])
    return out


def _average(
    form: int,
    features: Picture,
    values: Picture,
    patches: Picture,
    channels: int,
    half: tuple[int, int],
    radius: tuple[int, int],
    arithmetic: "Arithmetic",
    for_each: ForEach,
) -> Picture:
    """One visit to all pairs of patches, in one of the kernel's forms."""
    height, width = features.shape[:2]
    guided = form != PATCH_SUMS and values is not features
    layout = Layout(radius, half, form, features.shape[2], channels, guided)
    tiles = tiles_for(layout, height, width, available_threads())
    run = _kernel(layout, arithmetic)
    covered, margin = tiles.covered(height, width), layout.margin
    row_of = reflected(height, covered[0], margin[0]) * width
    column_of = reflected(width, covered[1], margin[1])
    tile_rows, stride = tiles.rows + 2 * margin[0], tiles.cols + 2 * margin[1]
    sizes = layout.scratch(tiles.rows, tiles.cols)
    out = np.empty((height, width, channels), np.float32)
    into_lanes = {
        picture.shape[2]: kernel("cpu_lanes", "fill", channels=picture.shape[2])
        for picture in (features, values, patches)
        if picture.size
    }
    out_of_lanes = kernel("cpu_lanes", "empty", values=channels, planes=layout.planes[2])
    local = threading.local()

    def average_tiles(corners: Corners) -> None:
        if not hasattr(local, "areas"):
            local.areas = kept_areas(sizes)
        areas = [area.ctypes.data for area in local.areas]
        lane_corners = np.array(corners, dtype=np.int64)
        places = [one.ctypes.data for one in (row_of, column_of, lane_corners)]

        def bring(picture: Picture, area: int, factor: float) -> None:
            run_lanes = into_lanes[picture.shape[2]]
            run_lanes(picture.ctypes.data, area, *places, tile_rows, stride, factor)

        bring(features, areas[0], arithmetic.factor)
        if guided:
            bring(values, areas[1], arithmetic.factor)
        if form == PATCHWISE:
            bring(patches, areas[3], 1.0)
        run(
            *(areas[0], areas[1 if guided else 0], *areas[2:]),
            *(tiles.rows, tiles.cols, tiles.across, tiles.down, *radius, *half),
            *arithmetic.numbers,
        )
        origin = margin[0] * stride + margin[1]
        out_of_lanes(
            *(areas[2], out.ctypes.data, places[2], width, tiles.rows, tiles.cols, origin, stride)
        )

    for_each(average_tiles, tiles.jobs(height, width))
    return out


def _kernel(layout: Layout, arithmetic: "Arithmetic") -> Callable[..., None]:
    return kernel(
        "cpu_nlm",
        "average",
        group=layout.group,
        beside=layout.beside,
        stretch=STRETCH,
        form=layout.form,
        coarse=arithmetic.coarse,
        capped=int(arithmetic.capped),
        features=layout.features,
        values=layout.values,
    )


@dataclass(frozen=True)
class Arithmetic:
    """How the kernel turns squared differences into weights, see cpu_nlm.py.

    Attributes
    ----------
    capped : bool
    coarse : int
        By how many bits the fractions of exponents are fewer than 16; below zero, more.
    factor : float
        What pixels are multiplied by on their way into lanes.
    numbers : tuple
        The last arguments of the kernel.
    """

    capped: bool
    coarse: int
    factor: float
    numbers: tuple[float, ...]


def value_range(picture: Picture, for_each: ForEach = for_each) -> float:
    """The largest value of a picture less its least; all must be finite."""
    size, block = picture.size, SCANNED_AT_ONCE * simd_width()
    if size < block:
        return float(np.ptp(picture))
    run = kernel("cpu_range", "extremes", vectors=SCANNED_AT_ONCE)
    begins = range(0, size - block + 1, SCANNED)
    found = np.empty((len(begins), 2, block), np.float32)
    address, results = picture.ctypes.data, found.ctypes.data

    def scan(number: int) -> None:
        end = size if number == len(begins) - 1 else begins[number + 1]
        run(address, begins[number], end, results + number * found[0].nbytes)

    for_each(scan, range(len(begins)))
    return float(found[:, 1].max() - found[:, 0].min())


def arithmetic_for(
    span: float, channels: int, sigma: float, strength: float, patch: tuple[int, int]
) -> Arithmetic:
    """What the kernel needs to turn a sum of squared differences into a weight.

    `span` is the range of the values, of which a pixel has as many as there are `channels`.

    Multiplied by `factor`, pixels have squared differences whose sums over a patch are exponents of
    2. These are integers with as many bits of a fraction as can be told from `unit`, or floats.
    """
    pixels = patch[0] * patch[1]
    h2 = (strength * sigma) ** 2
    factor = math.sqrt(math.log2(math.e) / (pixels * channels * h2))
    forgiven = math.log2(math.e) * 2 * sigma**2 / h2
    faintest = math.log2(math.e) * CUTOFF
    largest = channels * (factor * span) ** 2
    weight_unit = power_of_two(max(1, pixels / 255))
    shares = (weight_unit, 2**23 / weight_unit)
    if channels == 1 and pixels * largest < FLOAT_SUMS and ONE_AT + forgiven < FLOATS_END:
        exponents = (ONE_AT + forgiven, ONE_AT - faintest, ONE_AT)
        bits = [int(np.float32(exponent).view(np.int32)) for exponent in exponents]
        selves = (ONE * SELF_WEIGHT, ONE * SELF_FLOOR)
        return Arithmetic(False, 0, factor, (*bits, factor, 0, 0, *shares, *selves))
    crowd = max(1, pixels / 255)  # so that sums of integers stay below 2^31
    unit = power_of_two(max(FINE, (forgiven + faintest) * crowd))
    if pixels * channels * (unit / FINE) ** 2 > ROUNDINGS:
        squares = channels * (factor * rounded_span(span)) ** 2  # none beyond the unit: no cap
        least = max(squares * crowd, (EXP2_OFFSET + forgiven) / 255)  # below 2^31 in units
        unit = next((one for one in FINER if least <= one < unit), unit)
    exponents = (EXP2_OFFSET + forgiven, EXP2_OFFSET - faintest, EXP2_OFFSET)
    bits = [round(exponent * 2**23 / unit) for exponent in exponents]
    cap = unit + forgiven + faintest
    numbers = (*bits, factor, unit, cap, *shares, SELF_WEIGHT, SELF_FLOOR)
    capped = channels == 1 or _needs_cap(largest, unit, pixels)
    return Arithmetic(capped, int(math.log2(unit / FINE)), factor, numbers)


def rounded_span(span: float) -> float:
    """A range of values that holds this one, and is the same for most parts of a picture."""
    return max(USUAL_SPAN, power_of_two(span)) if span > 0 else USUAL_SPAN


def _needs_cap(largest: float, unit: float, pixels: int) -> bool:
    """Whether the bits by which `unit` grows might add up to more than 31 in a patch."""
    share = largest / unit  # 2^23 for each octave, within which mantissas are linear
    octaves = share if share <= 1 else math.log2(1 + share) + 0.1
    return not pixels * octaves < 2**31 / 2**23


def power_of_two(least: float) -> float:
    """The smallest power of two that is not below `least`."""
    return float(2.0 ** math.ceil(math.log2(least)))
