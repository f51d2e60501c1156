"""Pictures and clips from their files, with the noise that is added or told."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.clip_files import judge_of
from nlm.compare.clips import Clip
from nlm.compare.pictures import Float32, Picture
from nlm.errors import FileError, UsageError
from nlm.io import Frame, Info, Span, open_reader
from nlm.io.samples import turn
from nlm.limits import MAX_PIXELS
from nlm.noise import Plan, plan
from nlm.planes import known_pixels, visible_pixels
from nlm.synthetic import add_noise as with_noise

FRAMES = 5
"""Frames of a clip that are taken where nobody says which."""
MOST_FRAMES = 100


def load(
    path: str,
    *,
    add_noise: float | None = None,
    seed: int = 0,
    reference: str | None = None,
    sigma: float | None = None,
    noise_model: str = "auto",
    gain: float | None = None,
    max_pixels: int = MAX_PIXELS,
    span: Span | None = None,
) -> Picture | Clip:
    """Read a picture, of several pages the first, or some frames of a clip.

    Of YUV video, luma is read.

    Parameters
    ----------
    path : str
    add_noise : float, optional
        Standard deviation of Gaussian noise to add, fraction of full scale; the picture is then
        the reference.
    seed : int
        Of ``numpy.random.default_rng``; frame k of a clip has that of ``[seed, k]``.
    reference : str, optional
        The clean picture's or clip's file.
    sigma, noise_model, gain
        What the filters are told, see `nlm.noise.plan`; left out, the noise that was added, or
        what is estimated.
    max_pixels : int
        Larger pictures are refused.
    span : Span, optional
        Frames of a clip by number; left out, `FRAMES` from the middle.

    Raises
    ------
    FileError
        If a file cannot be read, the two are of different shapes, or there are no such frames.
    UsageError
        If both `add_noise` and `reference` are given.
    """
    if add_noise is not None and reference is not None:
        raise UsageError("--add-noise makes its own reference; leave --reference out")
    with open_reader(path, max_pixels=max_pixels) as reader:
        info = reader.info
    added = add_noise is not None and sigma is None and gain is None
    told = add_noise if added else sigma
    origin = "added" if added else "estimated" if told is None and gain is None else "given"

    if info.clip:
        judge = judge_of(path, info, told, noise_model, gain)
    else:
        judge = partial(plan, sigma=told, model=noise_model, gain=gain)
    bounded = info.dtype.kind != "f"
    source = _Source(path, bounded, info.lab, judge, origin, add_noise, reference)
    if not info.clip:
        clean = None if reference is None else next(_frames(reference, max_pixels))
        shown = next(_planes(path, max_pixels))
        known = None if add_noise is not None else known_pixels(*shown)
        return source.picture(visible_pixels(*shown), clean, seed, known)
    span, frames = _some(path, info, span, max_pixels)
    first = span.first or 0
    clean_frames = [] if reference is None else list(_frames(reference, max_pixels, span))
    if reference is not None and len(clean_frames) != len(frames):
        raise FileError(
            f"{path}: has {len(frames)} frames from {first} on, its reference {reference} "
            f"{len(clean_frames)}; name the clean version of the same clip, or other --frames"
        )
    pairs = enumerate(zip_longest(frames, clean_frames), first)
    return Clip(path, tuple(source.picture(*both, [seed, k]) for k, both in pairs), first)


@dataclass(frozen=True)
class _Source:
    """A file, and what makes pictures of its frames."""

    path: str
    bounded: bool
    lab: bool
    judge: Callable[[Float32], Plan]
    origin: str
    add_noise: float | None
    reference: str | None

    def picture(
        self,
        own: Float32,
        clean: Float32 | None,
        seed: int | list[int],
        known: Float32 | None = None,
    ) -> Picture:
        """A frame with its noise, judged by what is `known`, and, where there is one, the clean."""
        noisy = own
        if self.add_noise is not None:
            clean, rng = own, np.random.default_rng(seed)
            noisy = with_noise(own, self.add_noise, rng).astype(np.float32)
        if clean is not None and clean.shape != noisy.shape:
            raise FileError(
                f"{self.path}: is {_size(noisy)}, its reference {self.reference} is "
                f"{_size(clean)}; name the clean version of the same picture"
            )
        noise = self.judge(noisy if known is None else known)
        return Picture(self.path, noisy, noise, clean, self.origin, self.bounded, self.lab)


def _some(path: str, info: Info, span: Span | None, max_pixels: int) -> tuple[Span, list[Float32]]:
    """The frames that are wanted, and which these are."""
    if span is not None:
        return span, list(_frames(path, max_pixels, span))
    wanted = _middle(info.frames or _count(path, max_pixels))
    try:
        found = list(_frames(path, max_pixels, wanted))
    except FileError:
        found = []
    if len(found) < FRAMES:  # the header may tell another number than there are
        wanted = _middle(_count(path, max_pixels))
        found = list(_frames(path, max_pixels, wanted))
    return wanted, found


def _middle(count: int) -> Span:
    first = max(0, (count - FRAMES) // 2)
    return Span(first, first + FRAMES)


def _count(path: str, max_pixels: int) -> int:
    with open_reader(path, max_pixels=max_pixels) as reader:
        return sum(1 for _ in reader)


def _frames(path: str, max_pixels: int, span: Span | None = None) -> Iterator[Float32]:
    """Pixels of the frames, upright; of YUV video, luma."""
    for shown in _planes(path, max_pixels, span):
        yield visible_pixels(*shown)


def _planes(
    path: str, max_pixels: int, span: Span | None = None
) -> Iterator[tuple[NDArray[Any], Frame, Info]]:
    """The first plane of each frame, upright, as it is stored."""
    with open_reader(path, max_pixels=max_pixels, span=span) as reader:
        info = reader.info
        for number, frame in enumerate(reader):
            if number == MOST_FRAMES:
                raise FileError(
                    f"{path}: more than {MOST_FRAMES} frames cannot be compared at once; give "
                    f"fewer, --frames 0:{MOST_FRAMES} say"
                )
            upright = turn(frame, info.metadata.orientation)
            yield upright.planes[0], upright, info


def _size(pixels: Float32) -> str:
    rows, columns, channels = pixels.shape
    return f"{columns} x {rows} with {channels} channel{'s' if channels > 1 else ''}"
