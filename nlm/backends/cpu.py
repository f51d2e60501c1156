"""Classical non-local means on the CPU: arrays in, arrays out."""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from nlm.backends.compiled import kernel, simd_width
from nlm.backends.cpu_collaborate import Groups, collaborate
from nlm.backends.cpu_tiles import (
    Corners,
    ForEach,
    Picture,
    kept_areas,
    reflected,
    tile_jobs,
)
from nlm.backends.threads import available_threads, for_each
from nlm.noise.colour import OPPONENT

__all__ = ["Groups", "Part", "collaborate", "nlm", "nlm_colour"]

LARGEST_TILE = 288
"""Most rows and columns of the tile of a lane."""
PARTS = 12
"""How many ways of dividing a short side of the picture are compared."""
CACHED = 2**23
"""Bytes that a thread can go through again and again without waiting for memory."""
GROUPS = (7, 6, 3)
"""How many neighbouring offsets may be taken together: what leaves the fewest idle."""
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
STRETCH = 32
"""Columns of a row whose weights the kernel computes before it uses them."""
BAND = 64
"""Rows whose channels are mixed at once."""
PIXELWISE, PATCH_SUMS, PATCHWISE = range(3)
"""Forms of the kernel, see cpu_nlm.py."""


@dataclass(frozen=True)
class Layout:
    """What the kernel keeps of a tile.

    Attributes
    ----------
    radius, half : (int, int)
        Reach of the search window and half the patch, in rows and columns.
    form : int
    features, values : int
        Channels that are compared and averaged.
    guided : bool
        The values are another picture than the features.
    """

    radius: tuple[int, int]
    half: tuple[int, int]
    form: int
    features: int
    values: int
    guided: bool

    @property
    def margin(self) -> tuple[int, int]:
        reach = 2 if self.form == PATCHWISE else 1
        beyond = self.group - 1  # a group of offsets may reach beyond the window
        return (
            self.radius[0] + reach * self.half[0] + 1,
            self.radius[1] + reach * self.half[1] + beyond,
        )

    @property
    def group(self) -> int:
        """How many neighbouring offsets are taken together."""
        offsets = 2 * self.radius[1] + 1
        return min(GROUPS, key=lambda group: -offsets % group)

    @property
    def planes(self) -> list[int]:
        """Vectors for each pixel: of features, values, sums and patch sums."""
        factored = 2 if self.features == 1 else 0  # differences and sums of rows
        return [
            self.features + factored,
            self.values if self.guided else 0,
            2 if self.form == PATCH_SUMS else self.values + 1,
            2 if self.form == PATCHWISE else 0,
        ]

    def scratch(self, rows: int, cols: int) -> list[int]:
        """Vectors needed for each of the kernel's areas, in the order of its arguments."""
        stride = cols + 2 * self.margin[1]
        plane, row = (rows + 2 * self.margin[0]) * stride, stride * self.group
        ring = row * (2 * self.half[0] + 1)
        patchwise = self.form == PATCHWISE
        return [
            *(plane * vectors for vectors in self.planes),
            ring if self.features > 1 else 0,  # squared differences
            row,  # column sums
            (STRETCH + self.group - 1) * self.group,  # weights
            ring if patchwise else 0,  # rows of weights
            row if patchwise else 0,  # column sums of the ring
        ]


@lru_cache(maxsize=64)
def tile_shape(layout: Layout, height: int, width: int, threads: int) -> tuple[int, int]:
    """Rows and columns of the tiles that take the least time.

    A tile costs time for its pixels and for some round them: those within about half the reach of
    the search and a patch. All lanes of all threads take as long as the busiest. A thread goes
    through all planes of its tiles for every group of offsets: they should fit into `CACHED`.
    """
    around = [2 * layout.half[axis] + 1 + layout.radius[axis] / 2 for axis in (0, 1)]
    margin, lanes = layout.margin, simd_width()
    cached = CACHED / (4 * lanes * sum(layout.planes))

    def cost(shape: tuple[int, int]) -> tuple[bool, float]:
        rows, cols = shape
        tiles = -(-height // rows) * -(-width // cols)
        time = -(-tiles // (lanes * threads)) * (rows + around[0]) * (cols + around[1])
        return (rows + 2 * margin[0]) * (cols + 2 * margin[1]) > cached, time

    return min(product(_divided(height), _divided(width)), key=cost)


def _divided(size: int) -> list[int]:
    """Ways of cutting a side into equal parts, the largest part first."""
    fewest = -(-size // LARGEST_TILE)
    return [-(-size // parts) for parts in range(fewest, min(2 * fewest + PARTS, size + 1))]


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
    arithmetic = arithmetic_for(features, sigma, strength, patch)
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
    rows, cols = tile_shape(layout, height, width, available_threads())
    run = _kernel(layout, arithmetic)
    row_of = reflected(height, rows, layout.margin[0]) * width
    column_of = reflected(width, cols, layout.margin[1])
    sizes = layout.scratch(rows, cols)
    out = np.empty((height, width, channels), np.float32)
    local = threading.local()

    def average_tiles(corners: Corners) -> None:
        if not hasattr(local, "areas"):
            local.areas = kept_areas(sizes)
        areas = [area.ctypes.data for area in local.areas]
        if not guided:
            areas[1] = areas[0]
        lane_corners = np.array(corners, dtype=np.int64)
        images = (features, values, patches, out, row_of, column_of, lane_corners)
        run(
            *(image.ctypes.data for image in images),
            *areas,
            *(height, width, rows, cols, *radius, *half),
            *arithmetic.numbers,
        )

    for_each(average_tiles, tile_jobs(height, width, rows, cols))
    return out


def _kernel(layout: Layout, arithmetic: "Arithmetic") -> Callable[..., None]:
    return kernel(
        "cpu_nlm",
        "average",
        group=layout.group,
        stretch=STRETCH,
        form=layout.form,
        coarse=arithmetic.coarse,
        capped=int(arithmetic.capped),
        features=layout.features,
        values=layout.values,
        guided=int(layout.guided),
    )


@dataclass(frozen=True)
class Arithmetic:
    """How the kernel turns squared differences into weights, see cpu_nlm.py.

    Attributes
    ----------
    capped : bool
    coarse : int
        By how many bits the fractions of exponents are fewer than 16; below zero, more.
    numbers : tuple
        The last arguments of the kernel.
    """

    capped: bool
    coarse: int
    numbers: tuple[float, ...]


def arithmetic_for(
    features: Picture, sigma: float, strength: float, patch: tuple[int, int]
) -> Arithmetic:
    """What the kernel needs to turn a sum of squared differences into a weight.

    Multiplied by `factor`, pixels have squared differences whose sums over a patch are exponents of
    2. These are integers with as many bits of a fraction as can be told from `unit`, or floats.
    """
    pixels, channels = patch[0] * patch[1], features.shape[2]
    h2 = (strength * sigma) ** 2
    factor = math.sqrt(math.log2(math.e) / (pixels * channels * h2))
    forgiven = math.log2(math.e) * 2 * sigma**2 / h2
    faintest = math.log2(math.e) * CUTOFF
    span = float(np.ptp(features))
    largest = channels * (factor * span) ** 2
    weight_unit = power_of_two(max(1, pixels / 255))
    shares = (weight_unit, 2**23 / weight_unit)
    if channels == 1 and pixels * largest < FLOAT_SUMS and ONE_AT + forgiven < FLOATS_END:
        exponents = (ONE_AT + forgiven, ONE_AT - faintest, ONE_AT)
        bits = [int(np.float32(exponent).view(np.int32)) for exponent in exponents]
        selves = (ONE * SELF_WEIGHT, ONE * SELF_FLOOR)
        return Arithmetic(False, 0, (*bits, factor, 0, 0, *shares, *selves))
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
    return Arithmetic(capped, int(math.log2(unit / FINE)), numbers)


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
