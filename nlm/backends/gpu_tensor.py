"""Convolutions on the tensor cores of the GPU; see cuda/tensor.cu."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.backends import gpu_device

TILE_X, TOP = 32, 8
"""Columns of a map that a block computes, and bits that the largest number of a map is taken to."""


@dataclass(frozen=True)
class Layout:
    """How a block shares out its work among warps; see cuda/tensor.cu."""

    m_warps: int
    m_tiles: int
    n_warps: int = 8
    n_tiles: int = 4
    blocks: int = 2
    unroll: int = 1

    @property
    def tiles(self) -> int:
        """Tiles of 16 channels."""
        return self.m_warps * self.m_tiles

    @property
    def rows(self) -> int:
        """Rows of a map that a block computes."""
        return self.n_warps * self.n_tiles // 4

    @property
    def threads(self) -> int:
        """Of a block."""
        return 32 * self.m_warps * self.n_warps

    def shared(self, taps: int, step: int) -> int:
        """Bytes of shared memory."""
        pixels = ((TILE_X - 1) * step + taps) * ((self.rows - 1) * step + taps)
        return 4 * 2 * 8 * ((pixels + 23) // 32 * 32 + 8)


def layout_of(channels: int, step: int = 1) -> Layout:
    """A good layout for so many output channels, within 64 KiB of shared memory."""
    tiles = -(-channels // 16)
    tiles = -(-tiles // -(-tiles // 8))  # of each of as few groups as can be
    if tiles <= 3:
        return Layout(1, tiles, n_warps=8 // step)
    if tiles == 4:
        return Layout(2, 2, n_warps=4, n_tiles=8 // step)
    if tiles == 5:
        return Layout(1, 5, n_warps=4, blocks=3)
    return Layout(2, -(-tiles // 2), n_warps=4)


@dataclass(frozen=True)
class TensorConvolution:
    """Weights as the kernel reads them.

    Attributes
    ----------
    weights : array of uint32 on the card
        Fragments of matrices in halves, see cuda/tensor.cu.
    bias : array on the card
    channels : int
        Of the output.
    taps, step : int
    unscale : float
        What undoes the power of two that weights are multiplied by.
    layout : Layout
    products : int
        3, or 1 for half precision.
    """

    weights: Any
    bias: Any
    channels: int
    taps: int
    step: int
    unscale: float
    layout: Layout
    products: int = 3

    @classmethod
    def of(
        cls,
        weights: NDArray[np.floating],
        bias: NDArray[np.floating],
        step: int = 1,
        layout: Layout | None = None,
        products: int = 3,
    ) -> "TensorConvolution":
        """From weights (outputs, inputs, taps, taps) and biases (outputs,)."""
        outputs, inputs, taps, _ = weights.shape
        layout = layout or layout_of(outputs, step)
        groups = -(-outputs // (16 * layout.tiles))
        largest = float(np.abs(weights).max()) or 1.0
        scale = 2.0 ** (TOP - math.ceil(math.log2(largest)))
        full = np.zeros((groups * layout.tiles * 16, -(-inputs // 16) * 16, taps, taps), np.float32)
        full[:outputs, :inputs] = weights * np.float32(scale)
        put = gpu_device.device().put
        words, biases = put(fragments(full, groups)), put(np.asarray(bias, np.float32))
        return cls(words, biases, outputs, taps, step, 1 / scale, layout, products)


def fragments(weights: NDArray[np.float32], groups: int) -> NDArray[np.uint32]:
    """Weights as the 16 x 16 matrices that a warp multiplies, high and low halves.

    Parameters
    ----------
    weights : ndarray of float32, shape (outputs, inputs, taps, taps)
        Outputs are a multiple of 16 * groups, inputs one of 16.
    groups : int

    Returns
    -------
    ndarray of uint32, shape (groups, slices, taps, taps, tiles, 2, 32, 4)
        Of each matrix, what each of a warp's 32 lanes holds.
    """
    outputs, inputs, taps, _ = weights.shape
    tiles, slices = outputs // 16 // groups, inputs // 16
    high = weights.astype(np.float16)
    halves = np.stack([high, (weights - high.astype(np.float32)).astype(np.float16)])
    # (2, groups, tiles, row's upper bit, row % 8, slices, column's upper bit, pair, 2, taps, taps)
    parts = halves.reshape(2, groups, tiles, 2, 8, slices, 2, 4, 2, taps, taps)
    order = (1, 5, 9, 10, 2, 0, 4, 7, 6, 3, 8)
    words = np.ascontiguousarray(parts.transpose(order)).view(np.uint32)
    return words.reshape(groups, slices, taps, taps, tiles, 2, 32, 4)


def convolve(
    source: Any,
    peak: Any,
    layer: TensorConvolution,
    out: Any,
    out_peak: Any,
    *,
    slope: float = 1.0,
    residual: Any = None,
    place: tuple[int, int] | None = None,
) -> None:
    """Convolve a map (channels, Y, X) on the card whose largest absolute value is `peak`."""
    rows, columns = (size // layer.step for size in source.shape[1:])
    spread, (y, x) = (1, (0, 0)) if place is None else (2, place)
    layout, taps = layer.layout, layer.taps
    gpu_device.device().launch(
        "tensor.cu",
        "convolve",
        (
            *(("TAPS", taps), ("STEP", layer.step), ("M_WARPS", layout.m_warps)),
            *(("M_TILES", layout.m_tiles), ("N_WARPS", layout.n_warps)),
            *(("N_TILES", layout.n_tiles), ("PRODUCTS", layer.products), ("BLOCKS", layout.blocks)),
            ("UNROLL", min(layout.unroll, taps**2)),
        ),
        (-(-columns // TILE_X), -(-rows // layout.rows), layer.weights.shape[0]),
        layout.threads,
        (
            *(source, layer.weights, layer.bias, out if residual is None else residual, out),
            *(peak, out_peak, source.shape[0], layer.channels, *source.shape[1:], rows, columns),
            *(*out.shape[1:], spread, y, x, np.float32(slope), int(residual is not None)),
            layer.unscale,
        ),
        layout.shared(taps, layer.step),
    )


def peak_of(data: Any) -> Any:
    """The largest absolute value of an array on the card, an array of one float32 there."""
    device = gpu_device.device()
    peak = device.xp.zeros((1,), np.float32)
    size = int(data.size)
    device.launch("peak.cu", "peak", (), (min(-(-size // 256), 1024),), 256, (data, peak, size))
    return peak
