"""Synthetic noise, the same wherever it is made."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm import frames
from nlm.io import open_reader, open_writer
from nlm.pipeline import PathOrStream, refuse_existing


def add_noise(
    clean: NDArray[Any],
    sigma: float,
    rng: np.random.Generator,
    gain: float | None = None,
) -> NDArray[np.float64]:
    """Add Gaussian and, before it, Poisson noise.

    Parameters
    ----------
    clean : ndarray of float, any shape
        Full scale 1.0.
    sigma : float
        Standard deviation of the Gaussian part, fraction of full scale.
    rng : numpy.random.Generator
    gain : float, optional
        8-bit grey levels per photon; None = no Poisson part.

    Returns
    -------
    ndarray of float64
        Neither rounded nor clipped.
    """
    noisy: NDArray[np.float64] = np.asarray(clean, np.float64)
    if gain is not None:
        noisy = rng.poisson(np.maximum(noisy, 0) * 255 / gain).astype(np.float64) * (gain / 255)
    return noisy + rng.normal(size=noisy.shape) * sigma


def add_noise_to_file(
    src: PathOrStream,
    dst: PathOrStream,
    sigma: float,
    seed: int = 0,
    gain: float | None = None,
    *,
    force: bool = False,
) -> None:
    """Write a noisy copy of a picture file; alpha stays as it is.

    Parameters
    ----------
    src, dst : path or binary stream
    sigma, gain
        As for `add_noise`.
    seed : int
        Of ``numpy.random.default_rng``.
    force : bool
        Overwrite an existing output.
    """
    rng = np.random.default_rng(seed)
    with open_reader(src) as reader:
        refuse_existing(dst, force)
        with open_writer(dst, reader.info) as writer:
            for frame in reader:
                if frame.mask:
                    writer.write(frame)
                    continue
                planes = []
                for plane in frame.planes:
                    pixels = frames.to_float(plane, reader.info)
                    noisy = add_noise(pixels, sigma, rng, gain).astype(np.float32)
                    planes.append(frames.to_stored(noisy, plane, reader.info))
                writer.write(replace(frame, planes=tuple(planes)))
