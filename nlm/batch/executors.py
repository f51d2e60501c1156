"""The simplest executor, and the choice of one."""

from collections.abc import Sequence

from nlm.batch.jobs import Executor, Job, Progress, Results, Tell, tell_nobody
from nlm.batch.work import perform


class InProcess:
    """Executor that does one job after another right here."""

    def run(self, jobs: Sequence[Job], tell: Tell = tell_nobody) -> Results:
        """Do all jobs in order."""
        for job in jobs:

            def progress(share: float, job: Job = job) -> None:
                tell(Progress(job, share))

            progress(0.0)
            yield perform(job, progress)


def run(jobs: Sequence[Job], executor: Executor | None = None, tell: Tell = tell_nobody) -> Results:
    """Denoise many files.

    Parameters
    ----------
    jobs : sequence of Job
    executor : Executor, optional
        `InProcess()`, `Workers(...)` or `Dask(...)`. Left out: worker processes.
    tell : callable, optional
        Receives events: `Progress` and `WorkerLost`.

    Yields
    ------
    JobResult
        One for every job, as they finish; failures are results, not exceptions. Closing the
        iterator stops the work.
    """
    if executor is None:
        from nlm.batch.supervisor import Workers

        executor = Workers()
    yield from executor.run(list(jobs), tell)
