"""The end that the system asks for, SIGTERM and a closed terminal, taken like Ctrl-C."""

import signal
import threading
from typing import Any

ENDS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Ended(KeyboardInterrupt):
    """The system asked for the end.

    Parameters
    ----------
    number : int
        Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def heed_ends() -> None:
    """From now on, signals that ask for the end interrupt as Ctrl-C does.

    The same one again ends the program at once. Under `nohup` it still does not heed a closed
    terminal.
    """
    if threading.current_thread() is threading.main_thread():
        for number in ENDS:
            if signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, _end)


def exit_code(error: BaseException) -> int:
    """What a shell expects of a program that was interrupted so."""
    cause = error if isinstance(error, Ended) else error.__cause__
    return 128 + (cause.number if isinstance(cause, Ended) else signal.SIGINT)


def _end(number: int, _: Any) -> None:
    for one in ENDS:  # both come when a session ends: the other must not disturb the tidying up
        signal.signal(one, signal.SIG_DFL if one == number else signal.SIG_IGN)
    raise Ended(number)
