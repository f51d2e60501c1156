"""How close two pictures are."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nlm.checks import colour_axis
from nlm.errors import UsageError
from nlm.frames import full_scale


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[Any], NDArray[Any], float]:
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.size == 0:
        raise UsageError(
            f"pictures of shapes {a.shape} and {b.shape} cannot be compared; give two of the same "
            "shape, with pixels in them"
        )
    scales = {full_scale(a.dtype), full_scale(b.dtype)}
    if len(scales) > 1:
        raise UsageError(
            f"pictures of dtypes {a.dtype} and {b.dtype} have different full scales; "
            "convert one of them"
        )
    return a.astype(np.float64), b.astype(np.float64), scales.pop()


def psnr(a: ArrayLike, b: ArrayLike) -> float:
    """Peak signal-to-noise ratio in dB.

    Parameters
    ----------
    a, b : array_like
        Pictures of the same shape and full scale (a dtype's maximum for integers, 1.0 for floats).

    Returns
    -------
    float
        10 log10(full scale^2 / mean squared difference); infinite for equal pictures.
    """
    x, y, scale = _pair(a, b)
    error = float(np.mean((x - y) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(scale**2 / error))


def ssim(a: ArrayLike, b: ArrayLike, channel_axis: int | None = None) -> float:
    """Structural similarity, as `skimage.metrics.structural_similarity` computes it.

    Gaussian weights of sigma 1.5 as in Wang et al., TIP 2004, doi:10.1109/TIP.2003.819861.

    Parameters
    ----------
    a, b : array_like
        Pictures of the same shape and full scale, at least 11 pixels a side.
    channel_axis : int, optional
        The axis of colour; None means that every axis is space.

    Returns
    -------
    float
        1 for equal pictures.
    """
    from skimage.metrics import structural_similarity

    x, y, scale = _pair(a, b)
    axis = None if channel_axis is None else colour_axis(channel_axis, x.ndim)
    spatial = [size for k, size in enumerate(x.shape) if k != axis]
    if min(spatial, default=0) < 11:
        raise UsageError(f"SSIM needs pictures of at least 11 pixels a side, this one is {x.shape}")
    value = structural_similarity(  # type: ignore[no-untyped-call]
        x,
        y,
        data_range=scale,
        channel_axis=axis,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(value)
