"""Pictures, stacks, animations and videos in and out, without loss."""

from __future__ import annotations

from nlm.io.base import Frame, Info, Metadata, Options
from nlm.io.formats import FORMATS, Format
from nlm.io.opening import FrameReader, FrameWriter, open_reader, open_writer
from nlm.io.span import Span
from nlm.io.targets import check_target
from nlm.limits import MAX_PIXELS

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "Format",
    "Frame",
    "FrameReader",
    "FrameWriter",
    "Info",
    "Metadata",
    "Options",
    "Span",
    "check_target",
    "open_reader",
    "open_writer",
]
