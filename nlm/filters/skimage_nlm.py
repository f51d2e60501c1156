"""scikit-image's non-local means, in its fast mode.

J. Darbon et al., "Fast nonlocal filtering applied to electron cryomicroscopy", ISBI 2008,
doi:10.1109/ISBI.2008.4541250.
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
class SkimageNlmParams(Params):
    """Parameters of scikit-image's non-local means."""

    patch_size: int = parameter(
        5, "Side of the patches that are compared.", unit="pixels", low=1, high=31, odd=True
    )
    search_radius: int = parameter(
        6, "How far similar patches are searched for.", unit="pixels", low=1, high=64
    )
    strength: float = parameter(
        0.7, "Filter strength: h / sigma. More is smoother.", low=0.01, high=10
    )

    @property
    def halo(self) -> Halo:
        reach = self.search_radius + self.patch_size // 2 + 1
        return (0, reach, reach)


def apply(
    frames: "NDArray[np.float32]", sigma: float, params: SkimageNlmParams, backend: "Backend"
) -> "NDArray[np.float32]":
    from skimage.restoration import denoise_nl_means

    from nlm.framewise import framewise

    def picture(pixels: "NDArray[np.float64]") -> Any:
        filtered = denoise_nl_means(
            pixels,
            params.patch_size,
            params.search_radius,
            h=params.strength * sigma,
            sigma=sigma,
            fast_mode=True,
            channel_axis=-1,
        )
        return filtered.reshape(pixels.shape)  # it leaves a single channel out

    return framewise(picture, frames)


FILTER = Filter(
    name="skimage-nlm",
    params=SkimageNlmParams,
    apply=apply,
    summary="scikit-image's non-local means (for comparison; one thread)",
    tile=1024,
    reference=True,
)
