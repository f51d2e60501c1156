"""A comparison as it grows, picture by picture; what is not shown is not kept."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from nlm.compare.clips import Clip
from nlm.compare.exhibits import MOST_PICTURES, NOISY, REFERENCE, Exhibit, affordable_side, exhibit
from nlm.compare.methods import Method
from nlm.compare.page import Report
from nlm.compare.pictures import Picture
from nlm.compare.provenance import provenance
from nlm.compare.summary import Curve, Summary, curves, summarise
from nlm.compare.sweep import Sweep
from nlm.compare.trials import FAILED, Result


@dataclass
class Comparison:
    """Results of all methods on all pictures.

    Attributes
    ----------
    asked : sequence of Method
    sweep : Sweep or None
    pictures : int
        How many there will be.
    results : list of Result
        Without their pictures.
    exhibits : list of Exhibit
        Of the first pictures.
    origins : list of str
        How the noise level of each picture is known.
    methods : list of Method
        All contenders, those of the sweep too.
    """

    asked: Sequence[Method]
    sweep: Sweep | None
    pictures: int
    results: list[Result] = field(default_factory=list)
    exhibits: list[Exhibit] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)
    methods: list[Method] = field(init=False)

    def __post_init__(self) -> None:
        asked = list(self.asked)
        self.methods = self.sweep.expand(asked) if self.sweep else asked

    @property
    def summaries(self) -> list[Summary]:
        """One per contender."""
        return summarise(self.results)

    @property
    def curves(self) -> list[Curve]:
        """What the sweep found."""
        return curves(self.sweep, self.asked, self.summaries) if self.sweep else []

    def add(self, picture: Picture | Clip, results: Sequence[Result]) -> None:
        """Take in one picture's results."""
        if len(self.exhibits) < MOST_PICTURES:
            channels = 3 if picture.noisy.shape[2] >= 3 else 1
            side = affordable_side(self.pictures, len(self.asked), channels)
            self.exhibits.append(exhibit(picture, results, side))
        self.results += [one.without_pictures() for one in results]
        self.origins.append(picture.origin)

    def add_failed(self, path: str, error: Exception) -> None:
        """Take in a picture that could not be read."""
        self.results += [
            Result(path, method.label, FAILED, error=str(error)) for method in self.methods
        ]

    def shown(self) -> list[Exhibit]:
        """The exhibits; of a method that was swept its best variant only."""
        swept = {one.method for one in self.curves}
        winners = {one.best for one in self.curves}
        names = {one.label for one in self.asked if one.label not in swept} | winners
        names |= {NOISY, REFERENCE}
        return [
            replace(
                one, pictures={name: one.pictures[name] for name in one.pictures if name in names}
            )
            for one in self.exhibits
        ]

    def report(self, command: str, threads: int | None) -> Report:
        """What the page tells."""
        first = self.exhibits[0]
        facts = self.facts()
        if len(self.exhibits) < self.pictures:
            facts["shown"] = f"the first {len(self.exhibits)}"
        title = first.name if self.pictures == 1 else f"{self.pictures} pictures"
        levels: dict[str, dict[str, float | None]] = {}
        for one in self.results:
            levels.setdefault(one.input, {})[one.method] = one.psnr
        return Report(
            title=title,
            facts=facts,
            summaries=self.summaries,
            exhibits=self.shown(),
            families=self._families(),
            command=command,
            versions=provenance(threads),
            inputs=list(levels.items()) if first.noisy_psnr is not None else (),
            curves=self.curves,
            parameter=self.sweep.parameter if self.sweep else "",
        )

    def _families(self) -> dict[str, int]:
        """The number of the method asked for that every contender is a variant of."""
        found: dict[str, int] = {}
        for number, method in enumerate(self.asked):
            variants = self.sweep.labels(method).values() if self.sweep else ()
            found |= dict.fromkeys(variants or (method.label,), number)
        return found

    def facts(self) -> dict[str, str]:
        """Size and noise in short words, by title."""
        sigmas = [one.sigma for one in self.results if one.sigma is not None]
        low, high = min(sigmas), max(sigmas)
        level = f"{low:.3g}" if high - low < 0.05 else f"{low:.3g} to {high:.3g}"
        facts = {"noise level": f"{level} ({', '.join(dict.fromkeys(self.origins))})"}
        first = self.exhibits[0]
        if self.pictures > 1:
            facts["pictures"] = str(self.pictures)
        else:
            facts["size"] = f"{first.size[1]} x {first.size[0]}"
            if first.moment:
                facts["shown"] = first.moment
            if first.noisy_psnr is not None:
                facts["noisy"] = f"{first.noisy_psnr:.2f} dB"
        return facts
