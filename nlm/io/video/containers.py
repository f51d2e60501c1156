"""The containers that videos come in: what libav calls them and what they can do."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CONTAINERS", "Container"]


@dataclass(frozen=True)
class Container:
    """A container.

    Attributes
    ----------
    demuxer, muxer : str
        libav's names.
    flows : bool
        It can be read from a pipe, from beginning to end.
    pours : bool
        It can be written to a pipe.
    constant_rate : bool
        It has no time stamps: all frames are shown equally long.
    """

    demuxer: str
    muxer: str
    flows: bool = False
    pours: bool = False
    constant_rate: bool = False


CONTAINERS = {
    "mp4": Container("mov", "mp4", pours=True),
    "mov": Container("mov", "mov", pours=True),
    "mkv": Container("matroska", "matroska", flows=True, pours=True),
    "webm": Container("matroska", "webm", flows=True, pours=True),
    "avi": Container("avi", "avi", constant_rate=True),
    "ts": Container("mpegts", "mpegts", flows=True, pours=True),
    "mpg": Container("mpeg", "vob", flows=True, pours=True),
    "y4m": Container("yuv4mpegpipe", "yuv4mpegpipe", flows=True, pours=True, constant_rate=True),
    "flv": Container("flv", "flv", flows=True, pours=True),
    "wmv": Container("asf", "asf", flows=True, pours=True),
}
"""By the names of :data:`nlm.io.formats.FORMATS`."""
