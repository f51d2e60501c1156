"""The bilateral filter, by scikit-image (up to 0.26 its spatial weights are a row and column off).

C. Tomasi, R. Manduchi, "Bilateral filtering for gray and color images", ICCV 1998,
doi:10.1109/ICCV.1998.710815.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nlm.params import Halo, Params, parameter
from nlm.registry import Filter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nlm.backends import Backend


@dataclass(frozen=True)
class BilateralParams(Params):
    """Parameters of the bilateral filter."""

    search_radius: int = parameter(
        3, "Radius of the window; its Gaussian has half of it.", unit="pixels", low=1, high=64
    )
    strength: float = parameter(
        1.5, "Standard deviation of the grey levels / sigma. More is smoother.", low=0.01, high=10
    )

    @property
    def halo(self) -> Halo:
        return (0, self.search_radius, self.search_radius)


def apply(
    frames: "NDArray[np.float32]", sigma: float, params: BilateralParams, backend: "Backend"
) -> "NDArray[np.float32]":
    from skimage.restoration import denoise_bilateral

    from nlm.framewise import framewise

    def picture(pixels: "NDArray[np.float64]") -> Any:
        lowest = pixels.min()  # its table of weights is right for pictures that begin at zero
        colour = pixels.shape[2] > 1  # then it divides Euclidean distances by the channels
        filtered = denoise_bilateral(
            pixels - lowest if colour else pixels[..., 0] - lowest,
            win_size=2 * params.search_radius + 1,
            sigma_color=params.strength * sigma / pixels.shape[2] ** 0.5,
            sigma_spatial=params.search_radius / 2,
            mode="reflect",
            channel_axis=-1 if colour else None,
        )
        return filtered.reshape(pixels.shape) + lowest

    return framewise(picture, frames)


FILTER = Filter(
    name="bilateral",
    params=BilateralParams,
    apply=apply,
    summary="scikit-image's bilateral filter (for comparison; one thread)",
    tile=1024,
    tolerance=1e-3,
    reference=True,
)
