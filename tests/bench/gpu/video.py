"""The classical filter on clips."""

import time
from collections import defaultdict
from typing import Any

from nlm import backends, registry
from tests.bench.gpu.measuring import SIGMA, Bench, launches_timed
from tests.bench.video import noise_planes


def video(bench: Bench) -> None:
    """Frames of 1080p yuv420p a second, radius 2, between decoder and encoder."""
    count = 2 if bench.options.once else bench.options.frames
    planes = noise_planes([(1080, 1920), (540, 960), (540, 960)], count, SIGMA)
    params = registry.parameters("nlm", "balanced", {"temporal_radius": 2}, clip=True)
    for title, place in (
        ("gpu", backends.choose("gpu")),
        ("CPU, 2 threads", backends.choose("cpu", threads=2)),
    ):
        given = planes if title == "gpu" else planes[:4]

        def run(given: list = given, place: Any = place) -> None:
            for _ in registry.get("nlm").stream(iter(given), (SIGMA,) * 3, params, place):
                pass  # what a decoder and an encoder would do

        run()
        began = time.perf_counter()
        run()
        took = time.perf_counter() - began
        bench.add(f"1080p yuv420p, radius 2, {title}", len(given) / took, "frames/s")
    with launches_timed() as launches:
        for _ in registry.get("nlm").stream(
            iter(planes[:6]), (SIGMA,) * 3, params, backends.choose("gpu")
        ):
            pass
    totals: dict[str, list[float]] = defaultdict(list)
    for name, took in launches:
        totals[name].append(took)
    for name, times in sorted(totals.items(), key=lambda one: -sum(one[1])):
        bench.add(f"  {name}", sum(times) / 6, "ms/frame", f"{len(times)} launches")
