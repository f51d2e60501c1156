"""What the non-local block and a classical estimate bring to `nlnet`, at equal training.

    python -m tests.bench.ablation [--data ../shared/data] [--steps 12000] [--device cuda]
        [--start FILE] [--out runs/ablation] [--variants plain,block,...] [--small] [--seed 0]
        [--json]

Every variant is trained for as many steps, with the same crops, noise and learning rates, from
fresh weights or from those of `--start` (what is new in it starts as zero); `nlm train` does the
work, and a run that is there already is not run again. `shipped` is not trained: the network that
comes with nlm. `+refine` behind a name adds a second look by groups of patches. `--small` takes
networks of 32, 64 and 96 channels and batches that a processor can do. PSNR on BSDS500-val32 at
sigma 15, 25 and 50: of all pictures, and of the eight that repeat themselves most by the score of
`tests.bench.repeats`. Beside them, at sigma 25 and deciding nothing, stand two pictures full of
repeated structure: brick of the sample pictures and Barbara of Set12. Time: processor time of one
thread for 512x512 gray, rounds interleaved, median.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

import nlm
from nlm.backends import Backend
from nlm.backends.cpu_tiles import Picture
from nlm.learned import second_look
from nlm.learned.config import ModelConfig
from nlm.learned.data import load_pictures, read_picture
from nlm.learned.model import NlNet, network_for, network_of
from nlm.learned.train_config import TrainConfig
from tests.bench import needs
from tests.bench.repeats import ranked

PLAIN = ModelConfig(nonlocal_radius=(0, 0, 0), leak=0.0)  # ReLU, as in the README's figures
VARIANTS = {
    "plain": {},
    "block": {"nonlocal_radius": (0, 8, 0)},
    "estimate": {"estimates": (0.5,)},
    "both": {"nonlocal_radius": (0, 8, 0), "estimates": (0.5,)},
}
SMALL = replace(PLAIN, widths=(32, 64, 96), blocks=(1, 2, 2), blocks_up=(1, 1), leak=0.1)
QUICK = {"batch": 16, "crop": 96, "clips": 0.0, "warmup": 150, "lr": 3e-3, "ema": 0.995}
REPEATING = 8
SIGMAS = (15, 25, 50)
BRICK, BARBARA = Path(__file__).parents[2] / "sample_images/brick.png", "Set12/09.png"
SHIPPED, REFINED = "shipped", "+refine"
ONE_THREAD = Backend(threads=1)

Denoise = Callable[[Picture, float], Picture]


def trained(name: str, options: argparse.Namespace) -> NlNet:
    """The variant's network, trained now if it was not before."""
    out = options.out / name
    settings = {"batch": 64, "crop": 128, "clips": 0.2} | (QUICK if options.small else {})
    config = TrainConfig(
        data=options.data / "BSDS500-train400",
        out=out,
        warm_start=options.start,
        steps=options.steps,
        decay=options.steps // 2 if options.small else options.steps * 6 // 10,
        seed=options.seed,
        device=options.device,
        compile=options.device == "cuda",
        **settings,
    )
    if not (out / "nlnet.npz").exists():
        from nlm.learned.train import train

        model = replace(SMALL if options.small else PLAIN, **VARIANTS[name])
        train(config, model, partial(print, file=sys.stderr))
    return network_of(str(out / "nlnet.npz"))


def denoiser(name: str, options: argparse.Namespace) -> Denoise:
    """How a variant denoises a picture of one channel, by one thread."""
    base = name.removesuffix(REFINED)
    net = network_for(1) if base == SHIPPED else trained(base, options)

    def denoise(noisy: Picture, sigma: float) -> Picture:
        def by_network(picture: Picture, place: Backend) -> Picture:
            return net.denoise(picture, sigma, place.for_each)

        if name.endswith(REFINED):
            return second_look.denoise(noisy, sigma, by_network, ONE_THREAD)
        return by_network(noisy, ONE_THREAD)

    return denoise


def psnr_of(denoise: Denoise, pictures: list[np.ndarray], sigma: int) -> np.ndarray:
    """PSNR of each picture, by the protocol of `tests.bench.quality`."""
    values = []
    for index, picture in enumerate(pictures):
        clean = picture[..., 0] / 255
        noise = np.random.default_rng(1000 * sigma + index).normal(size=clean.shape)
        noisy = (clean + noise * sigma / 255).astype(np.float32)
        result = denoise(noisy[..., None], sigma / 255)[..., 0]
        values.append(nlm.psnr(result.clip(0, 1).astype(np.float64), clean))
    return np.array(values)


def milliseconds(variants: dict[str, Denoise], rounds: int = 9) -> dict[str, float]:
    picture = np.random.default_rng(0).random((512, 512, 1), dtype=np.float32)
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds + 1):
        for name, denoise in variants.items():
            began = time.process_time()
            denoise(picture, 0.1)
            times[name].append(time.process_time() - began)
    return {name: 1e3 * float(np.median(values[1:])) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--start", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data", type=Path, default=needs.DATA)
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--variants", default="plain,block")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    folder = needs.folder(options.data / "BSDS500-val32")
    names = options.variants.split(",")
    if {name.removesuffix(REFINED) for name in names} != {SHIPPED}:
        needs.package("torch", "torch")
    variants = {name: denoiser(name, options) for name in names}
    files = [path.name for path in sorted(folder.iterdir())]
    pictures = load_pictures(folder, 1, 1, partial(print, file=sys.stderr))
    most = [files.index(path.name) for _, path in ranked(folder)[:REPEATING]]
    repeated = [read_picture(path, 1) for path in (BRICK, options.data / BARBARA)]
    spent = milliseconds(variants)
    rows = []
    for name, denoise in variants.items():
        found = {sigma: psnr_of(denoise, pictures, sigma) for sigma in SIGMAS}
        brick, barbara = psnr_of(denoise, repeated, 25)
        rows.append(
            {
                "variant": name,
                "all": [float(found[sigma].mean()) for sigma in SIGMAS],
                "repeating": [float(found[sigma][most].mean()) for sigma in SIGMAS],
                "brick": brick,
                "barbara": barbara,
                "milliseconds": spent[name],
            }
        )
    if options.json:
        print(json.dumps({"repeating": [files[k] for k in most], "rows": rows}, indent=1))
        return
    print("| variant | val32 at sigma 15/25/50 | its 8 that repeat most | brick | Barbara | ms |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        both = ["/".join(f"{value:.3f}" for value in row[key]) for key in ("all", "repeating")]
        two = f"{row['brick']:.2f} | {row['barbara']:.2f}"
        print(f"| {row['variant']} | {both[0]} | {both[1]} | {two} | {row['milliseconds']:.0f} |")


if __name__ == "__main__":
    main()
