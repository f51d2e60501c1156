"""Layers of a network on the CPU: feature maps and convolutions."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from nlm.backends.compiled import kernel, simd_width
from nlm.backends.cpu_amx_layer import AmxWeights, convolve_by_matrices
from nlm.backends.cpu_packing import in_vectors
from nlm.backends.cpu_tiles import FEWEST, ForEach, aligned_areas
from nlm.backends.cpu_winograd_layer import WinogradWeights, convolve_by_tiles

BAND = 16
"""Rows of a map that one job computes, at most."""
SLACK = 64
"""Pixels behind a map that a kernel may read, never use."""


@dataclass
class FeatureMap:
    """Channels of a picture in blocks of as many as a vector has lanes, with a border of zeros.

    Attributes
    ----------
    data : ndarray of float32, shape (blocks, Y + 2, X + 2, lanes)
    channels, rows, columns : int
    """

    data: NDArray[np.float32]
    channels: int
    rows: int
    columns: int

    @classmethod
    def empty(cls, channels: int, rows: int, columns: int) -> "FeatureMap":
        """A map of anything, with its border of zeros."""
        lanes = simd_width()
        blocks = -(-channels // lanes)
        vectors = blocks * (rows + 2) * (columns + 2)
        memory = aligned_areas([vectors + SLACK])[0]
        data = memory[: vectors * lanes].reshape(blocks, rows + 2, columns + 2, lanes)
        data[:, :: rows + 1] = data[:, :, :: columns + 1] = 0
        return cls(data, channels, rows, columns)

    @classmethod
    def zeros(cls, channels: int, rows: int, columns: int) -> "FeatureMap":
        """A map of zeros; unused channels stay so."""
        new = cls.empty(channels, rows, columns)
        new.data[:] = 0
        return new

    def copy(self) -> "FeatureMap":
        """A map of its own with the same numbers."""
        other = FeatureMap.empty(self.channels, self.rows, self.columns)
        other.data[:] = self.data
        return other

    def set(self, channel: int, values: NDArray[np.float32]) -> None:
        """Fill a channel with (Y, X) numbers."""
        block, lane = divmod(channel, self.data.shape[3])
        self.data[block, 1:-1, 1:-1, lane] = values

    def get(self, channel: int) -> NDArray[np.float32]:
        """A channel's (Y, X) numbers, as a view."""
        block, lane = divmod(channel, self.data.shape[3])
        return self.data[block, 1:-1, 1:-1, lane]

    @property
    def block(self) -> int:
        """Numbers from one block of channels to the next."""
        return self.data.strides[0] // 4

    @property
    def row(self) -> int:
        """Numbers from one row to the next."""
        return self.data.strides[1] // 4

    def address(self, block: int, y: int, x: int) -> int:
        """Where a pixel of the bordered map lies in memory."""
        place = block * self.block + y * self.row + x * self.data.shape[3]
        return int(self.data.ctypes.data + 4 * place)


@dataclass(frozen=True)
class Convolution:
    """Weights as the kernel of plain sums reads them.

    Attributes
    ----------
    weights : ndarray, shape (groups, taps, taps, input blocks, lanes, vectors, lanes)
    bias : ndarray, shape (groups, vectors, lanes)
    channels : int
        Of the output.
    step : int
        1, or 2 to halve the size.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    channels: int
    step: int

    @classmethod
    def of(
        cls, weights: NDArray[np.floating], bias: NDArray[np.floating], step: int = 1
    ) -> "Layer":
        """From weights (outputs, inputs, taps, taps) and biases (outputs,)."""
        if weights.shape[2:] == (3, 3) and step == 1:
            return WinogradWeights.of(weights, bias)
        lanes = simd_width()
        vectors, _ = register_block(-(-len(weights) // lanes))
        full, full_bias = in_vectors(weights, bias, vectors)
        ordered = full.transpose(0, 5, 6, 3, 4, 1, 2)
        packed = aligned_areas([full.size // lanes])[0].reshape(ordered.shape)
        packed[...] = ordered
        return cls(packed, full_bias, len(weights), step)


Layer = Convolution | WinogradWeights | AmxWeights
"""What `convolve` applies: by Winograd's minimal filtering where taps are 3 x 3, or by AMX."""


@cache
def register_block(vectors: int) -> tuple[int, int]:
    """How many vectors of outputs, and how many pixels, are summed up in registers together."""
    many_registers = simd_width() == 16
    shapes = ((4, 5), (3, 8), (2, 12), (1, 12)) if many_registers else ((3, 4), (2, 6), (1, 12))
    return next(shape for shape in shapes if vectors % shape[0] == 0)


def convolve(
    source: FeatureMap,
    layer: Layer,
    for_each: ForEach,
    *,
    slope: float = 1.0,
    residual: FeatureMap | None = None,
    out: FeatureMap | None = None,
    place: tuple[int, int] | None = None,
) -> FeatureMap:
    """Convolve a map, with zeros beyond its edges.

    Parameters
    ----------
    source : FeatureMap
    layer : Layer
        Of 3 x 3 or 1 x 1 taps; of 2 x 2 where its step is 2.
    for_each : callable
        Runs a function over jobs, in parallel.
    slope : float
        Factor of negative results, 0 to 1: 0 = ReLU, 1 = linear.
    residual : FeatureMap, optional
        Added to the result; may be `out` itself.
    out : FeatureMap, optional
        Where the result goes; a new map if left out.
    place : (int, int), optional
        Write to every second pixel of `out` in both directions, from this one on; not where taps
        are 3 x 3.

    Returns
    -------
    FeatureMap
    """
    if not isinstance(layer, Convolution):
        if out is None:
            out = FeatureMap.empty(layer.channels, source.rows, source.columns)
        if isinstance(layer, WinogradWeights):
            convolve_by_tiles(source, layer, out, for_each, slope, residual)
        else:
            convolve_by_matrices(source, layer, out, for_each, slope, residual)
        return out
    rows, columns = source.rows // layer.step, source.columns // layer.step
    if out is None:
        out = FeatureMap.empty(layer.channels, rows, columns)  # unused channels become zero
    groups, taps, _, blocks, lanes, vectors, _ = layer.weights.shape
    run = kernel(
        "cpu_conv",
        "convolve",
        pixels=register_block(groups * vectors)[1],
        vectors=vectors,
        step=layer.step,
    )
    spread, (y, x) = (1, (0, 0)) if place is None else (2, place)
    target = out

    band = min(BAND, -(-rows // FEWEST))

    def compute(first: int) -> None:
        for group in range(groups):
            here = target.address(group * vectors, 1 + y, 1 + x)
            run(
                source.address(0, 1, 1),
                source.block,
                source.row,
                layer.weights[group].ctypes.data,
                layer.bias[group].ctypes.data,
                here if residual is None else residual.address(group * vectors, 1 + y, 1 + x),
                here,
                target.block // lanes,
                target.row // lanes * spread,
                spread,
                blocks,
                taps,
                taps,
                first,
                min(first + band, rows),
                columns,
                slope,
                int(residual is not None),
            )

    for_each(compute, range(0, rows, band))
    return out


def unshuffle(picture: NDArray[np.float32], level: NDArray[np.float32]) -> FeatureMap:
    """Every 2 x 2 pixels as channels (C, dy, dx), and the level's mean as the last one.

    Parameters
    ----------
    picture : ndarray of float32, shape (Y, X, C)
        Of even sides.
    level : ndarray of float32, shape (Y, X, 1)

    Returns
    -------
    FeatureMap
        Of 4 C + 1 channels and half as many rows and columns.
    """
    rows, columns, colours = picture.shape
    h = FeatureMap.zeros(4 * colours + 1, rows // 2, columns // 2)
    for channel in range(4 * colours):
        c, dy, dx = channel // 4, channel // 2 % 2, channel % 2
        h.set(channel, picture[dy::2, dx::2, c])
    lines = level[::2, :, 0] + level[1::2, :, 0]
    h.set(4 * colours, np.asarray((lines[:, ::2] + lines[:, 1::2]) / 4, np.float32))
    return h


def shuffle(h: FeatureMap) -> NDArray[np.float32]:
    """Channels (C, dy, dx) as 2 x 2 pixels: a picture (Y, X, C)."""
    picture = np.empty((2 * h.rows, 2 * h.columns, h.channels // 4), np.float32)
    for channel in range(h.channels):
        c, dy, dx = channel // 4, channel // 2 % 2, channel % 2
        picture[dy::2, dx::2, c] = h.get(channel)
    return picture
