"""Parameters of a filter: frozen dataclasses that check themselves and describe themselves.

The command line draws its options from these fields, so each carries a help text and its range.
"""

import os
from dataclasses import Field, dataclass, field, fields
from functools import cache
from typing import Any, Self, get_args

from nlm.checks import number, plain
from nlm.errors import UsageError

Halo = tuple[int, int, int]
"""Frames, rows and columns that a filter reaches beyond a pixel on each side."""


def parameter(
    default: Any,
    help: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    odd: bool = False,
) -> Any:
    """A dataclass field with what people need to know of it.

    Parameters
    ----------
    default : object
        Its value where nothing is said; None means that the filter chooses.
    help : str
        One line for `--help`.
    unit : str
        Unit of the number, "pixels" say.
    low, high : float, optional
        Allowed range, ends included.
    odd : bool
        Only odd numbers are allowed.
    """
    about = {"help": help, "unit": unit, "low": low, "high": high, "odd": odd}
    return field(default=default, metadata=about)


@dataclass(frozen=True)
class Params:
    """Base of every filter's parameters."""

    def __post_init__(self) -> None:
        for spec in fields(self):
            object.__setattr__(self, spec.name, _checked(spec, getattr(self, spec.name)))

    @property
    def halo(self) -> Halo | None:
        """How far the filter reaches; None means that it needs the whole picture."""
        raise NotImplementedError

    @property
    def align(self) -> int:
        """Tiles begin at multiples of this many pixels."""
        return 1

    @property
    def tall(self) -> bool:
        """Whether tiles may be as high as the picture on the CPU: it goes through them by bands."""
        return False

    def working_memory(self, rows: int, columns: int, channels: int) -> float:
        """Bytes that filtering such a tile takes at most, as measured."""
        return 96.0 * rows * columns * channels

    def held_in_time(self, channels: int) -> float:
        """Bytes for each pixel that frames of a clip which wait for others take, as features."""
        return 0.0

    @property
    def comes_with_nlm(self) -> tuple[str, ...]:
        """Digests of what is installed with nlm and decides on results, weights say."""
        return ()

    def at(self, sigma: float) -> Self:
        """The same for a noise level: what was left to the filter is chosen."""
        return self


@cache
def kind(spec: Field[Any]) -> type:
    """The type of a field's value: bool, int, float or str (a file), None beside it or not."""
    types = get_args(spec.type) or (spec.type,)
    found: type = next(one for one in types if one is not type(None))
    return found


def _checked(spec: Field[Any], given: Any) -> Any:
    """A value as its field's own type."""
    value, its = plain(given), kind(spec)
    if value is None and type(None) in get_args(spec.type):
        return None
    if its is bool:
        good = isinstance(value, bool)
    elif its is str:
        value = os.fspath(value) if isinstance(value, os.PathLike) else value
        good = isinstance(value, str) and value != ""
    else:
        good = _in_range(number(value), spec)
    if not good:
        words = spec.name.replace("_", " ")
        raise UsageError(f"{words} {given!r} is not allowed; give {_allowed(spec.metadata, its)}")
    return its(value)


def _in_range(value: float, spec: Field[Any]) -> bool:
    low, high = spec.metadata["low"], spec.metadata["high"]
    return (
        abs(value) < float("inf")
        and (kind(spec) is float or value == int(value))
        and (low is None or value >= low)
        and (high is None or value <= high)
        and (not spec.metadata["odd"] or value % 2 == 1)
    )


def _allowed(about: Any, kind: type) -> str:
    if kind is bool:
        return "True or False"
    if kind is str:
        return "the name of a file"
    what = (
        "an odd whole number" if about["odd"] else "a whole number" if kind is int else "a number"
    )
    unit = f" of {about['unit']}" if about["unit"] else ""
    low, high = about["low"], about["high"]
    if low is not None and high is not None:
        return f"{what}{unit} from {low:g} to {high:g}"
    return f"{what}{unit}" + (f" of at least {low:g}" if low is not None else "")
