"""Every method on one picture, or on some frames of a clip, by the same rules.

Each runs once to compile and load what it needs; then all are timed in turn, so that what else the
machine does hits them alike, and the median counts.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, median

import numpy as np
from numpy.typing import NDArray

from nlm import arrays, backends, registry
from nlm.clip import Scene, denoise_clip
from nlm.clip_files import levels
from nlm.compare import measures
from nlm.compare.clips import Clip
from nlm.compare.methods import Method
from nlm.compare.pictures import Picture
from nlm.limits import SMALLEST_SIGMA

Float32 = NDArray[np.float32]

LONG = 1.0
"""Seconds; a method that takes longer is timed once."""
OK, FAILED, MISSING = "ok", "failed", "not installed"


@dataclass
class Result:
    """One method on one picture or clip; the numbers of a clip are means over its frames.

    Attributes
    ----------
    input, method : str
        As asked for.
    status : {"ok", "failed", "not installed"}
    psnr, ssim : float or None
        Against the clean picture; None without one.
    seconds : float or None
        Median of the timed runs, for all frames.
    sigma : float
        What the filter was told, in 8-bit grey levels.
    error : str or None
    times : list of float
        Seconds of each timed run.
    megapixels : float
        Of all frames.
    blind_psnr : float or None
        Estimated without a clean picture; None with one, or where that is not possible.
    removed : float or None
        Standard deviation of what was taken away, over sigma.
    whiteness : float or None
        Of what was taken away, see `measures.whiteness`.
    flicker : float or None
        Of a clip, see `measures.flicker`; None for pictures.
    denoised : ndarray of float32, shape (Y, X, C), or None
        Of a clip the middle frame.
    frames : list of ndarray
        All of them.
    """

    input: str
    method: str
    status: str
    psnr: float | None = None
    ssim: float | None = None
    seconds: float | None = None
    sigma: float | None = None
    error: str | None = None
    times: list[float] = field(default_factory=list)
    megapixels: float = 0.0
    blind_psnr: float | None = None
    removed: float | None = None
    whiteness: float | None = None
    flicker: float | None = None
    denoised: Float32 | None = field(default=None, repr=False)
    frames: list[Float32] = field(default_factory=list, repr=False)

    @property
    def speed(self) -> float | None:
        """Megapixels per second."""
        return self.megapixels / self.seconds if self.seconds else None

    def without_pictures(self) -> "Result":
        """The numbers alone."""
        return replace(self, denoised=None, frames=[])


def compare_picture(
    picture: Picture | Clip,
    methods: Sequence[Method],
    *,
    runs: int = 3,
    backend: str = "auto",
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Result]:
    """Run and measure the methods on a picture or clip.

    Parameters
    ----------
    picture : Picture or Clip
    methods : sequence of Method
    runs : int
        Timed runs of each, after one that is not timed.
    backend : {"auto", "cpu", "gpu"}
    threads : int, optional
        For the methods that can use several.
    progress : callable, optional
        Told how much is done, 0 to 1.

    Returns
    -------
    list of Result
        One per method, in their order; those that fail say why, the others are not affected.
    """
    place = backends.choose(backend, threads)
    trials = [_Trial(picture, method, place) for method in methods]
    steps = [*(trial.warm_up for trial in trials)]
    steps += [trial.time for _ in range(runs) for trial in trials]
    steps += [trial.measure for trial in trials]
    for done, step in enumerate(steps, 1):
        step()
        if progress is not None:
            progress(done / len(steps))
    return [trial.result for trial in trials]


class _Trial:
    """One method on one picture; an error in one step ends it, and is kept."""

    def __init__(self, picture: Picture | Clip, method: Method, place: backends.Backend) -> None:
        self.picture, self.method, self.place = picture, method, place
        self.noisy = [one.noisy for one in picture.frames]
        self.result = Result(
            picture.path,
            method.label,
            OK if method.installed else MISSING,
            sigma=picture.noise.sigma * 255,
            error=None if method.installed else registry.INSTALL,
            megapixels=picture.megapixels,
        )

    def _filter(self, noisy: Sequence[Float32]) -> list[Float32]:
        asked = (self.method.name, self.method.preset, self.method.parameters)
        chosen = registry.get(self.method.name)
        plans = [one.noise for one in self.picture.frames]
        if not self.picture.is_clip:
            params = registry.parameters(*asked)
            filtered = arrays.apply(chosen, params, noisy[0][None], plans[0], self.place)
            return [np.asarray(filtered[0])]
        params = registry.parameters_of_clip(*asked)
        found = {id(frame): plan for frame, plan in zip(noisy, plans, strict=True)}
        planes = ((frame,) for frame in noisy)
        scenes: list[Scene] = []
        clip = denoise_clip(
            planes, chosen, params, lambda frame: found[id(frame)], self.place, None, scenes
        )
        denoised = [frame for (frame,) in clip]
        self.result.sigma = levels(scenes)[0] * 255
        return denoised

    def _attempt(self, work: Callable[[], None]) -> None:
        if self.result.status != OK:
            return
        try:
            work()
        except Exception as error:  # whatever somebody else's filter raises
            detail = " ".join(str(error).split())
            self.result.error = f"{type(error).__name__}: {detail}" if detail else repr(error)
            self.result.status = FAILED
            self.result.denoised = self.result.seconds = None
            self.result.frames = []

    def warm_up(self) -> None:
        def work() -> None:
            filtered = self._filter(self.noisy)
            shapes = [[one.shape for one in frames] for frames in (filtered, self.noisy)]
            if shapes[0] != shapes[1] or not all(np.isfinite(one).all() for one in filtered):
                raise ValueError("the result has another shape, or values that are not finite")
            frames = [self.picture.within_range(one) for one in filtered]
            self.result.frames, self.result.denoised = frames, frames[len(frames) // 2]

        self._attempt(work)

    def time(self) -> None:
        def work() -> None:
            began = time.perf_counter()
            self._filter(self.noisy)
            self.result.times.append(time.perf_counter() - began)
            self.result.seconds = median(self.result.times)

        if not self.result.times or self.result.times[0] <= LONG:
            self._attempt(work)

    def measure(self) -> None:
        self._attempt(self._measure)

    def _measure(self) -> None:
        result, picture, frames = self.result, self.picture, self.result.frames
        assert result.sigma is not None
        sigma = result.sigma / 255
        residuals = [noisy - one for noisy, one in zip(self.noisy, frames, strict=True)]
        result.whiteness = fmean(map(measures.whiteness, residuals))
        result.removed = fmean(measures.removed(one, sigma) for one in residuals)
        if isinstance(picture, Clip):
            result.flicker = picture.flicker(frames)
        clean = [one.reference for one in picture.frames if one.reference is not None]
        if clean:
            result.psnr = fmean(map(measures.psnr, frames, clean))
            found = [measures.ssim(one, truth) for one, truth in zip(frames, clean, strict=True)]
            known = [one for one in found if one is not None]
            result.ssim = fmean(known) if known else None
        elif sigma >= SMALLEST_SIGMA and not any(one.noise.stabiliser for one in picture.frames):
            result.blind_psnr = measures.blind_psnr(
                self.noisy,
                frames,
                sigma,
                lambda moved: [picture.within_range(one) for one in self._filter(moved)],
                np.random.default_rng(0),
                picture.bounded,
                eight_bit=registry.get(self.method.name).clips,
            )
