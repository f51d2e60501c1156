"""Files that go with the pictures of a tree: one for all, or one each from a folder like theirs."""

import os
from collections.abc import Mapping
from contextlib import suppress

from nlm.batch.tree import is_picture
from nlm.errors import FileError, UsageError
from nlm.io.formats import by_suffix
from nlm.settings import COMPANIONS, Settings


class Companions:
    """Finds the guide and the sigma map of each picture.

    Parameters
    ----------
    settings : Settings
        Whose `guide` and `sigma_map` are files, or folders that mirror `src`.
    src, dst : str
        Folders of the pictures and of the outputs.

    Raises
    ------
    UsageError
        If there is nothing of such a name, or a folder is one of the batch's own.
    """

    def __init__(self, settings: Settings, src: str, dst: str) -> None:
        self._files, self._folders = dict[str, str](), dict[str, str]()
        self._listed = dict[str, dict[str, list[str]]]()
        for name, path in settings.files().items():
            mirrors = name in COMPANIONS and os.path.isdir(path)
            if name in COMPANIONS and not os.path.exists(path):
                raise UsageError(
                    f"{_option(name)} {path}: does not exist; give a picture for all, or a folder "
                    f"that has one for each picture of {src}"
                )
            if mirrors:
                _refuse_own(name, path, src, dst)
            (self._folders if mirrors else self._files)[name] = path

    @property
    def paths(self) -> list[str]:
        """All files and folders that are named, weights too."""
        return [*self._files.values(), *self._folders.values()]

    def of(self, source: str) -> dict[str, str]:
        """The files that go with a picture, see `Settings.files`.

        Parameters
        ----------
        source : str
            Its path below the folder of the pictures.

        Raises
        ------
        FileError
            If one is missing, or several could be it.
        """
        mirrored = {name: self._find(name, path, source) for name, path in self._folders.items()}
        return {**self._files, **mirrored}

    def _find(self, name: str, folder: str, source: str) -> str:
        exact = os.path.join(folder, source)
        if os.path.isfile(exact):
            return exact
        below, stem = os.path.split(os.path.splitext(source)[0])
        place = os.path.join(folder, below)
        alike = self._pictures(place).get(stem, [])
        if len(alike) == 1:
            return os.path.join(place, alike[0])
        option = _option(name)
        if alike:
            raise FileError(
                f"{option} could be any of {', '.join(alike)} in {place}; leave one of them "
                f"there, or name it {os.path.basename(source)}"
            )
        raise FileError(
            f"{option} has no file for it, neither {exact} nor another picture "
            f"{os.path.join(place, stem)}.*; add one, or leave it out with --exclude"
        )

    def _pictures(self, folder: str) -> dict[str, list[str]]:
        """Names of the pictures in a folder, by their stems."""
        if folder not in self._listed:
            found = self._listed[folder] = dict[str, list[str]]()
            with suppress(OSError):
                for name in sorted(os.listdir(folder)):
                    if _is_still(name) and os.path.isfile(os.path.join(folder, name)):
                        found.setdefault(os.path.splitext(name)[0], []).append(name)
        return self._listed[folder]


def absolute(files: Mapping[str, str]) -> dict[str, str]:
    """The same files for a process with another working folder."""
    return {name: os.path.abspath(path) for name, path in files.items()}


def _refuse_own(name: str, path: str, src: str, dst: str) -> None:
    for own, what in ((src, "source"), (dst, "destination")):
        if os.path.isdir(own) and os.path.samefile(path, own):
            raise UsageError(
                f"{_option(name)} {path}: is the {what} folder itself; give another folder"
            )


def _is_still(name: str) -> bool:
    return is_picture(name) and not by_suffix(name).is_video


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
