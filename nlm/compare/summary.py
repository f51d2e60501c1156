"""Mean and spread of every method over the pictures, and who is best."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

from nlm.compare.methods import Method
from nlm.compare.sweep import Sweep
from nlm.compare.trials import FAILED, OK, Result

QUALITY = ("psnr", "ssim", "blind_psnr", "whiteness")
"""Of these the largest is best."""
COSTS = ("flicker", "seconds")
"""Of these the least."""


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over pictures."""

    mean: float
    deviation: float


@dataclass(frozen=True)
class Summary:
    """A method over all pictures.

    Attributes
    ----------
    method, status : str
        See `Result`; "failed" if it failed on any picture.
    psnr, ssim, blind_psnr, removed, whiteness, flicker, seconds : Spread or None
        Over the pictures on which it was measured.
    speed : float or None
        Megapixels per second, all pictures together.
    error : str or None
        The first.
    """

    method: str
    status: str
    psnr: Spread | None
    ssim: Spread | None
    blind_psnr: Spread | None
    removed: Spread | None
    whiteness: Spread | None
    flicker: Spread | None
    seconds: Spread | None
    speed: float | None
    error: str | None

    @property
    def quality(self) -> Spread | None:
        """PSNR, the estimated one where there is no clean picture."""
        return self.psnr or self.blind_psnr


def summarise(results: Sequence[Result]) -> list[Summary]:
    """One summary per method, in the order in which they first appear."""
    labels = dict.fromkeys(result.method for result in results)
    return [_summary([one for one in results if one.method == label]) for label in labels]


def best(summaries: Sequence[Summary]) -> dict[str, str]:
    """The method that is best, by column: the qualities and costs, where any has them."""
    winners = {}
    for column in (*QUALITY, *COSTS):
        sign = -1 if column in COSTS else 1
        values = {
            one.method: sign * spread.mean
            for one in summaries
            if one.status == OK and (spread := getattr(one, column)) is not None
        }
        if values:
            winners[column] = max(values, key=lambda method: values[method])
    return winners


@dataclass(frozen=True)
class Curve:
    """The quality of a method over the values of a swept parameter.

    Attributes
    ----------
    method : str
    points : tuple of (value, dB)
        Without the values at which it failed.
    best : str
        Label of the best variant.
    """

    method: str
    points: tuple[tuple[float, float], ...]
    best: str


def curves(sweep: Sweep, methods: Sequence[Method], summaries: Sequence[Summary]) -> list[Curve]:
    """What a sweep found, of each method that has the parameter and worked at some value."""
    quality = {one.method: one.quality for one in summaries}
    found = []
    for method in methods:
        levels = {
            value: (label, spread.mean)
            for value, label in sweep.labels(method).items()
            if (spread := quality.get(label)) is not None
        }
        if levels:
            best_value = max(levels, key=lambda value: levels[value][1])
            points = tuple((value, level) for value, (_, level) in levels.items())
            found.append(Curve(method.label, points, levels[best_value][0]))
    return found


def _summary(results: Sequence[Result]) -> Summary:
    bad = [one for one in results if one.status != OK]
    status = next((one.status for one in bad if one.status == FAILED), bad[0].status if bad else OK)
    good = [one for one in results if one.status == OK and one.seconds]
    seconds = sum(one.seconds or 0 for one in good)
    return Summary(
        method=results[0].method,
        status=status,
        psnr=_spread([one.psnr for one in results]),
        ssim=_spread([one.ssim for one in results]),
        blind_psnr=_spread([one.blind_psnr for one in results]),
        removed=_spread([one.removed for one in results]),
        whiteness=_spread([one.whiteness for one in results]),
        flicker=_spread([one.flicker for one in results]),
        seconds=_spread([one.seconds for one in results]),
        speed=sum(one.megapixels for one in good) / seconds if seconds else None,
        error=next((one.error for one in bad), None),
    )


def _spread(found: Sequence[float | None]) -> Spread | None:
    values = [value for value in found if value is not None]
    if not values:
        return None
    finite = all(abs(value) < float("inf") for value in values)
    return Spread(fmean(values), pstdev(values) if finite else 0.0)
