"""A progress bar on stderr for work that takes longer than a second."""

import time
from typing import Any

from nlm_cli.options import watched


class Progress:
    """Shows how much of one file is done, if somebody watches and it takes a while."""

    PATIENCE = 1.0

    def __init__(self, title: str, quiet: bool) -> None:
        self.title = title
        self.silent = quiet or not watched()
        self.began = time.monotonic()
        self.bar: Any = None
        self.note = ""

    def __enter__(self) -> "Progress":
        self.began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def update(self, done: float) -> None:
        """`done` is the share of the file, 0 to 1."""
        if self.silent:
            return
        if self.bar is None:
            if time.monotonic() - self.began < self.PATIENCE:
                return
            self._show()
        self.bar.update(self.task, completed=done)

    def frames(self, done: int, of: int | None) -> None:
        """`done` of a clip's frames (None = an unknown number) are ready."""
        rate = done / max(time.monotonic() - self.began, 1e-3)
        self.note = f"{done}{f' of {of}' if of else ''} frames, {rate:.1f}/s"
        if self.bar is not None:
            self.bar.update(self.task, note=self.note)

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self.task = self.bar.add_task(self.title, total=1.0, note=self.note)
        self.bar.start()
