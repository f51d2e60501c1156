"""The windowed non-local block as a layer on the GPU, as in `cpu_window_layer.py`."""

from collections.abc import Mapping
from dataclasses import dataclass

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


def attend(source: FeatureMap, layer: NonLocalLayer, for_each: ForEach) -> FeatureMap:
    """Apply a windowed non-local block in place; see `cpu_window_layer.attend`."""
    grid = (1, source.rows, source.columns)
    near = Neighbours(grid, grid, radius=(0, layer.radius, layer.radius))
    theta, phi, g = (  # (positions, channels)
        convolve(source, one, for_each).data.reshape(one.channels, -1).T
        for one in (layer.theta, layer.phi, layer.g)
    )
    scale = -1.0 if layer.distance else 1.0
    y = attend_on_card(theta, phi, g, near, distance=layer.distance, scale=scale)
    planes = gpu_device.device().xp.ascontiguousarray(y.T).reshape(-1, *grid[1:])
    return convolve(FeatureMap(planes), layer.w_z, for_each, residual=source, out=source)
