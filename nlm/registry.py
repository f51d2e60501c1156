"""The filters there are: every module of `nlm.filters` offers one as ``FILTER``."""

import difflib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from nlm.errors import UsageError
from nlm.params import Params

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nlm.backends import Backend

    Planes = tuple[NDArray[np.float32], ...]
    Apply = Callable[[NDArray[np.float32], float, Any, Backend], NDArray[np.float32]]
    Stream = Callable[[Iterable[Planes], tuple[float, ...], Any, Backend], Iterator[Planes]]
    ApplyGuided = Callable[[NDArray[np.float32], float, Any, Backend, "Guide"], NDArray[np.float32]]

DEFAULT = "nlm"
PRESETS = ("fast", "balanced", "best")
INSTALL = "get it with: pip install 'nlm[bench]'"
"""What to do about a filter that is missing."""


@dataclass(frozen=True)
class Guide:
    """A picture that tells the weights, while values come from another.

    Attributes
    ----------
    frames : ndarray of float32, shape (T, Y, X, any number of channels)
        Of the same size as the frames to denoise.
    sigma : float
        Its noise level, fraction of full scale.
    """

    frames: "NDArray[np.float32]"
    sigma: float


@dataclass(frozen=True)
class VolumeFilter:
    """How a filter denoises volumes.

    Attributes
    ----------
    apply : callable
        Like `Filter.apply`, T being the third axis of space; its reach is that of the rows.
    presets : mapping
        Preset name to parameters, in place of those for pictures.
    tile : int
        Side of the blocks that large volumes are cut into, in voxels.
    working_memory : float
        Bytes for each sample of a block that filtering takes at most, as measured.
    """

    apply: "Apply"
    presets: Mapping[str, Mapping[str, Any]]
    tile: int
    working_memory: float


@dataclass(frozen=True)
class Filter:
    """A way to denoise frames.

    Attributes
    ----------
    name : str
        What people call it.
    params : type
        Dataclass of its parameters, see `nlm.params`.
    apply : callable
        ``apply(frames, sigma, params, backend)``: frames float32 (T, Y, X, C), full scale 1.0;
        sigma > 0 as a fraction of full scale. Returns new frames of the same shape.
    summary : str
        One line.
    presets : mapping
        Preset name to parameters that differ from the defaults.
    tile : int or None
        Side of the tiles it is given of a large picture; None = it bounds its memory itself.
    tolerance : float
        How far tiles may differ from the whole, fraction of full scale.
    constant : float
        How far a constant picture may come out changed.
    stream : callable or None
        ``stream(frames, sigma, params, backend)``: the frames of one scene, each a tuple of planes,
        and the noise level of each plane; gives the same frames denoised, in order, and holds only
        those that its window needs. None = every frame and plane goes through `apply`.
    in_time : callable or None
        ``in_time(planes, params)``: whether frames of such planes go through `stream`, or each for
        itself. None = all do, but with a `temporal_radius` of 0.
    clip_params : type or None
        Parameters that `stream` is given: of the same names as `params`, with other defaults.
    clip_presets : mapping
        Presets of these.
    reference : bool
        Somebody else's filter, offered for comparison.
    requires : str or None
        Module without which it does not work; the extra `bench` installs it.
    clips : bool
        Values outside 0..1 are cut off, and rounded to 8 bits.
    bounded : bool
        Made for values of about 0..1: pictures of larger ones are brought there.
    guided : callable or None
        `apply` with a `Guide` as one more argument; None = it takes none.
    volume : VolumeFilter or None
        None = it does not know volumes.
    """

    name: str
    params: type[Params]
    apply: "Apply"
    summary: str
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tile: int | None = None
    tolerance: float = 1e-6
    constant: float = 1e-6
    stream: "Stream | None" = None
    in_time: "Callable[[Planes, Any], bool] | None" = None
    clip_params: type[Params] | None = None
    clip_presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reference: bool = False
    requires: str | None = None
    clips: bool = False
    bounded: bool = False
    guided: "ApplyGuided | None" = None
    volume: VolumeFilter | None = None

    @property
    def installed(self) -> bool:
        """Whether what it requires is there."""
        return self.requires is None or find_spec(self.requires) is not None


@cache
def _filters() -> dict[str, Filter]:
    package = import_module("nlm.filters")
    modules = (module.name for module in pkgutil.iter_modules(package.__path__))
    found = (import_module(f"nlm.filters.{name}").FILTER for name in modules)
    return {one.name: one for one in sorted(found, key=_rank)}


def _rank(one: Filter) -> tuple[bool, bool, str]:
    return one.reference, one.name != DEFAULT, one.name


def methods() -> list[str]:
    """Names of the filters that work here: the default first, those of others last."""
    return [name for name, one in _filters().items() if one.installed]


def missing() -> list[str]:
    """Names of the filters that require what is not installed."""
    return [name for name, one in _filters().items() if not one.installed]


def get(name: str) -> Filter:
    """The filter of that name.

    Raises
    ------
    UsageError
        If there is none, the nearest name is suggested; or if it is not installed.
    """
    filters = _filters()
    if not isinstance(name, str) or name not in filters:
        near = difflib.get_close_matches(str(name), filters, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UsageError(f"unknown method {name!r}; {hint}available: {', '.join(methods())}")
    if not filters[name].installed:
        raise UsageError(f"method {name!r} is not installed; {INSTALL}")
    return filters[name]


def parameters(
    method: str,
    preset: str | None,
    overrides: Mapping[str, Any],
    volume: bool = False,
    clip: bool = False,
) -> Params:
    """A filter's parameters: its defaults, then the preset's, then those given by hand.

    Presets for volumes and clips are others than those for pictures.

    Raises
    ------
    TypeError
        If the filter has no parameter of that name; those it has are listed.
    UsageError
        If the preset is unknown or a value is not allowed.
    """
    chosen = get(method)
    known = [one.name for one in fields(chosen.params)]
    unknown = [name for name in overrides if name not in known]
    if unknown:
        raise TypeError(
            f"method {method!r} has no parameter {unknown[0]!r}; it has: {', '.join(known)}"
        )
    if preset is not None and preset not in PRESETS:
        raise UsageError(f"unknown preset {preset!r}; available: {', '.join(PRESETS)}")
    params, presets = chosen.params, chosen.presets
    if volume and chosen.volume:
        presets = chosen.volume.presets
    elif clip and chosen.clip_params:
        params, presets = chosen.clip_params, chosen.clip_presets
    base = presets.get(preset, {}) if preset else {}
    return params(**{**base, **overrides})


def parameters_of_clip(method: str, preset: str | None, overrides: Mapping[str, Any]) -> Params:
    """A filter's parameters for a clip: those for pictures if it sees every frame for itself.

    Raises
    ------
    TypeError, UsageError
        As `parameters`.
    """
    params = parameters(method, preset, overrides)
    if getattr(params, "temporal_radius", None):
        return parameters(method, preset, overrides, clip=True)
    return params
