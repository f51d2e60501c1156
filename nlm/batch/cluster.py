"""Jobs on a Dask cluster: an existing one by its scheduler's address, or one made for the run."""

import os
import secrets
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any

from nlm.backends.threads import available_threads
from nlm.batch.capacity import default_memory, to_share
from nlm.batch.jobs import Job, JobResult, Results, Tell, tell_nobody
from nlm.batch.process import THREAD_VARIABLES
from nlm.batch.supervisor import RETRIES
from nlm.batch.work import failure, perform, with_threads
from nlm.errors import NlmError, UsageError

PATIENCE = "15s"
"""How long a scheduler may take to answer."""


class Dask:
    """Executor on a Dask cluster whose workers see the same files under the same paths.

    Parameters
    ----------
    scheduler : str, optional
        Address, ``tcp://host:8786``. Left out: a cluster of processes on this machine.
    count : int, optional
        Worker processes of the cluster on this machine. Left out: one per processor thread.
    memory : int, optional
        Bytes that they may use in all.
    retries : int
        Further attempts after an unexpected error; a lost worker's jobs are always rerun, until
        the scheduler's own limit (`allowed-failures`).
    """

    def __init__(
        self,
        scheduler: str | None = None,
        count: int | None = None,
        memory: int | None = None,
        retries: int = RETRIES,
    ) -> None:
        self.distributed = _distributed()
        self.scheduler = scheduler
        self.count = count or available_threads()
        self.memory = memory or default_memory()
        self.retries = retries

    def run(self, jobs: Sequence[Job], tell: Tell = tell_nobody) -> Results:
        """Do all jobs; results come as they finish. Closing the iterator stops the work."""
        with ExitStack() as stack:
            client, threads = self._connect(stack, jobs)
            prefix = f"nlm-{secrets.token_hex(4)}"
            attempts = dict.fromkeys(range(len(jobs)), 0)

            def submit(number: int) -> Any:
                attempts[number] += 1
                key = f"{prefix}-{number}-{attempts[number]}"
                return client.submit(perform, with_threads(jobs[number], threads), key=key)

            waiting = {submit(number): number for number in range(len(jobs))}
            stack.callback(client.cancel, list(waiting), force=True)
            arriving = self.distributed.as_completed(
                list(waiting), loop=client.loop, with_results=True, raise_errors=False
            )
            for future, answer in arriving:
                number = waiting.pop(future)
                job = jobs[number]
                result = _result(job, future.status, answer)
                if result.again and attempts[number] <= self.retries:
                    again = submit(number)
                    waiting[again] = number
                    arriving.add(again)
                    continue
                yield replace(result, job=job, attempts=attempts[number])

    def _connect(self, stack: ExitStack, jobs: Sequence[Job]) -> tuple[Any, int]:
        """A client, and the processor threads for each job."""
        address: Any = self.scheduler
        threads = 1  # Dask's custom: a worker runs as many jobs as it has threads
        if address is None:
            largest = max((job.memory for job in jobs), default=0) or 1
            room = to_share(self.memory, available_threads())
            count = max(1, min(self.count, len(jobs), room // largest))
            threads = max(1, available_threads() // count)
            address = stack.enter_context(_local_cluster(self.distributed, count, threads))
        try:
            client = self.distributed.Client(address, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"no Dask scheduler answers at {address} ({type(error).__name__}); "
                "check the address, tcp://host:8786 say, or use: --cluster local"
            ) from None
        return stack.enter_context(client), threads


def _local_cluster(distributed: Any, count: int, threads: int) -> Any:
    """Worker processes under Dask's care; they are told their threads before they start."""
    config = import_module("dask").config
    variables = {name: os.environ.get(name, str(threads)) for name in THREAD_VARIABLES}
    with config.set({"distributed.nanny.pre-spawn-environ": variables}), _deaf_to_interrupts():
        return distributed.LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,  # so few run at once that all fit
            dashboard_address=None,
            silence_logs=50,
        )


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started meanwhile leave Ctrl-C to this one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _result(job: Job, status: str, answer: Any) -> JobResult:
    if status == "finished" and isinstance(answer, JobResult):
        return answer
    error = answer[1] if isinstance(answer, tuple) else answer
    if type(error).__name__ == "KilledWorker":
        return failure(
            job,
            f"{job.source}: the workers that tried it died, for lack of memory or in a decoder; "
            "try it alone with: nlm denoise",
        )
    detail = " ".join(str(error).split())[:200] or status
    return failure(
        job, f"{job.source}: the cluster did not do it ({detail}); run the batch again", again=True
    )


def _distributed() -> Any:
    try:
        return import_module("distributed")
    except ImportError:
        raise NlmError(
            "clusters need Dask, which is not installed; use: pip install 'nlm[cluster]'"
        ) from None
