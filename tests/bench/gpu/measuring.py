"""Measurements on a card: its own clock, results as they come, and a picture."""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nlm.backends import gpu_device

SIGMA = 20 / 255
BUDGET = 0.4
"""Seconds that a measurement repeats for."""


@dataclass
class Bench:
    """What was measured so far.

    Attributes
    ----------
    rows : list of (name, number, unit, remark)
    compiling : list of Future
        Kernels of the CPU, meanwhile.
    """

    options: argparse.Namespace
    rows: list[tuple[str, float, str, str]] = field(default_factory=list)
    compiling: list[Any] = field(default_factory=list)

    def add(self, name: str, number: float, unit: str, remark: str = "") -> None:
        self.rows.append((name, number, unit, remark))
        print(f"  {name}: {number:.4g} {unit} {remark}", flush=True)

    def number(self, name: str) -> float | None:
        return next((row[1] for row in self.rows if row[0] == name), None)

    def milliseconds(self, run: Callable[[], object]) -> float:
        """The card's time for what `run` asks of it, a median."""
        run()
        times, until = [timed(run)[1]], time.perf_counter() + BUDGET
        while not self.options.once and (
            len(times) < 3 or (len(times) < 50 and time.perf_counter() < until)
        ):
            times.append(timed(run)[1])
        return statistics.median(times)

    def seconds(self, run: Callable[[], object], least: int = 3) -> float:
        """Time on the wall, a median."""
        import cupy

        times: list[float] = []
        run()
        until = time.perf_counter() + BUDGET
        while len(times) < least or time.perf_counter() < until:
            began = time.perf_counter()
            run()
            cupy.cuda.get_current_stream().synchronize()
            times.append(time.perf_counter() - began)
            if self.options.once:
                break
        return statistics.median(times)


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """What it returns, and the card's milliseconds for what it asks of it."""
    import cupy

    began, ended = cupy.cuda.Event(), cupy.cuda.Event()
    began.record()
    result = run()
    ended.record()
    ended.synchronize()
    return result, float(cupy.cuda.get_elapsed_time(began, ended))


@contextmanager
def launches_timed() -> Iterator[list[tuple[str, float]]]:
    """Within, every launch of a kernel is timed: its name with constants, and milliseconds."""
    found: list[tuple[str, float]] = []
    usual = gpu_device.device
    card = usual()

    class Timed:
        def __getattr__(self, name: str) -> Any:
            return getattr(card, name)

        def launch(self, source: str, kernel: str, constants: Any, *rest: Any) -> None:
            took = timed(lambda: card.launch(source, kernel, constants, *rest))[1]
            given = ",".join(f"{name}={value}" for name, value in constants)
            found.append((f"{kernel} {given}", took))

    gpu_device.device = Timed  # type: ignore[assignment]
    try:
        yield found
    finally:
        gpu_device.device = usual


def photograph(megapixels: float, channels: int = 3) -> np.ndarray:
    """A noisy picture of smooth parts and edges, 3 x 4, float32 (Y, X, C)."""
    rows = int((megapixels * 1e6 * 3 / 4) ** 0.5) // 24 * 24
    y, x = np.mgrid[:rows, : rows * 4 // 3].astype(np.float32)
    scene = 0.5 + 0.3 * np.sin(y / 50) * np.cos(x / 70) + 0.1 * ((x // 60 + y // 60) % 2)
    noise = np.random.default_rng(0).standard_normal((*scene.shape, channels), np.float32)
    return scene[..., None].astype(np.float32) + noise * np.float32(SIGMA)
