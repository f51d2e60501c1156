"""Classical non-local means beside OpenCV, scikit-image, ffmpeg and BM3D: speed, memory, quality.

    python -m tests.bench.classical [--threads 2] [--rounds 7] [--only speed,growth,...]
        [--data ../shared/data] [--every N] [--bm3d] [--json FILE]

Parts: speed, growth, memory, error, quality. Peers that are not installed are left out
(``pip install -e '.[bench]'``). Rounds are interleaved; times are medians with least and most.
Quality needs the folder of test sets: noise default_rng(1000 * sigma + index), neither clipped nor
rounded (OpenCV: rounded and clipped), peers at the strength that is best for the whole set.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import numpy as np

import nlm
from nlm import backends, registry
from nlm.backends.compiled import machine, simd_width
from nlm.frames import to_float
from nlm.io import open_reader
from tests.bench import needs, peers

SAMPLES = Path(__file__).parents[2] / "sample_images"
SIGMA = 25 / 255
PARTS = ("speed", "growth", "memory", "error", "quality")
Run = Callable[[], object]


def picture(rows: int, cols: int, channels: int) -> np.ndarray:
    """A noisy photograph of any size, float32 (Y, X, C): the sample, mirrored on and on."""
    name = "camera.png" if channels == 1 else "chelsea.png"
    with open_reader(SAMPLES / name) as reader:
        sample = to_float(next(iter(reader)).planes[0], reader.info)[..., :channels]
    missing = [(0, max(0, size - have)) for size, have in zip((rows, cols), sample.shape)]  # noqa: B905
    clean = np.pad(sample, [*missing, (0, 0)], "symmetric")[:rows, :cols]
    rng = np.random.default_rng(0)
    return clean + rng.standard_normal(clean.shape, np.float32) * np.float32(SIGMA)


def ours(noisy: np.ndarray, preset: str | None, threads: int, **parameters: object) -> Run:
    chosen, place = registry.get("nlm"), backends.choose("cpu", threads)
    params = registry.parameters("nlm", preset, parameters)
    return lambda: chosen.apply(noisy[None], SIGMA, params, place)


def interleaved(runs: dict[str, Run], rounds: int, slow: bool = False) -> dict[str, list[float]]:
    """Milliseconds of each, round by round, after a round that does not count.

    Those that are not slow run twice and the second time counts: a processor that has rested, or
    run another process, takes some milliseconds to be at its speed.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for k in range(rounds + 1):
        for name, run in runs.items():
            if not slow:
                run()
            began = time.perf_counter()
            run()
            if k > 0:
                seconds[name].append(1e3 * (time.perf_counter() - began))
    return seconds


def speed(rounds: int, threads: int) -> list[dict]:
    """Our time against the peers', same window and patch."""
    definition = {"patch_size": 7, "search_radius": 10, "aggregate": False}
    gray, colour, large = picture(512, 512, 1), picture(768, 1024, 3), picture(3000, 4000, 3)
    tasks = [
        ("512x512 gray, pixelwise 7/21", ours(gray, None, threads, **definition), {
            "OpenCV": peers.opencv(gray, threads),
            "ffmpeg nlmeans": peers.ffmpeg(gray, threads),
        }),
        ("512x512 gray, pixelwise 7/21, 1 thread", ours(gray, None, 1, **definition), {
            "scikit-image fast": peers.scikit_image(gray),
        }),
        ("1024x768 colour, pixelwise 7/21", ours(colour, None, threads, **definition), {
            "OpenCV Colored": peers.opencv(colour, threads),
        }),
        ("512x512 gray, best", ours(gray, "best", threads), {"BM3D": peers.bm3d(gray, SIGMA)}),
        ("12 megapixel colour, balanced", ours(large, "balanced", threads), {
            "OpenCV Colored 7/21": peers.opencv(large, threads),
        }),
    ]  # fmt: skip
    rows = []
    for task, own, others in tasks:
        runs = {"nlm": own, **{name: run for name, run in others.items() if run is not None}}
        slow = task.startswith("12 ") or "BM3D" in runs
        times = interleaved(runs, max(1, rounds // 3) if slow else rounds, slow)
        for name, one in times.items():
            ratio = float(np.median(one) / np.median(times["nlm"]))
            rows.append({"task": task, "who": name, **spread(one), "times nlm": round(ratio, 2)})
    return rows


def spread(milliseconds: list[float]) -> dict:
    return {
        "ms": round(float(np.median(milliseconds)), 1),
        "least": round(min(milliseconds), 1),
        "most": round(max(milliseconds), 1),
    }


def growth(rounds: int, threads: int) -> list[dict]:
    """Time per pixel of gray pictures, balanced."""
    sizes = ((512, 512), (1024, 1024), (2000, 2000), (3000, 4000), (6000, 8000))
    noisy = picture(*sizes[-1], 1)
    parts = {f"{r * c / 1e6:.2f} megapixel": np.ascontiguousarray(noisy[:r, :c]) for r, c in sizes}
    runs = {name: ours(part, "balanced", threads) for name, part in parts.items()}
    times = interleaved(runs, max(1, rounds // 2))
    per_pixel = {name: 1e6 * float(np.median(times[name])) / parts[name].size for name in runs}
    first = next(iter(per_pixel.values()))
    return [
        {"size": name, "ns per pixel": round(one, 1), "of the smallest": round(one / first, 2)}
        for name, one in per_pixel.items()
    ]


def memory(rounds: int, threads: int) -> list[dict]:
    """Peak beyond what is there before, in units of the float32 picture."""
    rows = []
    for preset in registry.PRESETS:
        script = (
            "from tests.bench.classical import ours, picture, resident\n"
            f"ours(picture(64, 64, 3), {preset!r}, {threads})()\n"
            f"noisy = picture(3000, 4000, 3); run = ours(noisy, {preset!r}, {threads})\n"
            "open('/proc/self/clear_refs', 'w').write('5')\n"  # forget the peak so far
            "before = resident('VmRSS'); run()\n"
            "print((resident('VmHWM') - before) / (noisy.nbytes / 1024))"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        if done.returncode:
            return [{"memory": "cannot be told on this system"}]
        peak = 1 + float(done.stdout)
        rows.append({"task": f"12 megapixel colour, {preset}", "pictures": round(peak, 2)})
    return rows


def resident(name: str) -> int:
    """A line of /proc/self/status, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


def error(rounds: int, threads: int) -> list[dict]:
    """Largest difference from the naive twin, in 8-bit levels."""
    from tests import naive

    rows = []
    definition = {"aggregate": False, "refine": False}
    for channels in (1, 3):
        noisy = picture(150, 170, channels)
        for preset in registry.PRESETS:
            params = registry.parameters("nlm", preset, definition).at(SIGMA, channels == 3)  # type: ignore[attr-defined]
            patch, radius = (params.patch_size,) * 2, (params.search_radius,) * 2  # type: ignore[attr-defined]
            slow = naive.nlm(noisy, noisy, SIGMA, params.strength, patch, radius, False)  # type: ignore[attr-defined]
            fast = ours(noisy, preset, threads, **definition)()
            off = 255 * float(np.abs(fast[0] - slow).max())  # type: ignore[index]
            rows.append(
                {"task": f"{preset}, {channels} channels, pixelwise", "error": round(off, 5)}
            )
    return rows


def quality(data: Path, every: int, bm3d: bool) -> list[dict]:
    """Mean PSNR of test sets."""
    rows = []
    for name, sigmas in (("Set12", (15, 25, 50)), ("CBSD68", (25,))):
        folder = data / name
        if not folder.is_dir():
            print(f"{folder} is not there: no quality of {name}", file=sys.stderr)
            continue
        for sigma in sigmas:
            pairs = peers.pairs(folder, sigma, every)
            for who, psnr in peers.table(pairs, sigma / 255, bm3d):
                rows.append({"set": name, "sigma": sigma, "who": who, "PSNR": round(psnr, 2)})
    return rows


def about(threads: int) -> dict:
    names = ("numpy", "numba", "llvmlite", "opencv-python-headless", "scikit-image", "bm3d")
    modules = ("numpy", "numba", "llvmlite", "cv2", "skimage", "bm3d")
    return {
        "nlm": nlm.__version__,
        "processor": machine()[0],
        "lanes": simd_width(),
        "threads": threads,
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        **{n: version(n) for n, m in zip(names, modules, strict=True) if find_spec(m)},
        "ffmpeg": which("ffmpeg") is not None,
    }


def show(title: str, rows: list[dict]) -> None:
    print(f"\n{title}")
    if rows:
        print("| " + " | ".join(rows[0]) + " |\n" + "| --- " * len(rows[0]) + "|")
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas")
    parser.add_argument("--data", type=Path, default=needs.DATA)
    parser.add_argument("--every", type=int, default=1, help="take every N-th picture of a set")
    parser.add_argument("--bm3d", action="store_true", help="BM3D, too: minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there, too")
    options = parser.parse_args()
    report: dict = {"about": about(options.threads)}
    print(report["about"])
    for part in options.only.split(","):
        if part not in PARTS:
            parser.error(f"no part {part!r}; there are: {', '.join(PARTS)}")
        if part == "quality":
            report[part] = quality(options.data, options.every, options.bm3d)
        else:
            report[part] = globals()[part](options.rounds, options.threads)
        show(part, report[part])
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
