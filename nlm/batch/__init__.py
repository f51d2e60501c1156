"""Many files: in this process, in worker processes, or on a Dask cluster.

>>> from nlm import batch
>>> jobs = [batch.Job("a.png", "clean/a.png"), batch.Job("b.png", "clean/b.png")]
>>> for result in batch.run(jobs):  # doctest: +SKIP
...     print(result.file.input, result.file.status)

`Folder` mirrors a whole tree and remembers what is done.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nlm.batch.cluster import Dask
    from nlm.batch.executors import InProcess, run
    from nlm.batch.folder import Folder
    from nlm.batch.jobs import Executor, Job, JobResult
    from nlm.batch.outcome import Outcome
    from nlm.batch.supervisor import Workers

_HOME = {
    "Dask": "cluster",
    "Executor": "jobs",
    "Folder": "folder",
    "InProcess": "executors",
    "Job": "jobs",
    "JobResult": "jobs",
    "Outcome": "outcome",
    "Workers": "supervisor",
    "run": "executors",
}

__all__ = [
    "Dask",
    "Executor",
    "Folder",
    "InProcess",
    "Job",
    "JobResult",
    "Outcome",
    "Workers",
    "run",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"nlm.batch.{_HOME[name]}"), name)
    raise AttributeError(f"module 'nlm.batch' has no attribute {name!r}")
