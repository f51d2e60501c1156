"""BM3D, by its authors' package, whose own licence is for non-commercial use.

K. Dabov et al., "Image denoising by sparse 3-D transform-domain collaborative filtering", IEEE TIP
16, 2007, doi:10.1109/TIP.2007.901238.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nlm.params import Params, parameter
from nlm.registry import Filter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nlm.backends import Backend

SMALLEST = 16
"""Pixels a side; smaller pictures crash the package."""


@dataclass(frozen=True)
class Bm3dParams(Params):
    """Parameters of BM3D."""

    strength: float = parameter(
        1.0, "Noise level given to the filter, relative to sigma.", low=0.01, high=10
    )

    @property
    def halo(self) -> None:
        return None

    def working_memory(self, rows: int, columns: int, channels: int) -> float:
        return 1024.0 * rows * columns * channels


def apply(
    frames: "NDArray[np.float32]", sigma: float, params: Bm3dParams, backend: "Backend"
) -> "NDArray[np.float32]":
    import bm3d

    from nlm.framewise import framewise

    def picture(pixels: "NDArray[np.float64]") -> Any:
        if pixels.shape[2] == 3:
            return bm3d.bm3d_rgb(pixels, params.strength * sigma)
        return bm3d.bm3d(pixels[..., 0], params.strength * sigma)[..., None]

    return framewise(picture, frames, SMALLEST)


FILTER = Filter(
    name="bm3d",
    params=Bm3dParams,
    apply=apply,
    summary="BM3D (for comparison; slow; for non-commercial use)",
    reference=True,
    requires="bm3d",
)
