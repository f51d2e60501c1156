"""Which encoder a video goes through, with which pixels and quality.

The source's codec family and depth are kept. Where there is no encoder for it, or the container
does not take it, or it cannot hold the samples, the next of `OTHERS` that can is taken; before them
FFV1 for a source without loss, in containers that are meant for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import av

from nlm.errors import FileError, UsageError
from nlm.io.base import Options
from nlm.io.video.containers import Container
from nlm.io.video.layout import Layout
from nlm.io.video.quality import EXACT, LOSSLESS, encoder_options
from nlm.io.video.transparency import BESIDE, has_room_beside

__all__ = ["Choice", "choose", "is_lossless", "known_encoder"]

FAMILY = {
    "h264": ("libx264", "libx264rgb"),
    "hevc": ("libx265",),
    "av1": ("libsvtav1",),
    "vp9": ("libvpx-vp9",),
    "vp8": ("libvpx",),
    "prores": ("prores_ks",),
    "dirac": (),  # libav's refuses frames
    "msmpeg4v3": ("mpeg4",),
    "msmpeg4v2": ("mpeg4",),
}
"""Encoders for a source's codec, where it is not the one of the same name."""

OTHERS = ("libx264", "libx265", "libvpx-vp9", "libsvtav1", "ffv1", "prores_ks", "mpeg2video")

STEADFAST = {"prores_ks"}
"""Encoders that stay although decoders make more bits of what they wrote."""

WITHOUT_ALPHA = {"libx265", *BESIDE}
"""Encoders that cannot be opened with most of the formats with alpha that they list."""

EVEN_ONLY = {"libx264", "libx264rgb", "libx265", "libsvtav1"}
"""Encoders that refuse a size that is no multiple of the chroma's subsampling."""

IN_PAIRS = {"uyvy422", "yuyv422", "rgb24"}
"""Pixel formats whose rows are pairs of pixels, or of bytes in QuickTime, wholly."""

LEAST_WIDTH = {"libx265": 64}
"""Encoders that write beyond their memory where pictures are narrower."""


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
    box: Container,
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
    box : Container
        With all its encoders.
    options : Options
        What a person asked for.

    Raises
    ------
    UsageError
        If there is no such encoder, or it has no such option.
    FileError
        If no encoder can hold the samples in the container.
    """
    chosen = options.codec or options.lossless
    usual, given = layout, []
    if not (chosen or source.codec) and layout.kind == "rgb":
        usual = Layout("yuv", min(layout.bits, 10), (1, 1), layout.alpha)  # what all players play
        given = layout.shortfall(usual)
    found = []
    for rank, name in enumerate(_candidates(source, box, options)):
        for pixels in box.raw if name == "rawvideo" else _formats(name, box.muxer):
            fits = _fit(name, usual, pixels, size)
            if fits is not None:
                lost, excess = fits
                stays = name in STEADFAST and rank == 0
                harm = (0, 0) if stays else _harm(lost, usual, pixels)
                order = (harm, rank, len(lost), excess, pixels != source.pixels)
                found.append((order, name, pixels, lost))
    if not found:
        raise FileError(
            f"no codec of this container can hold {layout} video of {size[0]} x {size[1]}; "
            "write .mkv, and leave --codec out"
        )
    _, name, pixels, lost = min(found)
    if lost and options.lossless:
        raise FileError(_refusal(layout, options))
    if not chosen and is_lossless(source.codec) and not is_lossless(name):
        given.append(f"exact values ({source.codec} becomes {name}; .mkv keeps them)")
    if name == "ffv1" and not (chosen or box.archives or source.codec == name):
        given.append(_hardly_played(layout))
    profile = (source.codec, source.profile)
    told = encoder_options(name, pixels, profile, layout, options, size[0])
    return Choice(name, pixels, told, (*given, *lost))


def _harm(lost: list[str], layout: Layout, pixels: str) -> tuple[int, int]:
    """How bad losses are: transparency is worth more than others; then bits of depth count."""
    bits = max(one.bits for one in av.VideoFormat(pixels, 64, 64).components)
    return len(lost) + ("transparency" in lost), max(0, layout.bits - bits)


def is_lossless(codec: str | None) -> bool:
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


def _candidates(source: Source, box: Container, options: Options) -> list[str]:
    """Encoders that the container takes, the best one first."""
    if options.codec is not None:
        names = _by_hand(options.codec, box.encoders)
    elif box.encoders == {"rawvideo"}:
        names = ["rawvideo"]
    elif options.lossless:
        own = [name for name in _family(source.codec) if name in EXACT]
        names = [*own, "ffv1", "libx264", "libx264rgb", "libx265", "libvpx-vp9"]
    else:
        archived = ["ffv1"] if box.archives and is_lossless(source.codec) else []
        names = [*_family(source.codec), *archived, *OTHERS]
    return [name for name in dict.fromkeys(names) if name in box.encoders]


def _hardly_played(layout: Layout) -> str:
    if layout.alpha:
        step = ".mkv and .mov take others with transparency; --codec h264 leaves it out"
    else:
        step = "--codec h264 loses some of it"
    return f"a codec that most players know ({layout} video goes by ffv1 here; {step})"


def _refusal(layout: Layout, options: Options) -> str:
    if options.codec is None:
        return f"this container holds no lossless codec for {layout} video; write .mkv instead"
    return (
        f"the codec {options.codec} cannot hold {layout} video without loss; "
        "leave out --codec or --lossless"
    )


def _by_hand(name: str, supported: frozenset[str]) -> list[str]:
    names = [one for one in FAMILY.get(name, (name,)) if known_encoder(one)]
    if not names:
        known = ", ".join(
            [
                *(name for name in FAMILY if FAMILY[name]),
                *sorted(LOSSLESS & {"ffv1", "ffvhuff", "utvideo"}),
                "mjpeg",
            ]
        )
        raise UsageError(f"--codec {name} is not known; give one of {known}, or libav's own name")
    if not any(one in supported for one in names):
        raise FileError(f"this container does not take the codec {name}; write .mkv instead")
    return names


@cache
def _formats(encoder: str, muxer: str | None) -> tuple[str, ...]:
    """The pixel formats of an encoder that work; libav lists more."""
    names = tuple(one.name for one in av.Codec(encoder, "w").video_formats or ())
    if encoder == "mjpeg":
        return tuple(name for name in names if name.startswith("yuvj"))
    if encoder in WITHOUT_ALPHA:
        beside = encoder in BESIDE and has_room_beside(muxer)
        kept = ("yuva420p",) if beside else ()
        return tuple(name for name in names if name in kept or not _has_alpha(name))
    return names


def _has_alpha(pixels: str) -> bool:
    return any(one.is_alpha for one in av.VideoFormat(pixels, 64, 64).components)


def _fit(
    encoder: str, layout: Layout, pixels: str, size: tuple[int, int]
) -> tuple[list[str], tuple[int, ...]] | None:
    """What is lost and what is stored in excess; None = impossible."""
    other, parts = Layout.of(pixels), av.VideoFormat(pixels, 64, 64)
    if other is None or parts.has_palette or any(one.bits < 8 for one in parts.components):
        return None
    if size[0] < LEAST_WIDTH.get(encoder, 0):
        return None
    if size[0] % 2 and pixels in IN_PAIRS:
        return None
    if encoder in EVEN_ONLY and any(
        length % (1 << shift) for length, shift in zip(size, other.chroma, strict=True)
    ):
        return None
    lost = layout.shortfall(other)
    if other.full and not layout.full:
        lost.append("limited range (the codec stores full range)")
    return lost, layout.excess(other)
