"""Image sequences: numbered pictures, ``frame_%04d.png``, that together are a clip."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, TypeGuard

from nlm.errors import FileError
from nlm.io.base import Frame, Info, Metadata, Options
from nlm.io.files import Reader, Writer, open_picture
from nlm.io.span import Span
from nlm.io.targets import check_target, target_format

__all__ = ["OneFile", "SequenceReader", "SequenceWriter", "is_sequence", "numbered"]

_PLACE = re.compile(r"%(?:0(\d+))?d")


@dataclass(frozen=True)
class Numbered:
    """A picture's place in its sequence.

    Attributes
    ----------
    number : int
    info : Info
        Of its own file.
    native : object
        Its plugin's own notes on the frame.
    """

    number: int
    info: Info
    native: Any


class OneFile(str):
    """The name of one file, even where it looks like a pattern."""

    __slots__ = ()


def is_sequence(place: object) -> TypeGuard[str | os.PathLike[str]]:
    """Whether a path is a pattern like ``frame_%04d.png`` and no file of that very name."""
    if not isinstance(place, str | os.PathLike) or isinstance(place, OneFile):
        return False
    path = os.fspath(place)
    return bool(_PLACE.search(os.path.basename(path))) and not os.path.lexists(path)


def numbered(pattern: str) -> dict[int, str]:
    """The files that match a pattern, by their numbers, in order."""
    folder, name = os.path.split(pattern)
    place = _PLACE.search(name)
    assert place is not None
    digits = rf"(\d{{{place[1]},}})" if place[1] else r"(0|[1-9]\d*)"
    shape = re.compile(re.escape(name[: place.start()]) + digits + re.escape(name[place.end() :]))
    try:
        found = [(shape.fullmatch(one), one) for one in os.listdir(folder or ".")]
    except OSError:
        return {}
    files = {int(match[1]): os.path.join(folder, one) for match, one in found if match}
    return dict(sorted(files.items()))


def path_of(pattern: str, number: int) -> str:
    """The file with that number."""
    folder, name = os.path.split(pattern)
    return os.path.join(folder, _PLACE.sub(lambda place: place[0] % number, name, count=1))


class SequenceReader:
    """The pictures of a sequence, opened one after the other.

    Attributes
    ----------
    name : str
        The pattern.
    info : Info
        Of the first picture, with the number of all.
    """

    damage = ""

    def __init__(self, pattern: str, max_pixels: int, span: Span | None = None) -> None:
        self.name = pattern
        self._max_pixels, self._span = max_pixels, span
        self._files = numbered(pattern)
        if not self._files:
            raise FileError(f"{pattern}: no file has such a name; check the name and the folder")
        first, last = min(self._files), max(self._files)
        missing = [number for number in range(first, last + 1) if number not in self._files]
        if missing:
            raise FileError(
                f"{pattern}: number {missing[0]} is missing between {first} and {last}; "
                "add it, or move what comes after it to another name"
            )
        with open_picture(self._files[first], max_pixels) as reader:
            self.info = replace(reader.info, frames=len(self._files), clip=True)

    def __iter__(self) -> Iterator[Frame]:
        frames = self._frames()
        yield from frames if self._span is None else self._span.cut(frames, self.name)

    def _frames(self) -> Iterator[Frame]:
        for number, path in self._files.items():
            with open_picture(path, self._max_pixels) as reader:
                self._check(path, reader)
                frame = next(iter(reader))
                frame.native = Numbered(number, reader.info, frame.native)
                yield frame

    def _check(self, path: str, reader: Reader) -> None:
        for what in ("width", "height", "channels", "alpha", "bits", "dtype"):
            wanted, found = getattr(self.info, what), getattr(reader.info, what)
            if wanted != found:
                raise FileError(
                    f"{path}: its {what} is {found}, that of the sequence's first picture "
                    f"{wanted}; all pictures of a sequence must be alike"
                )

    def close(self) -> None:
        """Files are closed one by one."""

    def __enter__(self) -> SequenceReader:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class SequenceWriter:
    """Numbered pictures being written; unless the context ends well they vanish again.

    Attributes
    ----------
    name : str
        The pattern.
    losses : list of str
    """

    def __init__(self, pattern: str, info: Info, format: str | None, options: Options) -> None:
        self.name = pattern
        self._info, self._options = _of_one(info), options
        self._row = target_format(pattern, format)
        self.losses = check_target(self._info, pattern, format)
        self._written: list[str] = []

    def write(self, frame: Frame) -> None:
        """Write the next picture; those of a sequence keep their numbers, others begin at 1."""
        info, number = self._info, len(self._written) + 1
        if isinstance(frame.native, Numbered):
            info, number = frame.native.info, frame.native.number
            frame = replace(frame, native=frame.native.native)
        path = path_of(self.name, number)
        with Writer(path, path, info, self._row, self._options) as writer:
            writer.write(replace(frame, duration=None))
        self._written.append(path)

    def commit(self) -> None:
        """Every picture is complete already."""
        if not self._written:
            raise FileError(f"{self.name}: no frame to write; the source has none")

    def discard(self) -> None:
        """Leave no trace."""
        for path in self._written:
            with suppress(OSError):
                os.unlink(path)

    def __enter__(self) -> SequenceWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
        elif not self._options.keep_partial:
            self.discard()


def _of_one(info: Info) -> Info:
    """What one picture of a clip is."""
    metadata = info.metadata if info.chroma is None else Metadata(native=info.metadata.native)
    return replace(info, frames=1, clip=False, metadata=metadata)
