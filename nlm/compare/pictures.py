"""What the filters are compared on: a noisy picture, its noise level, and perhaps the clean one."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nlm.batch.tree import walk
from nlm.errors import FileError, UsageError
from nlm.io import open_reader
from nlm.io.samples import turn
from nlm.limits import MAX_PIXELS
from nlm.metrics import psnr
from nlm.noise import Plan, plan
from nlm.planes import visible_pixels
from nlm.synthetic import add_noise as with_noise

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
    """

    path: str
    noisy: Float32
    noise: Plan
    reference: Float32 | None = None
    origin: str = "given"
    bounded: bool = True

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


def load(
    path: str,
    *,
    add_noise: float | None = None,
    seed: int = 0,
    reference: str | None = None,
    sigma: float | None = None,
    noise_model: str = "auto",
    gain: float | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Picture:
    """Read a picture, of several pages or frames the first.

    Parameters
    ----------
    path : str
    add_noise : float, optional
        Standard deviation of Gaussian noise to add, fraction of full scale; the picture is then
        the reference.
    seed : int
        Of ``numpy.random.default_rng``.
    reference : str, optional
        The clean picture's file.
    sigma, noise_model, gain
        What the filters are told, see `nlm.noise.plan`; left out, the noise that was added, or
        what is estimated.
    max_pixels : int
        Larger pictures are refused.

    Raises
    ------
    FileError
        If a file cannot be read, or the two are of different shapes.
    UsageError
        If both `add_noise` and `reference` are given.
    """
    if add_noise is not None and reference is not None:
        raise UsageError("--add-noise makes its own reference; leave --reference out")
    noisy, bounded = _read(path, max_pixels)
    clean, origin = None, "given"
    if add_noise is not None:
        clean = noisy
        rng = np.random.default_rng(seed)
        noisy = with_noise(clean, add_noise, rng).astype(np.float32)
        if sigma is None and gain is None:
            sigma, origin = add_noise, "added"
    elif reference is not None:
        clean, _ = _read(reference, max_pixels)
        if clean.shape != noisy.shape:
            raise FileError(
                f"{path}: is {_size(noisy)}, its reference {reference} is {_size(clean)}; "
                "name the clean version of the same picture"
            )
    origin = "estimated" if sigma is None and gain is None else origin
    return Picture(path, noisy, plan(noisy, sigma, noise_model, gain), clean, origin, bounded)


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


def _read(path: str, max_pixels: int) -> tuple[Float32, bool]:
    """Pixels of the first frame, upright, and whether the file holds integers."""
    with open_reader(path, max_pixels=max_pixels) as reader:
        info = reader.info
        frame = turn(next(iter(reader)), info.metadata.orientation)
        return visible_pixels(frame.planes[0], frame, info), info.dtype.kind != "f"


def _size(pixels: Float32) -> str:
    rows, columns, channels = pixels.shape
    return f"{columns} x {rows} with {channels} channel{'s' if channels > 1 else ''}"
