"""Networks that no one has trained, and disks that hold no more of them."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from nlm.backends.cpu_layers import FeatureMap
from nlm.learned import weights
from nlm.learned.config import ModelConfig


def random_weights(config: ModelConfig, seed: int = 0, gain: float = 0.2) -> dict[str, np.ndarray]:
    """White weights of every layer, float32; with more `gain`, layers change their input more."""
    rng = np.random.default_rng(seed)
    return {
        name: (rng.normal(size=shape) * gain / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        for name, shape in config.shapes().items()
    }


def saved(path: Path, config: ModelConfig, arrays: dict[str, np.ndarray]) -> str:
    """The name of a file of these weights, which is written."""
    meta = {"format": 1, "model": config.to_dict(), "sha256": weights.digest(arrays)}
    np.savez(path, meta=np.array(json.dumps(meta)), **arrays)
    return str(path)


@contextmanager
def no_larger_files_than(size: int) -> Iterator[None]:
    """Writing fails beyond so many bytes of a file, as on a disk that becomes full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def as_map(picture: np.ndarray) -> FeatureMap:
    """A map of features with the numbers of a picture (C, Y, X)."""
    result = FeatureMap.zeros(*picture.shape)
    for channel, values in enumerate(picture):
        result.set(channel, values)
    return result


def as_picture(result: FeatureMap) -> np.ndarray:
    """The numbers of a map of features, (C, Y, X)."""
    return np.stack([result.get(channel) for channel in range(result.channels)])
