"""scikit-image's `denoise_nl_means`, computed by nlm.

>>> from nlm.compat.skimage import denoise_nl_means

The signature is that of scikit-image 0.26, and h and sigma mean what they mean there. Results
differ in this:

- Fast mode: their sums cover (patch_size - 1)^axes of the patch's pixels but are divided by
  patch_size^axes; here patches are whole, and h is widened to give the same weights. With
  patch_size 1 theirs counts every candidate alike, here single pixels are compared.
- Theirs drops weights below exp(-5); here that is so in slow mode only.
- Arithmetic in fast mode is float32 inside.
- A single channel and axes of length 1 stay in the result's shape.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.checks import colour_axis, number, whole_number
from nlm.compat.by_offset import by_offset
from nlm.compat.mapping import noise_and_strength
from nlm.errors import UsageError

LARGEST_DISTANCE = 5.0


def denoise_nl_means(
    image: NDArray[Any],
    patch_size: int = 7,
    patch_distance: int = 11,
    h: float = 0.1,
    fast_mode: bool = True,
    sigma: float = 0.0,
    *,
    preserve_range: bool = False,
    channel_axis: int | None = None,
) -> NDArray[Any]:
    """Non-local means of gray or multichannel images with 2 to 4 axes.

    Parameters
    ----------
    image : ndarray
        Integers are taken as fractions of their full scale, unless `preserve_range`.
    patch_size : int
        Side of the patches, pixels; an even one is raised by one.
    patch_distance : int
        Reach of the search window, pixels.
    h : float
        Cut-off distance, in units of the (converted) image.
    fast_mode : bool
        Box-shaped patches; otherwise their pixels have Gaussian weights, which is slow.
    sigma : float
        Standard deviation of the noise, in units of the (converted) image.
    preserve_range : bool
        Keep integers as they are.
    channel_axis : int or None
        The axis of colours; None means that every axis is space.

    Returns
    -------
    ndarray of float32 or float64, shape of `image`

    Raises
    ------
    NotImplementedError
        For other numbers of axes, as in scikit-image.
    UsageError
        If h is not above 0, or another value is not allowed.

    References
    ----------
    J. Darbon et al., ISBI 2008, doi:10.1109/ISBI.2008.4541250
    J. Froment, IPOL 2014, doi:10.5201/ipol.2014.120
    """
    image = np.asarray(image)
    if channel_axis is not None:
        channel_axis = colour_axis(channel_axis, image.ndim)
    pixels = image[..., None] if channel_axis is None else np.moveaxis(image, channel_axis, -1)
    _check(pixels.ndim - 1, channel_axis is not None, fast_mode, h)
    pixels = np.ascontiguousarray(_as_float(pixels, preserve_range))
    patch = 2 * (whole_number("patch_size", patch_size, 1) // 2) + 1
    radius = whole_number("patch_distance", patch_distance, 0)
    level = number(sigma)
    if not 0 <= level < np.inf:
        raise UsageError(f"sigma {sigma!r} is not allowed; give a number of at least 0")
    if pixels.size == 0:
        return pixels.reshape(image.shape)
    average = _fast if fast_mode else _slow
    result = average(pixels, patch, radius, number(h), level)
    return result[..., 0] if channel_axis is None else np.moveaxis(result, -1, channel_axis)


def _check(axes: int, multichannel: bool, fast_mode: bool, h: float) -> None:
    if not 2 <= axes <= 4:
        raise NotImplementedError(
            "Non-local means denoising is only implemented for 2D, 3D or 4D grayscale or "
            "multichannel images."
        )
    if not fast_mode and (axes == 4 or (axes == 3 and multichannel)):
        raise NotImplementedError("Multichannel 3D and 4D require fast_mode to be True.")
    if not 0 < number(h) < np.inf:
        raise UsageError(f"h {h!r} is not allowed; give a number above 0")


def _fast(pixels: NDArray[Any], patch: int, radius: int, h: float, sigma: float) -> NDArray[Any]:
    """Box patches, by the kernels."""
    axes = pixels.ndim - 1
    if patch > 1:
        h *= (patch / (patch - 1)) ** (axes / 2)
    level, strength = noise_and_strength(sigma, h)
    image = pixels.astype(np.float32)
    if axes == 2:
        from nlm.backends.cpu import nlm

        result = nlm(
            image, image, level, strength,
            patch=(patch, patch), radius=(radius, radius), aggregate=False,
        )  # fmt: skip
    else:
        from nlm.backends.cpu_volume import nlm_volume

        result = nlm_volume(
            image, image, level, strength, patch=patch, radius=radius, aggregate=False
        )
    return result.astype(pixels.dtype)


def _slow(pixels: NDArray[Any], patch: int, radius: int, h: float, sigma: float) -> NDArray[Any]:
    """Patches with Gaussian weights."""
    position = np.arange(patch) - patch // 2
    taps = np.exp(-(position**2) / (2 * max((patch - 1) / 4, 1e-9) ** 2))

    def compare(difference: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.mean(difference**2, axis=-1))

    def weigh(distance: NDArray[Any]) -> NDArray[Any]:
        t = np.maximum(distance - 2 * sigma**2, 0) / h**2
        return np.where(t > LARGEST_DISTANCE, 0, np.exp(-t))

    return by_offset(pixels, radius, taps / taps.sum(), compare, weigh)


def _as_float(image: NDArray[Any], preserve_range: bool) -> NDArray[Any]:
    """As scikit-image converts: half to single precision, integers to double, full scale 1."""
    if image.dtype.kind == "f":
        return image.astype(np.float32 if image.dtype.itemsize <= 4 else np.float64)
    if image.dtype.kind not in "iub":
        raise UsageError(
            f"an image of dtype {image.dtype} is not allowed; give integers, floats or bool"
        )
    pixels = image.astype(np.float64)
    if preserve_range or image.dtype.kind == "b":
        return pixels
    return np.maximum(pixels / np.iinfo(image.dtype).max, -1)
