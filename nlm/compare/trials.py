"""Every method on one picture, by the same rules.

Each runs once to compile and load what it needs; then all are timed in turn, so that what else the
machine does hits them alike, and the median counts.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm import arrays, backends, registry
from nlm.compare import measures
from nlm.compare.methods import Method
from nlm.compare.pictures import Picture
from nlm.limits import SMALLEST_SIGMA

Float32 = NDArray[np.float32]

LONG = 1.0
"""Seconds; a method that takes longer is timed once."""
OK, FAILED, MISSING = "ok", "failed", "not installed"


@dataclass
class Result:
    """One method on one picture.

    Attributes
    ----------
    input, method : str
        As asked for.
    status : {"ok", "failed", "not installed"}
    psnr, ssim : float or None
        Against the clean picture; None without one.
    seconds : float or None
        Median of the timed runs.
    sigma : float
        What the filter was told, in 8-bit grey levels.
    error : str or None
    times : list of float
        Seconds of each timed run.
    megapixels : float
    blind_psnr : float or None
        Estimated without a clean picture; None with one, or where that is not possible.
    removed : float or None
        Standard deviation of what was taken away, over sigma.
    whiteness : float or None
        Of what was taken away, see `measures.whiteness`.
    denoised : ndarray of float32, shape (Y, X, C), or None
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
    denoised: Float32 | None = field(default=None, repr=False)

    @property
    def speed(self) -> float | None:
        """Megapixels per second."""
        return self.megapixels / self.seconds if self.seconds else None


def compare_picture(
    picture: Picture,
    methods: Sequence[Method],
    *,
    runs: int = 3,
    backend: str = "auto",
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Result]:
    """Run and measure the methods on a picture.

    Parameters
    ----------
    picture : Picture
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

    def __init__(self, picture: Picture, method: Method, place: backends.Backend) -> None:
        self.picture, self.method, self.place = picture, method, place
        self.params: Any = None
        self.result = Result(
            picture.path,
            method.label,
            OK if method.installed else MISSING,
            sigma=picture.noise.sigma * 255,
            error=None if method.installed else registry.INSTALL,
            megapixels=picture.megapixels,
        )

    def _filter(self, noisy: Float32) -> Float32:
        chosen = registry.get(self.method.name)
        params = registry.parameters(self.method.name, self.method.preset, self.method.parameters)
        filtered = arrays.apply(chosen, params, noisy[None], self.picture.noise, self.place)
        return np.asarray(filtered[0])

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

    def warm_up(self) -> None:
        def work() -> None:
            filtered = self._filter(self.picture.noisy)
            if filtered.shape != self.picture.noisy.shape or not np.isfinite(filtered).all():
                raise ValueError("the result has another shape, or values that are not finite")
            self.result.denoised = self.picture.within_range(filtered)

        self._attempt(work)

    def time(self) -> None:
        def work() -> None:
            began = time.perf_counter()
            self._filter(self.picture.noisy)
            self.result.times.append(time.perf_counter() - began)
            self.result.seconds = median(self.result.times)

        if not self.result.times or self.result.times[0] <= LONG:
            self._attempt(work)

    def measure(self) -> None:
        self._attempt(self._measure)

    def _measure(self) -> None:
        result, picture = self.result, self.picture
        denoised = result.denoised
        assert denoised is not None
        residual = picture.noisy - denoised
        result.whiteness = measures.whiteness(residual)
        sigma = picture.noise.sigma
        result.removed = measures.removed(residual, sigma)
        if picture.reference is not None:
            result.psnr = measures.psnr(denoised, picture.reference)
            result.ssim = measures.ssim(denoised, picture.reference)
        elif picture.noise.stabiliser is None and sigma >= SMALLEST_SIGMA:
            result.blind_psnr = measures.blind_psnr(
                picture.noisy,
                denoised,
                sigma,
                lambda noisy: picture.within_range(self._filter(noisy)),
                np.random.default_rng(0),
                picture.bounded,
                eight_bit=registry.get(self.method.name).clips,
            )
