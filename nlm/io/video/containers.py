"""The containers that videos come in: what libav calls them and what they can do."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CONTAINERS", "Container"]


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
