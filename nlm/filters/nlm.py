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
from nlm.registry import Filter, Guide, VolumeFilter

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


FAINT = 1 / 64
"""Noise of a guide below this share of the picture's is taken for this much."""


def apply(
    frames: "NDArray[np.float32]", sigma: float, params: NlmParams, backend: "Backend"
) -> "NDArray[np.float32]":
    return _average(frames, frames, sigma, params.strength, params, backend)


def apply_guided(
    frames: "NDArray[np.float32]",
    sigma: float,
    params: NlmParams,
    backend: "Backend",
    guide: Guide,
) -> "NDArray[np.float32]":
    """The strength is relative to the picture's noise, what is forgiven is the guide's."""
    own = max(guide.sigma, sigma * FAINT)
    return _average(guide.frames, frames, own, params.strength * sigma / own, params, backend)


def _average(
    features: "NDArray[np.float32]",
    values: "NDArray[np.float32]",
    sigma: float,
    strength: float,
    params: NlmParams,
    backend: "Backend",
) -> "NDArray[np.float32]":
    import numpy as np

    long = [size > 1 for size in values.shape[1:3]]  # signals have one row
    patch = tuple(params.patch_size if is_long else 1 for is_long in long)
    radius = tuple(params.search_radius if is_long else 0 for is_long in long)
    denoised = np.empty_like(values)
    for feature, value, result in zip(features, values, denoised, strict=True):
        result[...] = backend.kernels.nlm(
            feature,
            feature if features is values else value,
            sigma,
            strength,
            patch=patch,
            radius=radius,
            aggregate=params.aggregate,
            for_each=backend.for_each,
        )
    return denoised


def apply_volume(
    volume: "NDArray[np.float32]", sigma: float, params: NlmParams, backend: "Backend"
) -> "NDArray[np.float32]":
    from nlm.backends.cpu_volume import nlm_volume

    return nlm_volume(
        volume,
        volume,
        sigma,
        params.strength,
        patch=params.patch_size,
        radius=params.search_radius,
        aggregate=params.aggregate,
        for_each=backend.for_each,
    )


FILTER = Filter(
    name="nlm",
    params=NlmParams,
    apply=apply,
    summary="classical non-local means: patches of a search window, averaged by likeness",
    presets={
        "fast": {"patch_size": 5, "search_radius": 4},
        "best": {"patch_size": 7, "search_radius": 10, "strength": 0.5},
    },
    guided=apply_guided,
    volume=VolumeFilter(
        apply=apply_volume,
        presets={
            "fast": {"patch_size": 3, "search_radius": 2, "strength": 0.8},
            "balanced": {"patch_size": 3, "search_radius": 3, "strength": 0.7},
            "best": {"patch_size": 3, "search_radius": 5, "strength": 0.7},
        },
        tile=96,
    ),
)
