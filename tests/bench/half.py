"""What half precision costs nlnet: PSNR with convolutions of halves beside float32.

    python -m tests.bench.half [--data ../shared/data/CBSD68] [--sigmas 15,25,50] [--every 4]
        [--weights FILE] [--json]

As `--half` does on a GPU, convolutions multiply numbers rounded to 11 bits and sum in float32; here
PyTorch computes that on the processor (`pip install torch`).
"""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

import nlm
from nlm.learned import weights
from tests.bench import needs
from tests.bench.learned import twin_of


def rounded(network):
    """The network with its convolutions in halves."""
    import torch

    def round_input(_, given):
        return (given[0].half().float(),)

    for name, layer in network.named_modules():
        if isinstance(layer, torch.nn.Conv2d) and "non_local" not in name:
            layer.weight.data = layer.weight.data.half().float()
            layer.register_forward_pre_hook(round_input)
    return network


def denoised(network, noisy: np.ndarray, sigma: float, multiple: int) -> np.ndarray:
    import torch

    rows, columns = noisy.shape[:2]
    missing = ((0, -rows % multiple), (0, -columns % multiple), (0, 0))
    padded = np.pad(noisy, missing, "reflect").transpose(2, 0, 1)[None]
    with torch.inference_mode():
        level = torch.full((1, 1, 1, 1), sigma)
        done = network(torch.from_numpy(padded.copy()), level)[0].permute(1, 2, 0).numpy()
    return done[:rows, :columns]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=needs.DATA / "CBSD68")
    parser.add_argument("--sigmas", default="15,25,50")
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--weights", type=Path, default=weights.shipped(3))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    needs.folder(options.data)
    needs.package("torch", "torch")
    config, _, _ = weights.load(options.weights)
    multiple = config.multiple
    exact, halves = twin_of(options.weights), rounded(twin_of(options.weights))
    pictures = sorted(options.data.glob("*.png"))[:: options.every]
    rows = []
    for sigma in (float(one) for one in options.sigmas.split(",")):
        pairs, largest = [], 0.0
        for number, path in enumerate(pictures):
            mode = "RGB" if config.channels == 3 else "L"
            clean = np.asarray(Image.open(path).convert(mode), np.float32) / 255
            clean = clean.reshape(*clean.shape[:2], -1)
            rng = np.random.default_rng(int(1000 * sigma) + number)
            noisy = (clean + rng.normal(size=clean.shape) * sigma / 255).astype(np.float32)
            one, other = (denoised(net, noisy, sigma / 255, multiple) for net in (exact, halves))
            pairs.append([nlm.psnr(np.clip(done, 0, 1), clean) for done in (one, other)])
            largest = max(largest, float(np.abs(one - other).max()))
        full, half = np.mean(pairs, axis=0)
        rows.append({"sigma": sigma, "float32": full, "half": half, "difference": largest})
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{len(pictures)} pictures of {options.data.name}")
    print("| sigma | float32, PSNR | half | costs | largest difference |")
    print("| --- | --- | --- | --- | --- |")
    for row in rows:
        cost = row["float32"] - row["half"]
        print(
            f"| {row['sigma']:g} | {row['float32']:.3f} | {row['half']:.3f} | {cost:.4f} dB "
            f"| {row['difference']:.1e} |"
        )


if __name__ == "__main__":
    main()
