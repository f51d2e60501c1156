"""The non-local operation over all keys by softmax, on tensor cores; see cuda/softmax.cu."""

from typing import Any

import numpy as np

from nlm.backends import gpu_device
from nlm.backends.cpu_non_local import LOG2_E
from nlm.backends.gpu_tensor import peak_of

QUERIES, KEYS, CHANNELS, THREADS = 64, 64, 64, 128
"""What a block takes together, and its threads."""
MOST_DEPTH = 128
"""Channels of queries that a warp holds in registers."""


def attend(queries: Any, keys: Any, values: Any, scale: float) -> Any:
    """Softmax-weighted means of all values.

    Parameters
    ----------
    queries : array of float32 on the card, shape (N, d)
        d is at most `MOST_DEPTH`.
    keys, values : array of float32 on the card, shapes (M, d) and (M, C)
    scale : float
        What scores are multiplied by.

    Returns
    -------
    array of float32 on the card, shape (N, C)
    """
    device = gpu_device.device()
    q, k, v = map(device.xp.ascontiguousarray, (queries, keys, values))
    (count, size), key_count, channels = q.shape, len(k), v.shape[1]
    depth = _rounded_up(size, 16)
    together = min(_rounded_up(channels, 8), CHANNELS)
    columns = _rounded_up(channels, together)
    padded = _rounded_up(key_count, KEYS)
    constants = (("DEPTH", depth), ("CHANNELS", together))
    peaks = tuple(map(peak_of, (q, k, v)))

    def split(numbers: Any, peak: Any, along_rows: bool, down: int, across: int) -> Any:
        words = device.xp.empty((2, down, across), np.uint32)
        device.launch(
            "softmax.cu", "split_pairs", constants, (-(-across // 256), down), 256,
            (numbers, peak, words, *numbers.shape, int(along_rows), down, across),
        )  # fmt: skip
        return words

    key_words = split(k, peaks[1], True, depth // 2, padded)
    value_words = split(v, peaks[2], False, padded // 2, columns)
    out = device.xp.empty((count, channels), np.float32)
    device.launch(
        "softmax.cu", "attend", constants, (-(-count // QUERIES), columns // together), THREADS,
        (q, key_words, value_words, out, *peaks, count, size, key_count, padded, columns,
         channels, float(scale * LOG2_E)),
        shared_bytes(depth, together),
    )  # fmt: skip
    return out


def shared_bytes(depth: int, channels: int) -> int:
    """Shared memory of a block, for a tile of keys and values."""
    return 4 * (depth * (KEYS + 8) + KEYS * ((channels + 23) // 32 * 32 + 8))


def _rounded_up(size: int, unit: int) -> int:
    return -(-size // unit) * unit
