"""Where kernels run: modules of the same functions for CPU and GPU, and one seam to pick one.

`gpu.py` carries the functions of `cpu.py`, `gpu_layers.py` those of `cpu_layers.py`, and so on.
What has no twin there, volumes and groups of patches, runs on the CPU: `Backend.cpu_for`.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nlm.errors import UsageError

if TYPE_CHECKING:
    from nlm.registry import Filter

log = logging.getLogger(__name__)

CHOICES = ("auto", "cpu", "gpu")
TILE_OF_GPU = 4096
"""Side of the tiles that a GPU is given at least, in pixels; small ones keep it waiting."""


Progress = Callable[[float], None]
"""Told what share of something is done, 0 to 1."""


@dataclass(frozen=True)
class Backend:
    """A place to compute, and how.

    Attributes
    ----------
    name : str
        "cpu" or "gpu".
    threads : int or None
        Processor threads to use; None = all that this process may use.
    progress : callable or None
        Told after each piece of work what share of it all is done; where calls follow each other
        without `part`, each begins at 0 again.
    half : bool
        Networks may compute in half precision: on a GPU, or a processor with AMX.
    by_name : bool
        It was asked for, not found by "auto".
    """

    name: str = "cpu"
    threads: int | None = None
    progress: Progress | None = None
    half: bool = False
    by_name: bool = False
    _telling: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def kernels(self) -> Any:
        """The module of kernels."""
        return import_module(f"nlm.backends.{self.name}")

    @property
    def clip(self) -> Any:
        """The module of clips: frames held, and one of them denoised."""
        return import_module(f"nlm.backends.{self.name}_clip")

    @property
    def layers(self) -> Any:
        """The module of a network's layers."""
        return import_module(f"nlm.backends.{self.engine}_layers")

    @property
    def engine(self) -> str:
        """What a network is made ready for: the backend's name and precision."""
        return f"{self.name}_half" if self.half else self.name

    @property
    def window_layer(self) -> Any:
        """The module of a network's non-local blocks."""
        return import_module(f"nlm.backends.{self.name}_window_layer")

    @property
    def attention(self) -> Any:
        """The module of the generic non-local operation."""
        return import_module(f"nlm.backends.{self.name}_non_local")

    def cpu_for(self, what: str) -> "Backend":
        """The CPU, for what is not written for the GPU, which is said once."""
        if self.name == "cpu":
            return self
        tell_not_written(what)
        return replace(self, name="cpu", half=False)

    @property
    def out_of_memory(self) -> tuple[type[Exception], ...]:
        """What is raised where a smaller tile may still fit; the CPU has no such error."""
        if self.name == "cpu":
            return ()
        from nlm.backends import gpu_device

        return (gpu_device.device().out_of_memory,)

    def tile(self, side: int | None) -> int | None:
        """The side of tiles to begin with, where the CPU would be given such; None = no tiles."""
        return max(side, TILE_OF_GPU) if side and self.name == "gpu" else side

    def for_each(self, work: Callable[[Any], None], items: Iterable[Any]) -> None:
        """Call `work` on every item, on all threads, and report progress."""
        from nlm.backends.threads import for_each

        items = list(items)
        progress = self.progress
        if progress is None:
            for_each(work, items, self.threads)
            return

        done = 0

        def work_and_tell(item: Any) -> None:
            nonlocal done
            work(item)
            with self._telling:
                done += 1
                progress(done / len(items))

        for_each(work_and_tell, items, self.threads)

    def tell(self, share: float) -> None:
        """Say what share of the work is done."""
        if self.progress is not None:
            self.progress(share)

    def part(self, number: int, of: int) -> "Backend":
        """The same for one of so many parts of the work."""
        progress = self.progress
        if progress is None:
            return self
        return replace(self, progress=lambda share: progress((number + share) / of))

    @property
    def silent(self) -> "Backend":
        """The same, for work whose share of it all is not known."""
        return self if self.progress is None else replace(self, progress=None)


@cache
def tell_not_written(what: str) -> None:
    """Say that something runs on the CPU although there is a GPU."""
    log.info("not written for the GPU, on the CPU: %s", what)


def suited(backend: Backend, chosen: "Filter", params: Any, volume: bool = False) -> Backend:
    """The backend, or the CPU if the GPU has no kernels for what a filter is asked to do."""
    if chosen.reference:
        return replace(backend, name="cpu", half=False)
    if volume:
        return backend.cpu_for("volumes")
    if getattr(params, "refine", False):  # groups change with a pilot's last bit
        return backend.cpu_for("groups of patches (refine)")
    return backend


def in_precision(backend: Backend, params: Any) -> Backend:
    """The backend in half precision, if a filter's parameters ask for that.

    Raises
    ------
    UsageError
        If they do and it is computed on a CPU without AMX.
    """
    if not getattr(params, "half", False):
        return backend
    if backend.name == "cpu" or getattr(params, "refine", False):  # see `suited`
        from nlm.backends import cpu_amx_layer

        if not cpu_amx_layer.usable():
            raise UsageError(
                "half precision needs a GPU, and none is used (see `nlm info`; --refine uses "
                "none), or a processor with AMX under Linux; leave out --half (half=True)"
            )
    return replace(backend, half=True)


def fallback(backend: Backend, params: Any = None) -> Backend | None:
    """The CPU, for what the GPU's memory is too small for.

    None where it is used already, where the GPU was asked for by its name, or where half precision
    was, which this processor may not have.
    """
    if backend.name == "cpu" or backend.by_name:
        return None
    if getattr(params, "half", False):
        from nlm.backends import cpu_amx_layer

        return replace(backend, name="cpu", half=True) if cpu_amx_layer.usable() else None
    return replace(backend, name="cpu")


def choose(
    name: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Backend:
    """The backend of that name; "auto" takes a GPU where there is one and never fails.

    Raises
    ------
    UsageError
        If the name is unknown, or "gpu" is asked for and there is none.
    """
    if name not in CHOICES:
        raise UsageError(f"unknown backend {name!r}; available: {', '.join(CHOICES)}")
    if threads is not None and threads < 1:
        raise UsageError(f"{threads} threads are not allowed; give 1 or more")
    if name != "cpu":
        from nlm.backends import gpu_device

        reason = gpu_device.missing()
        if reason is None:
            return Backend("gpu", threads, progress, by_name=name == "gpu")
        if name == "gpu":
            raise UsageError(f"no GPU can be used: {reason}; or use: --backend cpu")
    return Backend("cpu", threads, progress)
