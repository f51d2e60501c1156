"""What a person asks for, in one value that can be compared, stored and sent to a worker."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from nlm import registry
from nlm.checks import number, whole_number
from nlm.errors import UsageError
from nlm.io.base import Options
from nlm.io.span import Span
from nlm.limits import MAX_PIXELS
from nlm.params import kind

COMPANIONS = ("guide", "sigma_map")
"""Settings that name a file beside the picture."""
STACKS = ("pages", "clip", "volume")


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
        Pixels of the side of tiles (of nlnet's on the CPU, the width) that pictures are cut into;
        None = as the filter likes it.
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

    Raises
    ------
    UsageError
        If one of the numbers, `stack` or the names of files are not allowed; the rest is checked
        with the file.
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

    def __post_init__(self) -> None:
        if self.sigma is not None and not 0 <= number(self.sigma) < float("inf"):
            given = "of several levels" if getattr(self.sigma, "ndim", 0) else repr(self.sigma)
            raise UsageError(
                f"sigma {given} is not allowed; give one number, 0 or more, as a fraction of full "
                "scale, or a picture of it as sigma_map, or leave it out to have it estimated"
            )
        for name in ("threads", "tile", "max_pixels"):
            if getattr(self, name) is not None:
                self._set(name, whole_number(name, getattr(self, name), 1))
        if self.stack not in STACKS:
            raise UsageError(f"unknown stack {self.stack!r}; available: {', '.join(STACKS)}")
        if not isinstance(self.parameters, Mapping):
            raise UsageError(
                f"parameters {self.parameters!r} are not allowed; give a dictionary, "
                '{"strength": 0.5} say'
            )
        for name in COMPANIONS:
            path = getattr(self, name)
            if not isinstance(path, str | os.PathLike | None):
                raise UsageError(f"{name} is no name of a file; give one, or leave it out")
            self._set(name, path and os.fspath(path))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

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
