"""Slow, obvious twins of the fast kernels, in float64."""

import numpy as np
from scipy.ndimage import uniform_filter


def _patch_mean(x: np.ndarray, patch: tuple[int, int]) -> np.ndarray:
    """Mean over the patch round every pixel of (Y, X)."""
    return uniform_filter(x, patch, mode="constant")


def nlm(
    features: np.ndarray,
    values: np.ndarray,
    sigma: float,
    strength: float,
    patch: tuple[int, int],
    radius: tuple[int, int],
    aggregate: bool,
    self_floor: float = 1e-2,
) -> np.ndarray:
    """Non-local means of (Y, X, C) arrays, continued by reflection beyond their edges."""
    half = (patch[0] // 2, patch[1] // 2)
    margin = [2 * (r + 2 * h) for r, h in zip(radius, half, strict=True)]
    pad = [(margin[0], margin[0]), (margin[1], margin[1]), (0, 0)]
    f = np.pad(features.astype(np.float64), pad, mode="reflect")
    v = np.pad(values.astype(np.float64), pad, mode="reflect")
    numerator = np.zeros_like(v)
    denominator = np.zeros(v.shape[:2])
    largest = np.zeros(v.shape[:2])
    for dy in range(-radius[0], radius[0] + 1):
        for dx in range(-radius[1], radius[1] + 1):
            if (dy, dx) == (0, 0):
                continue
            other = np.roll(f, (-dy, -dx), axis=(0, 1))
            distance = _patch_mean(np.mean((f - other) ** 2, axis=2), patch)
            w = np.exp(-np.maximum(distance - 2 * sigma**2, 0) / (strength * sigma) ** 2)
            largest = np.maximum(largest, w)
            if aggregate:
                w = _patch_mean(w, patch) * patch[0] * patch[1]
            numerator += w[..., None] * np.roll(v, (-dy, -dx), axis=(0, 1))
            denominator += w
    own = np.ones(v.shape[:2])
    if aggregate:
        own = _patch_mean(np.maximum(largest, self_floor), patch) * patch[0] * patch[1]
    result = (numerator + own[..., None] * v) / (denominator + own)[..., None]
    return result[margin[0] : -margin[0] or None, margin[1] : -margin[1] or None]
