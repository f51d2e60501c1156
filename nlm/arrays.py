"""Denoising of arrays: what every face of nlm ends up calling."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm import backends, frames, registry
from nlm.errors import UsageError
from nlm.noise import Plan, check_model, plan
from nlm.params import Params
from nlm.registry import Filter
from nlm.tiling import by_tiles

SMALLEST_SIGMA = 1e-6
"""Less noise than this, in fractions of full scale, is none."""


def denoise(
    image: NDArray[Any],
    sigma: float | None = None,
    method: str = registry.DEFAULT,
    channel_axis: int | None = None,
    backend: str = "auto",
    preset: str | None = "balanced",
    noise_model: str = "auto",
    gain: float | None = None,
    **parameters: Any,
) -> NDArray[Any]:
    """Denoise a picture.

    Parameters
    ----------
    image : ndarray, shape (X,), (Y, X) or with an axis of colour
        Integers, whose full scale is the dtype's maximum, or floats, whose full scale is 1.0 and
        whose values outside 0..1 are kept. NaN and infinities stay where they are.
    sigma : float, optional
        Standard deviation of the noise as a fraction of full scale (25 grey levels of 8 bits are
        25 / 255). Left out, it is estimated.
    method : str
        A name of `nlm.methods()`.
    channel_axis : int, optional
        The axis of colour; None means that every axis is space.
    backend : {"auto", "cpu", "gpu"}
        Where it is computed.
    preset : {"fast", "balanced", "best"} or None
        A set of parameters; None means the method's plain defaults.
    noise_model : {"auto", "gaussian", "poisson-gaussian"}
        Whether the noise grows with the signal; "auto" finds out where sigma is not given.
    gain : float, optional
        Of poisson-gaussian noise: its variance is gain * signal + sigma**2, fractions of full
        scale. Left out with sigma, both are estimated.
    **parameters
        The method's own parameters, see `nlm methods`; they win over the preset's.

    Returns
    -------
    ndarray
        Of the shape and dtype of `image`.

    Raises
    ------
    UsageError
        If a value is not allowed.
    TypeError
        If the method has no such parameter.
    """
    image = np.asarray(image)
    if sigma is not None:
        check_sigma(sigma)
    check_model(noise_model, sigma, gain)
    chosen = registry.get(method)
    params = registry.parameters(method, preset, parameters)
    place = backends.choose(backend)
    stored = as_frame(image, channel_axis)
    if stored.size == 0:
        return image.copy()
    pixels, _ = frames.fill_invalid(frames.to_float(stored))
    noise = plan(pixels, sigma, noise_model, gain)
    filtered = apply(chosen, params, pixels[None], noise, place)[0]
    restored = frames.to_stored(filtered, stored).reshape(as_frame_shape(image, channel_axis))
    return restored if channel_axis is None else np.moveaxis(restored, -1, channel_axis)


def apply(
    chosen: Filter,
    params: Params,
    pixels: NDArray[np.float32],
    noise: Plan,
    backend: backends.Backend,
    tile: int | None = None,
) -> NDArray[np.float32]:
    """Filter finite frames (T, Y, X, C); without noise they come back as they are."""
    if noise.sigma < SMALLEST_SIGMA:
        return pixels
    even = noise.stabiliser
    filtered = by_tiles(
        lambda part: chosen.apply(part, even.sigma if even else noise.sigma, params, backend),
        even.forward(pixels) if even else pixels,
        params.halo,
        tile or chosen.tile,
        chosen.align,
    )
    return even.inverse(filtered) if even else filtered


def warm_up() -> list[str]:
    """Compile what nlm's filters need for gray and colour pictures; tells their names."""
    own = [method for method in registry.methods() if not registry.get(method).reference]
    for method in own:
        for channels in (1, 3):
            denoise(np.zeros((64, 64, channels), np.float32), 0.1, method, channel_axis=-1)
    return own


def check_sigma(sigma: float) -> None:
    """Refuse what cannot be a noise level."""
    try:
        good = 0 <= float(sigma) < float("inf")
    except (TypeError, ValueError):
        good = False
    if not good:
        raise UsageError(
            f"sigma {sigma!r} is not allowed; give the noise level, 0 or more, as a fraction of "
            "full scale (25/255 for 25 grey levels of 8 bits), or leave it out to have it estimated"
        )


def as_frame_shape(image: NDArray[Any], channel_axis: int | None) -> tuple[int, ...]:
    """The shape of `image` with its colours last."""
    if channel_axis is None:
        return image.shape
    return np.moveaxis(image, channel_axis, -1).shape


def as_frame(image: NDArray[Any], channel_axis: int | None) -> NDArray[Any]:
    """A view of a signal or picture as (Y, X, C).

    Raises
    ------
    UsageError
        If it has another number of axes.
    """
    if channel_axis is not None:
        if not -image.ndim <= channel_axis < image.ndim:
            raise UsageError(
                f"channel_axis {channel_axis} does not exist in an array of {image.ndim} axes"
            )
        image = np.moveaxis(image, channel_axis, -1)
    else:
        image = image[..., None]
    space = image.ndim - 1
    if space not in (1, 2):
        hint = "; give channel_axis=-1 if the last axis is colour" if space == 3 else ""
        raise UsageError(f"an array with {space} axes of space is not allowed: 1 or 2{hint}")
    return image if space == 2 else image[None]
