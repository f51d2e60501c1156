"""What `nlnet` learns from: pictures of a folder, and noisy crops of them."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from nlm.backends.threads import for_each
from nlm.errors import FileError, NlmError, UsageError
from nlm.frames import fill_invalid, to_float
from nlm.io import FORMATS, open_reader
from nlm.learned.config import ModelConfig
from nlm.learned.estimates import estimates
from nlm.learned.monitor import Tell
from nlm.learned.train_config import TrainConfig

LARGEST_SIDE = 2048
"""Larger pictures are reduced when they are read."""
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
        image = Image.fromarray(picture.squeeze())
        image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BOX)
        picture = np.asarray(image).reshape(image.height, image.width, channels)
    return picture


def crop_at_random(
    picture: np.ndarray, config: TrainConfig, rng: np.random.Generator
) -> np.ndarray:
    """Cut a square out, sometimes from the reduced picture, turned and mirrored at random."""
    size = config.crop
    if rng.random() < config.downscaled:
        size = min(round(size / rng.uniform(0.5, 1.0)), *picture.shape[:2])
    y = rng.integers(picture.shape[0] - size + 1)
    x = rng.integers(picture.shape[1] - size + 1)
    crop = picture[y : y + size, x : x + size]
    if size != config.crop:
        image = Image.fromarray(crop.squeeze()).resize((config.crop, config.crop))  # bicubic
        crop = np.asarray(image).reshape(config.crop, config.crop, -1)
    crop = np.rot90(crop, int(rng.integers(4)))
    return crop[::-1] if rng.integers(2) else crop


def make_batch(
    pictures: list[np.ndarray], step: int, config: TrainConfig, model: ModelConfig
) -> tuple[np.ndarray, ...]:
    """Return clean and noisy crops, sigma and the estimates of one step.

    The step's number and the seed decide everything, so a resumed run sees what an
    uninterrupted one would have seen.
    """
    rng = np.random.default_rng([config.seed, step])
    n, size = config.batch, config.crop
    crops = [crop_at_random(pictures[rng.integers(len(pictures))], config, rng) for _ in range(n)]
    clean = np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32) / 255  # (B, C, Y, X)
    ends = rng.uniform(0, config.sigma_max / 255, (2, n, 1, 1, 1)).astype(np.float32)
    ramp = np.linspace(0, 1, size, dtype=np.float32)[:, None].repeat(size, 1)
    ramp = ramp * (rng.random((n, 1, 1, 1)) < config.ramps)
    sigma = (ends[0] + (ends[1] - ends[0]) * ramp).astype(np.float32)  # (B, 1, Y, X)
    noisy = clean + sigma * rng.standard_normal(clean.shape, dtype=np.float32)
    if not model.estimates:
        return clean, noisy, sigma
    one_thread = functools.partial(for_each, threads=1)
    guides = [
        estimates(np.ascontiguousarray(p.transpose(1, 2, 0)), s[0], model.estimates, one_thread)
        for p, s in zip(noisy, sigma, strict=True)
    ]
    return clean, noisy, sigma, np.stack(guides).transpose(0, 3, 1, 2)


def batches(
    pictures: list[np.ndarray], first: int, config: TrainConfig, model: ModelConfig
) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield the batch of each step from `first` on, prepared ahead if there are workers."""
    if config.workers == 0:
        for step in range(first, config.steps):
            yield make_batch(pictures, step, config, model)
        return
    waiting: deque[Future[tuple[np.ndarray, ...]]] = deque()
    with ThreadPoolExecutor(config.workers) as pool:
        for step in range(first, config.steps):
            waiting.append(pool.submit(make_batch, pictures, step, config, model))
            if len(waiting) > 2 * config.workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
