"""What may go into the filters: arrays seen as frames, sigma maps and guides that fit them."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nlm import frames, registry
from nlm.checks import colour_axis
from nlm.errors import UsageError
from nlm.noise import plan
from nlm.registry import Filter, Guide

if TYPE_CHECKING:
    from nlm.io import Info


def as_frame_shape(image: NDArray[Any], channel_axis: int | None) -> tuple[int, ...]:
    """The shape of `image` with its colours last."""
    if channel_axis is None:
        return image.shape
    axis = colour_axis(channel_axis, image.ndim)
    return (*image.shape[:axis], *image.shape[axis + 1 :], image.shape[axis])


def as_frame(image: NDArray[Any], channel_axis: int | None) -> NDArray[Any]:
    """A view of a signal or picture as (Y, X, C), of a volume as (Z, Y, X, C).

    Raises
    ------
    UsageError
        If it has another number of axes.
    """
    if channel_axis is not None:
        image = np.moveaxis(image, colour_axis(channel_axis, image.ndim), -1)
    else:
        image = image[..., None]
    space = image.ndim - 1
    if space not in (1, 2, 3):
        raise UsageError(
            f"an array of shape {image.shape[:-1] if channel_axis is None else image.shape} has "
            f"{space} axes of space; give 1, 2 or 3, and channel_axis for that of colour"
        )
    return image[None] if space == 1 else image


def finite(stored: NDArray[Any], info: "Info | None" = None) -> NDArray[np.float32]:
    """Samples of a picture or volume as finite float32 of the same shape."""
    pixels = frames.to_float(stored, info)
    if stored.dtype.kind != "f":
        return pixels
    filled, _ = frames.fill_invalid(as_picture(pixels))
    return filled.reshape(stored.shape)


def as_picture(pixels: NDArray[Any]) -> NDArray[Any]:
    """The slices of a volume one below the other, for what looks at small neighbourhoods only."""
    return pixels.reshape(-1, *pixels.shape[-2:])


def sigma_map_of(sigma: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Noise levels for an image of that shape, its colours left out.

    Raises
    ------
    UsageError
        If they do not broadcast.
    """
    try:
        return np.broadcast_to(np.asarray(sigma, np.float32), shape)
    except ValueError:
        raise UsageError(
            f"a sigma of shape {np.shape(sigma)} does not fit an image of {shape} without its "
            "colours; give one number, or an array that broadcasts to that shape"
        ) from None


def as_guide(guide: Any, shape: tuple[int, ...], channel_axis: int | None, space: int) -> Guide:
    """An array that guides an image of the shape (Y, X, C), whose colours its own need not equal.

    Raises
    ------
    UsageError
        If the sizes differ.
    """
    array = np.asarray(guide)
    axis = None
    if array.ndim > space:
        axis = -1 if channel_axis is None else channel_axis
    return guide_of(finite(as_frame(array, axis)), shape)


def guide_of(pixels: NDArray[np.float32], shape: tuple[int, ...]) -> Guide:
    """Finite pixels (Y, X, C) of a guide for a picture of that shape, with their noise level.

    Raises
    ------
    UsageError
        If the sizes differ.
    """
    if pixels.shape[:-1] != shape[:-1]:
        given, wanted = (" x ".join(map(str, one[:-1])) for one in (pixels.shape, shape))
        raise UsageError(f"a guide of {given} rows x columns does not fit; give one of {wanted}")
    noise = plan(pixels)
    even = noise.stabiliser
    if even is None:
        return Guide(pixels[None], noise.sigma)
    return Guide(even.forward(pixels)[None], even.sigma)


def check_ability(chosen: Filter, volume: bool, guided: bool) -> None:
    """Refuse what a filter cannot do.

    Raises
    ------
    UsageError
    """
    if guided and volume:
        raise UsageError("volumes take no guide; leave it out, or denoise slice by slice")
    for wanted, what, has in (
        (guided, "takes no guide", "guided"),
        (volume, "does not denoise volumes", "volume"),
    ):
        if wanted and getattr(chosen, has) is None:
            able = [n for n in registry.methods() if getattr(registry.get(n), has) is not None]
            raise UsageError(f"method {chosen.name!r} {what}; these do: {', '.join(able)}")
