"""The files of a training run appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

from nlm.errors import FileError
from nlm.io.output import Output, write_problem


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file beside the old one and put it in its place at once.

    Raises
    ------
    FileError
        If it cannot be written; then the old one stays, and nothing beside it.
    """
    output = Output(path)
    try:
        output.file.write(content)
        output.commit()
    except FileError:
        raise
    except OSError as error:
        raise write_problem(path, error) from error
    finally:
        output.discard()
