"""Filters side by side: PSNR and time on the sample pictures.

    python -m tests.bench.filters [--sigma 25] [--rounds 5] [--threads 2] [--json]

It is `nlm compare --add-noise 25` on three pictures, with the other people's filters at the
strength that is best on the very picture, and nlm's at their defaults.
"""

import argparse
import json
import platform
from dataclasses import replace
from pathlib import Path

from nlm import compare, registry
from nlm.backends.compiled import machine
from nlm.compare.methods import Method, parse_methods

SAMPLES = Path(__file__).parents[2] / "sample_images"
PICTURES = ("camera.png", "brick.png", "chelsea.png")
OWN = "nlm@fast,nlm,nlm@best,nlnet@fast,nlnet"
PEERS = {
    "opencv": "strength=0.6:1.1:6",
    "skimage-nlm:patch_size=7:search_radius=10": "strength=0.5:0.9:5",
}


def at_best_strength(label: str, range_: str, picture: compare.Picture) -> Method:
    """A peer with the strength of the highest PSNR."""
    method = compare.parse_method(label)
    variants = compare.parse_sweep(range_).expand([method])
    results = compare.compare_picture(picture, variants, runs=0)
    best = max(results, key=lambda one: one.psnr or 0)
    return replace(compare.parse_method(best.method), label=label)


def compared(name: str, sigma: float, rounds: int, threads: int) -> list[dict]:
    picture = compare.load(str(SAMPLES / name), add_noise=sigma)
    methods = parse_methods(OWN)
    for label, range_ in PEERS.items():
        if label.partition(":")[0] not in registry.missing():
            methods.append(at_best_strength(label, range_, picture))
    return [
        {
            "picture": name,
            "method": one.method,
            "psnr": one.psnr,
            "milliseconds": 1e3 * (one.seconds or 0),
            "spread": 1e3 * (max(one.times) - min(one.times)),
        }
        for one in compare.compare_picture(picture, methods, runs=rounds, threads=threads)
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
        for name in PICTURES
        for row in compared(name, options.sigma / 255, options.rounds, options.threads)
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
