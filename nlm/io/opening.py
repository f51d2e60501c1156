"""Opening files for reading and writing, whatever they hold: pictures, videos, image sequences."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, Self

from nlm.io.base import Frame, Info, Options
from nlm.io.files import Writer, probe
from nlm.io.output import PathOrStream
from nlm.io.sequence import SequenceReader, SequenceWriter, is_sequence
from nlm.io.source import check_size, identify, open_source
from nlm.io.span import Span
from nlm.io.targets import target_format
from nlm.limits import MAX_PIXELS

__all__ = ["FrameReader", "FrameWriter", "open_reader", "open_writer"]


class FrameReader(Protocol):
    """What every open source has in common; a context manager."""

    name: str
    info: Info

    @property
    def damage(self) -> str:
        """After reading: what was missing or broken in the file, in words; empty = nothing."""

    def __iter__(self) -> Iterator[Frame]: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


class FrameWriter(Protocol):
    """What every output being made has in common; a context manager."""

    name: str
    losses: list[str]

    def write(self, frame: Frame) -> None: ...
    def commit(self) -> None: ...
    def discard(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None: ...


def open_reader(
    source: PathOrStream,
    *,
    format: str | None = None,
    max_pixels: int = MAX_PIXELS,
    span: Span | None = None,
) -> FrameReader:
    """Open a picture, stack, animation, video or image sequence for reading.

    Parameters
    ----------
    source : path or binary stream
        ``frame_%04d.png`` is an image sequence. A stream that cannot seek is read as it comes
        where its format allows that, and to its end first otherwise.
    format : str, optional
        What a stream is expected to hold; the first bytes decide.
    max_pixels : int
        Largest width * height that is decoded, known from the header.
    span : Span, optional
        The frames that are wanted.

    Returns
    -------
    FrameReader

    Raises
    ------
    FileError
        If it is missing, empty, no picture, damaged or too large.
    UsageError
        If `format` is not known.
    """
    if is_sequence(source):
        return SequenceReader(os.fspath(source), max_pixels, span)
    name, file, owned = open_source(source)
    try:
        row = identify(name, file, format)
        if not row.is_video:
            return probe(name, file, owned, row, max_pixels, span)
        from nlm.io.video.reader import VideoReader

        video = VideoReader(name, file, owned, row, span)
        check_size(name, video.info, max_pixels)
        return video
    except BaseException:
        if owned:
            file.close()
        raise


def open_writer(
    target: PathOrStream,
    info: Info,
    *,
    format: str | None = None,
    options: Options | None = None,
) -> FrameWriter:
    """Open an output for frames that look like `info`.

    Parameters
    ----------
    target : path or binary stream
        Replaced as a whole when the context ends well, not touched otherwise; but videos to
        streams and pipes flow as they are made. ``frame_%04d.png`` is an image sequence.
    info : Info
        Of the source: depth, channels and metadata to carry over.
    format : str, optional
        Name of the format; left out, the target's suffix decides, for a stream the source's format.
    options : Options, optional
        Quality of formats with loss.

    Returns
    -------
    FrameWriter
        Its `losses` say what cannot be carried over.

    Raises
    ------
    FileError
        If the format cannot hold the samples, or nothing can be written there.
    UsageError
        If `format` is not known.
    """
    options = options or Options()
    if is_sequence(target):
        return SequenceWriter(os.fspath(target), info, format, options)
    if isinstance(target, str | os.PathLike):
        name = os.fspath(target)
    else:
        name = str(getattr(target, "name", "<stream>"))
        format = format or info.format
    row = target_format(name, format)
    if row.is_video:
        from nlm.io.video.writer import VideoWriter

        return VideoWriter(target, name, info, row, options)
    return Writer(target, name, info, row, options)
