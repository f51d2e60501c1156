"""Filters side by side: PSNR and time on the sample pictures.

    python -m tests.bench.filters [--sigma 25] [--rounds 5] [--threads 2] [--json]

Noise: numpy.random.default_rng(0), not clipped; OpenCV, which takes 8 bits only, gets the rounded
and clipped picture. Peers run at the strength that is best on the very picture, nlm at its
defaults. Rounds are interleaved; times are medians.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import nlm
from nlm import backends, registry
from nlm.backends.compiled import machine

SAMPLES = Path(__file__).parents[2] / "sample_images"
Method = Callable[[np.ndarray], np.ndarray]


def ours(method: str, preset: str, sigma: float, threads: int) -> Method:
    chosen = registry.get(method)
    params = registry.parameters(method, preset, {})
    place = backends.choose("cpu", threads)

    def run(noisy: np.ndarray) -> np.ndarray:
        frames = noisy.reshape(1, *noisy.shape[:2], -1).astype(np.float32)
        return chosen.apply(frames, sigma, params, place)[0].reshape(noisy.shape)

    return run


def opencv(h: float, threads: int) -> Method:
    import cv2

    def run(noisy: np.ndarray) -> np.ndarray:
        cv2.setNumThreads(threads)
        picture = np.clip(np.rint(noisy * 255), 0, 255).astype(np.uint8)
        if noisy.ndim == 2:
            return cv2.fastNlMeansDenoising(picture, None, h, 7, 21) / 255
        return cv2.fastNlMeansDenoisingColored(picture, None, h, h, 7, 21) / 255

    return run


def scikit_image(h: float, sigma: float) -> Method:
    from skimage.restoration import denoise_nl_means

    def run(noisy: np.ndarray) -> np.ndarray:
        axis = None if noisy.ndim == 2 else -1
        return denoise_nl_means(
            noisy, 7, 10, h=h * sigma, sigma=sigma, fast_mode=True, channel_axis=axis
        )

    return run


def best(candidates: list[Method], noisy: np.ndarray, clean: np.ndarray) -> Method:
    return max(candidates, key=lambda run: psnr(run(noisy), clean))


def psnr(picture: np.ndarray, clean: np.ndarray) -> float:
    return nlm.psnr(np.clip(picture, 0, 1).astype(np.float64), clean)


def installed(name: str) -> bool:
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def compare(name: str, sigma: float, rounds: int, threads: int) -> list[dict]:
    from nlm.frames import to_float
    from nlm.io import open_reader
    from nlm.synthetic import add_noise

    with open_reader(SAMPLES / name) as reader:
        clean = to_float(next(iter(reader)).planes[0], reader.info).astype(np.float64).squeeze()
    noisy = add_noise(clean, sigma, np.random.default_rng(0))
    methods = {f"nlm {preset}": ours("nlm", preset, sigma, threads) for preset in registry.PRESETS}
    methods["nlnet"] = ours("nlnet", "balanced", sigma, threads)
    if installed("cv2"):
        levels = [opencv(255 * sigma * k, threads) for k in (0.6, 0.7, 0.8, 0.9, 1.0, 1.1)]
        methods["OpenCV fastNlMeans 7/21"] = best(levels, noisy, clean)
    if installed("skimage"):
        levels = [scikit_image(k, sigma) for k in (0.5, 0.6, 0.7, 0.8, 0.9)]
        methods["scikit-image fast 7/10 (1 thread)"] = best(levels, noisy, clean)
    for run in methods.values():
        run(noisy)
    seconds: dict[str, list[float]] = {title: [] for title in methods}
    for _ in range(rounds):
        for title, run in methods.items():
            began = time.perf_counter()
            run(noisy)
            seconds[title].append(time.perf_counter() - began)
    return [
        {
            "picture": name,
            "method": title,
            "psnr": psnr(run(noisy), clean),
            "milliseconds": 1e3 * float(np.median(seconds[title])),
            "spread": 1e3 * (max(seconds[title]) - min(seconds[title])),
        }
        for title, run in methods.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sigma", type=float, default=25)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [
        row
        for name in ("camera.png", "brick.png", "chelsea.png")
        for row in compare(name, options.sigma / 255, options.rounds, options.threads)
    ]
    if options.json:
        about = {"processor": machine()[0], "python": platform.python_version(), **vars(options)}
        print(json.dumps({"about": about, "rows": rows}, indent=1))
        return
    print(f"sigma {options.sigma:g}, {options.threads} threads, {machine()[0]}")
    print("| picture | method | PSNR | ms | spread |\n| --- | --- | --- | --- | --- |")
    for row in rows:
        print(
            f"| {row['picture']} | {row['method']} | {row['psnr']:.2f} "
            f"| {row['milliseconds']:.0f} | {row['spread']:.0f} |"
        )


if __name__ == "__main__":
    main()
