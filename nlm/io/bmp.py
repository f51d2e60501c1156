"""BMP, through Pillow: 8-bit gray and RGB."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from nlm.io.base import Frame, Info, Metadata, Options
from nlm.io.pil import dots_per_inch, to_pil
from nlm.io.samples import split


def probe(file: BinaryIO) -> Info:
    from PIL.BmpImagePlugin import BmpImageFile

    file.seek(0)
    picture = BmpImageFile(file)
    width, height = picture.size
    alpha = picture.mode == "RGBA"
    return Info(
        format="bmp",
        width=width,
        height=height,
        channels=1 if picture.mode in ("1", "L") else 3,
        alpha=alpha,
        dtype=np.dtype(np.uint8),
        bits=8,
        metadata=Metadata(dpi=dots_per_inch(picture.info)),
    )


def frames(file: BinaryIO, info: Info) -> Iterator[Frame]:
    from PIL.BmpImagePlugin import BmpImageFile

    file.seek(0)
    _check_length(file)
    picture = BmpImageFile(file)
    mode = "RGBA" if info.alpha else "L" if info.channels == 1 else "RGB"
    yield split(np.asarray(picture.convert(mode)), info.channels, info.alpha)


def encoder(file: BinaryIO, info: Info, options: Options) -> BmpEncoder:
    return BmpEncoder(file, info)


class BmpEncoder:
    """One picture per file."""

    def __init__(self, file: BinaryIO, info: Info) -> None:
        self._file = file
        self._dpi = info.metadata.dpi or (96, 96)

    def write(self, frame: Frame) -> None:
        to_pil(frame).save(self._file, "BMP", dpi=self._dpi)

    def finish(self) -> None:
        pass


def _check_length(file: BinaryIO) -> None:
    """Pillow fills missing rows of some kinds with black."""
    (announced,) = struct.unpack("<I", file.read(6)[2:])
    file.seek(0, 2)
    if file.tell() < announced:
        raise ValueError("the file ends inside the picture")
    file.seek(0)
