"""What `nlnet` learns from: the pictures of a folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from nlm.errors import FileError, NlmError, UsageError
from nlm.frames import fill_invalid, to_float
from nlm.io import FORMATS, open_reader
from nlm.learned.monitor import Tell

LARGEST_SIDE = 2048
"""Larger pictures are reduced when they are read."""
REDUCED = (0.5, 0.65, 0.8)
"""Scales of the reduced copies to learn from."""
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
SUFFIXES = {suffix for row in FORMATS for suffix in row.suffixes}


def load_pictures(folder: Path, channels: int, smallest: int, tell: Tell) -> list[np.ndarray]:
    """Read the first frame of every picture under a folder, in gray or colour.

    Parameters
    ----------
    folder : Path
        Searched recursively.
    channels : int
        1 or 3.
    smallest : int
        Pictures with a side below this many pixels are left out.
    tell : callable
        Is told of each picture that is left out, and why.

    Returns
    -------
    list of ndarray of uint8, shape (Y, X, channels)
        In the order of the names.

    Raises
    ------
    UsageError
        If no usable picture is found.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; give one that holds pictures")
    pictures = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        if not os.path.isfile(path):  # a pipe would be waited for
            tell(f"{path}: is no file; left out")
            continue
        try:
            picture = read_picture(path, channels)
        except NlmError as error:
            tell(f"{error}; left out")
            continue
        rows, columns = picture.shape[:2]
        if min(rows, columns) < smallest:
            tell(f"{path}: left out, {columns}x{rows} pixels are less than {smallest} on a side")
            continue
        pictures.append(picture)
    if not pictures:
        raise UsageError(
            f"{folder} holds no usable picture; give a folder of pictures (PNG, JPEG, TIFF, ...) "
            f"of at least {smallest} pixels on each side"
        )
    return pictures


def read_picture(path: Path, channels: int) -> np.ndarray:
    """Read the first frame of a file as uint8 (Y, X, C), large ones reduced."""
    with open_reader(path) as reader:
        frame = next(iter(reader))
        pixels, _ = fill_invalid(to_float(frame.planes[0], reader.info))
    found = pixels.shape[2]
    if found not in (1, 3):
        raise FileError(f"{path}: {found} channels are neither gray nor RGB")
    if channels < found:
        pixels = pixels @ LUMA[:, None]
    elif channels > found:
        pixels = np.repeat(pixels, channels, -1)
    picture: np.ndarray = np.rint(255 * pixels.clip(0, 1)).astype(np.uint8)
    if max(picture.shape) > LARGEST_SIDE:
        image = as_image(picture)
        image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BOX)
        picture = np.asarray(image).reshape(image.height, image.width, channels)
    return picture


def as_image(picture: np.ndarray) -> Image.Image:
    """A picture (Y, X, C) as Pillow takes it: gray without an axis of channels."""
    return Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)


def reduced(pictures: list[np.ndarray], smallest: int) -> list[np.ndarray]:
    """Reduced copies of the pictures, which hide JPEG's artefacts and vary the scale.

    Parameters
    ----------
    pictures : list of ndarray of uint8, shape (Y, X, C)
    smallest : int
        Copies with a side below this many pixels are left out.
    """
    copies = []
    for picture in pictures:
        image = as_image(picture)
        for scale in REDUCED:
            size = round(image.width * scale), round(image.height * scale)
            if min(size) >= smallest:
                copy = np.asarray(image.resize(size))  # bicubic, of the whole area
                copies.append(copy.reshape(*copy.shape[:2], -1))
    return copies
