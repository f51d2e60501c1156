"""Worker processes, each watched by a thread: a dead one costs its one job one attempt."""

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from nlm.backends.threads import available_threads
from nlm.batch.capacity import Gate, GateClosedError, default_memory, to_share
from nlm.batch.jobs import Job, JobResult, Results, Tell, WorkerLost, tell_nobody
from nlm.batch.need import PROCESS
from nlm.batch.process import WorkerDiedError, WorkerProcess
from nlm.batch.work import failure, with_threads
from nlm.errors import FileError

RETRIES = 2
STARTS = 10
"""How often a worker is started before the machine is held to be broken."""


class Workers:
    """Executor that runs jobs in processes of this machine.

    Parameters
    ----------
    count : int, optional
        Files at once at most. Left out: one per processor thread.
    threads : int, optional
        Processor threads in all. Left out: all that this process may use.
    memory : int, optional
        Bytes in all: large pictures run fewer at once, with more threads each.
    retries : int
        Further attempts after a worker died or an unexpected error.
    """

    def __init__(
        self,
        count: int | None = None,
        threads: int | None = None,
        memory: int | None = None,
        retries: int = RETRIES,
    ) -> None:
        self.threads = threads or available_threads()
        self.count = count or self.threads
        self.memory = memory or default_memory()
        self.retries = retries

    def run(self, jobs: Sequence[Job], tell: Tell = tell_nobody) -> Results:
        """Do all jobs; results come as they finish. Closing the iterator stops the work."""
        lanes, room = self._lanes(jobs)
        news: queue.SimpleQueue[object] = queue.SimpleQueue()
        gate = Gate(self.threads, lanes, room)
        waiting = _Line(jobs)
        crew = [_Lane(waiting, gate, self.retries, news.put) for _ in range(lanes)]
        for lane in crew:
            lane.start()
        missing = len(jobs)
        try:
            while missing:
                item = news.get()
                if isinstance(item, JobResult):
                    missing -= 1
                    yield item
                elif isinstance(item, BaseException):
                    raise item
                else:
                    tell(item)  # type: ignore[arg-type]
        finally:
            waiting.close()
            gate.close()
            for lane in crew:
                lane.stop()
            for lane in crew:
                lane.join()

    def _lanes(self, jobs: Sequence[Job]) -> tuple[int, int]:
        """How many processes are of use, and the bytes that their jobs share: a process holds some
        without a job, too.
        """
        room = to_share(self.memory, self.threads)
        least = min((job.memory for job in jobs if job.memory), default=0)
        lanes = min(self.count, len(jobs), max(1, room // max(least, PROCESS)))
        return lanes, max(1, room - lanes * PROCESS)


class _Line:
    """Jobs that wait for a lane."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = iter(jobs)
        self._lock = threading.Lock()

    def next(self) -> Job | None:
        with self._lock:
            return next(self._jobs, None)

    def close(self) -> None:
        with self._lock:
            self._jobs = iter(())


class _Lane(threading.Thread):
    """Takes jobs one after another to a worker process of its own."""

    def __init__(
        self, waiting: _Line, gate: Gate, retries: int, put: Callable[[object], None]
    ) -> None:
        super().__init__(name="nlm-batch", daemon=True)
        self.waiting, self.gate, self.retries, self.put = waiting, gate, retries, put
        self.stopped = False
        self.worker: WorkerProcess | None = None
        self.lock = threading.Lock()

    def run(self) -> None:
        try:
            self.live_worker()
            while (job := self.waiting.next()) is not None:
                self.put(self.finish(job))
        except GateClosedError:
            pass
        except BaseException as error:
            self.put(error)
        finally:
            self.stop()

    def finish(self, job: Job) -> JobResult:
        """Attempt a job until it is done or the attempts are used up."""
        result = failure(job, "")
        for attempt in range(1, self.retries + 2):
            # alone after a death: lack of memory is the usual cause
            memory = max(0, job.memory - PROCESS) if attempt == 1 else self.gate.memory
            with self.gate.admit(memory) as threads:
                try:
                    result = self.live_worker().do(with_threads(job, threads), self.put)
                except WorkerDiedError as death:
                    if self.stopped:
                        raise GateClosedError from None
                    self.put(WorkerLost(job, str(death)))
                    result = failure(job, _died(job, str(death), attempt), again=True)
            if not result.again:
                break
        return replace(result, job=job, attempts=attempt)

    def live_worker(self) -> WorkerProcess:
        """A worker that waits for a job; one that dies before it is ready costs no attempt."""
        for _ in range(STARTS):
            with self.lock:
                if self.stopped:
                    raise GateClosedError
                if self.worker is None or not self.worker.alive():
                    self.worker = WorkerProcess(max(1, self.gate.threads // self.gate.lanes))
                chosen = self.worker
            if chosen.is_ready():
                return chosen
        raise FileError(
            f"worker processes end as soon as they start ({chosen.cause()}); "
            "check the installation with: nlm info"
        )

    def stop(self) -> None:
        with self.lock:
            self.stopped = True
            if self.worker is not None:
                self.worker.kill()


def _died(job: Job, cause: str, attempts: int) -> str:
    times = "once" if attempts == 1 else f"{attempts} times"
    return (
        f"{job.source}: its worker process died {times} ({cause}), for lack of memory or in a "
        "decoder; try it alone with: nlm denoise"
    )
