"""Classical non-local means.

Every pixel becomes a mean of the pixels in a search window, weighted by how alike the patches round
them are: w = exp(-max(d2 - 2 sigma^2, 0) / (strength * sigma)^2), d2 the mean squared difference
of two patches over pixels and channels.

A. Buades, B. Coll, J.-M. Morel, "A non-local algorithm for image denoising", CVPR 2005,
doi:10.1109/CVPR.2005.38; patchwise aggregation: "Non-Local Means Denoising", IPOL 2011,
doi:10.5201/ipol.2011.bcm_nlm.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nlm.params import Halo, Params, parameter
from nlm.registry import Filter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nlm.backends import Backend


@dataclass(frozen=True)
class NlmParams(Params):
    """Parameters of classical non-local means."""

    patch_size: int = parameter(
        5, "Side of the patches that are compared.", unit="pixels", low=1, high=31, odd=True
    )
    search_radius: int = parameter(
        6, "How far similar patches are searched for.", unit="pixels", low=1, high=64
    )
    strength: float = parameter(
        0.6, "Filter strength: h / sigma. More is smoother.", low=0.01, high=10
    )
    aggregate: bool = parameter(
        True, "Average what every patch says of a pixel, not only the patch round it."
    )

    @property
    def halo(self) -> Halo:
        reach = self.search_radius + self.patch_size // 2
        reach *= 2 if self.aggregate else 1
        return (0, reach, reach)


def apply(
    frames: "NDArray[np.float32]", sigma: float, params: NlmParams, backend: "Backend"
) -> "NDArray[np.float32]":
    import numpy as np

    long = [size > 1 for size in frames.shape[1:3]]  # signals have one row
    patch = tuple(params.patch_size if is_long else 1 for is_long in long)
    radius = tuple(params.search_radius if is_long else 0 for is_long in long)
    denoised = np.empty_like(frames)
    for frame, result in zip(frames, denoised, strict=True):
        result[...] = backend.kernels.nlm(
            frame,
            frame,
            sigma,
            params.strength,
            patch=patch,
            radius=radius,
            aggregate=params.aggregate,
            for_each=backend.for_each,
        )
    return denoised


FILTER = Filter(
    name="nlm",
    params=NlmParams,
    apply=apply,
    summary="classical non-local means: patches of a search window, averaged by likeness",
    presets={
        "fast": {"patch_size": 5, "search_radius": 4},
        "best": {"patch_size": 7, "search_radius": 10, "strength": 0.5},
    },
)
