"""How the kernels of a network are stored: as whole numbers of a unit, in bytes that compress."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

FINENESS = 96
"""Units, about, in the root mean square of a kernel."""
MOST_UNITS = 2**15 - 1
SMALLEST, LARGEST = -24, float(np.finfo(np.float16).max)
"""Of float16: the power of two that is its smallest number, and its largest number."""


def packed(kernel: NDArray[np.floating[Any]]) -> tuple[NDArray[np.uint8], float]:
    """A kernel as multiples of a power of two that is small beside it, and that unit.

    Returns
    -------
    stored : ndarray of uint8, shape (2, ...)
        All lower bytes of the multiples before all upper ones.
    unit : float
    """
    exact = kernel.astype(np.float64)
    size, largest = np.sqrt(np.square(exact).mean()), np.abs(exact).max()
    unit = 2.0**SMALLEST
    if size > 0:
        fine, coarse = math.log2(size / FINENESS), math.log2(largest / MOST_UNITS)
        unit = 2.0 ** max(round(fine), math.ceil(coarse), SMALLEST)
    most = LARGEST // unit
    numbers = np.rint(exact / unit).clip(-most, most).astype("<i2")
    pairs = numbers.view(np.uint8).reshape(*kernel.shape, 2)
    return np.ascontiguousarray(np.moveaxis(pairs, -1, 0)), unit


def unpacked(stored: NDArray[Any], unit: float | None) -> NDArray[np.float16]:
    """What was `packed` with such a unit; without one, the bytes are those of float16 numbers.

    Raises
    ------
    ValueError
        If it is none of them.
    """
    if stored.ndim < 2 or stored.shape[0] != 2:
        raise ValueError(f"bytes of shape {stored.shape} instead of (2, ...)")
    pairs = np.ascontiguousarray(np.moveaxis(stored, 0, -1))
    if unit is None:
        floats: NDArray[np.float16] = pairs.view("<f2")[..., 0]
        return floats
    if type(unit) is not float or not 0 < unit < math.inf:
        raise ValueError(f"a unit of {unit!r}")
    with np.errstate(over="ignore"):  # infinite numbers are found, and named, later
        numbers: NDArray[np.float16] = (pairs.view("<i2")[..., 0] * unit).astype("<f2")
    return numbers
