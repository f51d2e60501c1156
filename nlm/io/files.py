"""Reading and writing of files, whatever their format."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import BinaryIO

import numpy as np

from nlm.errors import FileError, NlmError
from nlm.io.base import Frame, Info, Options
from nlm.io.formats import FALLBACK, Format, load
from nlm.io.output import Output, write_problem
from nlm.io.samples import rescale, turn
from nlm.io.source import identify, open_source, reading
from nlm.io.targets import check_target, container_bits, target_format
from nlm.limits import MAX_PIXELS

__all__ = ["MAX_PIXELS", "Reader", "Writer", "open_reader", "open_writer"]

PathOrStream = str | os.PathLike[str] | BinaryIO


class Reader:
    """An open picture file: `info` at once, frames one by one when iterated.

    Use as a context manager. Each iteration starts again at the first frame.

    Attributes
    ----------
    name : str
        For messages.
    info : Info
    """

    def __init__(self, name: str, file: BinaryIO, owned: bool, row: Format, info: Info) -> None:
        self.name = name
        self.info = info
        self._file = file
        self._owned = owned
        self._row = row

    def __iter__(self) -> Iterator[Frame]:
        with reading(self.name, self._row):
            self._file.seek(0)
            yield from load(self._row).frames(self._file, self.info)

    def close(self) -> None:
        """Close the file if it was opened here."""
        if self._owned:
            self._file.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
        self._bits = info.bits
        self._dtype = info.dtype
        self._turn = 1 if row.turns else info.metadata.orientation
        self._written = 0
        self._info = _target_info(info, row)
        self._output = Output(target)
        try:
            with _writing(self.name, self._row):
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
        with _writing(self.name, self._row):
            if frame.planes[0].dtype == self._dtype and self._dtype.kind == "u":
                frame = rescale(frame, self._bits, self._info.bits)
            self._encoder.write(turn(frame, self._turn))
            self._written += 1

    def commit(self) -> None:
        """Complete the file and put it in its place."""
        if not self._written:
            raise FileError(f"{self.name}: no frame to write; the source has none")
        with _writing(self.name, self._row):
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


@contextmanager
def _writing(name: str, row: Format) -> Iterator[None]:
    """Turn what an encoder raises into one line that names the file."""
    try:
        yield
    except NlmError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            raise write_problem(name, error) from error
        detail = " ".join(str(error).split()) or type(error).__name__
        raise FileError(
            f"{name}: cannot be written as {row.title} ({detail}); "
            "try another format, TIFF holds most"
        ) from error


def open_reader(
    source: PathOrStream, *, format: str | None = None, max_pixels: int = MAX_PIXELS
) -> Reader:
    """Open a picture, stack or animation for reading.

    Parameters
    ----------
    source : path or binary stream
        A stream that cannot seek is read to its end first.
    format : str, optional
        What a stream is expected to hold; the first bytes decide.
    max_pixels : int
        Largest width * height that is decoded, known from the header.

    Returns
    -------
    Reader

    Raises
    ------
    FileError
        If it is missing, empty, no picture, damaged or too large.
    UsageError
        If `format` is not known.
    """
    name, file, owned = open_source(source)
    try:
        row = identify(name, file, format)
        with reading(name, row):
            info = load(row).probe(file)
        pixels = info.width * info.height
        if pixels > max_pixels:
            raise FileError(
                f"{name}: has {info.width} x {info.height} = {pixels / 1e6:.0f} million pixels, "
                f"at most {max_pixels / 1e6:.0f} million are read by default; "
                f"if the file is no hoax, use: --max-pixels {pixels}"
            )
        if pixels <= 0:
            raise FileError(f"{name}: has no pixels; get a fresh copy of the file")
    except BaseException:
        if owned:
            file.close()
        raise
    return Reader(name, file, owned, row, info)


def open_writer(
    target: PathOrStream,
    info: Info,
    *,
    format: str | None = None,
    options: Options | None = None,
) -> Writer:
    """Open an output for frames that look like `info`.

    Parameters
    ----------
    target : path or binary stream
        Replaced as a whole when the context ends well, not touched otherwise.
    info : Info
        Of the source: depth, channels and metadata to carry over.
    format : str, optional
        Name of the format; left out, the target's suffix decides, for a stream the source's format.
    options : Options, optional
        Quality of formats with loss.

    Returns
    -------
    Writer
        Its `losses` say what cannot be carried over.

    Raises
    ------
    FileError
        If the format cannot hold the samples, or nothing can be written there.
    UsageError
        If `format` is not known.
    """
    if isinstance(target, str | os.PathLike):
        name = os.fspath(target)
    else:
        name = str(getattr(target, "name", "<stream>"))
        format = format or info.format
    return Writer(target, name, info, target_format(name, format), options or Options())


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
