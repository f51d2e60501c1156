"""Small patches of a picture and how much they vary at coarse, middle, fine and finest scale.

Everything the estimators know is the mean square of discrete cosine coefficients, per patch and
band, as in N. Ponomarenko et al., "An automatic approach to lossy compression of AVIRIS images",
IGARSS 2007, doi:10.1109/IGARSS.2007.4422833, and M. Colom, A. Buades, "Analysis and Extension
of the Ponomarenko et al. Method", IPOL 2013, doi:10.5201/ipol.2013.45.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.frames import fill_invalid, no_samples, to_float
from nlm.noise.colour import OPPONENT

__all__ = ["COARSE", "FINE", "FINEST", "MIDDLE", "PatchEnergies", "sample_patches"]

SIDE = 8
MOST_PATCHES, MOST_SPECTRA = 20_000, 30_000
"""Most patches, and patches times channels, that are looked at, however large the picture is."""
MOST_DRAWN = 0.75
"""Patches with a line of one colour, as borders have, tell nothing of the noise beside them; a
picture that has more of them than this share is drawn, not noisy."""
COARSE, MIDDLE, FINE, FINEST = range(4)
BAND_STARTS = (1, 3, 6, 9)
"""Lowest fy + fx of each band in an 8x8 patch."""

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class PatchEnergies:
    """What the sampled patches hold.

    Attributes
    ----------
    intensity : ndarray, shape (N,)
        Mean of each patch over its pixels and channels.
    bands : ndarray, shape (C, 4, N)
        Mean square of a patch's coefficients in the bands COARSE, MIDDLE, FINE and FINEST; white
        noise of level sigma has sigma**2 in each. Three channels are luma and chroma.
    sizes : ndarray of int, shape (4,)
        Coefficients in each band; zero in pictures too small to have them.
    low, high : float
        Darkest and brightest sample.
    clipped : float
        Fraction of the samples that are exactly the darkest or the brightest.
    """

    intensity: Float32
    bands: Float32
    sizes: NDArray[np.int64]
    low: float
    high: float
    clipped: float

    @property
    def channels(self) -> int:
        return int(self.bands.shape[0])

    @property
    def count(self) -> int:
        return int(self.bands.shape[2])

    def structure(self, channel: int = 0) -> Float32:
        """Mean square of the coefficients below the finest band, for finding flat patches."""
        weights = self.sizes[:FINEST] / max(1, self.sizes[:FINEST].sum())
        structure: Float32 = weights.astype(np.float32) @ self.bands[channel, :FINEST]
        return structure


def sample_patches(picture: NDArray[Any]) -> PatchEnergies:
    """Look at patches on a regular grid.

    Parameters
    ----------
    picture : ndarray, shape (Y, X, C), any integer or float dtype
        NaN where a sample is not known.

    Returns
    -------
    PatchEnergies
        Of a bounded number of patches, without those that are saturated through and through, or
        hold unknown samples or a piece of a border if others do not.
    """
    rows, columns, channels = picture.shape
    side = (min(SIDE, rows), min(SIDE, columns))
    windows = np.lib.stride_tricks.sliding_window_view(picture, side, axis=(0, 1))
    down, across = _steps(
        windows.shape[0] * windows.shape[1], min(MOST_PATCHES, MOST_SPECTRA // channels)
    )
    stored = windows[::down, ::across].transpose(0, 1, 3, 4, 2)
    flat = to_float(stored.reshape(-1, side[0] * side[1] * channels))
    known = ~no_samples(flat).any(1)
    if not known.any():
        return sample_patches(fill_invalid(to_float(picture))[0])
    flat = flat if known.all() else flat[known]
    low, high = float(flat.min()), float(flat.max())
    at_end = (flat == low) | (flat == high)
    clipped = float(at_end.mean())
    flat = _where(flat, ~at_end.all(1))
    if side == (SIDE, SIDE):
        drawn = _drawn(flat.reshape(-1, *side, channels))
        flat = _where(flat, ~drawn) if drawn.mean() < MOST_DRAWN else flat
    basis, frequency = _basis(side, channels)
    return PatchEnergies(
        flat.mean(1),
        _band_energies(flat @ basis.T, frequency, channels),
        _band_sizes(frequency),
        low,
        high,
        clipped,
    )


def _drawn(patches: Float32) -> NDArray[np.bool_]:
    """Which patches (N, y, x, C) have a row or a column of one colour."""
    rows = (patches[:, :, 1:] == patches[:, :, :-1]).all((2, 3)).any(1)
    columns = (patches[:, 1:] == patches[:, :-1]).all((1, 3)).any(1)
    return np.asarray(rows | columns)


def _where(patches: Float32, good: NDArray[np.bool_]) -> Float32:
    """The good patches; all of them if none is."""
    return patches[good] if good.any() and not good.all() else patches


def _steps(positions: int, limit: int) -> tuple[int, int]:
    """Distances between patches: odd, so that no phase of an 8x8 JPEG block is favoured."""
    down = across = 1
    while down * across * limit < positions:
        if down == across:
            across += 2
        else:
            down = across
    return down, across


def _cosines(size: int) -> Float64:
    """Orthonormal discrete cosine transform, one basis vector a row."""
    position = np.arange(size)
    matrix = np.cos(np.pi * (2 * position + 1) * position[:, None] / (2 * size))
    matrix *= np.sqrt(2 / size)
    matrix[0] /= np.sqrt(2)
    return matrix


def _basis(side: tuple[int, int], channels: int) -> tuple[Float32, Float64]:
    """Transform of a flattened (rows, columns, channels) patch, and the frequency of its outputs.

    Frequencies are on the scale of fy + fx of an 8x8 patch; outputs are ordered frequency by
    frequency, the channels together.
    """
    space = np.kron(_cosines(side[0]), _cosines(side[1]))
    mix = OPPONENT.astype(np.float64) if channels == 3 else np.eye(channels)
    along = [np.arange(size) * SIDE / size for size in side if size > 1] or [np.zeros(1)]
    frequency = np.add.outer(along[0], along[1]) if len(along) == 2 else 2 * along[0]
    return np.kron(space, mix).astype(np.float32), frequency.ravel()


def _band_of(frequency: Float64) -> NDArray[np.int64]:
    """Band of each coefficient, -1 for the mean; the highest frequency is always FINEST."""
    band = np.searchsorted(BAND_STARTS, frequency, side="right") - 1
    band[(frequency > 0) & (frequency == frequency.max())] = FINEST
    band[0] = -1
    return band


def _band_sizes(frequency: Float64) -> NDArray[np.int64]:
    return np.bincount(_band_of(frequency) + 1, minlength=5)[1:]


def _band_energies(coefficients: Float32, frequency: Float64, channels: int) -> Float32:
    """Mean squares per channel and band: (N, frequencies * C) -> (C, 4, N)."""
    band = _band_of(frequency)
    average = (band == np.arange(4)[:, None]) / np.maximum(1, _band_sizes(frequency))[:, None]
    squares = np.square(coefficients, out=coefficients)
    energies = np.kron(np.eye(channels), average).reshape(channels * 4, channels, -1)
    by_output = energies.transpose(0, 2, 1).reshape(channels * 4, -1).astype(np.float32)
    return (by_output @ squares.T).reshape(channels, 4, -1)
