"""Reading and writing of pictures, stacks and animations, whatever their format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType
from typing import BinaryIO

import numpy as np

from nlm.errors import FileError
from nlm.io.base import Frame, Info, Options
from nlm.io.formats import FALLBACK, Format, load
from nlm.io.output import Output, PathOrStream, writing
from nlm.io.samples import rescale, turn
from nlm.io.source import check_size, identify, open_source, reading
from nlm.io.span import Span
from nlm.io.targets import check_target, container_bits

__all__ = ["Reader", "Writer", "open_picture", "probe"]


class Reader:
    """An open picture file: `info` at once, frames one by one when iterated.

    Use as a context manager. Each iteration starts again at the first frame.

    Attributes
    ----------
    name : str
        For messages.
    info : Info
    damage : str
        Empty: a picture is read whole or not at all.
    """

    damage = ""

    def __init__(
        self,
        name: str,
        file: BinaryIO,
        owned: bool,
        row: Format,
        info: Info,
        span: Span | None = None,
    ) -> None:
        self.name = name
        self.info = info
        self._file = file
        self._owned = owned
        self._row = row
        self._span = span

    def __iter__(self) -> Iterator[Frame]:
        with reading(self.name, self._row):
            self._file.seek(0)
            frames = load(self._row).frames(self._file, self.info)
            yield from frames if self._span is None else self._span.cut(frames, self.name)

    def close(self) -> None:
        """Close the file if it was opened here."""
        if self._owned:
            self._file.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def probe(
    name: str, file: BinaryIO, owned: bool, row: Format, max_pixels: int, span: Span | None = None
) -> Reader:
    """A reader of a file of a known format; FileError if it is damaged or too large."""
    with reading(name, row):
        info = load(row).probe(file)
    check_size(name, info, max_pixels)
    return Reader(name, file, owned, row, info, span)


def open_picture(path: str, max_pixels: int) -> Reader:
    """Open a picture file."""
    name, file, owned = open_source(path)
    try:
        row = identify(name, file, None)
        if row.is_video:
            raise FileError(f"{name}: is a video, a picture is wanted; check the name")
        return probe(name, file, owned, row, max_pixels)
    except BaseException:
        file.close()
        raise


class Writer:
    """A picture file being written; it appears whole when the context ends without an error.

    Attributes
    ----------
    name : str
        For messages.
    losses : list of str
        What the format cannot carry over from the source, in words.
    """

    def __init__(
        self, target: PathOrStream, name: str, info: Info, row: Format, options: Options
    ) -> None:
        self.name = name
        self.losses = check_target(info, name, row.name if row is not FALLBACK else None)
        self._row = row
        self._video = info if info.chroma is not None else None
        if self._video is not None:
            info = _as_rgb(info)
        self._bits = info.bits
        self._dtype = info.dtype
        self._turn = 1 if row.turns else info.metadata.orientation
        self._written = 0
        self._info = _target_info(info, row)
        self._output = Output(target)
        try:
            with writing(self.name, self._row):
                self._encoder = load(row).encoder(self._output.file, self._info, options)
        except BaseException:
            self._output.discard()
            raise

    def write(self, frame: Frame) -> None:
        """Append a frame in the source's dtype and depth.

        Raises
        ------
        FileError
            If it cannot be written.
        """
        with writing(self.name, self._row):
            if self._video is not None:
                from nlm.io.video.foreign import rgb_frame

                frame = rgb_frame(frame, self._video)
            if frame.planes[0].dtype == self._dtype and self._dtype.kind == "u":
                frame = rescale(frame, self._bits, self._info.bits)
            self._encoder.write(turn(frame, self._turn))
            self._written += 1

    def commit(self) -> None:
        """Complete the file and put it in its place."""
        if not self._written:
            raise FileError(f"{self.name}: no frame to write; the source has none")
        with writing(self.name, self._row):
            self._encoder.finish()
        self._output.commit()

    def discard(self) -> None:
        """Leave no trace."""
        self._output.discard()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
            return
        try:
            self.commit()
        except BaseException:
            self.discard()
            raise


def _as_rgb(info: Info) -> Info:
    """What a YUV video is as pictures."""
    return replace(info, channels=3, chroma=None)


def _target_info(info: Info, row: Format) -> Info:
    """What the encoder is to write: the target's depth, and the source's notes if they fit."""
    meta = info.metadata
    if row.name != info.format:
        meta = replace(meta, native=None)
    width, height = info.width, info.height
    if not row.turns:
        if meta.orientation >= 5:
            width, height = height, width
        meta = replace(meta, orientation=1)
    bits = container_bits(info, row)
    assert bits is not None
    dtype = info.dtype
    if dtype.kind == "u":
        dtype = np.min_scalar_type(2**bits - 1)
    else:
        bits = info.bits
    return replace(
        info, format=row.name, width=width, height=height, dtype=dtype, bits=bits, metadata=meta
    )
