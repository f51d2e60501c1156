"""The parent's end of a worker process, see `nlm.batch.worker` for the other."""

import contextlib
import os
import pickle
import signal
import subprocess
from collections.abc import Callable

from nlm.batch import worker
from nlm.batch.jobs import Job, JobResult, Progress
from nlm.errors import FileError

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

BROKEN_PIPE = (EOFError, OSError, ValueError, pickle.UnpicklingError)
"""What a pipe to a dead process raises; half an answer is none."""


class WorkerDiedError(Exception):
    """A worker process ended without an answer."""


class WorkerProcess:
    """A process that does one job at a time."""

    def __init__(self, threads: int) -> None:
        self.started = False
        limits = {name: str(threads) for name in THREAD_VARIABLES}
        try:
            self.process = subprocess.Popen(
                worker.command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**limits, **os.environ},
                start_new_session=True,  # Ctrl-C is for the parent alone
            )
        except OSError as error:
            raise FileError(
                f"no worker process can be started ({error.strerror}); use fewer: --jobs 1"
            ) from error

    def alive(self) -> bool:
        return self.process.poll() is None

    def is_ready(self) -> bool:
        """Wait until it has started; False if it died over that."""
        if not self.started:
            assert self.process.stdout is not None
            try:
                self.started = pickle.load(self.process.stdout) == worker.READY
            except BROKEN_PIPE:
                self.kill()
        return self.started

    def do(self, job: Job, put: Callable[[object], None]) -> JobResult:
        """The result of a job; WorkerDiedError if there will be none."""
        orders, answers = self.process.stdin, self.process.stdout
        assert orders is not None
        assert answers is not None
        try:
            put(Progress(job, 0.0))
            pickle.dump(job, orders, pickle.HIGHEST_PROTOCOL)
            orders.flush()
            while not isinstance(answer := pickle.load(answers), JobResult):
                put(Progress(job, float(answer)))
            return answer
        except BROKEN_PIPE:
            self.kill()
            raise WorkerDiedError(self.cause()) from None

    def kill(self) -> None:
        """End the process and forget it."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()

    def cause(self) -> str:
        """Why it ended, in words."""
        code = self.process.returncode
        if code < 0:
            try:
                return f"killed by {signal.Signals(-code).name}"
            except ValueError:
                return f"killed by signal {-code}"
        return f"ended with exit code {code}"
