"""Memory of a worker of `nlm batch`: the measured peak beside what the model says.

    python -m tests.bench.memory [--threads 2] [--side 1024] [--depth 48]

Peaks are those of a process that does one file (VmHWM), kernels compiled before; seconds are those
of the process.
"""

import argparse
import tempfile
import time
from pathlib import Path

from nlm.batch.jobs import Job
from nlm.batch.need import THREAD, needed
from nlm.io import open_reader
from nlm.settings import Settings
from tests.memory import peak_of, save_stack

MIB = 2**20


def cases(side: int, depth: int) -> list[tuple[str, tuple[int, ...], dict]]:
    """What is measured: a name, the shape of the picture or volume, and the settings."""
    gray, colour = (side, side), (side, side, 3)
    large, photograph = (2 * side, 2 * side, 3), (3000, 4000, 3)
    volume = (depth, side // 8, side // 8)
    wide = (2 * depth, side // 6, side // 6)
    poisson = {"gain": 2 / 255}
    return [
        ("nlm", gray, {}),
        ("nlm", colour, {}),
        ("nlm", large, {}),
        ("nlm, poisson", colour, poisson),
        ("nlm best", gray, {"preset": "best"}),
        ("nlm best", colour, {"preset": "best"}),
        ("nlnet", gray, {"method": "nlnet"}),
        ("nlnet", colour, {"method": "nlnet"}),
        ("nlnet", large, {"method": "nlnet"}),
        ("nlnet", photograph, {"method": "nlnet"}),
        ("nlnet fast", photograph, {"method": "nlnet", "preset": "fast"}),
        ("volume", volume, {"stack": "volume"}),
        ("volume", wide, {"stack": "volume", "preset": "fast"}),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--depth", type=int, default=48)
    chosen = parser.parse_args()
    print("| what | shape | peak MiB | model MiB | model / peak | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for name, shape, how in cases(chosen.side, chosen.depth):
            source = save_stack(Path(folder) / "a.tif", shape)
            settings = Settings(sigma=20 / 255, threads=chosen.threads, **how)
            began = time.perf_counter()
            peak = peak_of(Job(str(source), str(Path(folder) / "b.tif"), settings, force=True))
            seconds = time.perf_counter() - began
            with open_reader(source) as reader:
                model = needed(reader.info, settings) + chosen.threads * THREAD
            size = " x ".join(map(str, shape))
            print(
                f"| {name} | {size} | {peak / MIB:.0f} | {model / MIB:.0f} | {model / peak:.2f} "
                f"| {seconds:.1f} |"
            )


if __name__ == "__main__":
    main()
