"""Soft thresholds on wavelets, averaged over shifts, by scikit-image and PyWavelets.

S. G. Chang, B. Yu, M. Vetterli, "Adaptive wavelet thresholding for image denoising and
compression", IEEE TIP 9, 2000, doi:10.1109/83.862633; R. R. Coifman, D. L. Donoho,
"Translation-invariant de-noising", 1995, doi:10.1007/978-1-4612-2544-7_9.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nlm.params import Params, parameter
from nlm.registry import Filter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nlm.backends import Backend

SHIFTS = 4
"""Down and across; as many squared are averaged."""
SMALLEST = 2
"""Pixels a side."""


@dataclass(frozen=True)
class WaveletParams(Params):
    """Parameters of wavelet thresholds."""

    strength: float = parameter(
        1.0, "Noise level given to the filter, relative to sigma.", low=0.01, high=10
    )

    @property
    def halo(self) -> None:
        return None


def apply(
    frames: "NDArray[np.float32]", sigma: float, params: WaveletParams, backend: "Backend"
) -> "NDArray[np.float32]":
    from itertools import product

    import numpy as np
    from skimage.restoration import denoise_wavelet

    from nlm.framewise import framewise

    def picture(pixels: "NDArray[np.float64]") -> Any:
        total = np.zeros_like(pixels)
        for shift in product(range(SHIFTS), repeat=2):
            moved = np.roll(pixels, shift, (0, 1))
            filtered = denoise_wavelet(moved, params.strength * sigma, channel_axis=-1)
            total += np.roll(filtered, (-shift[0], -shift[1]), (0, 1))
        return total / SHIFTS**2

    return framewise(picture, frames, SMALLEST)


FILTER = Filter(
    name="wavelet",
    params=WaveletParams,
    apply=apply,
    summary="scikit-image's wavelet thresholds (for comparison; one thread)",
    reference=True,
    requires="pywt",
)
