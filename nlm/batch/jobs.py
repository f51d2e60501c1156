"""One file's worth of work, and what became of it: values that travel between processes."""

import hashlib
import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from nlm.pipeline import FileResult
from nlm.settings import Settings


@dataclass(frozen=True)
class FileState:
    """How a file is recognised later: size and time of change at a glance, content for certain.

    Attributes
    ----------
    size : int
        Bytes.
    mtime_ns : int
    digest : str
        Hash of the content.
    """

    size: int
    mtime_ns: int
    digest: str

    @classmethod
    def of(cls, path: str) -> "FileState":
        """The state of a file now; OSError where there is none."""
        with open(path, "rb") as file:
            about = os.fstat(file.fileno())
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
        return cls(about.st_size, about.st_mtime_ns, digest.hexdigest())

    def is_that_of(self, path: str) -> bool:
        """Whether the file is unchanged; one that was only touched is."""
        try:
            about = os.stat(path)
            if about.st_size != self.size:
                return False
            return about.st_mtime_ns == self.mtime_ns or self.known(path).digest == self.digest
        except OSError:
            return False

    @classmethod
    def known(cls, path: str) -> "FileState":
        """As `of`, for a file that many jobs use: hashed again only if size or time changed."""
        about = os.stat(path)
        return _hashed(path, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=64)
def _hashed(path: str, size: int, mtime_ns: int) -> FileState:
    return FileState.of(path)


@dataclass(frozen=True)
class Job:
    """A file to denoise.

    Attributes
    ----------
    source, target : str
        Absolute, where workers with another working folder are to find them.
    settings : Settings
        `threads` None = as many as the executor grants. Its files are absolute, too.
    force : bool
        Overwrite what is at `target`.
    pixels : int
        Of all frames; 0 = not known.
    memory : int
        Bytes that the work is expected to need; 0 = not known, taken for little.
    """

    source: str
    target: str
    settings: Settings = field(default_factory=Settings)
    force: bool = False
    pixels: int = 0
    memory: int = 0


@dataclass(frozen=True)
class JobResult:
    """What became of a job; there is exactly one for every job.

    Attributes
    ----------
    job : Job
    file : FileResult
    source, output : FileState or None
        As read and as written; None where the work failed.
    files : dict of str to FileState
        As used: what else the output depends on, see `Settings.files`.
    attempts : int
        How often it was begun: more than 1 after a worker died.
    again : bool
        It failed in a way that another attempt may mend.
    """

    job: Job
    file: FileResult
    source: FileState | None = None
    output: FileState | None = None
    files: dict[str, FileState] = field(default_factory=dict)
    attempts: int = 1
    again: bool = False


@dataclass(frozen=True)
class Progress:
    """How far a job is: 0 as it begins, 1 at its end."""

    job: Job
    share: float


@dataclass(frozen=True)
class WorkerLost:
    """A worker died while it had this job; `reason` in words."""

    job: Job
    reason: str


Event = Progress | WorkerLost
Tell = Callable[[Event], None]
Results = Generator[JobResult, None, None]


def tell_nobody(event: Event) -> None:
    """Where events go that nobody wants."""


class Executor(Protocol):
    """A way to get jobs done."""

    def run(self, jobs: Sequence[Job], tell: Tell = tell_nobody) -> Results:
        """Do all jobs; results come as they finish. Closing the iterator stops the work."""
