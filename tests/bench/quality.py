"""PSNR of filters, nlm's and others', on the field's test pictures.

    python -m tests.bench.quality [--data ../shared/data] [--sets Set12,BSD68,CBSD68]
        [--methods nlm@balanced,nlm@best,nlnet] [--sigmas 15,25,50]

Protocol: noise numpy.random.default_rng(1000 * sigma + index).normal * sigma / 255 on the float
picture, neither clipped nor rounded; sigma known; outputs clipped to 0..1; mean of the PSNRs.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from nlm import compare
from nlm.compare.methods import parse_methods
from nlm.noise import Plan
from nlm.synthetic import add_noise
from tests.bench import needs


def mean_psnr(folder: Path, method: compare.Method, sigma: float) -> float:
    values = []
    for index, path in enumerate(sorted(folder.iterdir())):
        with Image.open(path) as image:
            clean = np.asarray(image, np.float32) / 255
        clean = clean.reshape(*clean.shape[:2], -1)
        rng = np.random.default_rng(int(1000 * sigma) + index)
        noisy = add_noise(clean, sigma / 255, rng).astype(np.float32)
        picture = compare.Picture(str(path), noisy, Plan(sigma / 255), clean)
        (result,) = compare.compare_picture(picture, [method], runs=0)
        if result.psnr is None:
            sys.exit(f"{method.label} on {path}: {result.error}")
        values.append(result.psnr)
    return float(np.mean(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=needs.DATA)
    parser.add_argument("--sets", default="Set12,BSD68")
    parser.add_argument("--methods", default="nlm@fast,nlm@balanced,nlm@best,nlnet")
    parser.add_argument("--sigmas", default="15,25,50")
    options = parser.parse_args()
    methods = parse_methods(options.methods)
    sigmas = [float(one) for one in options.sigmas.split(",")]
    print("| pictures | method | " + " | ".join(f"sigma {s:g}" for s in sigmas) + " |")
    print("| --- | --- |" + " --- |" * len(sigmas))
    for name in options.sets.split(","):
        pictures = needs.folder(options.data / name)
        for method in methods:
            row = [f"{mean_psnr(pictures, method, s):.2f}" for s in sigmas]
            print(f"| {name} | {method.label} | " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
