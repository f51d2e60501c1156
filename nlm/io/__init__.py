"""Pictures, stacks and animations in and out, without loss."""

from __future__ import annotations

from nlm.io.base import Frame, Info, Metadata, Options
from nlm.io.files import MAX_PIXELS, Reader, Writer, open_reader, open_writer
from nlm.io.formats import FORMATS, Format
from nlm.io.targets import check_target

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "Format",
    "Frame",
    "Info",
    "Metadata",
    "Options",
    "Reader",
    "Writer",
    "check_target",
    "open_reader",
    "open_writer",
]
