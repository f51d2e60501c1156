"""OpenCV's non-local means, which takes and gives 8-bit pictures.

A. Buades, B. Coll, J.-M. Morel, "Non-Local Means Denoising", IPOL 2011,
doi:10.5201/ipol.2011.bcm_nlm.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nlm.params import Halo, Params, parameter
from nlm.registry import Filter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nlm.backends import Backend

LAB = 0.65
"""Noise of the channels of L*a*b*, where it filters colours, over that of red, green and blue."""


@dataclass(frozen=True)
class OpencvParams(Params):
    """Parameters of OpenCV's non-local means."""

    patch_size: int = parameter(
        7, "Side of the patches that are compared.", unit="pixels", low=1, high=31, odd=True
    )
    search_radius: int = parameter(
        10, "How far similar patches are searched for.", unit="pixels", low=1, high=64
    )
    strength: float = parameter(
        0.9, "Filter strength: h / sigma. More is smoother.", low=0.01, high=10
    )

    @property
    def halo(self) -> Halo:
        reach = self.search_radius + self.patch_size // 2
        return (0, reach, reach)


def apply(
    frames: "NDArray[np.float32]", sigma: float, params: OpencvParams, backend: "Backend"
) -> "NDArray[np.float32]":
    import cv2
    import numpy as np

    from nlm.backends.threads import available_threads
    from nlm.framewise import framewise

    cv2.setNumThreads(backend.threads or available_threads())
    h = params.strength * sigma * 255
    sizes = params.patch_size, 2 * params.search_radius + 1

    def picture(pixels: "NDArray[np.float64]") -> Any:
        levels = np.clip(np.rint(pixels * 255), 0, 255).astype(np.uint8)
        if pixels.shape[2] == 1:
            filtered = cv2.fastNlMeansDenoising(levels, None, h, *sizes)
        else:
            h_lab = h * LAB
            blue_first = np.ascontiguousarray(levels[..., ::-1])
            filtered = cv2.fastNlMeansDenoisingColored(blue_first, None, h_lab, h_lab, *sizes)
            filtered = filtered[..., ::-1]
        return filtered.reshape(pixels.shape) / 255

    return framewise(picture, frames)


FILTER = Filter(
    name="opencv",
    params=OpencvParams,
    apply=apply,
    summary="OpenCV's non-local means (for comparison; 8 bits)",
    tile=1024,
    constant=0.5 / 255,
    reference=True,
    requires="cv2",
    clips=True,
)
