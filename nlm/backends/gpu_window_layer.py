"""The windowed non-local block as a layer on the GPU, as in `cpu_window_layer.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.backends import gpu_device
from nlm.backends.cpu_tiles import ForEach
from nlm.backends.gpu_layers import AnyLayer, Convolution, FeatureMap, convolve
from nlm.backends.gpu_non_local import attend_on_card
from nlm.backends.neighbours import Neighbours

SIDE, KEYS, THREADS = 8, 64, 256
"""Side of the square of queries of a block, keys it takes together, and its threads; see
cuda/window.cu."""


@dataclass(frozen=True)
class NonLocalLayer:
    """Weights of a block ``x + w_z(y)``, y the softmax-weighted mean of g(x_j) near x_i.

    Attributes
    ----------
    parts : Convolution
        theta, phi and g in one layer.
    w_z : Convolution
    inner, radius : int
    distance : bool
        Scores are -|theta_i - phi_j|^2; otherwise theta_i . phi_j.
    """

    parts: AnyLayer
    w_z: AnyLayer
    inner: int
    radius: int
    distance: bool

    @classmethod
    def of(
        cls, weights: Mapping[str, NDArray[np.floating]], radius: int, distance: bool
    ) -> "NonLocalLayer":
        """From weights of 1 x 1 convolutions by name: "theta.weight", "theta.bias", ..."""
        names = ("theta", "phi", "g")
        parts = Convolution.of(
            np.concatenate([weights[f"{name}.weight"] for name in names]),
            np.concatenate([weights[f"{name}.bias"] for name in names]),
        )
        w_z = Convolution.of(weights["w_z.weight"], weights["w_z.bias"])
        return cls(parts, w_z, len(weights["theta.weight"]), radius, distance)


@dataclass
class Keys:
    """What queries may be compared with: phi and g, (2 inner, Y, X) on the card."""

    maps: Any
    peak: Any


@dataclass
class Projected:
    """A map's theta, (inner, Y, X) on the card, and its keys."""

    queries: Any
    keys: Keys


def project(source: FeatureMap, layer: NonLocalLayer, for_each: ForEach) -> Projected:
    """The queries and keys of a map."""
    parts = convolve(source, layer.parts, for_each)
    return Projected(parts.data[: layer.inner], Keys(parts.data[layer.inner :], parts.known_peak))


def attend(
    source: FeatureMap, layer: NonLocalLayer, queries: Any, seen: Sequence[Keys], for_each: ForEach
) -> FeatureMap:
    """Apply a windowed non-local block in place; see `cpu_window_layer.attend`."""
    device = gpu_device.device()
    keys = joined([one.maps for one in seen])
    depth = -(-layer.inner // 16) * 16
    if shared_bytes(depth) <= device.shared_per_block:
        y = device.xp.empty((layer.inner, source.rows, source.columns), np.float32)
        device.launch(
            "window.cu", "attend", (("DEPTH", depth), ("DISTANCE", int(layer.distance))),
            (-(-source.columns // SIDE), -(-source.rows // SIDE)), THREADS,
            (queries, keys, y, len(seen), layer.inner, source.rows, source.columns, layer.radius),
            shared_bytes(depth),
        )  # fmt: skip
    else:
        y = by_positions(layer, queries, keys)
    peak = seen[0].peak if len(seen) == 1 else None  # means are within what is averaged
    return convolve(FeatureMap(y, peak), layer.w_z, for_each, residual=source, out=source)


def shared_bytes(depth: int) -> int:
    """Shared memory of a block."""
    stride = SIDE**2 + 4
    return 4 * (2 * depth * stride + KEYS * stride + KEYS * (depth + 1) + 2 * KEYS)


def by_positions(layer: NonLocalLayer, queries: Any, keys: Any) -> Any:
    """The same means by the generic operation, which has room for any number of channels."""
    inner, rows, columns = queries.shape
    maps = len(keys) // (2 * inner)
    near = Neighbours(
        (1, rows, columns), (maps, rows, columns), radius=(maps, layer.radius, layer.radius)
    )
    parts = keys.reshape(maps, 2, inner, -1)
    phi, g = (parts[:, k].transpose(0, 2, 1).reshape(-1, inner) for k in range(2))
    scale = -1.0 if layer.distance else 1.0
    y = attend_on_card(
        queries.reshape(inner, -1).T, phi, g, near, distance=layer.distance, scale=scale
    )
    return gpu_device.device().xp.ascontiguousarray(y.T).reshape(inner, rows, columns)


def joined(maps: Sequence[Any]) -> Any:
    """Maps (channels, Y, X) one after the other."""
    if len(maps) == 1:
        return maps[0]
    channels = len(maps[0])
    whole = gpu_device.device().xp.empty((len(maps) * channels, *maps[0].shape[1:]), np.float32)
    for k, one in enumerate(maps):
        whole[k * channels : (k + 1) * channels] = one
    return whole
