"""What a batch has done: one line of JSON per output, written before the output appears.

An output is the batch's own exactly if it is what its record says; so a run may be killed at any
moment, between the record and the output's appearance too, and the next one knows what is true.
"""

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from nlm import registry
from nlm.batch.jobs import FileState
from nlm.errors import UsageError
from nlm.params import kind
from nlm.settings import COMPANIONS, Settings

NO_MATTER = {"threads", "max_pixels", "preset", "parameters", *COMPANIONS}
"""Settings that do not change an output, or do so through what else is on record only: the
filter's parameters, and the content of files.
"""

KEPT = (
    "sigma", "sigma_channels", "strength", "backend", "seconds", "width", "height", "frames",
    "error",
)  # fmt: skip
"""What a record remembers of the result."""


@dataclass(frozen=True)
class Record:
    """How an output came about.

    Attributes
    ----------
    target, source : str
        Relative to the two folders.
    options : str
        `fingerprint` of the settings.
    read, written : FileState
        The source and the output.
    over : FileState or None
        The batch's own earlier output that was replaced.
    result : dict
        What is worth knowing of the result.
    files : dict of str to FileState
        What else it was made from: see `Settings.files`.
    """

    target: str
    source: str
    options: str
    read: FileState
    written: FileState
    over: FileState | None = None
    result: dict[str, Any] = field(default_factory=dict)
    files: dict[str, FileState] = field(default_factory=dict)

    def owns(self, path: str) -> FileState | None:
        """The state of the file at `path` if the batch made it: it may be the earlier output."""
        for state in (self.written, self.over):
            if state is not None and state.is_that_of(path):
                return state
        return None

    def as_line(self) -> bytes:
        """Half a line, lost in a kill, is no JSON and is passed over when read."""
        return json.dumps(asdict(self), separators=(",", ":"), default=float).encode() + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> "Record | None":
        """The record of a line; None for a line that is none."""
        try:
            values = json.loads(line)
            for name in ("read", "written", "over"):
                if name != "over" or values[name] is not None:
                    values[name] = FileState(**values[name])
            values["files"] = {
                name: FileState(**state) for name, state in values.get("files", {}).items()
            }
            record = cls(**{spec.name: values[spec.name] for spec in fields(cls)})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        return record if record._is_sound else None

    @property
    def _is_sound(self) -> bool:
        """Whether names are texts and the result is a dict; JSON may say anything."""
        texts = (self.target, self.source, self.options)
        return all(isinstance(text, str) for text in texts) and isinstance(self.result, dict)


class Manifest:
    """The records of a folder, the last one of each output.

    Parameters
    ----------
    path : str
        Its file; it need not exist.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.records: dict[str, Record] = {}
        self._file: Any = None
        lines = 0
        for line in _lines(path):
            lines += 1
            record = Record.of_line(line)
            if record is not None:
                self.records[record.target] = record
        self._is_long = lines > 2 * len(self.records) + 100

    def get(self, target: str) -> Record | None:
        """What is known of an output."""
        return self.records.get(target)

    def open(self) -> None:
        """Make it ready for :meth:`add`; only the holder of the folder's lock does so."""
        if self._is_long:
            partial = f"{self.path}.part"
            with open(partial, "wb") as file:
                file.writelines(record.as_line() for record in self.records.values())
            os.replace(partial, self.path)
        self._file = open(self.path, "a+b", buffering=0)  # noqa: SIM115
        end = self._file.seek(0, os.SEEK_END)
        if end:
            self._file.seek(end - 1)
            if self._file.read(1) != b"\n":  # half a line: keep it away from the next
                self._file.write(b"\n")

    def add(self, record: Record) -> None:
        """Append a record; OSError if it cannot be written whole, then none of it stays."""
        end = self._file.seek(0, os.SEEK_END)
        line = record.as_line()
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(end)
            raise
        self.records[record.target] = record

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _lines(path: str) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            yield from file
    except FileNotFoundError:
        return


def fingerprint(settings: Settings) -> str:
    """A short name of everything in the settings that changes an output, with the weights that come
    with nlm; files of one's own are on record by their content.
    """
    values = {
        spec.name: getattr(settings, spec.name)
        for spec in fields(settings)
        if spec.name not in NO_MATTER
    }
    chosen = registry.parameters(settings.method, settings.preset, settings.parameters)
    about = json.dumps(
        [values, *_parameters(settings), *chosen.comes_with_nlm], default=_plain, sort_keys=True
    )
    return hashlib.blake2b(about.encode(), digest_size=8).hexdigest()


def _parameters(settings: Settings) -> Iterator[dict[str, Any] | None]:
    """What the filter is given for pictures, volumes and clips; None = that is not allowed."""
    for volume, clip in ((False, False), (True, False), (False, True)):
        try:
            chosen = registry.parameters(
                settings.method, settings.preset, settings.parameters, volume, clip
            )
        except UsageError:
            if not (volume or clip):
                raise
            yield None
            continue
        yield {
            spec.name: getattr(chosen, spec.name)
            for spec in fields(chosen)
            if kind(spec) is not str
        }


def _plain(value: Any) -> Any:
    try:
        return asdict(value)
    except TypeError:
        return repr(value)
