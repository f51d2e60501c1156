"""How long a batch will take, for a dry run."""

import io
import time
from dataclasses import replace

from nlm.batch.folder import Folder
from nlm.batch.plan import Task
from nlm.errors import NlmError
from nlm.pipeline import denoise_file

LARGEST_TRIAL = 4_000_000
"""Pixels of the largest file that is tried."""


def expected_seconds(folder: Folder) -> float | None:
    """The time that what is left will take on all processors of this machine.

    A typical file is denoised, the result thrown away.

    Returns
    -------
    float or None
        None if there is no file to try.
    """
    todo = [task for task in folder.todo if task.pixels]
    small = [task for task in todo if task.pixels <= LARGEST_TRIAL]
    if not small:
        return None if todo else 0.0
    small.sort(key=lambda task: task.pixels)
    typical = small[len(small) // 2]
    seconds = _tried(folder, typical)
    if seconds is None:
        return None
    return seconds * sum(task.pixels for task in todo) / typical.pixels


def _tried(folder: Folder, task: Task) -> float | None:
    settings = replace(folder.settings.with_files(task.files), threads=None)
    seconds = 0.0
    try:
        for _ in range(2):  # the first time loads the kernels
            began = time.perf_counter()
            denoise_file(f"{folder.src}/{task.source}", io.BytesIO(), settings)
            seconds = time.perf_counter() - began
    except NlmError:
        return None
    return seconds
