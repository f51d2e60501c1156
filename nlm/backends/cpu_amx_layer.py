"""3 x 3 convolutions of feature maps on processors with AMX, in half precision; see `cpu_amx`."""

import ctypes
import sys
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nlm.backends.compiled import kernel, machine
from nlm.backends.cpu_tiles import ForEach, aligned_areas, kept_areas

if TYPE_CHECKING:
    from nlm.backends.cpu_layers import FeatureMap

LANES, CHUNK = 16, 32
"""Channels of a block, and those that are multiplied at once."""
ROWS, COLUMNS = 8, 128
"""Of a job; `COLUMNS` is a multiple of the 32 pixels that are computed together."""
ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA = 158, 0x1023, 18
"""How Linux is asked for the registers of AMX."""


@cache
def usable() -> bool:
    """Whether this processor has AMX, and the system lets this process use it."""
    if "+amx-bf16" not in machine()[1].split(",") or not sys.platform.startswith("linux"):
        return False
    done: int = ctypes.CDLL(None).syscall(ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA)
    return done == 0


@cache
def configuration() -> NDArray[np.float32]:
    """What the processor is told of its eight matrices: 16 rows of 64 bytes each."""
    area = aligned_areas([4])[0]
    told = area.view(np.uint8)
    told[:] = 0
    told[0] = 1
    told[16:32:2], told[48:56] = 64, 16
    return area


@dataclass(frozen=True)
class AmxWeights:
    """Weights of a 3 x 3 convolution as the kernel reads them.

    Attributes
    ----------
    weights : ndarray of uint16, shape (groups of 32 outputs, chunks, 9, 2, 16, 16, 2)
        Bits of bfloat16: of every 16 outputs, pairs of input channels.
    bias : ndarray, shape (outputs,)
    channels : int
        Of the output.
    """

    weights: NDArray[np.uint16]
    bias: NDArray[np.float32]
    channels: int

    @staticmethod
    def suit(weights: NDArray[np.floating], step: int) -> bool:
        """Whether a layer with such weights can be applied so."""
        outputs, inputs, *taps = weights.shape
        return step == 1 and taps == [3, 3] and outputs % CHUNK == 0 == inputs % CHUNK

    @classmethod
    def of(cls, weights: NDArray[np.floating], bias: NDArray[np.floating]) -> "AmxWeights":
        """From weights (outputs, inputs, 3, 3) and biases (outputs,)."""
        outputs, inputs, _, _ = weights.shape
        parts = weights.reshape(outputs // CHUNK, 2, LANES, inputs // CHUNK, LANES, 2, 9)
        ordered = parts.transpose(0, 3, 6, 1, 4, 2, 5)
        area = aligned_areas([weights.size // (2 * LANES)])[0].view(np.uint16)
        packed = area.reshape(ordered.shape)
        packed[...] = in_bfloat16(ordered)
        own = aligned_areas([outputs // LANES])[0]
        own[:] = bias
        return cls(packed, own, outputs)


def in_bfloat16(numbers: NDArray[np.floating]) -> NDArray[np.uint16]:
    """The bits of the nearest bfloat16."""
    bits = np.ascontiguousarray(numbers, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def convolve_by_matrices(
    source: "FeatureMap",
    layer: AmxWeights,
    target: "FeatureMap",
    for_each: ForEach,
    slope: float,
    residual: "FeatureMap | None",
) -> None:
    """Convolve a map, with zeros beyond its edges; see `cpu_layers.convolve`."""
    assert usable()  # and the system has been asked
    run, told = kernel("cpu_amx", "convolve"), configuration()
    groups, chunks = layer.channels // LANES, source.data.shape[0] * LANES // CHUNK
    row = COLUMNS + CHUNK
    sizes = [chunks * (ROWS + 2) * row, 4 * LANES]

    def compute(corner: tuple[int, int]) -> None:
        y, x = corner
        packed, sums = kept_areas(sizes)
        here = target.address(0, 1 + y, 1 + x)
        run(
            *(source.address(0, y, x), source.block, source.row),
            *(layer.weights.ctypes.data, layer.bias.ctypes.data),
            here if residual is None else residual.address(0, 1 + y, 1 + x),
            *(here, target.block, target.row),
            *(packed.ctypes.data, row * LANES, (ROWS + 2) * row * LANES),
            *(sums.ctypes.data, told.ctypes.data, chunks, groups),
            *(min(ROWS, source.rows - y), min(COLUMNS, source.columns - x)),
            *(slope, int(residual is not None)),
        )

    corners = product(range(0, source.rows, ROWS), range(0, source.columns, COLUMNS))
    for_each(compute, corners)
