"""Formats outside the table, through imageio v3: 8 bits per sample, and never fewer than stored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nlm.io.base import Frame, Info, Options
from nlm.io.formats import FORMATS, titles
from nlm.io.samples import join, split

_WRITABLE = {".tga": "TGA", ".qoi": "QOI", ".pcx": "PCX", ".sgi": "SGI", ".jp2": "JPEG 2000"}
_CHANNELS = {"L": (1, False), "LA": (1, True), "RGB": (3, False), "RGBA": (3, True)}
_SPELLED_OUT = {"1": "L", "P": "RGB", "PA": "RGBA", "RGBX": "RGB"}  # modes read as another one


def can_write(suffix: str) -> bool:
    """Whether files with this suffix are written here."""
    return suffix.lower() in _WRITABLE


def probe(file: BinaryIO) -> Info:
    picture = _open(file)
    mode = _mode(picture)
    if mode not in _CHANNELS or _stored_deeper(picture, file):
        raise NotImplementedError(
            f"holds more than nlm can read from a {picture.format} file without loss; "
            "save it as a 16-bit PNG or TIFF first"
        )
    channels, alpha = _CHANNELS[mode]
    width, height = picture.size
    return Info(
        format="imageio",
        width=width,
        height=height,
        channels=channels,
        alpha=alpha,
        dtype=np.dtype(np.uint8),
        bits=8,
    )


def frames(file: BinaryIO, info: Info) -> Iterator[Frame]:
    import imageio.v3 as imageio

    mode = _mode(_open(file))
    file.seek(0)
    samples = imageio.imread(file.read(), plugin="pillow", index=0, mode=mode)
    if samples.dtype != info.dtype or samples.shape[:2] != (info.height, info.width):
        raise ValueError("its samples are not what its header says")
    yield split(samples, info.channels, info.alpha)


def encoder(file: BinaryIO, info: Info, options: Options) -> FallbackEncoder:
    return FallbackEncoder(file, info)


class FallbackEncoder:
    """Writes a picture, reads it back and compares: these writers are not known well enough."""

    def __init__(self, file: BinaryIO, info: Info) -> None:
        self._file = file
        self._info = info
        self._suffix = Path(str(getattr(file, "name", ""))).suffix
        if not can_write(self._suffix):
            raise ValueError("its suffix is not known")

    def write(self, frame: Frame) -> None:
        import imageio.v3 as imageio

        samples = join(frame)
        coded = imageio.imwrite("<bytes>", samples, plugin="pillow", extension=self._suffix)
        back = np.asarray(imageio.imread(coded, plugin="pillow", extension=self._suffix))
        if not np.array_equal(back, samples):
            raise ValueError("it would lose a part of the samples")
        self._file.write(coded)

    def finish(self) -> None:
        pass


def _open(file: BinaryIO) -> Any:
    import imageio.v3 as imageio

    file.seek(0)
    try:
        handle = imageio.imopen(file.read(), "r", plugin="pillow")
    except Exception as error:
        raise NotImplementedError(
            "is no picture or video that nlm reads; convert a picture to PNG, TIFF, JPEG or WebP, "
            f"a video to {titles(row for row in FORMATS if row.is_video)} first"
        ) from error
    return handle._image


def _mode(picture: Any) -> str:
    return _SPELLED_OUT.get(picture.mode, str(picture.mode))


def _stored_deeper(picture: Any, file: BinaryIO) -> bool:
    """Whether the file holds more bits than Pillow gives."""
    if picture.format == "JPEG2000":
        import imagecodecs

        file.seek(0)
        return bool(imagecodecs.jpeg2k_decode(file.read()).dtype != np.uint8)
    raw = " ".join(str(tile[3]) for tile in picture.tile)
    return any(mark in raw for mark in (";16", ";12", ";32", "F;", ";15S"))
