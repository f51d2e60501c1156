"""What the filters are compared on: a noisy picture, its noise level, and perhaps the clean one."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nlm.batch.tree import walk
from nlm.errors import FileError
from nlm.metrics import psnr
from nlm.noise import Plan

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Picture:
    """A picture to be denoised.

    Attributes
    ----------
    path : str
    noisy : ndarray of float32, shape (Y, X, C)
        Full scale 1.0, upright; synthetic noise is neither rounded nor clipped.
    noise : Plan
        What every filter is told of the noise.
    reference : ndarray of float32, shape (Y, X, C), or None
        The clean picture.
    origin : {"added", "given", "estimated"}
        How the noise level is known.
    bounded : bool
        Its file holds integers: results are cut to 0..1.
    lab : bool
        Its channels are L*, a* and b*.
    """

    path: str
    noisy: Float32
    noise: Plan
    reference: Float32 | None = None
    origin: str = "given"
    bounded: bool = True
    lab: bool = False
    is_clip = False
    moment = ""

    @property
    def frames(self) -> tuple["Picture"]:
        """The picture itself, its only frame."""
        return (self,)

    @property
    def name(self) -> str:
        """Its file's name."""
        return Path(self.path).name

    @property
    def megapixels(self) -> float:
        """Size in millions of pixels."""
        return math.prod(self.noisy.shape[:2]) / 1e6

    @property
    def noisy_psnr(self) -> float | None:
        """How far the noisy picture is from the clean one, in dB."""
        return None if self.reference is None else psnr(self.noisy, self.reference)

    def within_range(self, pixels: Float32) -> Float32:
        """What can be stored of a result, without rounding."""
        return np.clip(pixels, 0, 1) if self.bounded else pixels


def find_pictures(paths: list[str]) -> list[str]:
    """The paths with folders replaced by the pictures in them and below.

    Raises
    ------
    FileError
        If a folder has none.
    """
    found = []
    for path in paths:
        if not os.path.isdir(path):
            found.append(path)
            continue
        inside = walk(path).files
        if not inside:
            raise FileError(f"{path}: no picture in this folder; name another, or files")
        found += [os.path.join(path, one) for one in inside]
    return found


def find_reference(path: str, reference: str | None) -> str | None:
    """The clean version of a picture: the file named, or that of the same name in the folder."""
    if reference is not None and os.path.isdir(reference):
        return os.path.join(reference, os.path.basename(path))
    return reference
