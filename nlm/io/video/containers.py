"""The containers that videos come in: what libav calls them and what they can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    misfits : set of str
        Encoders that libav lists, and refuses when it comes to writing.
    raw : tuple of str
        The pixel formats that it labels when nothing is coded, as libav calls them: what is written
        with another one is read as something else, or not at all.
    archives : bool
        Lossless codecs are at home in it.
    """

    demuxer: str
    muxer: str | None
    flows: bool = False
    pours: bool = False
    constant_rate: bool = False
    encoders: frozenset[str] = frozenset()
    misfits: frozenset[str] = frozenset()
    raw: tuple[str, ...] = ()
    archives: bool = False


_PLANAR = ("gray", "yuv410p", "yuv411p", "yuv420p", "yuv422p", "nv12", "nv21")
_PACKED = ("uyvy422", "yuyv422")
_DEPTHS = ("", "9le", "10le", "12le", "14le", "16le")
_Y4M = tuple(f"yuv{chroma}p{bits}" for chroma in ("420", "422", "444") for bits in _DEPTHS)
_Y4M_GRAY = ("gray", "gray9le", "gray10le", "gray12le", "gray16le")

CONTAINERS = {
    "mp4": Container("mov", "mp4", pours=True),
    "mov": Container(
        "mov", "mov", pours=True, misfits=frozenset({"libvpx-vp9", "libvpx", "libsvtav1"}),
        raw=(*_PACKED, "vyu444", "uyva", "gray16be",
             "rgb24", "bgr24", "argb", "abgr", "rgba", "bgra", "rgb48be"),
    ),
    "mkv": Container(
        "matroska", "matroska", flows=True, pours=True, raw=(*_PLANAR, *_PACKED), archives=True,
    ),
    "webm": Container("matroska", "webm", flows=True, pours=True),
    "avi": Container(
        "avi", "avi", constant_rate=True, raw=(*_PLANAR, *_PACKED, "bgr24", "bgra"), archives=True,
    ),
    "ts": Container(
        "mpegts", "mpegts", flows=True, pours=True,
        encoders=frozenset({"libx264", "libx265", "mpeg2video", "mpeg1video", "mpeg4"}),
    ),
    "mpg": Container(
        "mpeg", "vob", flows=True, pours=True, encoders=frozenset({"mpeg2video", "mpeg1video"}),
    ),
    "y4m": Container(
        "yuv4mpegpipe", "yuv4mpegpipe", flows=True, pours=True, constant_rate=True,
        encoders=frozenset({"rawvideo"}), raw=(*_Y4M, *_Y4M_GRAY, "yuv411p", "yuva444p"),
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
