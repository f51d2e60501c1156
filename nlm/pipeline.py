"""File -> frames -> noise level -> filter -> frames -> file."""

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nlm import arrays, backends, frames, registry
from nlm.companions import guides, sigma_plans
from nlm.errors import FileError, NlmError
from nlm.inputs import check_ability
from nlm.io import Frame, Info, check_target, open_reader, open_writer
from nlm.noise import Plan, check_model, plan
from nlm.settings import Settings
from nlm.volume_files import denoise_volume

PathOrStream = str | os.PathLike[str] | BinaryIO


@dataclass
class FileResult:
    """What became of one file.

    Attributes
    ----------
    input, output : str
    status : {"ok", "skipped", "failed", "planned"}
    method, preset, backend : str
    sigma : float or None
        Noise level used, in 8-bit grey levels.
    sigma_channels : list of float or None
        The same per channel, where the filter uses one each.
    strength : float or None
    seconds : float
    width, height, frames : int or None
    error : str or None
    losses : list of str
        What the output's format cannot carry over from the source.
    """

    input: str
    output: str
    status: str
    method: str
    preset: str | None
    sigma: float | None = None
    sigma_channels: list[float] | None = None
    strength: float | None = None
    backend: str | None = None
    seconds: float = 0.0
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    error: str | None = None
    losses: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The fields that scripts rely on."""
        fields = asdict(self)
        del fields["losses"]
        return fields


def denoise_file(
    src: PathOrStream,
    dst: PathOrStream,
    settings: Settings | None = None,
    *,
    force: bool = False,
    dry_run: bool = False,
    progress: Callable[[float], None] | None = None,
) -> FileResult:
    """Denoise a picture file, keeping all that came with it.

    Parameters
    ----------
    src, dst : path or binary stream
        The output appears whole or not at all.
    settings : Settings, optional
    force : bool
        Overwrite an existing output.
    dry_run : bool
        Check everything, write nothing.
    progress : callable, optional
        Told how much is done, 0 to 1.

    Returns
    -------
    FileResult

    Raises
    ------
    FileError
        If the source cannot be read, or the output exists or cannot be written.
    UsageError
        If the settings are not allowed.
    """
    settings = settings or Settings()
    began = time.perf_counter()
    chosen = registry.get(settings.method)
    volume = settings.stack == "volume"
    check_ability(chosen, volume, settings.guide is not None)
    params = registry.parameters(settings.method, settings.preset, settings.parameters, volume)
    if settings.sigma is not None:
        arrays.check_sigma(settings.sigma)
    check_model(settings.noise_model, settings.sigma, settings.gain)
    result = FileResult(name_of(src), name_of(dst), "planned", settings.method, settings.preset)
    result.strength = getattr(params, "strength", None)
    with open_reader(src, max_pixels=settings.max_pixels) as reader:
        info = reader.info
        result.width, result.height, result.frames = info.width, info.height, info.frames
        result.losses = tuple(check_target(info, target_name(dst, info), settings.format))
        refuse_existing(dst, force)
        guided = guides(settings.guide, info, settings.max_pixels)
        known = sigma_plans(settings.sigma_map, info, settings.max_pixels)
        if dry_run:
            next(guided), next(known)
            result.sigma = None if settings.sigma is None else settings.sigma * 255
            return result
        with open_writer(dst, info, format=settings.format, options=settings.options) as writer:
            noise, count = None, 0
            if volume:
                place = backends.choose(settings.backend, settings.threads, _Steps(progress, 0, 1))
                noise, count = denoise_volume(
                    reader, writer, info, chosen, params, settings, place, known
                )
            else:
                for frame, guide, own in zip(reader, guided, known, strict=False):
                    noise = own or noise or plan_noise(frame, info, settings)
                    steps = _Steps(progress, count, info.frames)
                    place = backends.choose(settings.backend, settings.threads, steps)
                    writer.write(
                        denoise_frame(
                            frame, info, chosen, params, noise, place, settings.tile, guide
                        )
                    )
                    count += 1
    result.status, result.frames, result.backend = "ok", count, place.name
    if noise is not None:
        result.sigma = noise.sigma * 255
        channels = noise.sigma_channels
        result.sigma_channels = None if channels is None else [one * 255 for one in channels]
    result.seconds = time.perf_counter() - began
    return result


def denoise_frame(
    frame: Frame,
    info: Info,
    chosen: registry.Filter,
    params: Any,
    noise: Plan,
    backend: backends.Backend,
    tile: int | None = None,
    guide: registry.Guide | None = None,
) -> Frame:
    """Filter one frame's planes; alpha, NaN and colours that nobody sees stay as stored."""
    planes = []
    for plane in frame.planes:
        pixels = visible_pixels(plane, frame, info)
        filtered = arrays.apply(chosen, params, pixels[None], noise, backend, tile, guide)[0]
        planes.append(frames.to_stored(filtered, plane, info, frame.alpha))
    return replace(frame, planes=tuple(planes))


def visible_pixels(plane: Any, frame: Frame, info: Info) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A plane as finite float32 (Y, X, C) without the colours of transparent pixels."""
    pixels, _ = frames.fill_invalid(frames.to_float(plane, info))
    return frames.fill_transparent(pixels, frame.alpha)


def plan_noise(frame: Frame, info: Info, settings: Settings) -> Plan:
    """What the filter is told of the noise, by hand or from a file's first frame."""
    pixels = visible_pixels(frame.planes[0], frame, info)
    return plan(pixels, settings.sigma, settings.noise_model, settings.gain)


class _Steps:
    """Turns "one more piece of so many" into the share of the whole file that is done."""

    def __init__(
        self, tell: Callable[[float], None] | None, frame: int, frames: int | None
    ) -> None:
        self.tell = tell
        self.frame = frame
        self.frames = frames or frame + 1
        self.done = 0

    def __call__(self, pieces: int) -> None:
        self.done += 1
        if self.tell is not None:
            self.tell(min(1.0, (self.frame + self.done / pieces) / self.frames))


def default_output(src: str | os.PathLike[str], word: str = "denoised") -> Path:
    """``photo.png`` -> ``photo_denoised.png`` beside it."""
    path = Path(src)
    return path.with_name(f"{path.stem}_{word}{path.suffix}")


def refuse_existing(dst: PathOrStream, force: bool) -> None:
    """Protect what is already there."""
    if isinstance(dst, str | os.PathLike) and not force and os.path.lexists(dst):
        raise FileError(f"{dst}: exists already; overwrite it with --force or choose another name")


def target_name(dst: PathOrStream, info: Info) -> str:
    """The name that decides on an output's format; a stream has the source's."""
    if isinstance(dst, str | os.PathLike):
        return os.fspath(dst)
    return f"<stdout>.{info.format}"


def name_of(place: PathOrStream) -> str:
    """For messages and reports; "-" for a stream."""
    return os.fspath(place) if isinstance(place, str | os.PathLike) else "-"


def failed(src: PathOrStream, dst: PathOrStream, settings: Settings, error: NlmError) -> FileResult:
    """The result of a file that could not be done."""
    return FileResult(
        name_of(src),
        name_of(dst),
        "failed",
        settings.method,
        settings.preset,
        error=str(error),
    )
