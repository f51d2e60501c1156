"""What became of a file of a tree, in the paths that people gave."""

import os
from dataclasses import dataclass

from nlm import pipeline
from nlm.batch.manifest import KEPT, Record
from nlm.errors import FileError
from nlm.pipeline import FileResult
from nlm.settings import Settings


@dataclass(frozen=True)
class Outcome:
    """What became of a file of the tree.

    Attributes
    ----------
    file : FileResult
        Paths below the two folders as they were given.
    attempts : int
        0 where nothing was done.
    source_bytes, output_bytes : int or None
    pixels : int
        Of all frames, as known before the work.
    """

    file: FileResult
    attempts: int = 0
    source_bytes: int | None = None
    output_bytes: int | None = None
    pixels: int = 0


def failed(source: str, target: str, settings: Settings, error: str, attempts: int = 0) -> Outcome:
    """The outcome of a file that could not be done."""
    file = pipeline.failed(source, target, settings, FileError(error))
    return Outcome(file, attempts, size(source))


def skipped(source: str, target: str, settings: Settings, record: Record) -> Outcome:
    """The outcome of a file that was done before; a damaged one is told of again."""
    file = FileResult(source, target, "skipped", settings.method, settings.preset)
    for name in KEPT:
        setattr(file, name, record.result.get(name))
    if file.error:
        file.status = "failed"
    return Outcome(file, 0, record.read.size, record.written.size)


def size(path: str) -> int | None:
    """Bytes of a file; None where there is none."""
    try:
        return os.path.getsize(path)
    except OSError:
        return None
