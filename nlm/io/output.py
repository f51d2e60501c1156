"""Outputs that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from nlm.errors import FileError, NlmError
from nlm.io.formats import Format

__all__ = ["Output", "PathOrStream", "write_bytes", "write_problem", "writing"]

PathOrStream = str | os.PathLike[str] | BinaryIO

_HINTS = {
    errno.ENOSPC: ("the disk is full", "free some space or choose another folder"),
    errno.EDQUOT: ("the disk quota is used up", "free some space or choose another folder"),
    errno.EFBIG: ("the file would be larger than allowed here", "choose another folder"),
    errno.EACCES: ("no permission to write there", "choose another folder"),
    errno.EPERM: ("no permission to write there", "choose another folder"),
    errno.EROFS: ("the file system is read-only", "choose another folder"),
    errno.ENOENT: ("the folder does not exist", "create it first or choose another one"),
    errno.ENOTDIR: ("a part of the path is no folder", "choose another one"),
    errno.EISDIR: ("this is a folder", "give a file name"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
    errno.EPIPE: ("the reader of the output is gone", "check the command behind the pipe"),
}


def write_problem(name: object, error: OSError) -> FileError:
    """An operating system error in words: what went wrong with which file, and what to do."""
    what, step = _HINTS.get(
        error.errno or 0, (error.strerror or str(error), "check the path and try again")
    )
    return FileError(f"{name}: cannot be written: {what}; {step}")


@contextmanager
def writing(name: str, row: Format) -> Iterator[None]:
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
            f"try another format, {row.instead} holds most"
        ) from error


class Output:
    """A file being made: a hidden neighbour of the target until :meth:`commit`.

    Parameters
    ----------
    target : path or binary stream
        A symbolic link is followed: what it points to is replaced, the link stays. Pipes, devices
        and streams receive the whole output at :meth:`commit`, nothing before.
    direct : bool
        Pipes, devices and streams receive the output as it is made: it may be larger than memory.

    Attributes
    ----------
    file : binary file
        Seekable, opened for reading and writing; with `direct`, a pipe itself.
    path : Path or None
        Where the file is being made; None for pipes, devices and streams.

    Raises
    ------
    FileError
        If nothing can be written there.
    """

    def __init__(self, target: PathOrStream, direct: bool = False) -> None:
        self._direct = direct
        self.name = str(getattr(target, "name", "<stream>"))
        self._temporary: Path | None = None
        self._stream: BinaryIO | None = None
        self._path: Path | None = None
        if not isinstance(target, str | os.PathLike):
            self._stream = target
        else:
            self.name = os.fspath(target)
            self._path = Path(target)
            if _is_replaceable(self._path):
                self._path = Path(os.path.realpath(target))
        try:
            self.file: BinaryIO = self._open()
        except OSError as error:
            raise write_problem(self.name, error) from error
        except KeyboardInterrupt:
            if self._temporary is not None:
                self._temporary.unlink(missing_ok=True)
            raise

    def _open(self) -> BinaryIO:
        if self._path is None or not _is_replaceable(self._path):
            return self._open_pipe() if self._direct else io.BytesIO()
        if self._path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if self._path.exists() and not os.access(self._path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        self._temporary = self._path.with_name(
            f".nlm-{secrets.token_hex(8)}.part{self._path.suffix}"
        )
        return open(self._temporary, "x+b")  # so the umask decides the mode

    def _open_pipe(self) -> BinaryIO:
        if self._stream is not None:
            return self._stream
        assert self._path is not None
        return open(self._path, "wb")

    @property
    def path(self) -> Path | None:
        """Where the file is being made."""
        return self._temporary

    def commit(self) -> None:
        """Put the complete file in its place.

        Raises
        ------
        FileError
            If that fails; then no part of it stays.
        """
        try:
            self.file.flush()
            if self._temporary is not None and self._path is not None:
                self.file.close()
                os.replace(self._temporary, self._path)
                self._temporary = None
            elif not self._direct:
                self._copy()
        except OSError as error:
            self.discard()
            raise write_problem(self.name, error) from error
        except BaseException:
            self.discard()
            raise

    def _copy(self) -> None:
        self.file.seek(0)
        if self._stream is not None:
            shutil.copyfileobj(self.file, self._stream)
            self._stream.flush()
        else:
            assert self._path is not None
            with open(self._path, "wb") as device:
                shutil.copyfileobj(self.file, device)
        self.file.close()

    def discard(self) -> None:
        """Remove what was written so far; the target stays as it was."""
        with contextlib.suppress(OSError):
            if self.file is not self._stream:
                self.file.close()
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                self._temporary.unlink()
            self._temporary = None


def write_bytes(target: PathOrStream, content: bytes | memoryview) -> None:
    """Write a whole file, which appears in its place at once.

    Raises
    ------
    FileError
        If it cannot be written; then what was there before stays, and nothing beside it.
    """
    output = Output(target)
    try:
        output.file.write(content)
        output.commit()
    except FileError:
        raise
    except OSError as error:
        raise write_problem(output.name, error) from error
    finally:
        output.discard()


def _is_replaceable(path: Path) -> bool:
    """A regular file, a folder (refused later) or nothing yet; not a pipe or device."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return True
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)
