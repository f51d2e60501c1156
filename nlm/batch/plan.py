"""Which output each file becomes, and what is left to do."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from nlm.batch.companions import Companions
from nlm.batch.jobs import FileState
from nlm.batch.manifest import Manifest, Record
from nlm.batch.need import needed
from nlm.errors import FileError, NlmError, UsageError
from nlm.io import open_reader
from nlm.io.formats import by_name, by_suffix
from nlm.settings import Settings


@dataclass
class Task:
    """A file of the tree and its output, relative to the two folders.

    Attributes
    ----------
    source, target : str
    done : Record or None
        The output is there, made from this source with these options.
    over : FileState or None
        The batch's own output that is to be replaced.
    problem : str or None
        Why it cannot be done, in words that follow the output's name.
    files : dict of str to str
        What else the output is made from, see `Settings.files`.
    lacks : str or None
        Which of these is missing, in words that follow the source's name.
    pixels, memory : int
        Of all frames; bytes that the work needs. 0 = the header could not be read.
    """

    source: str
    target: str
    done: Record | None = None
    over: FileState | None = None
    problem: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    lacks: str | None = None
    pixels: int = 0
    memory: int = 0


def check_folders(src: str, dst: str) -> None:
    """Refuse folders that cannot be source and destination of a batch.

    Raises
    ------
    UsageError
        If the first is none, the second is a file, or both are one.
    """
    if not os.path.isdir(src):
        step = "for a single file use: nlm denoise" if os.path.exists(src) else "check the name"
        raise UsageError(f"{src}: is no folder, the folder of the sources is wanted; {step}")
    if os.path.lexists(dst) and not os.path.isdir(dst):
        raise UsageError(f"{dst}: is no folder, outputs need one; give another name")
    if os.path.isdir(dst) and os.path.samefile(src, dst):
        raise UsageError(
            f"{dst}: is the source folder itself; give another one, it may lie inside "
            "(to overwrite pictures: nlm denoise -f)"
        )


def targets(files: Sequence[str], format: str | None = None) -> list[Task]:
    """The mirrored outputs.

    Files that another format would give one name keep their suffix in it: ``a.png`` and ``a.jpg``
    become ``a.png.webp`` and ``a.jpg.webp``.
    """
    first = {source: renamed(source, format) for source in files}
    crowd = Counter(first.values())
    tasks = []
    for source, target in first.items():
        if crowd[target] > 1:
            target = source + os.path.splitext(target)[1]
        tasks.append(Task(source, target))
    taken = Counter(task.target for task in tasks)
    for task in tasks:
        if taken[task.target] > 1:
            task.problem = f"several files would be written there; rename {task.source}"
    return tasks


def renamed(source: str, format: str | None) -> str:
    """The name with the suffix of a format, unless its suffix says that format already."""
    if format is None:
        return source
    row = by_name(format)
    if by_suffix(source).name == row.name:
        return source
    return os.path.splitext(source)[0] + row.suffixes[0]


def settle(
    task: Task, src: str, dst: str, manifest: Manifest, options: str, *, resume: bool, force: bool
) -> None:
    """Find out whether a task is done already, or must not be done."""
    target = os.path.join(dst, task.target)
    if task.problem or task.lacks:
        return
    if is_within(os.path.dirname(target), src) and not is_within(dst, src):
        task.problem = "lies in the source folder, which is never written to; give another folder"
        return
    if not os.path.lexists(target):
        return
    record = manifest.get(task.target)
    task.over = record.owns(target) if record else None
    if record and task.over == record.written and resume and _same(record, task, src, options):
        task.done = record
    elif task.over is None and not (force or _is_empty(target, record)):
        task.problem = (
            "exists and was not made by this batch; overwrite it with --force or move it away"
        )


def _same(record: Record, task: Task, src: str, options: str) -> bool:
    same_work = (record.source, record.options) == (task.source, options)
    if not same_work or record.files.keys() != task.files.keys():
        return False
    return record.read.is_that_of(os.path.join(src, task.source)) and all(
        state.is_that_of(task.files[name]) for name, state in record.files.items()
    )


def _is_empty(target: str, record: Record | None) -> bool:
    """An output without a byte is what a power cut leaves of one; nobody can miss it."""
    try:
        return record is not None and os.path.getsize(target) == 0
    except OSError:
        return False


def is_within(path: str, folder: str) -> bool:
    """Whether a path lies in a folder or is it, links followed."""
    real, outer = os.path.realpath(path), os.path.realpath(folder)
    return real == outer or real.startswith(outer.rstrip(os.sep) + os.sep)


def accompany(task: Task, companions: Companions) -> None:
    """Find the files that go with a task's source."""
    try:
        task.files = companions.of(task.source)
    except FileError as error:
        task.lacks = str(error)


def measure(task: Task, src: str, settings: Settings) -> None:
    """Learn a task's size from the header; what is wrong with it is the worker's to report."""
    source = os.path.join(src, task.source)
    try:
        with open_reader(source, max_pixels=settings.max_pixels, span=settings.span) as reader:
            info = reader.info
    except NlmError:
        return
    task.pixels = info.width * info.height * (info.frames or 1)
    task.memory = needed(info, settings)


def largest_first(tasks: Sequence[Task]) -> list[Task]:
    """The order that keeps all processors busy to the end; the same for the same files."""
    return sorted(tasks, key=lambda task: (-task.pixels, task.source))
