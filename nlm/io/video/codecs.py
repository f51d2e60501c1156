"""Which encoder a video goes through, with which pixels and quality.

The source's codec family and depth are kept. Where there is no encoder for it, or the container
does not take it, or it cannot hold the samples, the next of `OTHERS` that can is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import av

from nlm.errors import FileError, UsageError
from nlm.io.base import Options
from nlm.io.video.layout import Layout
from nlm.io.video.transparency import BESIDE

__all__ = ["Choice", "choose", "is_lossless", "known_encoder"]

CRF = {
    "libx264": ("14", "veryfast"),
    "libx264rgb": ("14", "veryfast"),
    "libx265": ("14", "superfast"),
    "libsvtav1": ("20", "8"),
    "libvpx-vp9": ("18", "4"),
    "libvpx": ("8", "4"),
}
"""Encoders with a constant rate factor: its default, chosen to be hard to tell from the source, and
the default of `--encoder-preset`."""

LOSSLESS_OPTIONS = {
    "libx264": {"qp": "0"},
    "libx264rgb": {"qp": "0"},
    "libx265": {"x265-params": "lossless=1"},
    "libsvtav1": {"svtav1-params": "lossless=1"},
    "libvpx-vp9": {"lossless": "1"},
}
"""What makes encoders with a rate factor lose nothing."""

SMALLER = {"libx264": "medium", "libx264rgb": "medium", "libx265": "medium"}
"""Default of `--encoder-preset` where nothing may be lost: presets then decide on sizes alone."""

FIXED_SCALE = {"mjpeg": 2, "mpeg4": 2, "mpeg2video": 2, "mpeg1video": 2, "flv": 2, "wmv2": 2}
"""Encoders with a quantiser scale; 1 is the finest."""

LOSSLESS = {"ffv1", "ffvhuff", "huffyuv", "utvideo", "magicyuv", "rawvideo", "png", "qtrle", "v210"}
"""Encoders that lose nothing."""

FAMILY = {
    "h264": ("libx264", "libx264rgb"),
    "hevc": ("libx265",),
    "av1": ("libsvtav1",),
    "vp9": ("libvpx-vp9",),
    "vp8": ("libvpx",),
    "prores": ("prores_ks",),
    "msmpeg4v3": ("mpeg4",),
    "msmpeg4v2": ("mpeg4",),
}
"""Encoders for a source's codec, where it is not the one of the same name."""

OTHERS = ("libx264", "libx265", "libvpx-vp9", "libsvtav1", "ffv1")

PRORES = {"Proxy": "0", "LT": "1", "Standard": "2", "HQ": "3", "4444": "4", "XQ": "5"}

DNXHR = {"yuv422p": "dnxhr_hq", "yuv422p10le": "dnxhr_hqx"}

STEADFAST = {"prores_ks"}
"""Encoders that stay although decoders make more bits of what they wrote."""

EVEN_ONLY = {"libx264", "libx264rgb", "libx265", "libsvtav1"}
"""Encoders that refuse a size that is no multiple of the chroma's subsampling."""


@dataclass(frozen=True)
class Source:
    """What a source's pictures are coded with; None where it is no video.

    Attributes
    ----------
    codec, profile, pixels : str or None
    """

    codec: str | None = None
    profile: str | None = None
    pixels: str | None = None


@dataclass(frozen=True)
class Choice:
    """An encoder and what it is told.

    Attributes
    ----------
    encoder, pixels : str
        As libav calls them.
    options : dict of str
    losses : tuple of str
        What cannot be carried over, in words.
    """

    encoder: str
    pixels: str
    options: dict[str, str]
    losses: tuple[str, ...] = ()


def choose(
    source: Source,
    layout: Layout,
    size: tuple[int, int],
    supported: frozenset[str],
    options: Options,
) -> Choice:
    """The encoder for a video.

    Parameters
    ----------
    source : Source
    layout : Layout
        Of the frames.
    size : (int, int)
        Width and height.
    supported : set of str
        Encoders that the container takes.
    options : Options
        What a person asked for.

    Raises
    ------
    UsageError
        If there is no such encoder, or it has no such option.
    FileError
        If no encoder can hold the samples in the container.
    """
    given: list[str] = []
    if options.codec is not None:
        candidates = _by_hand(options.codec, supported)
    elif options.lossless:
        own = [name for name in _family(source.codec) if name in LOSSLESS]
        candidates = [*own, "ffv1", "libx264", "libx264rgb", "libx265", "libvpx-vp9"]
    else:
        candidates = [*_family(source.codec), *OTHERS]
        if layout.kind == "rgb" and source.codec is None:  # what every player plays
            usual = Layout("yuv", min(layout.bits, 10), (1, 1), layout.alpha)
            given = layout.shortfall(usual)
            layout = usual
    if supported == {"rawvideo"}:
        candidates = ["rawvideo"]
    found = []
    for rank, name in enumerate(candidates):
        if name not in supported:
            continue
        for pixels in _formats(name) or (source.pixels or layout.planar,):
            fits = _fit(name, layout, pixels, size)
            if fits is not None:
                lost, excess = fits
                harm = 0 if name in STEADFAST and rank == 0 else len(lost)
                order = (harm, rank, len(lost), excess, pixels != source.pixels)
                found.append((order, name, pixels, lost))
    if not found:
        raise FileError(
            f"no codec of this container can hold {layout} video of {size[0]} x {size[1]}; "
            "write .mkv, and leave --codec out"
        )
    if options.codec is None and options.lossless:
        found = [one for one in found if not one[-1]]
        if not found:
            raise FileError(
                f"this container holds no lossless codec for {layout} video; write .mkv instead"
            )
    _, name, pixels, lost = min(found)
    told = _options(name, source.profile, options)
    if name == "dnxhd":
        told["profile"] = DNXHR.get(pixels, "dnxhr_444")
    if name == "libvpx" and pixels == "yuva420p":
        told["auto-alt-ref"] = "0"  # it refuses hidden frames with transparency
    return Choice(name, pixels, told, (*given, *lost))


def is_lossless(codec: str) -> bool:
    """Whether a source's codec loses nothing."""
    return codec in LOSSLESS


@cache
def known_encoder(name: str) -> bool:
    """Whether libav has an encoder for pictures of that name."""
    try:
        return av.Codec(name, "w").type == "video"
    except av.codec.codec.UnknownCodecError:
        return False


def _family(source: str | None) -> list[str]:
    if source is None:
        return []
    return [name for name in FAMILY.get(source, (source,)) if known_encoder(name)]


def _by_hand(name: str, supported: frozenset[str]) -> list[str]:
    names = [one for one in FAMILY.get(name, (name,)) if known_encoder(one)]
    if not names:
        known = ", ".join([*FAMILY, *sorted(LOSSLESS & {"ffv1", "ffvhuff", "utvideo"}), "mjpeg"])
        raise UsageError(f"--codec {name} is not known; give one of {known}, or libav's own name")
    if not any(one in supported for one in names):
        raise FileError(f"this container does not take the codec {name}; write .mkv instead")
    return names


@cache
def _formats(encoder: str) -> tuple[str, ...]:
    names = (one.name for one in av.Codec(encoder, "w").video_formats or ())
    return tuple(name for name in names if _is_usable(encoder, name))


def _is_usable(encoder: str, pixels: str) -> bool:
    """Whether an encoder really takes the pixels that it lists."""
    if encoder == "mjpeg":
        return pixels.startswith("yuvj")
    opaque = ("libx265",) if pixels == "yuva420p" else ("libx265", *BESIDE)
    layout = Layout.of(pixels)
    return layout is None or not (layout.alpha and encoder in opaque)


def _fit(
    encoder: str, layout: Layout, pixels: str, size: tuple[int, int]
) -> tuple[list[str], tuple[int, ...]] | None:
    """What is lost and what is stored in excess; None = impossible."""
    other, parts = Layout.of(pixels), av.VideoFormat(pixels, 64, 64)
    if other is None or parts.has_palette or any(one.bits < 8 for one in parts.components):
        return None
    if encoder in EVEN_ONLY and any(
        length % (1 << shift) for length, shift in zip(size, other.chroma, strict=True)
    ):
        return None
    lost = layout.shortfall(other)
    if other.full and not layout.full:
        lost.append("limited range (the codec stores full range)")
    return lost, layout.excess(other)


def _options(encoder: str, profile: str | None, options: Options) -> dict[str, str]:
    told: dict[str, str] = {}
    if encoder in CRF:
        crf, preset = CRF[encoder]
        told["crf"] = crf if options.crf is None else f"{options.crf:g}"
        if options.lossless and encoder in SMALLER:
            preset = SMALLER[encoder]
        told["preset"] = options.encoder_preset or preset
        if encoder.startswith("libvpx"):
            told |= {"cpu-used": told.pop("preset"), "b": "0", "deadline": "good", "row-mt": "1"}
        if encoder == "libvpx":
            del told["row-mt"]
            told["b"] = "100M"
        if encoder == "libx265":
            told["x265-params"] = "log-level=error"
        for key, value in (LOSSLESS_OPTIONS[encoder] if options.lossless else {}).items():
            told[key] = f"{told[key]}:{value}" if key in told else value
        return told
    for flag, given in (("--crf", options.crf), ("--encoder-preset", options.encoder_preset)):
        if given is not None:
            raise UsageError(
                f"the encoder {encoder} has no {flag}; leave it out, or give --codec: "
                f"{', '.join(CRF)} have it"
            )
    if encoder == "prores_ks":
        told = {"profile": PRORES.get(profile or "", "3"), "vendor": "apl0"}
    if encoder == "ffv1":
        told = {"level": "3", "slicecrc": "1", "slices": "4"}
    if encoder in FIXED_SCALE:
        scale = str(FIXED_SCALE[encoder] * 118)  # libav's FF_QP2LAMBDA
        told = {"flags": "+qscale", "global_quality": scale}
    if options.lossless and encoder not in LOSSLESS:
        raise UsageError(f"the encoder {encoder} always loses something; leave out --lossless")
    return told
