"""Folders of small pictures, and `nlm batch` on them in processes of its own."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tests.conftest import checkers, noisy

PROGRAM = """
from nlm_cli import main
main.COMMANDS.setdefault("batch", "Denoise a folder tree.")
main.main()
"""
QUICK = ("--sigma", "20", "--preset", "fast")


def save_picture(path: Path, size: int = 40, channels: int = 1, seed: int = 0) -> Path:
    """A noisy picture in the format of its suffix."""
    pixels = noisy(checkers(size, size + 8, channels), 20 / 255, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8).squeeze()).save(path)
    return path


def save_pictures(folder: Path, count: int, size: int = 40) -> Path:
    """Noisy PNG pictures in a tree of a few folders."""
    for number in range(count):
        save_picture(folder / f"{number % 3}" / f"{number:03}.png", size, seed=number)
    return folder


def arguments(*words: object) -> list[str]:
    """The command line of `nlm batch WORDS`."""
    return [sys.executable, "-W", "error", "-c", PROGRAM, "batch", *map(str, words)]


def batch(*words: object, check: int | None = 0, **options: object) -> subprocess.CompletedProcess:
    """Run `nlm batch WORDS` to its end."""
    done = subprocess.run(
        arguments(*words), capture_output=True, text=True, errors="replace", timeout=120, **options
    )
    if check is not None:
        assert done.returncode == check, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done


def results(*words: object, check: int | None = 0, **options: object) -> dict[str, dict]:
    """The JSON lines of `nlm batch WORDS`, by the name of the input."""
    done = batch(*words, "--json", check=check, **options)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {os.path.basename(row["input"]): row for row in rows}


def contents(folder: Path) -> dict[str, str]:
    """What a folder holds apart from the batch's own files: a hash for every path."""
    found = {}
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != ".nlm"]
        for path in (Path(here, name) for name in names):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path.relative_to(folder))] = digest
    return found


def own_files(folder: Path) -> set[str]:
    """Names of the batch's own files that stay when it ends."""
    own = folder / ".nlm"
    return {str(path.relative_to(own)) for path in own.rglob("*")}
