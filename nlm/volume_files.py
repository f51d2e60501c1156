"""Stacks that are volumes: all slices of a file are read, denoised together and written."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from nlm import arrays, backends, frames, registry
from nlm.errors import FileError
from nlm.inputs import as_picture, finite
from nlm.io import FrameReader, FrameWriter, Info
from nlm.noise import Plan, plan
from nlm.params import Params
from nlm.settings import Settings


def denoise_volume(
    reader: FrameReader,
    writer: FrameWriter,
    info: Info,
    chosen: registry.Filter,
    params: Params,
    settings: Settings,
    place: backends.Backend,
    known: Iterable[Plan | None],
) -> tuple[Plan, int]:
    """Denoise a file's frames as the slices of one volume.

    Parameters
    ----------
    known : iterable of Plan or None
        The noise of each slice, where a sigma map tells it.

    Returns
    -------
    noise : Plan
    slices : int

    Raises
    ------
    FileError
        If the frames differ in size.
    """
    slices = list(reader)
    shapes = {one.planes[0].shape for one in slices}
    if len(shapes) > 1:
        raise FileError(f"{reader.name}: its pages differ in size; use: --stack pages")
    stored = np.stack([one.planes[0] for one in slices])  # (Z, Y, X, C)
    pixels = finite(stored, info)
    noise = _noise(frames.known(stored, info), settings, known)
    filtered = arrays.apply(chosen, params, pixels, noise, place, settings.tile, volume=True)
    for one, denoised in zip(slices, filtered, strict=True):
        plane = frames.to_stored(denoised, one.planes[0], info, one.alpha)
        writer.write(replace(one, planes=(plane,)))
    return noise, len(slices)


def _noise(pixels: NDArray[np.float32], settings: Settings, known: Iterable[Plan | None]) -> Plan:
    maps = [
        one.sigma_map for one in islice(known, len(pixels)) if one and one.sigma_map is not None
    ]
    if maps:
        return Plan.of_map(np.stack(maps))
    return plan(as_picture(pixels), settings.sigma, settings.noise_model, settings.gain)
