"""File -> frames -> noise level -> filter -> frames -> file."""

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from nlm import arrays, backends, registry
from nlm.clip_files import TellFrames, as_asked, denoise_stream, levels
from nlm.companions import guides, sigma_plans
from nlm.errors import FileError, NlmError, UsageError
from nlm.inputs import check_ability
from nlm.io import Frame, FrameReader, FrameWriter, Info, check_target, open_reader, open_writer
from nlm.io.sequence import is_sequence, numbered
from nlm.io.targets import target_format
from nlm.noise import Plan, check_model, plan
from nlm.planes import known_pixels, restored, visible_pixels
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
    tell_frames: TellFrames | None = None,
) -> FileResult:
    """Denoise a picture, animation, video or image sequence, keeping all that came with it.

    Parameters
    ----------
    src, dst : path or binary stream
        The output appears whole or not at all; ``frame_%04d.png`` is an image sequence.
    settings : nlm.settings.Settings, optional
        ``Settings(sigma=25 / 255, method="nlnet")`` say.
    force : bool
        Overwrite an existing output.
    dry_run : bool
        Check everything, write nothing.
    progress : callable, optional
        Told how much is done, 0 to 1.
    tell_frames : callable, optional
        Told after each frame of a clip how many of how many (None = not known) are done.

    Returns
    -------
    FileResult
        Its status is "failed" where a part of a damaged video was written.

    Raises
    ------
    FileError
        If the source cannot be read, or the output exists or cannot be written.
    UsageError
        If the settings are not allowed.
    """
    settings = Settings() if settings is None else settings
    check_call(src, dst, settings)
    began = time.perf_counter()
    chosen = registry.get(settings.method)
    volume = settings.stack == "volume"
    check_ability(chosen, volume, settings.guide is not None)
    params = registry.parameters(settings.method, settings.preset, settings.parameters, volume)
    if settings.sigma is not None:
        arrays.check_sigma(settings.sigma)
    check_model(settings.noise_model, settings.sigma, settings.gain)
    result = FileResult(name_of(src), name_of(dst), "planned", settings.method, settings.preset)
    options = replace(settings.options, threads=settings.threads)
    with open_reader(src, max_pixels=settings.max_pixels, span=settings.span) as reader:
        info = as_asked(reader.info, settings.stack)
        result.width, result.height, result.frames = info.width, info.height, info.frames
        target = target_name(dst, info)
        made = info if target_format(target, settings.format).is_video else reader.info
        result.losses = tuple(check_target(made, target, settings.format, options))
        refuse_existing(dst, force)
        if info.clip and (volume or settings.guide or settings.sigma_map):
            raise UsageError(
                f"{result.input}: is a clip; a guide, a sigma map and --stack volume are for "
                "pictures, leave them out for it"
            )
        if info.clip:
            params = registry.parameters_of_clip(
                settings.method, settings.preset, settings.parameters
            )
        guided = guides(settings.guide, info, settings.max_pixels)
        known = sigma_plans(settings.sigma_map, info, settings.max_pixels)
        if dry_run:
            next(guided), next(known)
            result.sigma = None if settings.sigma is None else settings.sigma * 255
            return result
        with open_writer(dst, made, format=settings.format, options=options) as writer:
            work = _Work(result, reader, writer, info, chosen, params, settings, progress)
            if volume:
                work.volume(known)
            elif info.clip:
                work.clip(tell_frames)
            else:
                work.pages(guided, known)
        result.losses += tuple(loss for loss in writer.losses if loss not in result.losses)
        if reader.damage:
            result.error = (
                f"{result.input}: is damaged: {reader.damage}; what could be read is in "
                f"{result.output}, get a fresh copy for the rest"
            )
    result.status = "failed" if result.error else "ok"
    result.seconds = time.perf_counter() - began
    return result


def check_call(src: Any, dst: Any, settings: Any) -> None:
    """Refuse what is no file and what are no settings."""
    for name, place, verb in (("src", src, "read"), ("dst", dst, "write")):
        if not isinstance(place, str | os.PathLike) and not hasattr(place, verb):
            raise UsageError(f"{name} {place!r} is not allowed; give a path or a binary stream")
    if not isinstance(settings, Settings):
        raise UsageError(
            f"settings {settings!r} are not allowed; give nlm.settings.Settings(sigma=25 / 255) say"
        )


@dataclass
class _Work:
    """A file on its way from a reader to a writer, as what it is."""

    result: FileResult
    reader: FrameReader
    writer: FrameWriter
    info: Info
    chosen: registry.Filter
    params: Any
    settings: Settings
    progress: Callable[[float], None] | None

    def pages(self, guided: Iterator[registry.Guide | None], known: Iterator[Plan | None]) -> None:
        """Every page by itself; what is told of the noise is that of the median page."""
        seen: list[tuple[float, Sequence[float] | None]] = []
        pages = zip(self.reader, guided, known, strict=False)
        for count, (frame, guide, known_plan) in enumerate(pages, 1):
            self.result.frames = count
            if frame.mask:
                self.writer.write(frame)
                continue
            noise = known_plan or plan_noise(frame, self.info, self.settings)
            place = self._place(count - 1, self.info.frames)
            how = (self.info, self.chosen, self.params, noise, place, self.settings.tile, guide)
            self.writer.write(denoise_frame(frame, *how))
            seen.append((noise.sigma, noise.sigma_channels))
        if seen:
            self._tell(*sorted(seen, key=lambda levels: levels[0])[len(seen) // 2])

    def volume(self, known: Iterator[Plan | None]) -> None:
        """All pages together, as slices."""
        noise, self.result.frames = denoise_volume(
            self.reader,
            self.writer,
            self.info,
            self.chosen,
            self.params,
            self.settings,
            self._place(0, 1),
            known,
        )
        self._tell(noise.sigma, noise.sigma_channels)

    def clip(self, tell_frames: TellFrames | None) -> None:
        """Frames that follow each other, scene by scene."""

        def tell(done: int, of: int | None) -> None:
            if self.progress is not None:
                self.progress(min(1.0, done / of) if of else 0.0)
            if tell_frames is not None:
                tell_frames(done, of)

        self._place(0, 1)
        self.result.frames, seen = denoise_stream(
            self.reader, self.writer, self.info, self.chosen, self.params, self.settings, tell
        )
        if seen:
            self._tell(*levels(seen))

    def _place(self, done: int, of: int | None) -> backends.Backend:
        steps = _Steps(self.progress, done, of)
        place = backends.choose(self.settings.backend, self.settings.threads, steps)
        volume = self.settings.stack == "volume"
        place = backends.suited(place, self.chosen, self.params, volume)
        self.result.backend = place.name
        return place

    def _tell(self, sigma: float, channels: Sequence[float] | None) -> None:
        self.result.sigma = sigma * 255
        self.result.sigma_channels = None if channels is None else [one * 255 for one in channels]
        self.result.strength = getattr(self.params.at(sigma), "strength", None)


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
    """Filter a picture; alpha, NaN and colours that nobody sees stay as stored."""
    (plane,) = frame.planes
    pixels = visible_pixels(plane, frame, info)
    filtered = arrays.apply(chosen, params, pixels[None], noise, backend, tile, guide)[0]
    return restored(frame, (filtered,), info)


def plan_noise(frame: Frame, info: Info, settings: Settings) -> Plan:
    """What the filter is told of the noise, by hand or from a file's first frame."""
    pixels = known_pixels(frame.planes[0], frame, info)
    return plan(pixels, settings.sigma, settings.noise_model, settings.gain)


class _Steps:
    """Turns the share of a picture that is done into that of the file, which never falls."""

    def __init__(
        self, tell: Callable[[float], None] | None, frame: int, frames: int | None
    ) -> None:
        self.tell = tell
        self.frame = frame
        self.frames = frames or frame + 1
        self.done = 0.0

    def __call__(self, share: float) -> None:
        self.done = min(1.0, max(self.done, share))
        if self.tell is not None:
            self.tell((self.frame + self.done) / self.frames)


def default_output(src: str | os.PathLike[str], word: str = "denoised") -> Path:
    """``photo.png`` -> ``photo_denoised.png`` beside it."""
    path = Path(src)
    if not path.name:  # a folder, as whoever opens it will say
        return path / word
    return path.with_name(f"{path.stem}_{word}{path.suffix}")


def refuse_existing(dst: PathOrStream, force: bool) -> None:
    """Protect what is already there."""
    if is_sequence(dst):
        there = next(iter(numbered(os.fspath(dst)).values()), None)  # type: ignore[arg-type]
        if there and not force:
            raise FileError(f"{there}: exists already; overwrite it with --force")
        return
    if isinstance(dst, str | os.PathLike) and not force and os.path.lexists(dst):
        if is_flow(dst):
            return
        raise FileError(f"{dst}: exists already; overwrite it with --force or choose another name")


def is_flow(dst: str | os.PathLike[str]) -> bool:
    """Whether it is a pipe or such a device as /dev/stdout, where nothing is overwritten."""
    try:
        mode = os.stat(dst).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


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
