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

__all__ = ["Floors", "correlated_levels", "energy_floors", "unevenness"]

RANGES = 8
FLATTEST, FLAT = 0.05, 0.2
FEWEST = 8
"""Patches that are averaged at least."""
LEAST_PATCHES = 200
ROUNDING = (0.1 / 255) ** 2
"""Added to energies whose growth is looked at, so that none is zero."""


@dataclass(frozen=True)
class Calibration:
    """Constants of the rule.

    Fitted so that the mean PSNR after non-local means is highest over real camera noise (CC60),
    camera noise simulated on BSDS500-train400, and clean pictures, where it falls with the level.

    Attributes
    ----------
    luma, chroma : float
        Logarithms of level over the root of the energy, before the penalty.
    middle, fine, offset : float
        Unevenness at the middle and fine scale weigh so much; the penalty is its softplus.
    """

    luma: float = 1.26
    chroma: float = 0.85
    middle: float = 4.88
    fine: float = 4.32
    offset: float = -0.62


CALIBRATION = Calibration()

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Floors:
    """Energies of flat patches, range of intensity by range of intensity.

    Attributes
    ----------
    intensity : ndarray, shape (R,)
        Mean intensity of its flattest patches.
    flattest, flat : ndarray, shape (R, C, 4)
        Mean band energies of the flattest 5 % and 20 % of the patches.
    """

    intensity: Float64
    flattest: Float64
    flat: Float64


def energy_floors(patches: PatchEnergies) -> Floors:
    """Band energies of flat patches in ranges of intensity that hold equally many patches."""
    order = np.argsort(patches.intensity, kind="stable")
    structure = patches.structure()
    intensity, flattest, flat = [], [], []
    for part in np.array_split(order, min(RANGES, patches.count)):
        part = part[np.argsort(structure[part], kind="stable")]
        few, many = (part[: max(FEWEST, int(share * len(part)))] for share in (FLATTEST, FLAT))
        intensity.append(patches.intensity[few].mean(dtype=np.float64))
        flattest.append(patches.bands[:, :, few].mean(-1, dtype=np.float64))
        flat.append(patches.bands[:, :, many].mean(-1, dtype=np.float64))
    return Floors(np.array(intensity), np.array(flattest), np.array(flat))


def unevenness(floors: Floors) -> Float64:
    """How much the level of luma grows from the flattest to flat patches, per band, as log."""
    growth = _half_log(floors.flat[:, 0]) - _half_log(floors.flattest[:, 0])
    return np.asarray(np.median(growth, axis=0))


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
    penalty = _penalty(floors, calibration)
    levels = []
    for channel in range(patches.channels):
        energies = floors.flattest[:, channel]
        if coloured and channel > 0:
            energy, factor = np.quantile(energies[:, COARSE], 0.25), calibration.chroma
        else:
            energy, factor = np.median(energies[:, MIDDLE]), calibration.luma
        levels.append(math.sqrt(energy) * math.exp(factor - penalty))
    return tuple(levels)


def _penalty(floors: Floors, calibration: Calibration) -> float:
    growth = unevenness(floors)
    texture = calibration.middle * growth[MIDDLE] + calibration.fine * growth[FINE]
    return float(np.logaddexp(0, texture + calibration.offset))


def _half_log(energy: Float64) -> Float64:
    """Logarithm of the level, that is of the root of the energy."""
    return np.asarray(0.5 * np.log(energy + ROUNDING))
