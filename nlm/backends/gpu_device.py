"""The graphics card: whether there is one that can be used, its memory, and kernels that run on it.

Importing this module imports neither NumPy nor CuPy; whether CuPy is worth importing is asked of
the driver.
"""

import ctypes
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

SOURCES = Path(__file__).parent / "cuda"
OPTIONS = ("-std=c++17", "--use_fast_math")
"""Of the compiler. What is lost to fast arithmetic is far below what filters promise."""
CACHED = ("clip.cu", "motion.cu", "peak.cu", "tensor.cu")
"""Kernels that read much through the cache; others want all of it as shared memory."""
TENSOR_CORES = 75
"""Compute capability from which on there are such as cuda/tensor.cu needs."""
OLDEST, NEWEST = 12, 13
"""CUDA versions for which there is an extra, gpu12 and gpu13."""


@dataclass(frozen=True)
class Device:
    """A card and how to use it.

    Attributes
    ----------
    xp : module
        NumPy's twin on the card.
    out_of_memory : type
        The error that is raised where memory ends.
    shared_per_block, shared_per_processor : int
        Bytes of shared memory that one block, and all blocks on a multiprocessor, can have.
    tensor_cores : bool
        Whether it multiplies matrices of halves.
    """

    xp: Any
    out_of_memory: type[Exception]
    shared_per_block: int
    shared_per_processor: int
    tensor_cores: bool

    def launch(
        self,
        source: str,
        kernel: str,
        constants: tuple[tuple[str, int], ...],
        grid: tuple[int, ...],
        threads: int,
        arguments: Sequence[Any],
        shared: int = 0,
    ) -> None:
        """Run a kernel.

        Parameters
        ----------
        source, kernel : str
            File in the folder `cuda` and name of the function.
        constants : tuple of (str, int)
            Macros that the file is compiled with.
        grid : tuple of int
            Blocks in x, y and z.
        threads : int
            Threads in a block.
        arguments : sequence
            Arrays on the card, and numbers: ints are passed as int, floats as float.
        shared : int
            Bytes of shared memory for each block.
        """
        function = _compiled(source, kernel, constants)
        if shared > function.max_dynamic_shared_size_bytes:
            function.max_dynamic_shared_size_bytes = shared
        function(grid, (threads,), tuple(map(as_argument, arguments)), shared_mem=shared)

    def lane(self) -> "Lane":
        """A stream of its own for copies."""
        return Lane(self.xp.cuda.Stream(non_blocking=True))

    def mark(self) -> Any:
        """An event: what was launched so far is done."""
        return self.xp.cuda.get_current_stream().record()

    def wait(self, event: Any) -> None:
        """Let what is launched from now on wait for an event."""
        self.xp.cuda.get_current_stream().wait_event(event)

    def pinned(self, shape: tuple[int, ...]) -> Any:
        """A NumPy array of float32 that copies can go on to and from while others compute."""
        import cupyx
        import numpy as np

        return cupyx.empty_pinned(shape, np.float32)

    def put(self, array: Any) -> Any:
        """A contiguous copy of an array on the card."""
        import numpy as np

        from nlm.backends import gpu_copies

        array = np.ascontiguousarray(array)
        if not gpu_copies.is_large(array):
            return self.xp.asarray(array)
        on_card = self.xp.empty(array.shape, array.dtype)
        gpu_copies.put(array, on_card)
        return on_card

    def get(self, array: Any) -> Any:
        """A copy of a card's contiguous array as a NumPy array."""
        import numpy as np

        out = np.empty(array.shape, array.dtype)
        self.fetch(array, out)
        return out

    def fetch(self, array: Any, out: Any) -> None:
        """Copy a card's contiguous array to a NumPy array of its shape, contiguous as well."""
        from nlm.backends import gpu_copies

        if gpu_copies.is_large(array):
            gpu_copies.fetch(array, out)
        else:
            array.get(out=out)


@dataclass(frozen=True)
class Lane:
    """Copies, one after the other, beside what the card computes."""

    stream: Any

    def bring(self, pinned: Any, array: Any) -> None:
        """Begin to copy to an array on the card."""
        array.set(pinned, stream=self.stream)

    def fetch(self, array: Any, pinned: Any) -> None:
        """Begin to copy from an array on the card."""
        array.get(stream=self.stream, out=pinned, blocking=False)

    def mark(self) -> Any:
        """An event: what was begun so far is done."""
        return self.stream.record()

    def wait(self, event: Any) -> None:
        """Let what is begun from now on wait for an event."""
        self.stream.wait_event(event)


def as_argument(value: Any) -> Any:
    """An int or float of the width that kernels take; arrays as they are."""
    import numpy as np

    if isinstance(value, int):
        return np.int32(value)
    return np.float32(value) if isinstance(value, float) else value


@cache
def _compiled(source: str, kernel: str, constants: tuple[tuple[str, int], ...]) -> Any:
    """Compiled once per process; CuPy keeps the machine code on disk."""
    import cupy

    defines = tuple(f"-D{name}={value}" for name, value in constants)
    module = cupy.RawModule(code=(SOURCES / source).read_text(), options=OPTIONS + defines)
    function = module.get_function(kernel)
    if source not in CACHED:
        function.preferred_shared_memory_carveout = 100  # percent
    return function


@cache
def device() -> Device:
    """The card at hand; call only where `missing` is None."""
    import cupy

    about = cupy.cuda.Device().attributes
    return Device(
        cupy,
        cupy.cuda.memory.OutOfMemoryError,
        about["MaxSharedMemoryPerBlockOptin"],
        about["MaxSharedMemoryPerMultiprocessor"],
        int(cupy.cuda.Device().compute_capability) >= TENSOR_CORES,
    )


@cache
def missing() -> str | None:
    """What keeps the GPU from being used and what to do about it; None if nothing does."""
    reason = _missing()
    if reason is not None:
        log.info("no GPU is used: %s", reason)
    return reason


def _missing() -> str | None:
    driver = load_driver()
    if driver is None:
        then = "" if find_spec("cupy") else f", then: pip install 'nlm[gpu{NEWEST}]'"
        return f"no NVIDIA driver was found; install the driver of your card{then}"
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        count.value = 0
    if count.value == 0:
        return "the NVIDIA driver finds no card; check `nvidia-smi` and CUDA_VISIBLE_DEVICES"
    version = driver_version(driver)
    if version[0] < OLDEST:
        return f"the NVIDIA driver is for CUDA {version[0]}.{version[1]}; update it to {OLDEST}.0"
    extra = f"gpu{min(version[0], NEWEST)}"
    if find_spec("cupy") is None:
        return f"CuPy is not installed; get it with: pip install 'nlm[{extra}]'"
    try:
        _probe()
    except Exception as error:  # whatever CuPy, NVRTC and the driver may raise
        detail = str(error).strip().partition("\n")[0] or type(error).__name__
        return f"CuPy cannot use the card ({detail}); try: pip install 'nlm[{extra}]'"
    return None


def load_driver() -> Any:
    """The driver's library; None where there is none."""
    try:
        return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None


def driver_version(driver: Any) -> tuple[int, int]:
    """The newest CUDA that the driver can run."""
    version = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    return version.value // 1000, version.value % 1000 // 10


def _probe() -> None:
    """Compile and run a kernel that does nothing."""
    import cupy

    nothing = 'extern "C" __global__ void nothing() {}'
    cupy.RawModule(code=nothing, options=OPTIONS).get_function("nothing")((1,), (1,), ())
    cupy.cuda.get_current_stream().synchronize()


def describe() -> str:
    """One line on the card, its memory, driver and CuPy, or why none is used."""
    reason = missing()
    if reason is not None:
        return f"none: {reason}"
    import cupy

    card = cupy.cuda.Device()
    free, total = (size / 2**30 for size in card.mem_info)
    name = cupy.cuda.runtime.getDeviceProperties(card.id)["name"].decode()
    major, minor = driver_version(load_driver())
    return (
        f"{name}, {free:.1f} of {total:.1f} GiB free, compute capability "
        f"{card.compute_capability[0]}.{card.compute_capability[1:]}, driver for CUDA "
        f"{major}.{minor}, CuPy {cupy.__version__}"
    )
