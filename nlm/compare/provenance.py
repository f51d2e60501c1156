"""Which software and machine the numbers come from."""

import platform
from importlib.metadata import PackageNotFoundError, version

from nlm.backends.compiled import machine
from nlm.backends.threads import available_threads
from nlm.version import __version__

PACKAGES = ("numpy", "numba", "scikit-image", "pywavelets", "opencv-python-headless", "bm3d")


def provenance(threads: int | None) -> dict[str, str]:
    """What to tell with a measurement, in words, by title."""
    found = {"nlm": __version__, "Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    found["processor"] = f"{machine()[0]} ({platform.machine()}, {platform.system()})"
    found["threads"] = str(threads or available_threads())
    return found
