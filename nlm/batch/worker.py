"""A worker process: jobs come in on its standard input, results go out on its standard output.

It ends as soon as its input does, in the middle of a job too: when the process that started it
is killed, nothing goes on behind people's backs.
"""

import os
import pickle
import sys
import threading
import time
from queue import SimpleQueue
from typing import BinaryIO

READY = "ready"

PULSE = 0.2
"""Seconds between two reports of progress."""


def main() -> None:
    """Work until the input ends."""
    orders, answers = _private_pipes()
    jobs: SimpleQueue[object] = SimpleQueue()
    threading.Thread(target=_listen, args=(orders, jobs), daemon=True).start()

    from nlm.batch.work import perform

    _send(answers, READY)
    while True:
        job = jobs.get()
        result = perform(job, _Pulse(answers))  # type: ignore[arg-type]
        _send(answers, result)


def _private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The pipes to the parent, out of reach of libraries that print."""
    orders = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    return orders, answers


def _listen(orders: BinaryIO, jobs: "SimpleQueue[object]") -> None:
    try:
        while True:
            jobs.put(pickle.load(orders))
    except (EOFError, OSError, pickle.UnpicklingError):
        os._exit(0)


def _send(answers: BinaryIO, message: object) -> None:
    try:
        pickle.dump(message, answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()
    except OSError:
        os._exit(0)


class _Pulse:
    """Passes progress on, not too often."""

    def __init__(self, answers: BinaryIO) -> None:
        self.answers = answers
        self.last = time.monotonic()

    def __call__(self, share: float) -> None:
        now = time.monotonic()
        if now - self.last >= PULSE:
            self.last = now
            _send(self.answers, share)


def command() -> list[str]:
    """The command line that starts a worker with this process's modules."""
    program = "import sys; sys.path[:] = sys.argv[1:]; from nlm.batch.worker import main; main()"
    return [sys.executable, "-P", "-c", program, *map(os.path.abspath, sys.path)]
