"""The windowed non-local block as a layer on the GPU, as in `cpu_window_layer.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.backends import gpu_device
from nlm.backends.cpu_tiles import ForEach
from nlm.backends.gpu_layers import Convolution, FeatureMap, convolve
from nlm.backends.gpu_non_local import attend_on_card
from nlm.backends.neighbours import Neighbours


@dataclass(frozen=True)
class NonLocalLayer:
    """Weights of a block ``x + w_z(y)``, y the softmax-weighted mean of g(x_j) near x_i.

    Attributes
    ----------
    theta, phi, g, w_z : Convolution
    radius : int
    distance : bool
        Scores are -|theta_i - phi_j|^2; otherwise theta_i . phi_j.
    """

    theta: Convolution
    phi: Convolution
    g: Convolution
    w_z: Convolution
    radius: int
    distance: bool

    @classmethod
    def of(
        cls, weights: Mapping[str, NDArray[np.floating]], radius: int, distance: bool
    ) -> "NonLocalLayer":
        """From weights of 1 x 1 convolutions by name: "theta.weight", "theta.bias", ..."""
        theta, phi, g, w_z = (
            Convolution.of(weights[f"{name}.weight"], weights[f"{name}.bias"])
            for name in ("theta", "phi", "g", "w_z")
        )
        return cls(theta, phi, g, w_z, radius, distance)


@dataclass
class Keys:
    """What queries may be compared with: phi and g, (positions, channels) on the card."""

    phi: Any
    g: Any


@dataclass
class Projected:
    """A map's theta, (positions, channels) on the card, and its keys."""

    queries: Any
    keys: Keys


def project(source: FeatureMap, layer: NonLocalLayer, for_each: ForEach) -> Projected:
    """The queries and keys of a map."""
    theta, phi, g = (
        convolve(source, one, for_each).data.reshape(one.channels, -1).T
        for one in (layer.theta, layer.phi, layer.g)
    )
    return Projected(theta, Keys(phi, g))


def attend(
    source: FeatureMap, layer: NonLocalLayer, queries: Any, seen: Sequence[Keys], for_each: ForEach
) -> FeatureMap:
    """Apply a windowed non-local block in place; see `cpu_window_layer.attend`."""
    rows, columns, maps = source.rows, source.columns, len(seen)
    near = Neighbours(
        (1, rows, columns), (maps, rows, columns), radius=(maps, layer.radius, layer.radius)
    )
    phi, g = (joined([getattr(keys, name) for keys in seen]) for name in ("phi", "g"))
    scale = -1.0 if layer.distance else 1.0
    y = attend_on_card(queries, phi, g, near, distance=layer.distance, scale=scale)
    planes = gpu_device.device().xp.ascontiguousarray(y.T).reshape(-1, rows, columns)
    return convolve(FeatureMap(planes), layer.w_z, for_each, residual=source, out=source)


def joined(maps: Sequence[Any]) -> Any:
    """Maps (positions, channels) one after the other."""
    if len(maps) == 1:
        return maps[0]
    count, channels = maps[0].shape
    whole = gpu_device.device().xp.empty((len(maps) * count, channels), np.float32)
    for k, one in enumerate(maps):
        whole[k * count : (k + 1) * count] = one
    return whole
