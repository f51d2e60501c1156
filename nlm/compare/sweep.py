"""One parameter over a range of values."""

from dataclasses import dataclass

import numpy as np

from nlm.compare.methods import Method, parse_method
from nlm.errors import UsageError

MOST_VALUES = 100


@dataclass(frozen=True)
class Sweep:
    """A parameter and its values."""

    parameter: str
    values: tuple[float, ...]

    def label(self, method: str, value: float) -> str:
        """What a method is called at that value."""
        return f"{method}:{self.parameter}={value:g}"

    def expand(self, methods: list[Method]) -> list[Method]:
        """Every method that has the parameter at every value; the others stay as they are.

        Raises
        ------
        UsageError
            If none has it, or a value is not allowed.
        """
        if not any(method.accepts(self.parameter) for method in methods):
            names = ", ".join(method.label for method in methods)
            raise UsageError(
                f"--sweep {self.parameter}: no parameter of {names}; see: nlm methods -v"
            )
        expanded = []
        for method in methods:
            if method.accepts(self.parameter):
                expanded += [parse_method(self.label(method.label, one)) for one in self.values]
            else:
                expanded.append(method)
        return expanded

    def labels(self, method: Method) -> dict[float, str]:
        """The labels of a method's variants by value; empty if it is not swept."""
        if not method.accepts(self.parameter):
            return {}
        return {value: self.label(method.label, value) for value in self.values}


def parse_sweep(text: str) -> Sweep:
    """A sweep from ``PARAMETER=FIRST:LAST:COUNT``.

    Raises
    ------
    UsageError
        If it is written otherwise.
    """
    parameter, _, range_ = text.partition("=")
    try:
        first, last, count = range_.split(":")
        ends, number = (float(first), float(last)), int(count)
    except ValueError:
        ends, number = (float("nan"), 0.0), 0
    if not (parameter and np.isfinite(ends).all() and 2 <= number <= MOST_VALUES):
        raise UsageError(
            f"--sweep {text} is not allowed; give PARAMETER=FIRST:LAST:COUNT with 2 to "
            f"{MOST_VALUES} values, strength=0.3:1.0:8 say"
        )
    values = np.linspace(*ends, number)
    return Sweep(parameter.strip().replace("-", "_"), tuple(float(f"{one:.4g}") for one in values))
