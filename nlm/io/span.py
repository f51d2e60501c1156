"""A part of a clip: by frame numbers or by seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nlm.errors import FileError, UsageError
from nlm.io.base import Frame

__all__ = ["Span"]


@dataclass(frozen=True)
class Span:
    """Which frames of a clip are wanted; None = no limit on that side.

    Attributes
    ----------
    first, last : int or None
        Numbers of frames from 0, `last` not included.
    start, end : float or None
        Seconds from the clip's beginning, `end` not included.
    """

    first: int | None = None
    last: int | None = None
    start: float | None = None
    end: float | None = None

    @classmethod
    def parse(
        cls, frames: str | None, start: float | None = None, end: float | None = None
    ) -> Span | None:
        """From ``A:B`` and seconds; None if nothing limits the clip.

        Raises
        ------
        UsageError
            If it is no part of a clip.
        """
        if frames is not None and (start is not None or end is not None):
            raise UsageError("--frames and --start or --end exclude each other; give one of them")
        first = last = None
        if frames is not None:
            left, colon, right = frames.partition(":")
            good = colon and all(not side or side.isdigit() for side in (left, right))
            if not good or not left + right:
                raise UsageError(
                    f"--frames {frames} is not allowed; give A:B, :B or A:, counted from 0, "
                    "B not included"
                )
            first, last = (int(side) if side else None for side in (left, right))
        for low, high in ((first, last), (start, end)):
            for value in (low, high):
                if value is not None and not 0 <= value < float("inf"):
                    raise UsageError(f"--start or --end {value:g} is not allowed; give 0 or more")
            if high is not None and (low or 0) >= high:
                raise UsageError(
                    f"no frame lies from {low or 0:g} to {high:g}; let the end come after the start"
                )
        span = cls(first, last, start, end)
        return None if span == cls() else span

    def has_ended(self, number: int, seconds: float) -> bool:
        """Whether the frame with that number, shown from then on, lies behind the span."""
        return (self.last is not None and number >= self.last) or (
            self.end is not None and seconds >= self.end - 1e-6
        )

    def has_begun(self, number: int, seconds: float) -> bool:
        """Whether the frame lies in or behind the span."""
        return number >= (self.first or 0) and seconds >= (self.start or 0) - 1e-6

    def count(self, total: int | None, rate: float) -> int | None:
        """About how many of so many frames, at so many per second, lie in the span."""
        first = max(self.first or 0, round((self.start or 0) * rate))
        ends = [total, self.last, None if self.end is None else round(self.end * rate)]
        known = [end for end in ends if end is not None]
        return max(0, min(known) - first) if known else None

    def absence(self, frames: int, seconds: float) -> str:
        """In words, that nothing of a clip of so many frames, so long, lies in the span."""
        if self.start is None and self.end is None:
            count = "1 frame" if frames == 1 else f"{frames} frames"
            part = f"{self.first or 0}:{'' if self.last is None else self.last}"
            return f"has {count}, counted from 0, none of them in {part}; choose others"
        if seconds <= (self.start or 0) + 1e-6:
            return (
                f"lasts {seconds:.6g} seconds, no frame begins at {self.start or 0:g} or later; "
                "choose an earlier part"
            )
        return "has no frame that begins in such a short part; choose a longer one"

    def cut(self, frames: Iterator[Frame], name: str) -> Iterator[Frame]:
        """The frames that lie in the span, of the clip of that name.

        Raises
        ------
        FileError
            If there is none.
        """
        seconds, number, count = 0.0, -1, 0
        for number, frame in enumerate(frames):
            if self.has_ended(number, seconds):
                break
            if self.has_begun(number, seconds):
                count += 1
                yield frame
            seconds += frame.duration or 0.0
        if not count:
            raise FileError(f"{name}: {self.absence(number + 1, seconds)}")
