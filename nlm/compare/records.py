"""The results for programs: JSON, CSV, and float pictures to measure again."""

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.compare.clips import Clip
from nlm.compare.methods import Method
from nlm.compare.pictures import Picture
from nlm.compare.trials import Result
from nlm.errors import UsageError
from nlm.io.output import write_bytes, write_problem

JSON = ("input", "method", "status", "psnr", "ssim", "seconds", "sigma", "error", "flicker")
CSV = (*JSON, "megapixels", "speed", "runs", "blind_psnr", "removed", "whiteness")


def as_json(results: Sequence[Result]) -> str:
    """One array of objects; infinite numbers, which JSON does not know, are null."""
    rows = [{name: _finite(getattr(one, name)) for name in JSON} for one in results]
    return json.dumps(rows, indent=1)


def as_csv(results: Sequence[Result]) -> str:
    """A table with a heading, one line per result."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(CSV)
    for one in results:
        table.writerow([len(one.times) if name == "runs" else getattr(one, name) for name in CSV])
    return text.getvalue()


def write_text(path: str, text: str) -> None:
    """Write a file as a whole.

    Raises
    ------
    FileError
        If that is not possible.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def saved_names(folder: str, paths: Sequence[str], methods: Sequence[Method]) -> Iterator[Path]:
    """Every file that `save` may write.

    Raises
    ------
    UsageError
        If two pictures would go to the same folder.
    """
    stems = [Path(path).stem for path in paths]
    for stem in stems:
        if stems.count(stem) > 1:
            raise UsageError(
                f"--save-dir: two pictures are called {stem}; compare them apart, or rename one"
            )
        for name in ("noisy", "reference", *(method.label for method in methods)):
            yield _file(folder, stem, name)


def save(folder: str, picture: Picture | Clip, results: Sequence[Result]) -> None:
    """Write ``FOLDER/<stem>/noisy.tiff``, ``reference.tiff`` and ``<method>.tiff``, float32.

    The frames of a clip are pages.

    Raises
    ------
    FileError
        If that is not possible.
    """
    stem = Path(picture.path).stem
    stacks = {
        "noisy": [one.noisy for one in picture.frames],
        "reference": [one.reference for one in picture.frames if one.reference is not None],
        **{one.method: one.frames for one in results},
    }
    with _made(Path(folder) / stem):
        for name, frames in stacks.items():
            if frames:
                write_bytes(str(_file(folder, stem, name)), _tiff(frames))


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """A folder to write into; after a failure no empty one stays that was not there before."""
    new = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_problem(folder, error) from error
        yield
    except BaseException:
        with suppress(OSError):
            for one in new:
                one.rmdir()
        raise


def _file(folder: str, stem: str, name: str) -> Path:
    return Path(folder) / stem / f"{name.replace(':', '_')}.tiff"


def _tiff(frames: Sequence[NDArray[np.float32]]) -> bytes:
    import tifffile

    file = io.BytesIO()
    channels = frames[0].shape[2]
    with tifffile.TiffWriter(file) as writer:
        for pixels in frames:
            writer.write(
                pixels[..., 0] if channels == 1 else pixels,
                photometric="rgb" if channels == 3 else "minisblack",
                planarconfig="contig" if channels > 1 else None,
                metadata=None,
            )
    return file.getvalue()


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
