"""Inputs: from a path or stream to a seekable file of a known format."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from nlm.errors import FileError
from nlm.io.formats import FALLBACK, FORMATS, Format, by_name, by_suffix, sniff

__all__ = ["identify", "open_source", "reading"]

_HEAD = 32  # bytes that decide about the format


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
    else:
        name = str(getattr(source, "name", "<stream>"))
        owned = not source.seekable()
        file = io.BytesIO(source.read()) if owned else source
    file.seek(0)
    empty = not file.read(1)
    if empty:
        if owned:
            file.close()
        raise FileError(f"{name}: is empty (0 bytes); get a fresh copy of the picture")
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
    file.seek(0)
    found = sniff(file.read(_HEAD))
    if found is not None:
        return found
    if promised is FALLBACK and Path(name).suffix:
        return FALLBACK
    what = f"is no {promised.title} picture" if promised is not FALLBACK else "is no picture"
    known = ", ".join(row.title for row in FORMATS)
    raise FileError(
        f"{name}: {what}, its first bytes belong to none of {known}; "
        "check that the file is what its name says"
    )


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
