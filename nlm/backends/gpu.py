"""Classical non-local means on the GPU: arrays in, arrays out, as in `cpu.py`."""

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.backends import cpu, gpu_device
from nlm.backends.cpu import Part
from nlm.backends.cpu_layout import PATCH_SUMS, PATCHWISE, PIXELWISE
from nlm.backends.cpu_tiles import ForEach, Picture
from nlm.backends.threads import for_each
from nlm.noise.colour import OPPONENT

log = logging.getLogger(__name__)

THREADS, ROWS = 256, 32  # of a block, see cuda/nlm.cu
LAYOUTS = ((64, 3), (64, 2), (64, 1), (32, 1))
"""Columns of a block's tile, and rows of offsets that it takes together: best first."""
RESERVED = 1024
"""Bytes of shared memory that the system takes for every block."""
MOST_VALUES = 4
"""Channels that are averaged at once; their sums are in registers."""


@dataclass(frozen=True)
class Block:
    """What a block of threads takes on, and the shared memory that it needs; see cuda/nlm.cu."""

    form: int
    half: tuple[int, int]
    features: int
    values: int
    guided: bool
    columns: int = 64
    group: int = 2
    chunk: int = 1

    @property
    def out(self) -> tuple[int, int]:
        """Rows and columns of results."""
        reach = 1 if self.form == PATCHWISE else 0
        return (
            ROWS - 2 * reach * self.half[0],
            self.columns - 2 * (1 + reach) * self.half[1],
        )

    @property
    def shared(self) -> int:
        """Bytes of shared memory."""
        strips, warps, patchwise = THREADS // self.columns, THREADS // 32, self.form == PATCHWISE
        field_rows = -(-self.out[0] // strips) * strips + 2 * patchwise * self.half[0]
        field_columns = -(-self.out[1] // warps) * warps + 2 * (1 + patchwise) * self.half[1]
        field = field_rows * (field_columns | 1)
        rows = ROWS + 2 * self.half[0]
        window = (rows + self.group - 1) * ((self.columns + self.chunk - 1) | 1)
        planes = self.features + patchwise + self.guided * self.values
        slack = 2 * self.columns  # idle threads may look beyond the end
        fields = 1 if self.group > 2 else 2
        words = fields * self.group * field + self.features * rows * self.columns
        return 4 * (words + planes * window + slack)

    def constants(self) -> tuple[tuple[str, int], ...]:
        """Macros for the compiler."""
        return (
            ("FORM", self.form),
            ("FEATURES", self.features),
            ("VALUES", self.values),
            ("GUIDED", int(self.guided)),
            ("HALF_Y", self.half[0]),
            ("HALF_X", self.half[1]),
            ("COLUMNS", self.columns),
            ("GROUP", self.group),
        )


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
    """Non-local means of one picture, see `cpu.nlm`.

    Parameters
    ----------
    features, values : ndarray of float32, shape (Y, X, C)
    sigma, strength : float
    patch, radius : (int, int)
    aggregate : bool
    for_each : callable
        Told of the work, as one job.

    Returns
    -------
    ndarray of float32, shape of `values`
    """
    device = gpu_device.device()
    channels = values.shape[2]
    guided = values is not features or channels > MOST_VALUES
    shape = (features.shape[2], min(channels, MOST_VALUES), guided)
    options: dict[str, Any] = {"patch": patch, "radius": radius, "aggregate": aggregate}
    if not has_room(device, *shape, **options):
        return cpu.nlm(features, values, sigma, strength, **options, for_each=for_each)
    out = np.empty(values.shape, np.float32)

    def work(_: None) -> None:
        compared = device.put(features)
        for part in parts(channels):
            same = values is features and channels <= MOST_VALUES
            averaged = compared if same else device.put(np.ascontiguousarray(values[..., part]))
            means = on_card(compared, averaged, sigma, strength, **options)
            if channels <= MOST_VALUES:
                device.fetch(means, out)
            else:
                out[..., part] = device.get(means)

    for_each(work, [None])
    return out


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
    """Non-local means of a picture in a luma/chroma space, see `cpu.nlm_colour`."""
    device = gpu_device.device()
    options: dict[str, Any] = {"patch": patch, "radius": radius, "aggregate": aggregate}
    if not has_room(device, 3, 2, True, **options):
        return cpu.nlm_colour(frame, guide, parts, **options, for_each=for_each)
    out = np.empty(frame.shape, np.float32)

    def work(_: None) -> None:
        rgb = device.put(frame)
        compared = rgb if guide is frame else device.put(guide)
        means = [
            on_card(
                mixed([compared], np.array(part.share)[:, None] * OPPONENT),
                mixed([rgb], OPPONENT[part.channels]),
                part.sigma,
                part.strength,
                **options,
            )
            for part in parts
        ]
        order = [c for part in parts for c in range(3)[part.channels]]
        device.fetch(mixed(means, OPPONENT[order].T), out)

    for_each(work, [None])
    return out


def mixed(
    pictures: Sequence[Any], matrix: NDArray[np.floating], for_each: ForEach = for_each
) -> Any:
    """Linear combinations of the channels of one or two pictures on the card, see `cpu.mixed`."""
    device = gpu_device.device()
    first, last = pictures[0], pictures[-1]
    outputs, inputs = matrix.shape
    own = first.shape[2]
    pixels = first.shape[0] * first.shape[1]
    out = device.xp.empty((*first.shape[:2], outputs), np.float32)
    device.launch(
        "mix.cu",
        "mix",
        (("INPUTS", inputs), ("OWN", own), ("OUTPUTS", outputs)),
        (-(-pixels // THREADS),),
        THREADS,
        (first, last, device.put(np.asarray(matrix, np.float32)), out, pixels),
    )
    return out


def has_room(
    device: gpu_device.Device,
    features: int,
    values: int,
    guided: bool,
    *,
    patch: tuple[int, int],
    radius: tuple[int, int],
    aggregate: bool,
) -> bool:
    """Whether a multiprocessor has room for what a block needs; else that is said."""
    form, half = PATCHWISE if aggregate else PIXELWISE, (patch[0] // 2, patch[1] // 2)
    if fitting(Block(form, half, features, values, guided), radius, device) is not None:
        return True
    log.info("%d channels, patch %s: too much for the GPU, runs on the CPU", features, patch)
    return False


def on_card(
    compared: Any,
    averaged: Any,
    sigma: float,
    strength: float,
    *,
    patch: tuple[int, int],
    radius: tuple[int, int],
    aggregate: bool,
) -> Any:
    """Non-local means of what lies on the card; at most `MOST_VALUES` channels are averaged."""
    device = gpu_device.device()
    half = (patch[0] // 2, patch[1] // 2)
    span = 0.0
    if patch[0] * patch[1] * compared.shape[2] > cpu.ROUNDINGS:
        span = cpu.rounded_span(float(compared.max() - compared.min()))
    numbers = weight_numbers(sigma, strength, patch, compared.shape[2], span)

    def average(form: int, values: Any, patches: Any) -> Any:
        return _average(form, compared, values, patches, half, radius, numbers, device)

    if not aggregate:
        return average(PIXELWISE, averaged, compared)
    return average(PATCHWISE, averaged, average(PATCH_SUMS, compared, compared))


def parts(channels: int) -> Iterator[slice]:
    """Channels, as many at a time as are averaged at once."""
    for first in range(0, channels, MOST_VALUES):
        yield slice(first, min(first + MOST_VALUES, channels))


def _average(
    form: int,
    features: Any,
    values: Any,
    patches: Any,
    half: tuple[int, int],
    radius: tuple[int, int],
    numbers: tuple[float, ...],
    device: gpu_device.Device,
) -> Any:
    """One visit to all pairs of patches, in one of the kernel's forms."""
    height, width = features.shape[:2]
    guided = form != PATCH_SUMS and values is not features
    channels = 2 if form == PATCH_SUMS else values.shape[2]
    block = fitting(Block(form, half, features.shape[2], channels, guided), radius, device)
    assert block is not None
    out = device.xp.empty((height, width, channels), np.float32)
    device.launch(
        "nlm.cu",
        "average",
        block.constants(),
        (-(-width // block.out[1]), -(-height // block.out[0])),
        THREADS,
        (features, values, patches, out, height, width, *radius, block.chunk, *numbers),
        block.shared,
    )
    return out


def fitting(block: Block, radius: tuple[int, int], device: gpu_device.Device) -> Block | None:
    """The block in the layout that suits the card best, with as wide a chunk as there is room for.

    Two blocks should share a multiprocessor; where that cannot be, one has to fit. None: it does
    not.
    """
    pair = device.shared_per_processor // 2 - RESERVED
    for limit in (min(pair, device.shared_per_block), device.shared_per_block):
        for columns, group in LAYOUTS:
            for chunk in range(2 * radius[1] + 1, 0, -1):
                found = Block(
                    block.form, block.half, block.features, block.values, block.guided,
                    columns, group, chunk,
                )  # fmt: skip
                if min(found.out) > 0 and found.shared <= limit:
                    return found
    return None


def weight_numbers(
    sigma: float, strength: float, patch: tuple[int, int], channels: int, span: float = 0.0
) -> tuple[float, ...]:
    """What the kernel needs to turn a sum of squared differences into a weight, a power of two.

    With the range of values, `span`, squares are rounded more finely where that is possible.
    """
    pixels = patch[0] * patch[1]
    size = pixels * channels
    h2 = (strength * sigma) ** 2
    cap = size * (2 * sigma**2 + cpu.CUTOFF * h2)
    crowd = max(1, pixels / 255)  # so that sums of integers stay below 2^31
    unit, weight_unit = cpu.power_of_two(cap * crowd), cpu.power_of_two(crowd)
    if span:
        unit = min(unit, cpu.power_of_two(channels * span**2 * crowd))
        cap = min(cap, unit)
    log2_e = 1 / math.log(2)
    scale, bias = -log2_e * unit / 2**23 / (size * h2), log2_e * 2 * sigma**2 / h2
    return (
        *(scale, bias, unit, unit + cap, weight_unit, 2**23 / weight_unit),
        *(cpu.SELF_WEIGHT, cpu.SELF_FLOOR),
    )
