"""How much noise there is in a picture, and of what kind."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.checks import colour_axis
from nlm.noise.anscombe import Anscombe
from nlm.noise.colour import OPPONENT, from_opponent, to_opponent
from nlm.noise.correlated import Floors, correlated_levels, energy_floors
from nlm.noise.curve import VarianceLine, fit_line, noise_curve
from nlm.noise.patches import PatchEnergies, sample_patches
from nlm.noise.planning import MODELS, Plan, check_model, plan
from nlm.noise.white import white_level

__all__ = [
    "MODELS",
    "OPPONENT",
    "Anscombe",
    "NoiseEstimate",
    "Plan",
    "check_model",
    "estimate",
    "estimate_sigma",
    "from_opponent",
    "plan",
    "to_opponent",
]

WHITE, CORRELATED = 2.0, 3.5
"""Effective over white level: below the first noise is white, beyond the second correlated."""
MOST_CORRELATED = 20 / 255
"""What seems to be stronger correlated noise is a texture that fills the picture."""
MOST_SLICES = 16


@dataclass(frozen=True)
class NoiseEstimate:
    """What was found out about the noise of a picture. Levels are fractions of full scale.

    Attributes
    ----------
    sigma : float
        The level to filter with: of white noise its standard deviation, of correlated noise the
        level of white noise for which non-local means does best on it.
    sigma_channels : tuple of float or None
        The same per channel of the orthonormal luma/chroma space of :func:`to_opponent`, for
        pictures of three channels; their root mean square is `sigma`.
    model : str
        'gaussian' or 'poisson-gaussian'.
    gain, offset : float
        Of poisson-gaussian noise: the variance at intensity x is gain * x + offset**2.
        Otherwise gain is 0 and offset is sigma.
    correlation : float
        1 - (white level / sigma), from 0 (white) to 1 (nothing at the finest scale).
    curve : tuple of (intensity, sigma)
        Level of the first channel per range of intensity, at the scale where the noise lives.
    """

    sigma: float
    sigma_channels: tuple[float, ...] | None
    model: str
    gain: float
    offset: float
    correlation: float
    curve: tuple[tuple[float, float], ...]


def estimate(pixels: NDArray[Any]) -> NoiseEstimate:
    """Estimate level and kind of the noise.

    Parameters
    ----------
    pixels : ndarray, shape (Y, X, C)
        Float with full scale 1.0, NaN where a pixel is not known, or integers whose maximum is
        full scale.

    Returns
    -------
    NoiseEstimate
        From a sample of patches: time and memory are bounded for pictures of any size.
    """
    patches = sample_patches(pixels)
    if not patches.sizes.any():  # a single pixel
        return _describe(patches, (0.0,) * patches.channels, 0.0, None, None)
    floors = energy_floors(patches)
    white = tuple(white_level(patches, channel) for channel in range(patches.channels))
    line = fit_line(patches, floors, white[0])
    if line is not None:
        rms = math.sqrt(float(line.variance(patches.intensity).mean()))
        white = tuple(max(level, rms) for level in white)
    levels = _blend(white, correlated_levels(patches, floors))
    return _describe(patches, levels, _root_mean_square(white), line, floors)


def estimate_sigma(image: NDArray[Any], channel_axis: int | None = None) -> float:
    """Standard deviation of the white Gaussian noise in an image.

    Parameters
    ----------
    image : ndarray
        Integers (full scale is the dtype's maximum) or floats (1.0). Beyond two axes, pictures
        along the last two are looked at one by one.
    channel_axis : int, optional
        Axis of the colours; None means that every axis is space.

    Returns
    -------
    float
        Fraction of full scale. Noise that is correlated between pixels, as in photographs from
        cameras, is largely missed by definition; :func:`estimate` sees it.

    References
    ----------
    N. Ponomarenko et al., IGARSS 2007, doi:10.1109/IGARSS.2007.4422833
    M. Colom, A. Buades, IPOL 2013, doi:10.5201/ipol.2013.45
    """
    array = np.asarray(image)
    if channel_axis is None:
        array = array[..., None]
    else:
        array = np.moveaxis(array, colour_axis(channel_axis, array.ndim), -1)
    if array.size == 0:
        return 0.0
    while array.ndim < 3:
        array = array[None]
    slices = array.reshape(-1, *array.shape[-3:])
    chosen = np.linspace(0, len(slices) - 1, min(len(slices), MOST_SLICES)).round().astype(int)
    return float(np.median([_white_sigma(slices[index]) for index in chosen]))


def _white_sigma(picture: NDArray[Any]) -> float:
    patches = sample_patches(picture)
    if not patches.sizes.any():
        return 0.0
    return _root_mean_square([white_level(patches, channel) for channel in range(patches.channels)])


def _blend(white: tuple[float, ...], correlated: tuple[float, ...]) -> tuple[float, ...]:
    """Levels per channel: white where nothing stronger is found, in between in between."""
    low, high = _root_mean_square(white), _root_mean_square(correlated)
    if high <= WHITE * low or high == 0 or high > MOST_CORRELATED:
        return white
    if low == 0:
        return correlated
    share = min(1.0, math.log(high / low / WHITE) / math.log(CORRELATED / WHITE))
    target = low * (high / low) ** share
    mixed = [(1 - share) * a**2 + share * b**2 for a, b in zip(white, correlated, strict=True)]
    scale = target / math.sqrt(sum(mixed) / len(mixed))
    return tuple(scale * math.sqrt(square) for square in mixed)


def _describe(
    patches: PatchEnergies,
    levels: tuple[float, ...],
    white: float,
    line: VarianceLine | None,
    floors: Floors | None,
) -> NoiseEstimate:
    sigma = _root_mean_square(levels)
    correlation = max(0.0, 1 - white / sigma) if sigma > 0 else 0.0
    correlated = correlation > 1 - 1 / WHITE
    if correlated:
        line = None
    return NoiseEstimate(
        sigma=sigma,
        sigma_channels=levels if patches.channels == 3 else None,
        model="gaussian" if line is None else "poisson-gaussian",
        gain=0.0 if line is None else line.gain,
        offset=sigma if line is None else line.offset,
        correlation=correlation,
        curve=() if floors is None else noise_curve(floors, correlated),
    )


def _root_mean_square(levels: tuple[float, ...] | list[float]) -> float:
    return math.sqrt(sum(level**2 for level in levels) / len(levels))
