"""What `nlnet` learns from: pictures of a folder, and noisy crops of them."""

from __future__ import annotations

import functools
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from nlm.backends.threads import for_each
from nlm.errors import UsageError
from nlm.learned.config import ModelConfig, TrainConfig
from nlm.learned.estimates import estimates

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm"}
LARGEST_SIDE = 2048  # larger pictures are reduced when they are read


def load_pictures(folder: Path, channels: int, smallest: int) -> list[np.ndarray]:
    """Read every picture under a folder as uint8 (Y, X, C); name those that are left out.

    Raises
    ------
    UsageError
        If no usable picture is found.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder of pictures")
    pictures = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        try:
            with Image.open(path) as file:
                image = file.convert("L" if channels == 1 else "RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            warn(f"{path}: left out, not readable ({error})")
            continue
        if max(image.size) > LARGEST_SIDE:
            image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BOX)
        if min(image.size) < smallest:
            warn(f"{path}: left out, {image.width}x{image.height} is smaller than {smallest}")
            continue
        pictures.append(np.asarray(image).reshape(image.height, image.width, channels))
    if not pictures:
        raise UsageError(f"{folder} holds no usable picture ({', '.join(sorted(SUFFIXES))})")
    return pictures


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


def warn(text: str) -> None:
    """Write a line to stderr."""
    print(text, file=sys.stderr, flush=True)
