"""Denoising of arrays: what every face of nlm ends up calling."""

import math
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm import backends, frames, registry
from nlm.checks import number
from nlm.errors import UsageError
from nlm.inputs import (
    as_frame,
    as_frame_shape,
    as_guide,
    as_picture,
    check_ability,
    finite,
    sigma_map_of,
)
from nlm.limits import SMALLEST_SIGMA
from nlm.noise import Plan, check_model, plan
from nlm.noise.levels import by_levels
from nlm.params import Params
from nlm.registry import Filter, Guide
from nlm.tiling import as_memory_allows, by_tiles

WEAK_TO_STRONG = (0.0015, 0.1, 0.25)
"""Noise levels for each of which a filter may choose other parameters and kernels."""
LOOKED_AT, NEARLY_ALL = 2**14, 0.95
"""Values that are looked at, and the share of them that decides: a few may be bright lights."""
USUAL = 2.0
"""Values up to this are taken as they are."""


def denoise(
    image: NDArray[Any],
    sigma: float | NDArray[Any] | None = None,
    method: str = registry.DEFAULT,
    channel_axis: int | None = None,
    backend: str = "auto",
    preset: str | None = "balanced",
    noise_model: str = "auto",
    gain: float | None = None,
    guide: NDArray[Any] | None = None,
    **parameters: Any,
) -> NDArray[Any]:
    """Denoise a signal, picture or volume.

    Parameters
    ----------
    image : ndarray, shape (X,), (Y, X) or (Z, Y, X), or one of these with an axis of colour
        Integers, whose full scale is the dtype's maximum, or floats, whose full scale is 1.0 and
        whose values outside 0..1 are kept; networks get those of other sizes (0..255, say) at
        about 0..1. NaN, infinities and numbers beyond 1e16, as maps have them where nothing was
        measured, stay where they are.
    sigma : float or ndarray, optional
        Standard deviation of the noise as a fraction of full scale (25 grey levels of 8 bits are
        25 / 255). An array, which broadcasts to the image without its colours, gives the level of
        every pixel. Left out, it is estimated.
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
    guide : ndarray, optional
        Weights come from this picture, values from `image`: the same sizes, any dtype, its
        colours along `channel_axis` too if it has that axis. Its noise level is estimated.
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
    stored = as_frame(image, channel_axis)
    space = image.ndim - (channel_axis is not None)
    volume = space == 3
    if sigma is not None:
        check_sigma(sigma, most=np.inf if image.dtype.kind == "f" else 1)
    check_model(noise_model, sigma, gain)
    chosen = registry.get(method)
    check_ability(chosen, volume, guide is not None)
    params = registry.parameters(method, preset, parameters, volume)
    place = backends.in_precision(backends.choose(backend), params)
    its = None if guide is None else as_guide(guide, stored.shape, channel_axis, space)
    if stored.size == 0:
        return image.copy()
    pixels = finite(stored)
    if sigma is None or np.ndim(sigma) == 0:
        level = None if sigma is None else float(sigma)
        exact = level is not None or stored.dtype.kind != "f"
        known = pixels if exact else frames.known(stored)
        noise = plan(as_picture(known), level, noise_model, gain)
    else:
        noise = Plan.of_map(sigma_map_of(sigma, stored.shape[:-1]))
    work = pixels if volume else pixels[None]
    filtered = apply(chosen, params, work, noise, place, guide=its, volume=volume)
    filtered = filtered.reshape(pixels.shape)
    restored = frames.to_stored(filtered, stored).reshape(as_frame_shape(image, channel_axis))
    return restored if channel_axis is None else np.moveaxis(restored, -1, channel_axis)


def apply(
    chosen: Filter,
    params: Params,
    pixels: NDArray[np.float32],
    noise: Plan,
    backend: backends.Backend,
    tile: int | None = None,
    guide: Guide | None = None,
    volume: bool = False,
) -> NDArray[np.float32]:
    """Filter finite frames (T, Y, X, C); without noise they come back as they are.

    A volume's T is the third axis of space.
    """
    if negligible(noise.sigma, pixels):
        return pixels
    backend = backends.suited(backend, chosen, params, volume)
    even, halo = noise.stabiliser, params.halo
    if volume and chosen.volume is not None:
        halo = halo and (halo[1], halo[1], halo[1])
        tile = tile or chosen.volume.tile
    channels = pixels.shape[3]

    def denoised(
        place: backends.Backend, part: NDArray[np.float32], sigma: float
    ) -> NDArray[np.float32]:
        values = part[..., :channels]
        if negligible(sigma, values):
            return values
        if volume and chosen.volume is not None:
            return chosen.volume.apply(values, sigma, params, place)
        if guide is not None and chosen.guided is not None:
            its = Guide(part[..., channels:], guide.sigma)
            return chosen.guided(values, sigma, params, place, its)
        return chosen.apply(values, sigma, params, place)

    work = even.forward(pixels) if even else pixels
    scale = magnitude(work) if chosen.bounded else 1.0
    if scale != 1:
        work = work / np.float32(scale)
    if guide is not None:  # it goes through the same tiles
        work = np.concatenate([work, guide.frames], axis=3)
    level = (even.sigma if even else noise.sigma) / scale

    def by_tiles_on(place: backends.Backend, side: int | None) -> NDArray[np.float32]:
        here = place

        def begin(number: int, of: int) -> None:
            nonlocal here
            here = place.part(number, of)

        def run(part: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
            return denoised(here, part, sigma)

        if noise.sigma_map is not None:
            sigma_map = noise.sigma_map.reshape(-1, *pixels.shape[1:3]) / np.float32(scale)
            return by_levels(run, work, sigma_map, halo, side, params.align, begin)
        tall = params.tall and place.name == "cpu"
        everywhere = partial(run, sigma=level)
        return by_tiles(everywhere, work, halo, side, params.align, tall, begin)

    cpu = backends.fallback(backend, params)
    filtered = as_memory_allows(
        partial(by_tiles_on, backend),
        tile or backend.tile(chosen.tile),
        max(pixels.shape[1:3]),
        backend.out_of_memory,
        None if cpu is None else partial(by_tiles_on, cpu, tile or chosen.tile),
    )
    if scale != 1:
        filtered = filtered * np.float32(scale)
    return even.inverse(filtered) if even else filtered


def magnitude(pixels: NDArray[np.float32]) -> float:
    """A power of two that nearly all values (T, Y, X, C) lie below; 1 where they are usual."""
    step = max(1, math.isqrt(pixels.size // LOOKED_AT))
    high = float(np.quantile(np.abs(pixels[:, ::step, ::step]), NEARLY_ALL))
    return 2.0 ** math.ceil(math.log2(high)) if high > USUAL else 1.0


def negligible(sigma: float, pixels: NDArray[np.float32]) -> bool:
    """Whether noise is none, beside the pixels or, where these are larger, beside full scale."""
    if sigma >= SMALLEST_SIGMA:
        return False
    return bool(sigma <= SMALLEST_SIGMA * np.abs(pixels).max(initial=0))


def warm_up() -> list[str]:
    """Compile what nlm's filters need for pictures and clips, gray and colour; tells names."""
    from nlm.clip import denoise_clip

    place = backends.choose("cpu")
    # Kernels are chosen by the range of values, too.
    steep = np.repeat(np.array([0, 1], np.float32), 32)[:, None, None]
    plane, colour = (np.broadcast_to(steep, (64, 64, channels)) for channels in (1, 3))
    own = [method for method in registry.methods() if not registry.get(method).reference]
    for method in own:
        for picture, preset, sigma in product((plane, colour), registry.PRESETS, WEAK_TO_STRONG):
            denoise(picture, sigma, method, channel_axis=-1, preset=preset)
        params = registry.parameters(method, "balanced", {}, clip=True)
        clip = [(plane, plane, plane)] * 2
        list(denoise_clip(clip, registry.get(method), params, lambda _: Plan(0.1), place))
    return own


def check_sigma(sigma: Any, most: float = np.inf) -> None:
    """Refuse what cannot be a noise level or a map of it."""
    if np.ndim(sigma) == 0:
        good = 0 <= number(sigma) < np.inf
    else:
        levels = np.asarray(sigma)
        good = levels.dtype.kind in "iuf" and bool(np.all((levels >= 0) & (levels < np.inf)))
        good = good and not np.ma.is_masked(sigma)
    if not good:
        masked = ", or masked ones" if np.ma.is_masked(sigma) else ""
        wrong = f"with a negative or infinite level{masked}"
        given = repr(sigma) if np.ndim(sigma) == 0 else wrong
        raise UsageError(
            f"sigma {given} is not allowed; give the noise level, 0 or more, as a fraction of "
            "full scale (25/255 for 25 grey levels of 8 bits), or leave it out to have it estimated"
        )
    if np.size(sigma) and np.max(sigma) > most:
        raise UsageError(
            f"sigma {np.max(sigma):g} is more than the full scale of integers; give a fraction of "
            "it, 25/255 for 25 grey levels of 8 bits"
        )
