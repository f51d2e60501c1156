"""What is asked of arguments everywhere, with errors that name them."""

import operator
from typing import Any

from nlm.errors import UsageError


def plain(value: Any) -> Any:
    """A NumPy scalar, or an array of no axes, as Python's own number; anything else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def number(given: Any) -> float:
    """A real number as a float; NaN for what is none: text, truth values, arrays."""
    given = plain(given)
    if isinstance(given, str | bytes | bool):
        return float("nan")
    try:
        return float(given) if getattr(given, "ndim", 0) == 0 else float("nan")
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def whole_number(name: str, given: Any, least: int) -> int:
    """An integer that is `least` or more.

    Raises
    ------
    UsageError
        If it is another number, or none.
    """
    found = number(given)
    if not least <= found < float("inf") or found != int(found):
        raise UsageError(f"{name} {given!r} is not allowed; give whole numbers, {least} or more")
    return int(plain(given))


def colour_axis(channel_axis: Any, axes: int) -> int:
    """The axis of colour in an array of so many, counted from 0.

    Raises
    ------
    UsageError
        If there is no such axis.
    """
    try:
        axis = operator.index(channel_axis)
    except TypeError:
        axis = axes
    if not -axes <= axis < axes or isinstance(channel_axis, bool):
        allowed = f"a whole number from {-axes} to {axes - 1}, or " if axes else ""
        raise UsageError(
            f"channel_axis {channel_axis!r} does not exist in an array of {axes} axes; give "
            f"{allowed}None where every axis is space"
        )
    return axis % axes
