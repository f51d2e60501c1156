"""What is compared: a filter, a preset, parameters by hand, written ``nlm@best:strength=0.4``."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from nlm import registry
from nlm.errors import UsageError
from nlm.params import kind

OPT_IN = {"bm3d"}
"""Too slow to run unasked."""
BOOLEANS = {"yes": True, "true": True, "no": False, "false": False}


@dataclass(frozen=True)
class Method:
    """One contender.

    Attributes
    ----------
    label : str
        As asked for.
    name : str
        A filter of `nlm.methods()`, or one that is not installed.
    preset : str
    parameters : mapping
        The filter's own parameters given by hand.
    """

    label: str
    name: str
    preset: str = "balanced"
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def installed(self) -> bool:
        """Whether it can be run here."""
        return self.name not in registry.missing()

    def accepts(self, parameter: str) -> bool:
        """Whether its filter has a parameter of that name."""
        known = fields(registry.get(self.name).params) if self.installed else ()
        return parameter in {spec.name for spec in known}


def parse_method(label: str) -> Method:
    """A contender from ``NAME[@PRESET][:PARAMETER=VALUE]...``.

    Raises
    ------
    UsageError
        If the filter, preset or parameter is unknown, or the value not allowed. A filter that is
        known but not installed is no error.
    """
    head, *settings = label.strip().split(":")
    name, _, preset = head.partition("@")
    preset = preset or "balanced"
    if name in registry.missing():
        return Method(label.strip(), name, preset)
    known = {spec.name: spec for spec in fields(registry.get(name).params)}
    parameters = {}
    for setting in settings:
        parameter, equals, text = setting.partition("=")
        parameter = parameter.replace("-", "_")
        if not equals or parameter not in known:
            raise UsageError(
                f"{label!r}: {name} has no parameter {parameter!r}; give PARAMETER=VALUE "
                f"of: {', '.join(known)}"
            )
        parameters[parameter] = _value(text, kind(known[parameter]))
    registry.parameters(name, preset, parameters)
    return Method(label.strip(), name, preset, parameters)


def parse_methods(labels: str) -> list[Method]:
    """Contenders from a list with commas; "all" stands for every filter, installed or not.

    Raises
    ------
    UsageError
        As `parse_method`, or if one is named twice.
    """
    asked = [one.strip() for one in labels.split(",") if one.strip()]
    if asked == ["all"]:
        asked = [*_own_presets(), *_others(registry.methods()), *registry.missing()]
    twice = {one for one in asked if asked.count(one) > 1}
    if twice or not asked:
        problem = f"{twice.pop()!r} is named twice" if twice else "no method is named"
        raise UsageError(f"--methods {labels}: {problem}; give names as nlm,nlm@best,tv")
    return [parse_method(one) for one in asked]


def default_methods() -> list[Method]:
    """Every filter that is installed and not slow, `nlm` in its presets."""
    quick = [name for name in registry.methods() if name not in OPT_IN]
    return [parse_method(one) for one in (*_own_presets(), *_others(quick))]


def _own_presets() -> list[str]:
    names = {"balanced": registry.DEFAULT}
    return [names.get(preset, f"{registry.DEFAULT}@{preset}") for preset in registry.PRESETS]


def _others(names: list[str]) -> list[str]:
    return [name for name in names if name != registry.DEFAULT]


def _value(text: str, kind: type) -> Any:
    if kind is bool:
        return BOOLEANS.get(text.lower(), text)  # what is none of them is refused with a word
    try:
        return kind(text)
    except ValueError:
        return text
