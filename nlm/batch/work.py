"""Doing one job, in whatever process this runs: errors become results."""

import os
from collections.abc import Callable
from dataclasses import replace

from nlm import pipeline
from nlm.batch.jobs import FileState, Job, JobResult
from nlm.errors import FileError, NlmError


def perform(job: Job, progress: Callable[[float], None] | None = None) -> JobResult:
    """Denoise a job's file.

    Parameters
    ----------
    job : Job
    progress : callable, optional
        Told how much is done, 0 to 1.

    Returns
    -------
    JobResult
        Also where that failed.
    """
    before = _state(FileState.of, job.source)
    files = job.settings.files()
    beside = {name: _state(FileState.known, path) for name, path in files.items()}
    try:
        done = pipeline.denoise_file(
            job.source, job.target, job.settings, force=job.force, progress=progress
        )
        for path, state in ((job.source, before), *((files[n], beside[n]) for n in files)):
            if state is None or not _untouched(state, path):
                os.unlink(job.target)
                raise FileError(f"{path}: changed while it was read; run the batch again")
        found = {name: state for name, state in beside.items() if state is not None}
        return JobResult(job, done, before, FileState.of(job.target), found)
    except NlmError as error:
        return failure(job, str(error))
    except MemoryError:
        return failure(job, f"{job.source}: does not fit into memory; use: --jobs 1", again=True)
    except Exception as error:
        detail = " ".join(str(error).split()) or "no details"
        name = type(error).__name__
        message = f"{job.source}: failed ({name}: {detail}); check the file, then run again"
        return failure(job, message, again=True)


def failure(job: Job, message: str, *, attempts: int = 1, again: bool = False) -> JobResult:
    """The result of a job that could not be done."""
    done = pipeline.failed(job.source, job.target, job.settings, NlmError(message))
    return JobResult(job, done, attempts=attempts, again=again)


def with_threads(job: Job, threads: int) -> Job:
    """The job with that many threads, unless its settings say how many."""
    if job.settings.threads is not None:
        return job
    return replace(job, settings=replace(job.settings, threads=threads))


def _state(of: Callable[[str], FileState], path: str) -> FileState | None:
    try:
        return of(path)
    except OSError:
        return None  # reading it tells why, in words


def _untouched(before: FileState, path: str) -> bool:
    try:
        about = os.stat(path)
    except OSError:
        return False
    return (about.st_size, about.st_mtime_ns) == (before.size, before.mtime_ns)
