"""Which files of a folder tree are to be done, by their names alone."""

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

from nlm.io import FORMATS

OWN = ".nlm"
"""Folder in which a batch keeps its own files."""

FOLDER, FILE, DEVICE = "folder", "file", "device or pipe"

OWN_PARTIAL = re.compile(r"\.nlm-[0-9a-f]+\.part")


@dataclass
class Tree:
    """What a walk found; paths are relative to the folder, with forward slashes.

    Attributes
    ----------
    files : list of str
        To be done, sorted.
    others : int
        Files left alone: no pictures by their names, or not asked for.
    trouble : list of (str, str)
        Folders that could not be read, and why.
    """

    files: list[str] = field(default_factory=list)
    others: int = 0
    trouble: list[tuple[str, str]] = field(default_factory=list)


def walk(
    root: str,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    without: Sequence[str] = (),
) -> Tree:
    """Find the pictures of a folder and all folders below.

    Links to folders are followed, except to one that they lie in themselves.

    Parameters
    ----------
    root : str
    include : sequence of str
        Globs; () = every file with a picture's suffix. A glob without slash is compared with the
        name, one with a slash with the path below `root`; ``**`` stands for any folders. Upper
        and lower case are the same.
    exclude : sequence of str
        Globs of files and folders to leave alone; they win.
    without : sequence of str
        Folders and files that are left out.
    """
    wanted = [_glob(pattern) for pattern in include]
    unwanted = [_glob(pattern) for pattern in exclude]
    found = Tree()
    barred = {_identity(path) for path in without if os.path.isdir(path)}
    apart = {_below(root, path) for path in without}

    def visit(folder: str, below: str, above: tuple[tuple[int, int], ...]) -> None:
        here = _identity(folder)
        if here is None:
            found.trouble.append((below, "it vanished"))
        if here is None or here in barred or here in above:
            return
        for name, path, kind in _entries(folder, below, found):
            if name == OWN or OWN_PARTIAL.match(name) or _matches(unwanted, path, name):
                found.others += kind is not FOLDER
            elif kind is FOLDER:
                visit(os.path.join(folder, name), path, (*above, here))
            elif path in apart:
                found.others += 1
            elif kind is FILE and (_matches(wanted, path, name) if wanted else is_picture(name)):
                found.files.append(path)
            else:
                found.others += 1

    visit(root, "", ())
    found.files.sort()
    return found


def _entries(folder: str, below: str, found: Tree) -> Iterator[tuple[str, str, str]]:
    try:
        with os.scandir(folder) as entries:
            known = sorted((entry.name, _kind(entry)) for entry in entries)
    except OSError as error:
        found.trouble.append((below, error.strerror or str(error)))
        return
    for name, kind in known:
        yield name, f"{below}/{name}" if below else name, kind


def _kind(entry: os.DirEntry[str]) -> str:
    """What an entry is, links followed; a link that leads nowhere is a file that cannot be read."""
    try:
        if entry.is_dir():
            return FOLDER
        return FILE if entry.is_file() or not os.path.exists(entry.path) else DEVICE
    except OSError:
        return FILE


def _below(root: str, path: str) -> str:
    """A path as a walk of `root` gives it, if it lies there."""
    folder, name = os.path.split(os.path.abspath(path))
    place = os.path.join(os.path.realpath(folder), name)
    try:
        return os.path.relpath(place, os.path.realpath(root)).replace(os.sep, "/")
    except ValueError:  # on another drive
        return path


def _identity(folder: str) -> tuple[int, int] | None:
    try:
        about = os.stat(folder)
    except OSError:
        return None
    return about.st_dev, about.st_ino


def is_picture(name: str) -> bool:
    """Whether a name has the suffix of a format that nlm knows."""
    return os.path.splitext(name)[1].lower() in _suffixes()


@cache
def _suffixes() -> frozenset[str]:
    return frozenset(suffix for row in FORMATS for suffix in row.suffixes)


def _matches(globs: list[tuple[re.Pattern[str], bool]], path: str, name: str) -> bool:
    return any(glob.fullmatch(path if whole else name) for glob, whole in globs)


def _glob(pattern: str) -> tuple[re.Pattern[str], bool]:
    """A glob as a regular expression, and whether it is about the whole path."""
    if "/" not in pattern.rstrip("/"):
        return re.compile(fnmatch.translate(pattern.strip("/")), re.IGNORECASE), False
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[!^]?\]?[^]]*\])", pattern.strip("/"))
    regex = re.compile("".join(map(_piece, parts)), re.IGNORECASE | re.DOTALL)
    return regex, True


def _piece(part: str) -> str:
    simple = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    if part in simple:
        return simple[part]
    if len(part) > 2 and part[0] == "[" and part[-1] == "]" and part not in ("[!]", "[^]"):
        body = part[1:-1].replace("\\", r"\\").replace("[", r"\[")
        return f"[^{body[1:]}]" if body[0] in "!^" else f"[{body}]"
    return re.escape(part)
