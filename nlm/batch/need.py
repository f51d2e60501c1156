"""How much memory a file takes, by its header and what is asked for.

The numbers are measured peaks of worker processes (`python -m tests.bench.memory`) with a margin.
A peak is reached while a tile is filtered, or while the whole result is brought to its file's
samples; what the process itself takes comes to it.
"""

from nlm import registry
from nlm.backends import choose, suited
from nlm.io import Info
from nlm.params import Params
from nlm.settings import Settings

MARGIN = 1.15
PROCESS = 112 * 2**20
"""Bytes that a process needs before it has read anything, kernels loaded."""
THREAD = 24 * 2**20
"""Bytes that each processor thread holds."""

FLOATS_HELD, FLOATS_AT_END = 2, 5
"""Float pictures that are there while a tile is filtered, and when the result is stored."""
STORED = 2
"""Pictures in the file's samples, source and result."""
FLOATS_OF_VOLUME = 6
"""Float volumes that are there when the result is stored."""
GUIDE_CHANNELS = 3
MAP = 24
"""Bytes per pixel that working off a sigma map takes."""

FRAMES_AT_ONCE, FRAMES_CODED = 20, 60
"""Float frames that a clip's filter and its threads hold, and stored ones that an encoder does."""


def needed(info: Info, settings: Settings) -> int:
    """Bytes that denoising a file takes.

    Parameters
    ----------
    info : Info
    settings : Settings

    Returns
    -------
    int
        What a process with one thread needs; further ones take `THREAD` each.
    """
    samples = info.width * info.height * (info.channels + info.alpha)
    volume = settings.stack == "volume" and not info.clip
    params = registry.parameters(settings.method, settings.preset, settings.parameters, volume)
    if volume:
        taken = _of_volume(info, settings, params)
    elif info.clip or settings.stack == "clip":
        taken = samples * (4 * FRAMES_AT_ONCE + FRAMES_CODED * info.dtype.itemsize)
        pixels = info.width * info.height
        taken += pixels * params.held_in_time(info.channels) + _of_tiles(info, settings, params)
    else:
        taken = _of_picture(info, settings, params)
    return PROCESS + round(MARGIN * taken)


def _of_picture(info: Info, settings: Settings, params: Params) -> float:
    pixels = info.width * info.height
    stored = STORED * info.dtype.itemsize * pixels * (info.channels + info.alpha)
    floats = 4 * pixels * info.channels
    held, at_end = floats * FLOATS_HELD, floats * FLOATS_AT_END
    if settings.guide is not None:
        guide = 4 * pixels * GUIDE_CHANNELS
        held += 2 * guide + floats  # by itself, and joined with the picture
        at_end += 2 * guide + floats
    if settings.sigma_map is not None:
        held += MAP * pixels
        at_end += MAP * pixels
    if _may_be_uneven(settings):
        held += floats  # made even
        at_end += floats
    return stored + max(held + _of_tiles(info, settings, params), at_end)


def _of_tiles(info: Info, settings: Settings, params: Params) -> float:
    """What filtering the largest tile takes."""
    chosen = registry.get(settings.method)
    place = suited(choose(settings.backend), chosen, params)
    side, halo = settings.tile or place.tile(chosen.tile), params.halo
    rows, columns = info.height, info.width
    if side is not None and halo is not None:
        if not params.tall or place.name != "cpu" or settings.sigma_map is not None:
            rows = min(rows, side + 2 * halo[1])
        columns = min(columns, side + 2 * halo[2])
    channels = info.channels + (GUIDE_CHANNELS if settings.guide is not None else 0)
    return params.working_memory(rows, columns, channels)


def _of_volume(info: Info, settings: Settings, params: Params) -> float:
    """All slices, and the largest block."""
    of_volumes = registry.get(settings.method).volume
    slices, samples = info.frames or 1, info.width * info.height * info.channels
    total = slices * samples * (4 * FLOATS_OF_VOLUME + (STORED + 1) * info.dtype.itemsize)
    if settings.sigma_map is not None:
        total += slices * info.width * info.height * MAP
    if _may_be_uneven(settings):
        total += 4 * slices * samples  # made even
    block = slices * samples
    if of_volumes is not None and params.halo is not None:
        side = (settings.tile or of_volumes.tile) + 2 * params.halo[1]
        sides = (min(side, size) for size in (slices, info.height, info.width))
        block = info.channels
        for one in sides:
            block *= one
    return total + block * (of_volumes.working_memory if of_volumes else 0)


def _may_be_uneven(settings: Settings) -> bool:
    """Whether noise may turn out to grow with brightness, which is then evened out."""
    estimated = settings.sigma is None and settings.sigma_map is None
    return settings.gain is not None or (estimated and settings.noise_model != "gaussian")
