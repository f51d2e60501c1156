"""The containers that videos come in: what libav calls them and what they can do."""

from __future__ import annotations

from dataclasses import dataclass

from av.video.codeccontext import VideoCodecContext

__all__ = ["CONTAINERS", "Container", "name_codec"]


@dataclass(frozen=True)
class Container:
    """A container.

    Attributes
    ----------
    demuxer : str
        libav's name for reading.
    muxer : str or None
        libav's name for writing; None = it is read only.
    flows : bool
        It can be read from a pipe, from beginning to end.
    pours : bool
        It can be written to a pipe.
    constant_rate : bool
        It has no time stamps: all frames are shown equally long.
    encoders : set of str
        What it takes, where libav does not tell.
    """

    demuxer: str
    muxer: str | None
    flows: bool = False
    pours: bool = False
    constant_rate: bool = False
    encoders: frozenset[str] = frozenset()


CONTAINERS = {
    "mp4": Container("mov", "mp4", pours=True),
    "mov": Container("mov", "mov", pours=True),
    "mkv": Container("matroska", "matroska", flows=True, pours=True),
    "webm": Container("matroska", "webm", flows=True, pours=True),
    "avi": Container("avi", "avi", constant_rate=True),
    "ts": Container(
        "mpegts", "mpegts", flows=True, pours=True,
        encoders=frozenset({"libx264", "libx265", "mpeg2video", "mpeg1video", "mpeg4"}),
    ),
    "mpg": Container(
        "mpeg", "vob", flows=True, pours=True, encoders=frozenset({"mpeg2video", "mpeg1video"}),
    ),
    "y4m": Container(
        "yuv4mpegpipe", "yuv4mpegpipe", flows=True, pours=True, constant_rate=True,
        encoders=frozenset({"rawvideo"}),
    ),
    "flv": Container("flv", None, flows=True),
    "wmv": Container("asf", None, flows=True),
}  # fmt: skip
"""By the names of :data:`nlm.io.formats.FORMATS`."""


def name_codec(context: VideoCodecContext, muxer: str, source: VideoCodecContext | None) -> None:
    """Let a container call the codec of a stream what players know it by.

    Those of Apple know HEVC in MP4 and MOV by ``hvc1`` only. A source that says ``hev1``, whose
    parameters may be anywhere, keeps that.
    """
    if context.codec.canonical_name == "hevc" and muxer in ("mp4", "mov"):
        kept = source is not None and source.codec_tag == "hev1"
        context.codec_tag = "hev1" if kept else "hvc1"
