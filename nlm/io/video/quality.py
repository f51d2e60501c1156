"""What encoders are told: quality, profiles, and whether something may be lost."""

from __future__ import annotations

from nlm.errors import UsageError
from nlm.io.base import Options
from nlm.io.video.layout import Layout
from nlm.io.video.rated import RATED, rated_options

__all__ = ["EXACT", "LOSSLESS", "encoder_options"]

FIXED_SCALE = {"mjpeg": 2, "mpeg4": 2, "mpeg2video": 2, "mpeg1video": 2, "flv": 2, "wmv2": 2}
"""Encoders with a quantiser scale; 1 is the finest."""

LOSSLESS = {
    "ffv1", "ffvhuff", "huffyuv", "lagarith", "magicyuv", "png", "qtrle", "r210", "rawvideo",
    "utvideo", "v210", "v410",
}  # fmt: skip
"""Codecs that lose nothing."""

EXACT = LOSSLESS - {"v210"}
"""Encoders that keep every value: v210 has none for the least and the greatest ones."""

PRORES = {"Proxy": "0", "LT": "1", "Standard": "2", "HQ": "3", "4444": "4", "XQ": "5"}

DNXHR = {"yuv422p": "dnxhr_hq", "yuv422p10le": "dnxhr_hqx"}


def encoder_options(
    encoder: str,
    pixels: str,
    source: tuple[str | None, str | None],
    layout: Layout,
    options: Options,
    width: int,
) -> dict[str, str]:
    """The options of an encoder.

    Parameters
    ----------
    encoder, pixels : str
        As libav calls them.
    source : (str, str)
        Codec and profile of the source; None where it is no video.
    layout : Layout
        Of the frames.
    options : Options
        What a person asked for.
    width : int
        Of the pictures.

    Raises
    ------
    UsageError
        If the encoder has no such option.
    """
    codec, profile = source
    told = _usual(encoder, profile, options, width)
    if encoder == "prores_ks" and (layout.alpha or codec != "prores"):
        told["profile"] = _prores_profile(told["profile"], pixels)
    if encoder == "dnxhd":
        told["profile"] = DNXHR.get(pixels, "dnxhr_444")
    if encoder == "libvpx" and pixels == "yuva420p":
        told["auto-alt-ref"] = "0"  # it refuses hidden frames with transparency
    return told


def _usual(encoder: str, profile: str | None, options: Options, width: int) -> dict[str, str]:
    if encoder in RATED:
        return rated_options(encoder, options, width)
    for flag, given in (("--crf", options.crf), ("--encoder-preset", options.encoder_preset)):
        if given is not None:
            raise UsageError(
                f"the encoder {encoder} has no {flag}; leave it out, or give --codec: "
                f"{', '.join(RATED)} have it"
            )
    if options.lossless and encoder not in EXACT:
        raise UsageError(f"the encoder {encoder} always loses something; leave out --lossless")
    told: dict[str, str] = {}
    if encoder == "prores_ks":
        told = {"profile": PRORES.get(profile or "", "3"), "vendor": "apl0"}
    if encoder == "ffv1":
        told = {"level": "3", "slicecrc": "1", "slices": "4"}
    if encoder in FIXED_SCALE:
        scale = str(FIXED_SCALE[encoder] * 118)  # libav's FF_QP2LAMBDA
        told = {"flags": "+qscale", "global_quality": scale}
    return told


def _prores_profile(profile: str, pixels: str) -> str:
    """The others have neither transparency nor whole chroma."""
    return PRORES["4444"] if "444" in pixels and profile < PRORES["4444"] else profile
