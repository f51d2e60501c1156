"""Inputs: from a path or stream to a seekable file of a known format."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from nlm.errors import FileError
from nlm.io.base import Info
from nlm.io.formats import FALLBACK, FORMATS, Format, by_name, by_suffix, sniff
from nlm.io.pipes import buffered
from nlm.io.video.containers import CONTAINERS

__all__ = ["check_size", "identify", "open_source", "reading"]

_HEAD = 256  # bytes that decide about the format


def open_source(source: str | os.PathLike[str] | BinaryIO) -> tuple[str, BinaryIO, bool]:
    """Name, seekable file, and whether it is ours to close.

    Raises
    ------
    FileError
        If it does not exist, is a folder, cannot be read, or is empty.
    """
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        file: BinaryIO = _open_path(name)
        owned = True
        if not file.seekable():  # a named pipe, or what stands in /dev/fd
            raw = file.detach() if isinstance(file, io.BufferedReader) else file
            file = buffered(raw, _HEAD, owned)  # type: ignore[arg-type]
    else:
        name = str(getattr(source, "name", "<stream>"))
        owned = not source.seekable()
        file = buffered(source, _HEAD) if owned else source
    if not _head(file):
        if owned:
            file.close()
        raise FileError(f"{name}: is empty (0 bytes); get a fresh copy of the file")
    return name, file, owned


def identify(name: str, file: BinaryIO, format: str | None) -> Format:
    """The format by first bytes; the suffix and `format` only say what was expected.

    Raises
    ------
    FileError
        If the content is not what its suffix or `format` promises.
    UsageError
        If `format` is not known.
    """
    promised = by_name(format) if format is not None else by_suffix(name)
    found = sniff(_head(file))
    if found is None and promised.is_video and Path(name).suffix:
        return promised  # libav finds its way in damaged streams
    if found is not None:
        return promised if _same_container(found, promised) else found
    if promised is FALLBACK and Path(name).suffix:
        return FALLBACK
    what = f"is no {promised.title} picture" if promised is not FALLBACK else "is no picture"
    known = ", ".join(row.title for row in FORMATS)
    raise FileError(
        f"{name}: {what}, its first bytes belong to none of {known}; "
        "check that the file is what its name says"
    )


def _head(file: BinaryIO) -> bytes:
    """The first bytes of a file that is at its beginning then, pipe or not."""
    if isinstance(file, io.BufferedReader) and not file.seekable():
        return file.peek(_HEAD)[:_HEAD]
    file.seek(0)
    head = file.read(_HEAD)
    file.seek(0)
    return head


def _same_container(found: Format, promised: Format) -> bool:
    """Whether a file name's suffix tells more than the content: MP4 or MOV, MKV or WebM."""
    if not (found.is_video and promised.is_video):
        return False
    return CONTAINERS[found.name].demuxer == CONTAINERS[promised.name].demuxer


def check_size(name: str, info: Info, max_pixels: int) -> None:
    """Refuse what has no pixels, or more than are to be read.

    Raises
    ------
    FileError
    """
    pixels = info.width * info.height
    if pixels > max_pixels:
        raise FileError(
            f"{name}: has {info.width} x {info.height} = {pixels / 1e6:.0f} million pixels, "
            f"at most {max_pixels / 1e6:.0f} million are read by default; "
            f"if the file is no hoax, use: --max-pixels {pixels}"
        )
    if pixels <= 0:
        raise FileError(f"{name}: has no pixels; get a fresh copy of the file")


@contextmanager
def reading(name: str, row: Format) -> Iterator[None]:
    """Turn what a decoder raises on damaged data into one line that names the file."""
    try:
        yield
    except (FileError, NotImplementedError) as error:
        raise FileError(_named(name, str(error))) from error
    except MemoryError as error:
        raise FileError(
            f"{name}: does not fit into memory; free some, or cut the picture into parts"
        ) from error
    except Exception as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        raise FileError(
            f"{name}: cannot be read as {row.title}, it is damaged or cut short ({detail}); "
            "get a fresh copy of the file"
        ) from error


def _named(name: str, message: str) -> str:
    return message if message.startswith(name) else f"{name}: {message}"


def _open_path(name: str) -> BinaryIO:
    try:
        return open(name, "rb")
    except FileNotFoundError as error:
        raise FileError(f"{name}: does not exist; check the name and the folder") from error
    except IsADirectoryError as error:
        raise FileError(
            f"{name}: is a folder, a file is wanted; name its files, or use: nlm batch"
        ) from error
    except PermissionError as error:
        if Path(name).is_dir():  # what Windows says about a folder
            raise FileError(
                f"{name}: is a folder, a file is wanted; name its files, or use: nlm batch"
            ) from error
        raise FileError(f"{name}: no permission to read it; change its access rights") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FileError(f"{name}: cannot be opened: {reason}; check the path") from error
