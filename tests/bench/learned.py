"""The learned filter's speed: nlm against the same network elsewhere, and against FFDNet's layers.

    python -m tests.bench.learned [--weights FILE] [--size 512] [--threads 2] [--rounds 9] [--json]

The same weights on the same gray picture in nlm, also with `--half` on a processor with AMX, in
PyTorch (channels last and first) and in onnxruntime; beside it the small network of `--preset
fast`, and FFDNet's layers in PyTorch (15 convolutions of 64 channels at half size). Rounds are
interleaved; times are medians, ratios the median of each round's. PyTorch, onnxruntime: those that
are installed (`pip install torch onnxruntime onnx onnxscript`).
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np

from nlm.backends import Backend, cpu_amx_layer
from nlm.backends.compiled import machine
from nlm.backends.threads import for_each
from nlm.learned import weights
from nlm.learned.model import NlNet, network_for

SIGMA = 0.1
SMALL, FFDNET = "nlm, small", "FFDNet's layers, PyTorch"
Run = Callable[[], np.ndarray]


def in_pytorch(path: Path, picture: np.ndarray, channels_last: bool) -> Run:
    import torch

    net = twin_of(path)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    net = net.to(memory_format=layout)
    noisy = torch.from_numpy(picture[None, None])
    level = torch.full((1, 1, 1, 1), SIGMA)

    def run() -> np.ndarray:
        with torch.inference_mode():
            return net(noisy, level)[0, 0].numpy()

    return run


def twin_of(path: Path):
    """The network in PyTorch."""
    import torch

    from nlm.learned.pytorch import NlNet as Twin

    config, arrays, _ = weights.load(path)
    net = Twin(config)
    net.load_state_dict({k: torch.from_numpy(np.float32(v)) for k, v in arrays.items()})
    return net.eval()


def in_onnxruntime(path: Path, picture: np.ndarray, threads: int) -> Run:
    import io

    import onnxruntime
    import torch

    file, noisy = io.BytesIO(), torch.from_numpy(picture[None, None])
    given = (noisy, torch.full((1, 1, 1, 1), SIGMA))
    torch.onnx.export(twin_of(path), given, file, dynamo=True, verbose=False,
                      input_names=["noisy", "sigma"])  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        file.getvalue(), options, providers=["CPUExecutionProvider"]
    )
    names = [one.name for one in session.get_inputs()]
    inputs = {n: t.numpy() for n, t in zip(("noisy", "sigma"), given, strict=True) if n in names}
    return lambda: session.run(None, inputs)[0][0, 0]


def ffdnet_layers(picture: np.ndarray) -> Run:
    """FFDNet for gray pictures: 5 channels in, 4 out, at half size, without its weights."""
    import torch
    from torch import nn
    from torch.nn import functional as F  # noqa: N812

    widths = [5, *[64] * 14, 4]
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
    net = nn.Sequential(*layers[:-1]).to(memory_format=torch.channels_last)
    half = F.pixel_unshuffle(torch.from_numpy(picture[None, None]), 2)
    given = torch.cat((half, torch.full_like(half[:, :1], SIGMA)), 1)
    given = given.contiguous(memory_format=torch.channels_last)

    def run() -> np.ndarray:
        with torch.inference_mode():
            return F.pixel_shuffle(net(given), 2)[0, 0].numpy()

    return run


def runs_of(path: Path, picture: np.ndarray, threads: int) -> dict[str, Run]:
    config, arrays, _ = weights.load(path)
    net, share = NlNet(config, arrays), partial(for_each, threads=threads)
    runs: dict[str, Run] = {
        "nlm": lambda: net.denoise(picture[..., None], SIGMA, share)[..., 0],
    }
    small = network_for(1, small=True)
    runs[SMALL] = lambda: small.denoise(picture[..., None], SIGMA, share)[..., 0]
    if cpu_amx_layer.usable():
        half = net.on(Backend(half=True))
        runs["nlm, --half"] = lambda: half.denoise(picture[..., None], SIGMA, share)[..., 0]
    if find_spec("torch"):
        import torch

        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
        if not config.estimates:
            runs["PyTorch, channels last"] = in_pytorch(path, picture, True)
            runs["PyTorch, channels first"] = in_pytorch(path, picture, False)
            if find_spec("onnxruntime"):
                runs["onnxruntime"] = in_onnxruntime(path, picture, threads)
        runs[FFDNET] = ffdnet_layers(picture)
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=weights.shipped(1))
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    picture = rng.random((options.size, options.size), dtype=np.float32)
    runs = runs_of(options.weights, picture, options.threads)
    results = {name: run() for name, run in runs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    ours = np.array(seconds["nlm"])
    rows = [
        {
            "what": name,
            "milliseconds": 1e3 * float(np.median(times)),
            "fastest": 1e3 * min(times),
            "nlm takes": float(np.median(ours / np.array(times))),
            "of FFDNet": float(np.median(np.array(times) / np.array(seconds[FFDNET])))
            if FFDNET in seconds
            else None,
            "difference": None
            if name in (SMALL, FFDNET)
            else float(np.abs(results[name] - results["nlm"]).max()),
        }
        for name, times in seconds.items()
    ]
    if options.json:
        about = {"processor": machine()[0], "python": platform.python_version(), **vars(options)}
        print(json.dumps({"about": about, "rows": rows}, indent=1, default=str))
        return
    size = options.size
    print(f"{size} x {size} gray, {options.threads} threads, {machine()[0]}")
    print("| what | ms, median | fastest | of FFDNet's | nlm takes | largest difference |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        difference = "-" if row["difference"] is None else f"{row['difference']:.0e}"
        share = "-" if row["of FFDNet"] is None else f"{row['of FFDNet']:.2f}"
        print(
            f"| {row['what']} | {row['milliseconds']:.0f} | {row['fastest']:.0f} | {share} "
            f"| {row['nlm takes']:.2f} x its time | {difference} |"
        )


if __name__ == "__main__":
    main()
