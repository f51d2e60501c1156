"""The level of correlated noise: what demosaicking, sharpening and JPEG leave of a camera's noise.

Such noise has little at the finest scale, where estimators of white noise look, and most at the
middle and coarse scales, where patches are compared. There the picture is, too. What tells
noise from texture is that noise is everywhere: in every range of intensities the flattest patches
hold about as much of it as the less flat ones, whereas texture grows.

So: in each of eight ranges of intensity, the energy of the flattest patches at the middle scale
is a candidate; the level is their median over the ranges, less a penalty that grows with the
unevenness, the growth of energy from the flattest 5 % to the flattest 20 %. The idea of a floor per
intensity is that of C. Liu et al., "Automatic estimation and removal of noise from a single
image", TPAMI 2008, doi:10.1109/TPAMI.2007.1176; the band energies are Ponomarenko's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nlm.noise.patches import COARSE, FINE, MIDDLE, PatchEnergies
from nlm.noise.white import flat_mean

__all__ = ["Floors", "correlated_levels", "energy_floors"]

RANGES = 8
FLATTEST, FLAT = 0.05, 0.2
LEAST_PATCHES = 200
ROUNDING = (0.1 / 255) ** 2
"""Added to energies before logarithms are taken."""


@dataclass(frozen=True)
class Calibration:
    """Constants of the rule, fitted once by `tests/bench/fit_noise.py`'s criterion.

    The criterion is the PSNR after non-local means, over camera noise simulated on BSDS500-train400
    and real camera noise (CC60), and over clean pictures, where it falls with the level.
    """

    luma: float = 0.0
    chroma: float = 0.0
    middle: float = 3.0
    fine: float = 3.0
    evenness: float = -2.0
    colour: float = 0.0


CALIBRATION = Calibration()

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Floors:
    """Energies of flat patches, range of intensity by range of intensity.

    Attributes
    ----------
    intensity : ndarray, shape (R,)
        Mean intensity of the range.
    flattest, flat : ndarray, shape (R, C, 4)
        Mean band energies of the flattest 5 % and 20 % of the patches.
    """

    intensity: Float64
    flattest: Float64
    flat: Float64


def energy_floors(patches: PatchEnergies) -> Floors:
    """Band energies of flat patches in ranges of intensity that hold equally many patches."""
    order = np.argsort(patches.intensity, kind="stable")
    ranges = np.array_split(order, min(RANGES, patches.count))
    structure = patches.structure()
    intensity = np.array([patches.intensity[part].mean(dtype=np.float64) for part in ranges])

    def floors(fraction: float) -> Float64:
        return np.array(
            [flat_mean(structure[part], patches.bands[:, :, part], fraction) for part in ranges]
        )

    return Floors(intensity, floors(FLATTEST), floors(FLAT))


def correlated_levels(
    patches: PatchEnergies, floors: Floors, calibration: Calibration = CALIBRATION
) -> tuple[float, ...]:
    """Effective level of correlated noise, per channel.

    Parameters
    ----------
    patches : PatchEnergies
        Three channels are taken for luma and chroma.
    floors : Floors
        Theirs.

    Returns
    -------
    tuple of float
        The level of white noise for which non-local means would be set up to do best; near zero
        for pictures without noise, zero for pictures too small to tell.
    """
    if patches.count < LEAST_PATCHES or not patches.sizes.all():
        return (0.0,) * patches.channels
    coloured = patches.channels == 3
    penalty = _penalty(floors, coloured, calibration)
    levels = []
    for channel in range(patches.channels):
        energies = floors.flattest[:, channel]
        if coloured and channel > 0:
            level = calibration.chroma + _half_log(np.quantile(energies[:, COARSE], 0.25))
        else:
            level = calibration.luma + _half_log(np.median(energies[:, MIDDLE]))
        levels.append(math.exp(level - penalty))
    return tuple(levels)


def _penalty(floors: Floors, coloured: bool, calibration: Calibration) -> float:
    growth = np.median(_half_log(floors.flat[:, 0]) - _half_log(floors.flattest[:, 0]), axis=0)
    unevenness = calibration.evenness + calibration.colour * coloured
    unevenness += calibration.middle * growth[MIDDLE] + calibration.fine * growth[FINE]
    return float(np.logaddexp(0, unevenness))


def _half_log(energy: Float64 | np.floating) -> Float64:
    """Logarithm of the level, that is of the root of the energy."""
    return np.asarray(0.5 * np.log(np.asarray(energy, np.float64) + ROUNDING))
