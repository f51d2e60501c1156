"""Filters side by side: the same pictures, noise, sigma and rules of timing for all.

>>> from nlm import compare
>>> picture = compare.load("clean.png", add_noise=25 / 255)  # doctest: +SKIP
>>> methods = [compare.parse_method(label) for label in ("nlm", "nlm@best", "tv:strength=0.9")]
>>> for result in compare.compare_picture(picture, methods):  # doctest: +SKIP
...     print(result.method, result.psnr, result.seconds)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nlm.compare.clips import Clip
    from nlm.compare.loading import load
    from nlm.compare.methods import Method, default_methods, parse_method
    from nlm.compare.pictures import Picture
    from nlm.compare.summary import Summary, summarise
    from nlm.compare.sweep import Sweep, parse_sweep
    from nlm.compare.trials import Result, compare_picture

_HOME = {
    "Clip": "clips",
    "Method": "methods",
    "Picture": "pictures",
    "Result": "trials",
    "Summary": "summary",
    "Sweep": "sweep",
    "compare_picture": "trials",
    "default_methods": "methods",
    "load": "loading",
    "parse_method": "methods",
    "parse_sweep": "sweep",
    "summarise": "summary",
}

__all__ = [
    "Clip",
    "Method",
    "Picture",
    "Result",
    "Summary",
    "Sweep",
    "compare_picture",
    "default_methods",
    "load",
    "parse_method",
    "parse_sweep",
    "summarise",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"nlm.compare.{_HOME[name]}"), name)
    raise AttributeError(f"module 'nlm.compare' has no attribute {name!r}")
