"""3 x 3 convolutions of feature maps on the CPU by Winograd's minimal filtering.

See `cpu_winograd` for the method. The grid of tiles begins at a map's corner.
"""

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nlm.backends.compiled import kernel, simd_width
from nlm.backends.cpu_tiles import ForEach, aligned_areas

if TYPE_CHECKING:
    from nlm.backends.cpu_layers import FeatureMap

TILE = 4
"""Rows and columns of results that come from one product for each of `NUMBERS`."""
NUMBERS = (TILE + 2) ** 2
BATCH = 24
"""Tiles that the kernel takes through its steps together: a multiple of what registers hold."""
JOB = 1 << 19
"""Products of input and output channels, over tiles, that make a job worth a thread's while."""
POINTS = (0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5))
"""Where the polynomials are taken, beside infinity; as in `cpu_winograd`."""
LINE = 16
"""Numbers in a cache line."""

_local = threading.local()


@dataclass(frozen=True)
class WinogradWeights:
    """Weights of a 3 x 3 convolution as the kernel reads them.

    Attributes
    ----------
    weights : ndarray, shape (numbers, groups, input blocks, lanes, vectors, lanes)
    bias : ndarray, shape (groups, vectors, lanes)
    channels : int
        Of the output.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    channels: int

    @classmethod
    def of(
        cls, weights: NDArray[np.floating], bias: NDArray[np.floating]
    ) -> "WinogradWeights":
        """From weights (outputs, inputs, 3, 3) and biases (outputs,)."""
        outputs, inputs = weights.shape[:2]
        lanes = simd_width()
        vectors, _ = register_block(-(-outputs // lanes))
        groups, blocks = -(-outputs // (lanes * vectors)), -(-inputs // lanes)
        full = np.zeros((groups * vectors * lanes, blocks * lanes, 9))
        full[:outputs, :inputs] = weights.reshape(outputs, inputs, 9)
        full = full.reshape(groups, vectors, lanes, blocks, lanes, 9)
        taps = full.transpose(5, 0, 3, 4, 1, 2).reshape(9, -1)
        packed = aligned_areas([NUMBERS * taps.shape[1] // lanes])[0]
        packed.reshape(NUMBERS, -1)[:] = np.kron(of_taps(), of_taps()) @ taps
        full_bias = aligned_areas([groups * vectors])[0]
        full_bias[:] = 0
        full_bias[:outputs] = bias
        shape = (groups, blocks, lanes, vectors, lanes)
        return cls(
            packed.reshape(NUMBERS, *shape), full_bias.reshape(groups, vectors, lanes), outputs
        )


def of_taps() -> NDArray[np.float64]:
    """The matrix G that three taps are multiplied by."""
    rows = []
    for point in POINTS:
        scale = np.prod([point - other for other in POINTS if other != point])
        rows.append([1 / scale, point / scale, point**2 / scale])
    return np.array([*rows, [0, 0, 1]])


def register_block(vectors: int) -> tuple[int, int]:
    """How many vectors of outputs, and how many tiles, are summed up in registers together."""
    most = 24 if simd_width() == 16 else 12
    together = next(count for count in (3, 2, 1) if vectors % count == 0)
    return together, most // together


def convolve_by_tiles(
    source: "FeatureMap",
    layer: WinogradWeights,
    target: "FeatureMap",
    for_each: ForEach,
    rectify: bool,
    residual: "FeatureMap | None",
) -> None:
    """Convolve a map, with zeros beyond its edges; see `cpu_layers.convolve`."""
    _, groups, blocks, lanes, vectors, _ = layer.weights.shape
    run = kernel("cpu_winograd", "winograd", tiles=register_block(groups * vectors)[1],
                 vectors=vectors)  # fmt: skip
    tiles = -(-source.rows // TILE) * -(-source.columns // TILE)
    numbers_step = staggered(blocks * BATCH)
    products_step = staggered(groups * vectors * BATCH)
    sizes = [NUMBERS, NUMBERS * numbers_step, NUMBERS * products_step]
    job = -(-JOB // (groups * vectors * blocks * lanes**2) // BATCH) * BATCH or BATCH

    def compute(first: int) -> None:
        edge, numbers, products = (area.ctypes.data for area in scratch(sizes))
        here = target.address(0, 1, 1)
        run(
            source.address(0, 0, 0),
            source.block // lanes,
            source.row // lanes,
            layer.weights.ctypes.data,
            layer.bias.ctypes.data,
            here if residual is None else residual.address(0, 1, 1),
            here,
            target.block // lanes,
            target.row // lanes,
            *(edge, numbers, numbers_step, products, products_step),
            *(blocks, groups, BATCH, first, min(first + job, tiles)),
            *(source.rows, source.columns, int(rectify), int(residual is not None)),
        )

    for_each(compute, range(0, tiles, job))


def staggered(vectors: int) -> int:
    """So many vectors or a little more: an odd number of cache lines, so that places this far
    apart do not compete for the same few lines of a cache."""
    lanes = simd_width()
    lines = -(-vectors * lanes // LINE) | 1
    return lines * LINE // lanes


def scratch(sizes: list[int]) -> list[NDArray[np.float32]]:
    """This thread's areas of at least so many vectors; their content is anything finite."""
    areas: list[NDArray[np.float32]] = getattr(_local, "areas", [])
    held = [area.size // simd_width() for area in areas] or [0] * len(sizes)
    if any(has < size for has, size in zip(held, sizes, strict=True)):
        areas = aligned_areas([max(pair) for pair in zip(held, sizes, strict=True)])
        for area in areas:
            area[:] = 0
        _local.areas = areas
    return areas
