"""What benches need that does not come with nlm: where it is missing, one line says what to do."""

import sys
from importlib.util import find_spec
from pathlib import Path

DATA = Path(__file__).parents[3] / "shared" / "data"
"""The folder of test sets, if nobody names another."""


def folder(path: Path, option: str = "--data") -> Path:
    """The path of a folder, which has to be there."""
    if not path.is_dir():
        sys.exit(f"{path} is not there; name the folder of test sets: {option}")
    return path


def package(module: str, name: str) -> None:
    """Something that has to be installed."""
    if find_spec(module) is None:
        sys.exit(f"{name} is not installed; get it with: pip install {name}")
