"""What a person asks for, in one value that can be compared, stored and sent to a worker."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from nlm import registry
from nlm.io.base import Options
from nlm.io.span import Span
from nlm.limits import MAX_PIXELS
from nlm.params import kind

COMPANIONS = ("guide", "sigma_map")
"""Settings that name a file beside the picture."""


@dataclass(frozen=True)
class Settings:
    """How to denoise a file.

    Attributes
    ----------
    method, preset : str
        Filter and set of parameters.
    parameters : mapping
        The filter's own parameters given by hand; they win over the preset's.
    sigma : float or None
        Noise level as a fraction of full scale; None = estimated per file.
    noise_model : {"auto", "gaussian", "poisson-gaussian"}
    gain : float or None
        Of poisson-gaussian noise, see `nlm.noise.plan`.
    sigma_map : str or None
        A picture of the noise level, see `nlm.companions.sigma_plans`.
    guide : str or None
        A picture that tells the weights.
    backend : str
    threads : int or None
    tile : int or None
        Side of the tiles that large pictures are cut into; None = as the filter likes it.
    format : str or None
        Of the output; None = its suffix decides.
    options : Options
        Quality of the output.
    max_pixels : int
        Larger pictures are refused.
    stack : {"pages", "clip", "volume"}
        What several pages of a TIFF are: pictures of their own, frames, or slices of a volume.
    span : Span or None
        The frames of a clip that are wanted.
    """

    method: str = registry.DEFAULT
    preset: str | None = "balanced"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    sigma: float | None = None
    noise_model: str = "auto"
    gain: float | None = None
    sigma_map: str | None = None
    guide: str | None = None
    backend: str = "auto"
    threads: int | None = None
    tile: int | None = None
    format: str | None = None
    options: Options = field(default_factory=Options)
    max_pixels: int = MAX_PIXELS
    stack: str = "pages"
    span: Span | None = None

    def files(self) -> dict[str, str]:
        """All files that a result depends on besides its source, by what names them: the
        companions, and those among the filter's own parameters.
        """
        given = {name: getattr(self, name) for name in COMPANIONS}
        for spec in fields(registry.get(self.method).params):
            if kind(spec) is str:
                given[spec.name] = self.parameters.get(spec.name)
        return {name: path for name, path in given.items() if path is not None}

    def with_files(self, paths: Mapping[str, str]) -> "Settings":
        """The same with other paths for some of these files."""
        own = {name: path for name, path in paths.items() if name in COMPANIONS}
        rest = {name: path for name, path in paths.items() if name not in COMPANIONS}
        return replace(self, parameters={**self.parameters, **rest}, **own)  # type: ignore[arg-type]
