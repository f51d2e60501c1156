"""Stored samples to float and back: the only place that knows dtypes, rounding and alpha.

Inside nlm a picture is float32, (Y, X, C), full scale 1.0. On the way back a sample that the
filter left alone is the stored one, bit for bit, and so are NaN, infinities and colours that
nobody sees because their alpha is zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nlm.errors import UsageError
from nlm.limits import LARGEST_SAMPLE

if TYPE_CHECKING:
    from nlm.io.base import Info

__all__ = [
    "fill_holes",
    "fill_invalid",
    "fill_transparent",
    "full_scale",
    "known",
    "no_samples",
    "to_float",
    "to_stored",
]

Stored = NDArray[Any]
Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

AT_ONCE = 1 << 16
"""Samples that are brought back together."""


def full_scale(dtype: np.dtype[Any], bits: int | None = None) -> float:
    """The stored value that means 1.0.

    Parameters
    ----------
    dtype : numpy.dtype
        Stored sample type: signed or unsigned integers, or floats.
    bits : int, optional
        Significant bits of unsigned integers (12 for a 12-bit picture in uint16);
        left out, the dtype's maximum is full scale.

    Returns
    -------
    float
        2**bits - 1 or the dtype's maximum for integers, 1.0 for floats.

    Raises
    ------
    UsageError
        For bool, complex and other types that hold no grey levels.
    """
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return 1.0
    if dtype.kind == "u" and bits is not None and bits < 8 * dtype.itemsize:
        return float(2**bits - 1)
    if dtype.kind in "ui":
        return float(np.iinfo(dtype).max)
    raise UsageError(
        f"a picture of dtype {dtype} has no grey levels; integers and floats are allowed, "
        "convert it first, for example with image.astype('float32')"
    )


def to_float(plane: Stored, info: Info | None = None) -> Float32:
    """Stored samples as float32, full scale 1.0.

    Parameters
    ----------
    plane : ndarray, any shape
        Samples as stored; not changed.
    info : Info, optional
        Tells the significant bits; left out, the dtype's maximum is full scale.

    Returns
    -------
    ndarray of float32
        A new array of the same shape. Floats keep their values, those outside 0..1 too.

    Raises
    ------
    UsageError
        For bool, complex and other types that hold no grey levels.
    """
    scale = full_scale(plane.dtype, _bits(plane, info))
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf: fill_invalid sees it
        if plane.dtype.kind == "f":
            return np.array(plane, dtype=np.float32)
        if plane.dtype.itemsize <= 2:
            return np.divide(plane, np.float32(scale), dtype=np.float32)
        return (plane.astype(np.float64) / scale).astype(np.float32)


def to_stored(
    filtered: Float32, stored: Stored, info: Info | None = None, alpha: Stored | None = None
) -> Stored:
    """A filtered picture in the dtype it came in.

    Parameters
    ----------
    filtered : ndarray of float32
        The filter's result, full scale 1.0, same shape as `stored`.
    stored : ndarray
        The samples that went through :func:`to_float` before.
    info : Info, optional
        As given to :func:`to_float`.
    alpha : ndarray, shape (Y, X), optional
        Where it is zero the stored colours come back, filtered or not.

    Returns
    -------
    ndarray, dtype of `stored`
        Integers rounded to nearest and clipped. Samples that the filter did not change, and
        those that are NaN, infinite or beyond `LARGEST_SAMPLE`, equal the stored ones bit for bit.
    """
    bits = _bits(stored, info)
    if stored.dtype.kind == "f":
        result = _to_float_dtype(filtered, stored)
    elif stored.dtype.itemsize <= 2:
        scale = full_scale(stored.dtype, bits)
        result = _to_narrow_integer(filtered, stored, np.float32(scale))
        _restore_overflow(result, stored, scale, filtered)
    else:
        result = _to_wide_integer(filtered, stored, full_scale(stored.dtype, bits))
    if alpha is not None:
        hidden = alpha == 0
        result[hidden] = stored[hidden]
    return result.astype(stored.dtype, copy=False)  # in its byte order


def fill_holes(picture: Float32, holes: Mask) -> Float32:
    """Replace samples by the mean of the nearest good ones.

    Averages of 2x2, 4x4, 8x8 ... blocks are tried in turn, so a hole of any size is filled in
    linear time and with the values around it.

    Parameters
    ----------
    picture : ndarray of float32, shape (Y, X, C)
        Not changed.
    holes : ndarray of bool, shape (Y, X, C) or (Y, X, 1)
        True where the sample is to be replaced.

    Returns
    -------
    ndarray of float32, shape (Y, X, C)
        `picture` itself if there are no holes; zero everywhere in a channel without good samples.
    """
    if not holes.any():
        return picture
    holes = np.broadcast_to(holes, picture.shape)
    filled = np.where(holes, np.float32(0), picture)
    rows, columns = picture.shape[:2]
    if rows == 1 and columns == 1:
        return filled
    count = _sum_blocks(~holes, np.float32)
    total = _sum_blocks(filled, np.float64)
    coarse = (total / np.maximum(count, 1)).astype(np.float32)
    coarse = fill_holes(coarse, count == 0)
    spread = coarse.repeat(2, axis=0).repeat(2, axis=1)[:rows, :columns]
    np.copyto(filled, spread, where=holes)
    return filled


def fill_invalid(picture: Float32) -> tuple[Float32, Mask]:
    """A finite picture for the filter, and where it was not finite.

    Parameters
    ----------
    picture : ndarray of float32, shape (Y, X, C)
        Not changed.

    Returns
    -------
    filled : ndarray of float32, shape (Y, X, C)
        NaN, infinities and numbers beyond `LARGEST_SAMPLE`, as maps have them where nothing was
        measured, replaced by the mean of valid neighbours.
    invalid : ndarray of bool, shape (Y, X, C)
        Where they were. :func:`to_stored` puts them back by itself.
    """
    invalid = no_samples(picture)
    return fill_holes(picture, invalid), invalid


def fill_transparent(picture: Float32, alpha: Stored | None) -> Float32:
    """Hide the colours of fully transparent pixels from the filter.

    Parameters
    ----------
    picture : ndarray of float32, shape (Y, X, C)
        Not changed.
    alpha : ndarray, shape (Y, X), or None
        Zero means fully transparent.

    Returns
    -------
    ndarray of float32, shape (Y, X, C)
        Transparent pixels take the mean colour of visible neighbours; give `alpha` to
        :func:`to_stored` to get their own colours back afterwards.
    """
    if alpha is None or not alpha.any():
        return picture
    return fill_holes(picture, (alpha == 0)[:, :, None])


def no_samples(values: NDArray[np.floating[Any]]) -> Mask:
    """Where values are NaN, infinite, or so large that nothing was measured."""
    return np.asarray(~(np.abs(values) <= np.float32(LARGEST_SAMPLE)))


def known(stored: Stored, info: Info | None = None, alpha: Stored | None = None) -> Float32:
    """Stored samples for whoever judges their noise: NaN where they tell nothing.

    Parameters
    ----------
    stored : ndarray, shape (Y, X, C)
    info : Info, optional
        As for :func:`to_float`.
    alpha : ndarray, shape (Y, X), optional
        Zero means fully transparent.

    Returns
    -------
    ndarray of float32, shape (Y, X, C)
    """
    picture = to_float(stored, info)
    unknown = np.zeros((1, 1, 1), bool)
    if stored.dtype.kind == "f":
        unknown = no_samples(picture)
    if alpha is not None and alpha.any():
        unknown = unknown | (alpha == 0)[:, :, None]
    return np.where(unknown, np.float32(np.nan), picture) if unknown.any() else picture


def _bits(plane: Stored, info: Info | None) -> int | None:
    return info.bits if info is not None and plane.dtype == info.dtype else None


def _to_float_dtype(filtered: Float32, stored: Stored) -> Stored:
    if stored.dtype.itemsize > 4:
        with np.errstate(invalid="ignore", over="ignore"):
            change = filtered.astype(stored.dtype) - stored.astype(np.float32)
            result = np.where(change == 0, stored, stored + change)
            beyond = no_samples(stored.astype(np.float32))
    else:
        limit = np.finfo(stored.dtype).max
        result = np.clip(filtered, -limit, limit).astype(stored.dtype)
        beyond = no_samples(stored)
    np.copyto(result, stored, where=beyond)
    return result


def _to_narrow_integer(filtered: Float32, stored: Stored, scale: np.float32) -> Stored:
    low = np.float32(0 if stored.dtype.kind == "u" else np.iinfo(stored.dtype).min)
    result = np.empty(stored.shape, stored.dtype)
    size = max(1, AT_ONCE * len(stored) // max(1, stored.size))  # rows that stay in the cache
    room = np.empty((min(size, len(stored)), *stored.shape[1:]), np.float32)
    for first in range(0, len(stored), size):
        rows = slice(first, first + size)
        scaled = np.multiply(filtered[rows], scale, out=room[: len(stored) - first])
        np.rint(scaled, out=scaled)
        result[rows] = np.clip(scaled, low, scale, out=scaled)
    return result


def _to_wide_integer(filtered: Float32, stored: Stored, scale: float) -> Stored:
    limits = np.iinfo(stored.dtype)
    low = 0.0 if stored.dtype.kind == "u" else float(limits.min)
    high = min(scale, float(limits.max))
    if int(high) > limits.max:  # float64 rounds the largest 64-bit integers up
        high = float(np.nextafter(high, 0))
    exact = stored.astype(np.float64)
    change = filtered.astype(np.float64) - (exact / scale).astype(np.float32)
    moved = np.clip(np.rint(exact + change * scale), low, high).astype(stored.dtype)
    return np.where(change == 0, stored, moved)


def _restore_overflow(result: Stored, stored: Stored, scale: float, filtered: Float32) -> None:
    """Samples above full scale (a 12-bit file holding 5000) survive a filter that kept them."""
    if scale < np.iinfo(stored.dtype).max and stored.size and stored.max() > scale:
        above = (stored > scale) & (filtered == stored.astype(np.float32) / np.float32(scale))
        np.copyto(result, stored, where=above)


def _sum_blocks(samples: NDArray[Any], dtype: type[np.floating[Any]]) -> NDArray[Any]:
    """Sums over 2x2 blocks, odd edges padded with zeros: (Y, X, C) -> (ceil Y/2, ceil X/2, C)."""
    rows, columns, channels = samples.shape
    padded = np.zeros((rows + rows % 2, columns + columns % 2, channels), dtype)
    padded[:rows, :columns] = samples
    return padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]
