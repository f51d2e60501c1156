"""The one automatic path from a picture to what a filter is told of its noise."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.checks import number
from nlm.errors import UsageError
from nlm.noise.anscombe import Anscombe

MODELS = ("auto", "gaussian", "poisson-gaussian")


@dataclass(frozen=True)
class Plan:
    """How to filter a picture for its noise.

    Attributes
    ----------
    sigma : float
        Noise level, fraction of full scale.
    sigma_channels : tuple of float or None
        The same per channel of a luma/chroma space, where it was estimated.
    stabiliser : Anscombe or None
        Makes the noise even before the filter, for noise that grows with the signal.
    sigma_map : ndarray of float32, shape (Y, X) or (Z, Y, X), or None
        The level of each pixel, where that is known; `sigma` is their root mean square.
    """

    sigma: float
    sigma_channels: tuple[float, ...] | None = None
    stabiliser: Anscombe | None = None
    sigma_map: NDArray[np.float32] | None = None

    @classmethod
    def of_map(cls, sigma: NDArray[np.floating]) -> "Plan":
        """For noise whose level is known pixel by pixel."""
        rms = float(np.sqrt(np.mean(np.square(sigma, dtype=np.float64)))) if sigma.size else 0.0
        return cls(rms, sigma_map=np.asarray(sigma, np.float32))


def plan(
    pixels: NDArray[np.float32],
    sigma: float | None = None,
    model: str = "auto",
    gain: float | None = None,
) -> Plan:
    """Decide on level and kind of the noise; what is given by hand is not estimated.

    Parameters
    ----------
    pixels : ndarray of float32, shape (Y, X, C)
        NaN where a pixel is not known.
    sigma : float, optional
        Noise level, fraction of full scale; with a gain, of the part that does not grow.
    model : {"auto", "gaussian", "poisson-gaussian"}
        "auto" believes the estimate, and takes a sigma given by hand as Gaussian.
    gain : float, optional
        Growth of the variance with the signal, both as fractions of full scale.

    Returns
    -------
    Plan
    """
    check_model(model, sigma, gain)
    if gain is not None:
        gain, offset = number(gain), sigma or 0.0
        known = pixels[np.isfinite(pixels)]
        mean = max(float(known.mean()), 0.0) if known.size else 0.0
        return Plan((gain * mean + offset**2) ** 0.5, None, Anscombe(gain, offset))
    if sigma is not None:
        return Plan(sigma)
    from nlm.noise import estimate

    found = estimate(pixels)
    wanted = model != "gaussian" and found.model == "poisson-gaussian"
    stabiliser = Anscombe(found.gain, found.offset) if wanted else None
    return Plan(found.sigma, found.sigma_channels, stabiliser)


def check_model(model: str, sigma: Any, gain: Any) -> None:
    """Refuse what does not fit together.

    Raises
    ------
    UsageError
    """
    if model not in MODELS:
        raise UsageError(f"unknown noise model {model!r}; available: {', '.join(MODELS)}")
    if np.ndim(sigma) > 0 and (gain is not None or model == "poisson-gaussian"):
        raise UsageError(
            "a sigma map already tells how the noise grows; leave out gain and noise model"
        )
    if gain is not None:
        if not 0 < number(gain) < float("inf"):
            raise UsageError(f"gain {gain!r} is not allowed; give a number above 0")
        if model == "gaussian":
            raise UsageError("Gaussian noise has no gain; leave it out or choose poisson-gaussian")
    elif sigma is not None and model == "poisson-gaussian":
        raise UsageError(
            "poisson-gaussian noise with a sigma given by hand needs the gain too; "
            "give both or leave both out to have them estimated"
        )
