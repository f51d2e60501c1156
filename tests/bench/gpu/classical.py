"""The classical filter, beside two threads of the CPU."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from nlm import backends, registry
from nlm.backends import cpu, cpu_layout, gpu, gpu_device
from tests.bench.gpu.measuring import SIGMA, Bench, photograph

INSTRUCTIONS = 17
"""Of the pixelwise kernel for a pixel and an offset in colour, see nlm.cu."""


def averages(bench: Bench, picture: np.ndarray) -> dict[str, Callable[[], object]]:
    """The classical kernels on pictures that lie on the card."""
    device = gpu_device.device()
    compared = device.put(picture)

    def run(form: int, patch: int, radius: int, patches: Any = None) -> Any:
        numbers = gpu.weight_numbers(SIGMA, 0.6, (patch, patch), picture.shape[2])
        half = (patch // 2, patch // 2)
        given = compared if patches is None else patches
        window = (radius, radius)
        return gpu._average(form, compared, compared, given, half, window, numbers, device)

    runs: dict[str, Callable[[], object]] = {
        "pixelwise 21/7": lambda: run(cpu_layout.PIXELWISE, 7, 10),
    }
    if picture.shape[2] == 3:
        sums = run(cpu_layout.PATCH_SUMS, 5, 6)
        runs["patch sums 13/5"] = lambda: run(cpu_layout.PATCH_SUMS, 5, 6)
        runs["patchwise 13/5"] = lambda: run(cpu_layout.PATCHWISE, 5, 6, sums)
    return runs


@contextmanager
def only_layout(layout: tuple[int, int]) -> Iterator[None]:
    """Within, blocks have this layout."""
    usual = gpu.LAYOUTS
    gpu.LAYOUTS = (layout,)  # type: ignore[assignment]
    try:
        yield
    finally:
        gpu.LAYOUTS = usual


def classical(bench: Bench) -> None:
    """Pixelwise and patchwise non-local means."""
    for channels in (3, 1):
        picture = photograph(bench.options.megapixels, channels)
        title = "colour" if channels == 3 else "gray"
        for name, run in averages(bench, picture).items():
            bench.add(f"{name}, {title}", bench.milliseconds(run), "ms", "on the card")
            for layout in gpu.LAYOUTS[1:]:
                with only_layout(layout):
                    took = bench.milliseconds(run)
                bench.add(f"  with columns, group = {layout}", took, "ms")
        if channels == 3:
            rate = bench.number("instructions")
            took = bench.number("pixelwise 21/7, colour")
            if rate and took:
                bound = 1e3 * INSTRUCTIONS * 440 * picture[..., 0].size / rate
                bench.add("arithmetic bound of it", bound, "ms", f"{took / bound:.2f} x the bound")

            def whole(picture: np.ndarray = picture) -> object:
                return gpu.nlm(
                    picture, picture, SIGMA, 0.6, patch=(7, 7), radius=(10, 10), aggregate=False
                )

            took = bench.seconds(whole) * 1e3
            bench.add("pixelwise 21/7, colour, with copies", took, "ms", "on the wall")
            place, params = backends.choose("gpu"), registry.parameters("nlm", "balanced", {})
            took = bench.seconds(
                lambda: registry.get("nlm").apply(picture[None], SIGMA, params, place)  # noqa: B023
            )
            bench.add("filter nlm, balanced, colour", took * 1e3, "ms", "on the wall")


def processor(bench: Bench) -> None:
    """The CPU with two threads, on a part of the picture."""
    for future in bench.compiling:
        future.result()
    picture = photograph(0.75)
    share = bench.options.megapixels * 1e6 / picture[..., 0].size
    place = backends.choose("cpu", threads=2)

    def run() -> object:
        return cpu.nlm(
            picture, picture, SIGMA, 0.6, patch=(7, 7), radius=(10, 10), aggregate=False,
            for_each=place.for_each,
        )  # fmt: skip

    took = bench.seconds(run) * share * 1e3
    bench.add("pixelwise 21/7, colour, CPU, 2 threads", took, "ms", "scaled by pixels")
    for ours in ("pixelwise 21/7, colour", "pixelwise 21/7, colour, with copies"):
        if (number := bench.number(ours)) is not None:
            bench.add(f"CPU over {ours}", took / number, "x")
