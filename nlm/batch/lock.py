"""One run at a time in a folder."""

import contextlib
import errno
import json
import os
import socket
import sys
import time
from typing import Any, BinaryIO

from nlm.errors import UsageError

_FAR = 2**30  # Windows locks bytes against reading too: one that nobody reads
_WORDS = {"pid": "process", "host": "on", "since": "since"}


class Lock:
    """Held from creation until :meth:`release`, or until this process is gone, however it ends.

    Parameters
    ----------
    path : str
        A file that says who holds it; it stays when the lock is released.
    folder : str
        What is locked, for the message.

    Raises
    ------
    UsageError
        If another run holds it.
    """

    def __init__(self, path: str, folder: str) -> None:
        self._file = open(path, "a+b")  # noqa: SIM115
        holder = _holder(self._file)
        taken = _take(self._file)
        if taken is None:  # this file system has no locks: believe what the holder wrote
            taken = not _is_running(holder)
        if not taken:
            self._file.close()
            said = ", ".join(
                f"{word} {holder[key]}" for key, word in _WORDS.items() if key in holder
            )
            raise UsageError(
                f"{folder}: another run writes there ({said or 'just started'}); "
                "wait for its end, or give another folder"
            )
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        self._write({"pid": os.getpid(), "host": socket.gethostname(), "since": since})

    def _write(self, about: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # a full disk takes the words, not the lock
            self._file.truncate(0)
            self._file.write(json.dumps(about).encode())
            self._file.flush()

    def release(self) -> None:
        """Let others in."""
        self._write({})
        self._file.close()


def _holder(file: BinaryIO) -> dict[str, Any]:
    try:
        file.seek(0)
        content = json.loads(file.read(4096))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _take(file: BinaryIO) -> bool | None:
    """Lock a file; False if another process did, None where files cannot be locked."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(_FAR)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EAGAIN, errno.EACCES, errno.EDEADLK}:
            return False
        return None
    return True


def _is_running(holder: dict[str, Any]) -> bool:
    if not holder:
        return False
    if holder.get("host") != socket.gethostname():
        return True
    try:
        os.kill(int(holder["pid"]), 0)
    except (ProcessLookupError, KeyError, TypeError, ValueError):
        return False
    except OSError:
        pass
    return True
