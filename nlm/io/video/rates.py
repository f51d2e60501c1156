"""Frames per second where a container or an encoder knows few rates, or only one for all frames."""

from __future__ import annotations

from fractions import Fraction

__all__ = ["even_rate", "nominal_rate", "varies"]

_BROADCAST = [
    *(Fraction(whole * 1000, 1001) for whole in (24, 30, 60)),
    *map(Fraction, (24, 25, 30, 50, 60)),
]

_MPEG = {"mpeg1video": {Fraction(1)}, "mpeg2video": {
    Fraction(over, under) for over in range(1, 5) for under in range(1, 33)
}}  # fmt: skip
"""By what MPEG multiplies the rates that it has numbers for."""

FINEST = 240
"""Frames per second up to which gaps between frames are filled with empty ones."""

ALIKE = Fraction(1, 1000)
"""Relative difference of rates that is none."""


def nominal_rate(encoder: str, rate: Fraction) -> Fraction:
    """The rate that an encoder is told: its nearest one; time stamps say what is true."""
    allowed = {one * factor for one in _BROADCAST for factor in _MPEG.get(encoder, ())}
    if not allowed or rate in allowed:
        return rate
    return min(_BROADCAST, key=lambda one: abs(one - rate))


def varies(average: Fraction, finest: Fraction | None) -> bool:
    """Whether frames are not shown equally long, by the rate that all time stamps fit into.

    That is twice the average where pictures are interlaced.
    """
    if not finest:
        return False
    return all(abs(finest / average / factor - 1) > ALIKE for factor in (1, 2))


def even_rate(average: Fraction, finest: Fraction | None) -> Fraction:
    """The rate of a container that counts frames, so that all are shown at their time."""
    fits = finest is not None and average < finest <= FINEST and varies(average, finest)
    return finest if fits and finest else average
