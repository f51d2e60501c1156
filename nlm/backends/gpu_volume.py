"""Volumes with a GPU at hand: not written for it, they run on the CPU, which is said once."""

import logging
from functools import cache
from typing import Any

from nlm.backends import cpu_volume

log = logging.getLogger(__name__)


def nlm_volume(*given: Any, **how: Any) -> Any:
    """Non-local means of a volume, see `cpu_volume.nlm_volume`."""
    _tell()
    return cpu_volume.nlm_volume(*given, **how)


@cache
def _tell() -> None:
    log.info("volumes are not written for the GPU and run on the CPU")
