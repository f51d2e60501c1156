"""Encoders with a constant rate factor: what they are told, and what they may be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nlm.errors import UsageError
from nlm.io.base import Options

__all__ = ["RATED", "rated_options"]

_WORDS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow",
    "placebo",
)  # fmt: skip


@dataclass(frozen=True)
class Rated:
    """An encoder with a constant rate factor.

    Attributes
    ----------
    crf : int
        The default, chosen to be hard to tell from the source.
    crfs : (int, int)
        Least and greatest that mean something.
    preset : str
        The default of `--encoder-preset`.
    presets : tuple of str, or range
        All of them.
    lossless : dict of str
        What makes it lose nothing, beside no rate factor; {} = nothing does.
    smaller : str
        The default of `--encoder-preset` where nothing may be lost: presets then decide on sizes
        alone.
    """

    crf: int
    crfs: tuple[int, int]
    preset: str
    presets: tuple[str, ...] | range
    lossless: Mapping[str, str] = field(default_factory=dict)
    smaller: str = ""


RATED = {
    "libx264": Rated(14, (0, 51), "veryfast", _WORDS, {"qp": "0"}, "medium"),
    "libx264rgb": Rated(14, (0, 51), "veryfast", _WORDS, {"qp": "0"}, "medium"),
    "libx265": Rated(14, (0, 51), "superfast", _WORDS, {"x265-params": "lossless=1"}, "medium"),
    "libsvtav1": Rated(20, (1, 63), "8", range(-1, 14), {"svtav1-params": "lossless=1"}),
    "libvpx-vp9": Rated(18, (0, 63), "4", range(-8, 9), {"lossless": "1"}),
    "libvpx": Rated(8, (4, 63), "4", range(-16, 17)),
}


def rated_options(encoder: str, options: Options, width: int) -> dict[str, str]:
    """What an encoder with a rate factor is told about pictures of a width.

    Raises
    ------
    UsageError
        If a person asks for what it does not have.
    """
    rated = RATED[encoder]
    if options.lossless and not rated.lossless:
        raise UsageError(f"the encoder {encoder} always loses something; leave out --lossless")
    _check(encoder, rated, options)
    preset = (options.lossless and rated.smaller) or rated.preset
    told = {"preset": options.encoder_preset or preset}
    if encoder.startswith("libvpx"):
        told = {"cpu-used": told["preset"], "b": "0", "deadline": "good"}
    if encoder == "libvpx-vp9":
        told["row-mt"] = "1"
    if encoder == "libvpx":
        told["b"] = "100M"
    if encoder == "libx265":
        told["x265-params"] = f"log-level=error{_block(width)}"
    if not options.lossless:
        return told | {"crf": f"{rated.crf if options.crf is None else options.crf:g}"}
    for key, value in rated.lossless.items():
        told[key] = f"{told[key]}:{value}" if key in told else value
    return told


def _check(encoder: str, rated: Rated, options: Options) -> None:
    least, most = rated.crfs
    if options.crf is not None and not least <= options.crf <= most:
        raise UsageError(
            f"--crf {options.crf:g} is not allowed for {encoder}; "
            f"give a number from {least} to {most}"
        )
    allowed = rated.presets
    if options.encoder_preset is None or options.encoder_preset in map(str, allowed):
        return
    numbers = isinstance(allowed, range)
    step = f"a whole number from {allowed[0]} to {allowed[-1]}" if numbers else ", ".join(_WORDS)
    raise UsageError(
        f"--encoder-preset {options.encoder_preset} is not allowed for {encoder}; "
        f"give {'' if numbers else 'one of '}{step}"
    )


def _block(width: int) -> str:
    """Smaller blocks where one is as wide as the picture: x265 then refers to wrong pixels."""
    return ":ctu=32" if width == 64 else ""
