"""Layers of a network on the GPU: feature maps and convolutions, as in `cpu_layers.py`.

Convolutions run on tensor cores, in halves that together are as exact as float32 (cuda/tensor.cu),
and on cards that have none in float32 itself (cuda/layers.cu).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.backends import gpu_device, gpu_tensor
from nlm.backends.cpu_tiles import ForEach
from nlm.backends.gpu_tensor import TensorConvolution

OUTPUTS, MOST_WARPS = 8, 8
"""Channels that a warp computes, and warps in a block; see cuda/layers.cu."""
TILE = (8, 32)
"""Rows and columns of a map that a block computes."""
SLICE = 8
"""Channels of the source that are in shared memory together."""


@dataclass
class FeatureMap:
    """Channels of a picture.

    Attributes
    ----------
    data : array of float32 on the card, shape (channels, Y, X)
    known_peak : array of one float32 on the card, or None
        No absolute value in `data` is much larger; twice as large does no harm.
    """

    data: Any
    known_peak: Any = None

    @classmethod
    def empty(cls, channels: int, rows: int, columns: int) -> "FeatureMap":
        """A map of any numbers."""
        return cls(gpu_device.device().xp.empty((channels, rows, columns), np.float32))

    @property
    def channels(self) -> int:
        return int(self.data.shape[0])

    @property
    def rows(self) -> int:
        return int(self.data.shape[1])

    @property
    def columns(self) -> int:
        return int(self.data.shape[2])

    @property
    def peak(self) -> Any:
        """The same; looked for in `data` if it is not known."""
        if self.known_peak is None:
            self.known_peak = gpu_tensor.peak_of(self.data)
        return self.known_peak

    def copy(self) -> "FeatureMap":
        """A map of its own with the same numbers."""
        peak = None if self.known_peak is None else self.known_peak.copy()
        return FeatureMap(self.data.copy(), peak)


class Convolution:
    """Weights as the kernel for this card reads them."""

    @staticmethod
    def of(weights: NDArray[np.floating], bias: NDArray[np.floating], step: int = 1) -> "AnyLayer":
        """From weights (outputs, inputs, taps, taps) and biases (outputs,)."""
        if gpu_device.device().tensor_cores:
            return TensorConvolution.of(weights, bias, step)
        return FloatConvolution.of(weights, bias, step)


@dataclass(frozen=True)
class FloatConvolution:
    """Weights as the kernel without tensor cores reads them.

    Attributes
    ----------
    weights : array on the card, shape (groups, inputs, taps, taps, channels of a group)
    bias : array on the card, shape (groups, channels of a group)
    channels : int
        Of the output.
    step : int
        1, or 2 to halve the size.
    """

    weights: Any
    bias: Any
    channels: int
    step: int

    @property
    def taps(self) -> int:
        """Rows and columns of the kernel."""
        return int(self.weights.shape[2])

    @classmethod
    def of(
        cls, weights: NDArray[np.floating], bias: NDArray[np.floating], step: int = 1
    ) -> "FloatConvolution":
        """From weights (outputs, inputs, taps, taps) and biases (outputs,)."""
        outputs, inputs, taps, _ = weights.shape
        warps = -(-outputs // OUTPUTS)
        groups = -(-warps // MOST_WARPS)
        channels = -(-warps // groups) * OUTPUTS
        full = np.zeros((groups * channels, inputs, taps, taps), np.float32)
        full[:outputs] = weights
        full = full.reshape(groups, channels, inputs, taps, taps).transpose(0, 2, 3, 4, 1)
        full_bias = np.zeros((groups, channels), np.float32)
        full_bias.reshape(-1)[:outputs] = bias
        put = gpu_device.device().put
        return cls(put(np.ascontiguousarray(full)), put(full_bias), outputs, step)


AnyLayer = FloatConvolution | TensorConvolution


def convolve(
    source: FeatureMap,
    layer: AnyLayer,
    for_each: ForEach,
    *,
    slope: float = 1.0,
    residual: FeatureMap | None = None,
    out: FeatureMap | None = None,
    place: tuple[int, int] | None = None,
) -> FeatureMap:
    """Convolve a map as `cpu_layers.convolve` does; `for_each` has nothing to share out."""
    if out is None:
        rows, columns = source.rows // layer.step, source.columns // layer.step
        out = FeatureMap.empty(layer.channels, rows, columns)
    if isinstance(layer, TensorConvolution):
        if residual is not out and out.known_peak is None:
            out.known_peak = gpu_device.device().xp.zeros((1,), np.float32)
        gpu_tensor.convolve(
            *(source.data, source.peak, layer, out.data, out.peak),
            slope=slope,
            residual=None if residual is None else residual.data,
            place=place,
        )
    else:
        in_float(source, layer, out, slope, residual, place)
    return out


def in_float(
    source: FeatureMap,
    layer: FloatConvolution,
    out: FeatureMap,
    slope: float,
    residual: FeatureMap | None,
    place: tuple[int, int] | None,
) -> None:
    """Convolve without tensor cores."""
    rows, columns = source.rows // layer.step, source.columns // layer.step
    groups, inputs, taps, _, channels = layer.weights.shape
    warps = channels // OUTPUTS
    spread, (y, x) = (1, (0, 0)) if place is None else (2, place)
    target, added = out.data, out.data if residual is None else residual.data

    gpu_device.device().launch(
        "layers.cu",
        "convolve",
        (("TAPS", taps), ("STEP", layer.step), ("WARPS", warps)),
        (-(-columns // TILE[1]), -(-rows // TILE[0]), groups),
        32 * warps,
        (
            *(source.data, layer.weights, layer.bias, added, target),
            *(inputs, layer.channels, source.rows, source.columns, rows, columns),
            *(*target.shape[1:], spread, y, x, np.float32(slope), int(residual is not None)),
        ),
        shared_bytes(taps, layer.step, channels),
    )


def shared_bytes(taps: int, step: int, channels: int) -> int:
    """Shared memory for a slice of the source and of the weights."""
    rows, columns = ((side - 1) * step + taps for side in TILE)
    return 4 * SLICE * (rows * (-(-columns // 4) * 4) + taps * taps * channels)


def unshuffle(picture: NDArray[np.float32], level: NDArray[np.float32]) -> FeatureMap:
    """Every 2 x 2 pixels as channels (C, dy, dx), and the level's mean as the last one."""
    put = gpu_device.device().put
    return unshuffle_on_card(put(picture), put(level))


def unshuffle_on_card(picture: Any, level: Any) -> FeatureMap:
    """Do what `unshuffle` does, with arrays that lie on the card."""
    rows, columns, colours = picture.shape
    h = FeatureMap.empty(4 * colours + 1, rows // 2, columns // 2)
    pixels = picture.reshape(rows // 2, 2, columns // 2, 2, colours)
    h.data[:-1].reshape(colours, 2, 2, *h.data.shape[1:])[...] = pixels.transpose(4, 1, 3, 0, 2)
    h.data[-1] = level.reshape(rows // 2, 2, columns // 2, 2).mean((1, 3))
    return h


def shuffle(h: FeatureMap) -> NDArray[np.float32]:
    """Channels (C, dy, dx) as 2 x 2 pixels: a picture (Y, X, C)."""
    return np.asarray(gpu_device.device().get(shuffle_on_card(h)))


def shuffle_on_card(h: FeatureMap) -> Any:
    """Do what `shuffle` does, and leave the picture on the card."""
    shape = (2 * h.rows, 2 * h.columns, h.channels // 4)
    parts = h.data.reshape(-1, 2, 2, h.rows, h.columns).transpose(3, 1, 4, 2, 0)
    return gpu_device.device().xp.ascontiguousarray(parts.reshape(shape))
