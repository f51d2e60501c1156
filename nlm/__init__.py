"""Non-local means, classical and learned: denoise images and video.

>>> import nlm
>>> clean = nlm.denoise(noisy, channel_axis=-1)  # doctest: +SKIP

Names load on first use: importing `nlm` imports neither NumPy nor Numba.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nlm.version import __version__

if TYPE_CHECKING:
    from nlm.arrays import denoise
    from nlm.attention import non_local
    from nlm.errors import FileError, NlmError, UsageError
    from nlm.learned.block import NonLocalBlock
    from nlm.metrics import psnr, ssim
    from nlm.noise import estimate_sigma
    from nlm.pipeline import denoise_file
    from nlm.registry import methods

_HOME = {
    "denoise": "nlm.arrays",
    "denoise_file": "nlm.pipeline",
    "estimate_sigma": "nlm.noise",
    "methods": "nlm.registry",
    "non_local": "nlm.attention",
    "NonLocalBlock": "nlm.learned.block",
    "psnr": "nlm.metrics",
    "ssim": "nlm.metrics",
    "FileError": "nlm.errors",
    "NlmError": "nlm.errors",
    "UsageError": "nlm.errors",
}

__all__ = [
    "FileError",
    "NlmError",
    "NonLocalBlock",
    "UsageError",
    "__version__",
    "denoise",
    "denoise_file",
    "estimate_sigma",
    "methods",
    "non_local",
    "psnr",
    "ssim",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in ("batch", "compare"):
        return import_module(f"nlm.{name}")
    raise AttributeError(f"module 'nlm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
