"""Total variation, by scikit-image.

A. Chambolle, "An algorithm for total variation minimization and applications", J. Math. Imaging
and Vision 20, 2004, doi:10.1023/B:JMIV.0000011325.36760.1e.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nlm.params import Params, parameter
from nlm.registry import Filter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nlm.backends import Backend

ITERATIONS = 30
"""So many instead of a tolerance: that ends early, and at a moment that depends on the picture."""


@dataclass(frozen=True)
class TvParams(Params):
    """Parameters of total variation."""

    strength: float = parameter(
        0.8, "Weight of the total variation / sigma. More is smoother.", low=0.01, high=10
    )

    @property
    def halo(self) -> None:
        return None


def apply(
    frames: "NDArray[np.float32]", sigma: float, params: TvParams, backend: "Backend"
) -> "NDArray[np.float32]":
    from skimage.restoration import denoise_tv_chambolle

    from nlm.framewise import framewise

    def picture(pixels: "NDArray[np.float64]") -> Any:
        return denoise_tv_chambolle(  # type: ignore[no-untyped-call]
            pixels, params.strength * sigma, eps=0, max_num_iter=ITERATIONS, channel_axis=-1
        )

    return framewise(picture, frames)


FILTER = Filter(
    name="tv",
    params=TvParams,
    apply=apply,
    summary="scikit-image's total variation (for comparison; one thread)",
    reference=True,
)
