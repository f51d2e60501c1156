"""3 x 3 convolutions of feature maps on the CPU by Winograd's minimal filtering.

See `cpu_winograd` for the method. The grid of tiles begins at a map's corner.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nlm.backends.compiled import kernel, simd_width
from nlm.backends.cpu_packing import in_vectors
from nlm.backends.cpu_tiles import FEWEST, ForEach, aligned_areas, kept_areas

if TYPE_CHECKING:
    from nlm.backends.cpu_layers import FeatureMap

TILE = 4
"""Rows and columns of results that come from one product for each of `NUMBERS`."""
NUMBERS = (TILE + 2) ** 2
BATCH = 12
"""Tiles that the kernel takes through its steps together: a multiple of what registers hold."""
JOB = 1 << 19
"""Products of input and output channels, over tiles, that make a job worth a thread's while."""
POINTS = (0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5))
"""Where the polynomials are taken, beside infinity; as in `cpu_winograd`."""
CHUNK = 512
"""Weights that are made at once: so few that they stay in a cache, and in one thread."""
LINE = 16
"""Numbers in a cache line."""


@dataclass(frozen=True)
class WinogradWeights:
    """Weights of a 3 x 3 convolution, and as the kernel reads them.

    Attributes
    ----------
    taps : ndarray, shape (3, 3, groups, input blocks, lanes, vectors, lanes)
    bias : ndarray, shape (groups, vectors, lanes)
    channels : int
        Of the output.
    """

    taps: NDArray[np.float32]
    bias: NDArray[np.float32]
    channels: int

    @classmethod
    def of(cls, weights: NDArray[np.floating], bias: NDArray[np.floating]) -> "WinogradWeights":
        """From weights (outputs, inputs, 3, 3) and biases (outputs,)."""
        vectors, _ = register_block(-(-len(weights) // simd_width()))
        full, full_bias = in_vectors(weights, bias, vectors)
        taps = np.ascontiguousarray(full.transpose(5, 6, 0, 3, 4, 1, 2))
        return cls(taps, full_bias, len(weights))

    @cached_property
    def weights(self) -> NDArray[np.float32]:
        """What the kernel multiplies by, shape (`NUMBERS`, ...): made at its first use."""
        taps = self.taps.reshape(9, -1)
        weights = aligned_areas([NUMBERS * taps.shape[1] // simd_width()])[0].reshape(NUMBERS, -1)
        matrix = np.kron(of_taps(), of_taps())
        for start in range(0, taps.shape[1], CHUNK):
            part = slice(start, start + CHUNK)
            weights[:, part] = matrix @ taps[:, part].astype(np.float64)
        return weights.reshape(NUMBERS, *self.taps.shape[2:])


def of_taps() -> NDArray[np.float64]:
    """The matrix G that three taps are multiplied by."""
    rows = []
    for point in POINTS:
        scale = np.prod([point - other for other in POINTS if other != point])
        rows.append([1 / scale, point / scale, point**2 / scale])
    return np.array([*rows, [0, 0, 1]])


def register_block(vectors: int) -> tuple[int, int]:
    """How many vectors of outputs, and how many tiles, are summed up in registers together."""
    many_registers = simd_width() == 16
    shapes = ((4, 6), (3, 6), (5, 4), (2, 12)) if many_registers else ((2, 6), (3, 4))
    return next((shape for shape in shapes if vectors % shape[0] == 0), (1, BATCH))


def convolve_by_tiles(
    source: "FeatureMap",
    layer: WinogradWeights,
    target: "FeatureMap",
    for_each: ForEach,
    slope: float,
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
    worth = JOB // (groups * vectors * blocks * lanes**2)
    job = max(1, -(-min(worth, tiles // FEWEST) // BATCH)) * BATCH

    def compute(first: int) -> None:
        areas = kept_areas(sizes)
        edge, numbers, products = (area.ctypes.data for area in areas)
        here = target.address(0, 1, 1)
        run(
            source.address(0, 0, 0),
            source.block,
            source.row,
            layer.weights.ctypes.data,
            layer.bias.ctypes.data,
            here if residual is None else residual.address(0, 1, 1),
            here,
            target.block,
            target.row,
            *(edge, numbers, numbers_step * lanes, products, products_step * lanes),
            *(blocks, groups, BATCH, first, min(first + job, tiles)),
            *(source.rows, source.columns, slope, int(residual is not None)),
        )

    for_each(compute, range(0, tiles, job))


def staggered(vectors: int) -> int:
    """So many vectors or a little more, to be an odd number of cache lines.

    Places an even number apart would compete for the same few lines of a cache.
    """
    lanes = simd_width()
    lines = -(-vectors * lanes // LINE) | 1
    return lines * LINE // lanes
