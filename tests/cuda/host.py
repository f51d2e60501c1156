"""A stand-in for the card: its memory is NumPy's, and kernels run on the CPU (`host.cpp`)."""

import ctypes
import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from nlm.backends import gpu_device

PROBLEMS = {1: "shared memory was overrun", 2: "threads do not meet at the same barriers"}


class OutOfMemoryError(Exception):
    """What the stand-in raises where its memory ends."""


@dataclass
class HostDevice:
    """Like `gpu_device.Device`.

    Attributes
    ----------
    memory : int
        The largest array, in bytes, that it has room for.
    reverse : bool
        Whether the threads of a block run from the last to the first.
    launched : list of tuple
        Source, constants and grid of every kernel that ran.
    """

    memory: int = 2**40
    reverse: bool = False
    shared_per_block: int = 227 * 1024
    shared_per_processor: int = 228 * 1024
    tensor_cores: bool = True
    launched: list[tuple[Any, ...]] = field(default_factory=list)
    out_of_memory: type[Exception] = OutOfMemoryError

    @property
    def xp(self) -> Any:
        return SimpleNamespace(
            ascontiguousarray=np.ascontiguousarray, empty=self._empty, zeros=self._zeros
        )

    def _zeros(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        zeros = self._empty(shape, dtype)
        zeros[...] = 0
        return zeros

    def _empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        if np.prod(shape) * np.dtype(dtype).itemsize > self.memory:
            raise OutOfMemoryError
        return np.full(shape, 7, dtype)

    def lane(self) -> "HostLane":
        return HostLane(self)

    def mark(self) -> "HostEvent":
        return HostEvent(None, 0)

    def wait(self, event: "HostEvent") -> None:
        event.synchronize()

    def pinned(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.full(shape, 7, np.float32)

    def put(self, array: np.ndarray) -> np.ndarray:
        copy = self._empty(array.shape, array.dtype)
        copy[...] = array
        return copy

    def get(self, array: np.ndarray) -> np.ndarray:
        return array.copy()

    def fetch(self, array: np.ndarray, out: np.ndarray) -> None:
        assert array.flags.c_contiguous
        assert out.flags.c_contiguous
        np.copyto(out, array)

    def launch(self, source, kernel, constants, grid, threads, arguments, shared=0):  # type: ignore
        assert shared <= self.shared_per_block
        self.launched.append((source, dict(constants), grid))
        values = [gpu_device.as_argument(one) for one in arguments]
        assert all(one.flags.c_contiguous for one in values if isinstance(one, np.ndarray))
        cells = [
            ctypes.c_void_p(one.ctypes.data)
            if isinstance(one, np.ndarray)
            else (ctypes.c_int32 if isinstance(one, np.int32) else ctypes.c_float)(one.item())
            for one in values
        ]
        pointers = (ctypes.c_void_p * len(cells))(*(ctypes.addressof(one) for one in cells))
        blocks = (ctypes.c_uint * 3)(*grid, *(1,) * (3 - len(grid)))
        run = library(source, kernel, constants).run
        problem = run(pointers, blocks, threads, shared, int(self.reverse))
        assert problem == 0, f"{source}: {PROBLEMS[problem]}"


@dataclass
class HostLane:
    """Copies that happen as late as they may: when somebody waits for them."""

    device: HostDevice
    begun: list[Any] = field(default_factory=list)
    done: int = 0

    def bring(self, pinned: np.ndarray, array: np.ndarray) -> None:
        self.device.launched.append(("bring", {}, ()))
        self.begun.append(lambda: np.copyto(array, pinned))

    def fetch(self, array: np.ndarray, pinned: np.ndarray) -> None:
        self.device.launched.append(("fetch", {}, ()))

        def copy() -> None:
            np.copyto(pinned, array)
            self.device.launched.append(("fetched", {}, ()))

        self.begun.append(copy)

    def mark(self) -> "HostEvent":
        return HostEvent(self, len(self.begun))

    def wait(self, event: "HostEvent") -> None:
        self.begun.append(event.synchronize)


@dataclass(frozen=True)
class HostEvent:
    """Copies of a lane up to some point are done."""

    lane: HostLane | None
    count: int

    def synchronize(self) -> None:
        lane = self.lane
        if lane is None:
            return
        for copy in lane.begun[lane.done : self.count]:
            copy()
        lane.done = max(lane.done, self.count)


@cache
def _folder() -> Any:
    return tempfile.TemporaryDirectory(prefix="nlm-cuda-")


@cache
def library(source: str, kernel: str, constants: tuple[tuple[str, int], ...]) -> ctypes.CDLL:
    """A .cu file, compiled for the CPU."""
    target = Path(_folder().name) / f"{source}-{abs(hash((kernel, constants)))}.so"
    subprocess.run(
        [
            *("g++", "-std=c++17", "-O1", "-shared", "-fPIC", "-w", "-o", target),
            "-U_FORTIFY_SOURCE",  # takes a jump to another stack for an error
            f'-DSOURCE="{gpu_device.SOURCES / source}"',
            f"-DKERNEL={kernel}",
            *(f"-D{name}={value}" for name, value in constants),
            Path(__file__).with_name("host.cpp"),
        ],
        check=True,
    )
    return ctypes.CDLL(str(target))
