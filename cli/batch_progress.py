"""What people see of a batch: a bar where somebody watches, plain lines elsewhere, a summary."""

import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from nlm_cli.denoise import describe
from nlm_cli.options import watched

if TYPE_CHECKING:
    from nlm.batch import Folder, Outcome
    from nlm.batch.jobs import Event

EVERY = 10.0
"""Seconds between two plain lines."""


class Summary:
    """Counts of what became of the files."""

    def __init__(self, folder: "Folder") -> None:
        self.began = time.monotonic()
        self.counts: Counter[str] = Counter()
        self.losses: Counter[str] = Counter()
        self.retried = 0
        self.pixels = 0
        self.all_files = len(folder.tasks) + len(folder.tree.trouble)
        self.all_pixels = sum(task.pixels for task in folder.todo)
        self.others = folder.tree.others

    def add(self, outcome: "Outcome") -> None:
        """Count a file."""
        self.counts[outcome.file.status] += 1
        self.losses.update(outcome.file.losses)
        self.retried += outcome.attempts > 1
        self.pixels += outcome.pixels

    @property
    def share(self) -> float:
        """How much of the work is done, 0 to 1."""
        return self.pixels / self.all_pixels if self.all_pixels else 0.0

    def progress(self) -> str:
        """One line on the way."""
        files = f"{self.counts.total()} of {self.all_files} files, {self.share:.0%}"
        failed = f", {self.counts['failed']} failed" if self.counts["failed"] else ""
        if not self.share:
            return files + failed
        spent = time.monotonic() - self.began
        return f"{files}{failed}, {clock(spent * (1 - self.share) / self.share)} left"

    def lines(self) -> list[str]:
        """What is to be said at the end."""
        kinds = {"ok": "done", "planned": "to be done", "skipped": "done before"}
        counts = [
            f"{self.counts[kind]} {word}" for kind, word in kinds.items() if self.counts[kind]
        ]
        counts.append(f"{self.counts['failed']} failed")
        if self.retried:
            counts.append(f"{self.retried} tried more than once")
        if left := self.all_files - self.counts.total():
            counts.append(f"{left} not begun")
        if self.others:
            counts.append(f"{self.others} other files left alone")
        losses = [
            f"not carried over: {what} ({count} files)" for what, count in self.losses.items()
        ]
        return [*losses, f"{', '.join(counts)}; {clock(time.monotonic() - self.began)}"]


class Display:
    """Failures as they come, and a line now and then that tells how far it is.

    Parameters
    ----------
    summary : Summary
    quiet : bool
        Only failures.
    verbose : int
        1 = a line for every file.
    """

    def __init__(self, summary: Summary, quiet: bool, verbose: int) -> None:
        self.summary, self.quiet, self.verbose = summary, quiet, verbose
        self.last = time.monotonic()

    def __enter__(self) -> "Display":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, text: str) -> None:
        """One line on stderr."""
        click.echo(f"nlm: {text}", err=True)

    def event(self, event: "Event") -> None:
        """Receives what an executor tells."""
        reason = getattr(event, "reason", None)
        if reason and not self.quiet:
            self.say(f"{event.job.source}: its worker was lost ({reason})")

    def finished(self, outcome: "Outcome") -> None:
        """Receives what became of a file."""
        if outcome.file.status == "failed":
            self.say(str(outcome.file.error))
        elif self.verbose and not self.quiet:
            self.say(describe(outcome.file))
        self.refresh()

    def refresh(self) -> None:
        """Tell how far it is, not too often."""
        if not self.quiet and time.monotonic() - self.last >= EVERY:
            self.last = time.monotonic()
            self.say(self.summary.progress())


class Bar(Display):
    """A bar with the time left, by pixels, and the files at hand."""

    def __enter__(self) -> "Bar":
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self.at_hand: dict[str, float] = {}
        self.console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        columns = (BarColumn(), TextColumn("{task.description}", markup=False))
        self.bar: Any = Progress(
            *columns, console=self.console, transient=True, refresh_per_second=8
        )
        self.task = self.bar.add_task("", total=1.0)
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def say(self, text: str) -> None:
        """One line above the bar."""
        self.console.print(f"nlm: {printable(text)}")

    def event(self, event: "Event") -> None:
        """Receives what an executor tells."""
        super().event(event)
        share = getattr(event, "share", None)
        if share is not None:
            self.at_hand[event.job.source] = share
            self.refresh()

    def finished(self, outcome: "Outcome") -> None:
        """Receives what became of a file."""
        self.at_hand.pop(os.path.abspath(outcome.file.input), None)
        super().finished(outcome)

    def refresh(self) -> None:
        """Draw the bar; rich does so no more often than is of use."""
        names = [
            f"{os.path.basename(path)} {share:.0%}" if share else os.path.basename(path)
            for path, share in self.at_hand.items()
        ]
        text = f"{self.summary.progress()}  {' '.join(names)}"
        self.bar.update(self.task, completed=self.summary.share, description=printable(text))


def display(summary: Summary, quiet: bool, verbose: int) -> Display:
    """The display that fits whoever watches."""
    kind = Bar if watched() and not quiet else Display
    return kind(summary, quiet, verbose)


def printable(text: str) -> str:
    """Text without what a terminal cannot show: file names may hold any bytes."""
    return text.encode("utf-8", "backslashreplace").decode()


def clock(seconds: float) -> str:
    """``12.3 s``, ``4:05`` or ``2:03:09``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
