"""The averages behind OpenCV's functions: by squared or absolute differences, over frames."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.checks import whole_number
from nlm.compat.by_offset import by_offset
from nlm.compat.mapping import noise_and_strength
from nlm.errors import UsageError

NORM_L1, NORM_L2 = 2, 4


class Sizes:
    """Sides of patch and window as cv2 says them."""

    def __init__(self, template: int, search: int, strict: bool = False) -> None:
        template = whole_number("templateWindowSize", template, 1)
        search = whole_number("searchWindowSize", search, 1)
        for size in (template, search):
            if strict and size % 2 == 0:
                raise UsageError(f"a window size of {size} is not allowed; give odd numbers")
        self.patch = 2 * (template // 2) + 1
        self.radius = search // 2


def average(
    frames: list[NDArray[np.float32]], index: int, h: list[float], sizes: Sizes, norm: int
) -> NDArray[np.float32]:
    """A frame of a clip, averaged over all of its frames.

    Parameters
    ----------
    frames : list of ndarray of float32, shape (Y, X, C)
    index : int
        Which frame.
    h : list of float
        One strength for all channels or one each.
    sizes : Sizes
    norm : {NORM_L2, NORM_L1}

    Returns
    -------
    ndarray of float32, shape (Y, X, C)
    """
    if norm not in (NORM_L1, NORM_L2):
        raise UsageError(f"normType {norm} is not allowed; give NORM_L1 (2) or NORM_L2 (4)")
    if norm == NORM_L1 and len(frames) > 1:
        raise UsageError("NORM_L1 over several frames is not there; give NORM_L2 (4)")
    parts = [slice(c, c + 1) for c in range(len(h))] if len(h) > 1 else [slice(None)]
    by_norm = _by_absolute if norm == NORM_L1 else _by_square
    results = [by_norm(frames, index, part, one, sizes) for part, one in zip(parts, h, strict=True)]
    return np.concatenate(results, axis=2)


def _by_square(
    frames: list[NDArray[np.float32]], index: int, part: slice, h: float, sizes: Sizes
) -> NDArray[np.float32]:
    if h <= 0:
        return frames[index][..., part]
    sides, reach = (sizes.patch, sizes.patch), (sizes.radius, sizes.radius)
    if len(frames) == 1:
        from nlm.backends.cpu import nlm

        features = frames[0]
        values = features if part == slice(None) else features[..., part]
        level, strength = noise_and_strength(0, h)
        return nlm(features, values, level, strength, patch=sides, radius=reach, aggregate=False)
    from nlm.backends.cpu_volume import Weights, weighted_sums
    from nlm.backends.slices import Neighbourhood

    clip = np.stack(frames)
    window = np.array([[[index], *([k] for k in range(len(frames)))]], np.int64)
    (sums,) = weighted_sums(
        clip, np.ascontiguousarray(clip[..., part]), Neighbourhood(window, index),
        Weights(0, h, sides, reach),
    )  # fmt: skip
    return np.asarray(sums[..., :-1] / sums[..., -1:])


def _by_absolute(
    frames: list[NDArray[np.float32]], index: int, part: slice, h: float, sizes: Sizes
) -> NDArray[np.float32]:
    if h <= 0:
        return frames[index][..., part]
    picture, margin = frames[index], sizes.radius + sizes.patch // 2
    padded = np.pad(picture, [(margin, margin), (margin, margin), (0, 0)], "reflect")
    channels = picture.shape[2]

    def compare(difference: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.sum(np.abs(difference), axis=-1))

    def weigh(distance: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.exp(-(distance**2) / (h**2 * channels)))

    taps = np.full(sizes.patch, 1 / sizes.patch)
    done = by_offset(padded, sizes.radius, taps, compare, weigh)
    rows, columns = picture.shape[:2]
    return np.asarray(done[margin : margin + rows, margin : margin + columns, part])
