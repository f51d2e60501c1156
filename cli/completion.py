"""What a shell offers for arguments: files, folders, names of filters and formats."""

from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

from nlm import registry

NOUNS = {"file": "file", "dir": "folder"}


class Place(click.ParamType[Any]):
    """A name that is taken as it is, if there is one; the shell offers what lies there.

    Parameters
    ----------
    kind : {"file", "dir"}
    """

    def __init__(self, kind: str) -> None:
        self.name = kind

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if value == "":  # as of a variable of the shell that is not set
            self.fail(f"the name is empty; give that of a {NOUNS[self.name]}", param, ctx)
        return value

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type=self.name)]


class Names(click.ParamType[Any]):
    """A name, or several with commas, that is checked later; the shell offers the known ones."""

    name = "name"

    def __init__(self, known: Callable[[], Iterable[str]], several: bool = False) -> None:
        self.known = known
        self.several = several

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem]:
        before, comma, begun = incomplete.rpartition(",") if self.several else ("", "", incomplete)
        names = [name for name in self.known() if name.startswith(begun)]
        return [CompletionItem(f"{before}{comma}{name}") for name in names]


def _formats() -> list[str]:
    from nlm.io.formats import FORMATS

    return [row.name for row in FORMATS]


FILE = Place("file")
FOLDER = Place("dir")
METHOD = Names(registry.methods)
METHODS = Names(registry.methods, several=True)
FORMAT = Names(_formats)
