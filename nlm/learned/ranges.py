"""What numbers the settings of network and training may be."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nlm.errors import UsageError


@dataclass(frozen=True)
class Range:
    """The numbers that a setting may be.

    Attributes
    ----------
    kind : type
        int, or float for numbers of either type.
    low, high : float
        The ends, which are allowed themselves. NaN never is.
    above : bool
        The lower end is not allowed.
    many : bool
        The setting is a tuple of such numbers.
    optional : bool
        It may be None.
    """

    kind: type[int] | type[float]
    low: float
    high: float = sys.float_info.max
    above: bool = False
    many: bool = False
    optional: bool = False

    def allows(self, value: Any) -> bool:
        """Whether a setting may be this."""
        if value is None:
            return self.optional
        if self.many:
            return isinstance(value, tuple) and all(map(self._holds, value))
        return self._holds(value)

    def _holds(self, number: Any) -> bool:
        kinds = (int,) if self.kind is int else (int, float)
        if not isinstance(number, kinds) or isinstance(number, bool):
            return False
        return self.low <= number <= self.high and not (self.above and number == self.low)

    def __str__(self) -> str:
        one = "a whole number" if self.kind is int else "a number"
        what = one.removeprefix("a ") + "s" if self.many else one
        if self.high < sys.float_info.max:
            return f"{what} from {self.low} to {self.high}"
        return f"{what} above {self.low}" if self.above else f"{what} of at least {self.low}"


def check_ranges(settings: object, ranges: Mapping[str, Range]) -> None:
    """Refuse the first setting that is not in its range.

    Raises
    ------
    UsageError
        Naming it, its value and what is allowed.
    """
    for name, allowed in ranges.items():
        value = getattr(settings, name)
        if not allowed.allows(value):
            raise UsageError(f"{name} {reprlib.repr(value)} is not allowed; give {allowed}")
