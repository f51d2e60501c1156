"""The GPU path on the card at hand: what the filters take, beside the CPU and PyTorch.

    python -m tests.bench.gpu [--only machine,classical,...] [--megapixels 12] [--json FILE]

Parts: machine, classical, attention, nlnet, tensor, video, cpu, torch. Times are of the card's own
clock (events), medians after a warm-up. A part that fails prints why, and the next one goes on.
With `--once`, every kernel runs once, for a profiler; `--weights` takes another network for nlnet.
"""

import argparse
import json
import signal
import statistics
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from nlm import backends, registry
from nlm.backends import (
    cpu,
    gpu,
    gpu_device,
    gpu_half_layers,
    gpu_layers,
    gpu_non_local,
    gpu_tensor,
    gpu_window_layer,
)
from nlm.backends.threads import for_each
from nlm.learned import weights
from nlm.learned.config import ModelConfig
from nlm.learned.model import NlNet
from tests import compiled_ahead
from tests.networks import random_weights

SIGMA = 20 / 255
INSTRUCTIONS = 17
"""Of the pixelwise kernel for a pixel and an offset in colour, see nlm.cu."""
BUDGET = 0.4
"""Seconds that a measurement repeats for."""
POSITIONS, DEPTH = 65536, 64


@dataclass
class Bench:
    """What was measured so far.

    Attributes
    ----------
    rows : list of (name, number, unit, remark)
    compiling : list of Future
        Kernels of the CPU, meanwhile.
    """

    options: argparse.Namespace
    rows: list[tuple[str, float, str, str]] = field(default_factory=list)
    compiling: list[Any] = field(default_factory=list)

    def add(self, name: str, number: float, unit: str, remark: str = "") -> None:
        self.rows.append((name, number, unit, remark))
        print(f"  {name}: {number:.4g} {unit} {remark}", flush=True)

    def number(self, name: str) -> float | None:
        return next((row[1] for row in self.rows if row[0] == name), None)

    def milliseconds(self, run: Callable[[], object]) -> float:
        """The card's time for what `run` asks of it, a median."""
        import cupy

        def once() -> float:
            began, ended = cupy.cuda.Event(), cupy.cuda.Event()
            began.record()
            run()
            ended.record()
            ended.synchronize()
            return float(cupy.cuda.get_elapsed_time(began, ended))

        once()
        if self.options.once:
            return once()
        times, until = [once()], time.perf_counter() + BUDGET
        while len(times) < 3 or (len(times) < 50 and time.perf_counter() < until):
            times.append(once())
        return statistics.median(times)

    def seconds(self, run: Callable[[], object], least: int = 3) -> float:
        """Time on the wall, a median."""
        import cupy

        times: list[float] = []
        run()
        until = time.perf_counter() + BUDGET
        while len(times) < least or time.perf_counter() < until:
            began = time.perf_counter()
            run()
            cupy.cuda.get_current_stream().synchronize()
            times.append(time.perf_counter() - began)
            if self.options.once:
                break
        return statistics.median(times)


@contextmanager
def launches_timed() -> Iterator[list[tuple[str, float]]]:
    """Within, every launch of a kernel is timed: its name with constants, and milliseconds."""
    import cupy

    found: list[tuple[str, float]] = []

    @dataclass(frozen=True)
    class Timed(gpu_device.Device):
        def launch(self, source: str, kernel: str, constants: Any, *rest: Any) -> None:
            began, ended = cupy.cuda.Event(), cupy.cuda.Event()
            began.record()
            super().launch(source, kernel, constants, *rest)
            ended.record()
            ended.synchronize()
            given = ",".join(f"{name}={value}" for name, value in constants)
            found.append((f"{kernel} {given}", cupy.cuda.get_elapsed_time(began, ended)))

    usual = gpu_device.device
    card = usual()
    timed = Timed(**{name: getattr(card, name) for name in gpu_device.Device.__dataclass_fields__})
    gpu_device.device = lambda: timed  # type: ignore[assignment]
    try:
        yield found
    finally:
        gpu_device.device = usual


def photograph(megapixels: float, channels: int = 3) -> np.ndarray:
    """A noisy picture of smooth parts and edges, 3 x 4, float32 (Y, X, C)."""
    rows = int((megapixels * 1e6 * 3 / 4) ** 0.5) // 24 * 24
    y, x = np.mgrid[:rows, : rows * 4 // 3].astype(np.float32)
    scene = 0.5 + 0.3 * np.sin(y / 50) * np.cos(x / 70) + 0.1 * ((x // 60 + y // 60) % 2)
    noise = np.random.default_rng(0).standard_normal((*scene.shape, channels), np.float32)
    return scene[..., None].astype(np.float32) + noise * np.float32(SIGMA)


PEAK = r"""
extern "C" __global__ void peak(float* out, float a, float b, int rounds) {
    float x[16];
    for (int k = 0; k < 16; k++) x[k] = threadIdx.x + k;
    for (int n = 0; n < rounds; n++)
#pragma unroll
        for (int k = 0; k < 16; k++) x[k] = x[k] * a + b;
    float sum = 0;
    for (int k = 0; k < 16; k++) sum += x[k];
    if (sum == 12345.678f) out[0] = sum;
}
"""


def machine(bench: Bench) -> None:
    """The card, and what it can do at most."""
    import cupy

    found = (name for name in ("numpy", "numba", "llvmlite", "torch") if find_spec(name))
    versions = ", ".join(f"{name} {version(name)}" for name in found)
    print(f"  {gpu_device.describe()}; {versions}")
    about = cupy.cuda.Device().attributes
    processors, clock = about["MultiProcessorCount"], about["ClockRate"] * 1e3
    bench.add("multiprocessors", processors, "")
    bench.add("clock", clock / 1e9, "GHz", "at most, as the driver says")
    function = cupy.RawModule(code=PEAK).get_function("peak")
    out, rounds, blocks = cupy.zeros(1, cupy.float32), 20000, processors * 8
    arguments = (out, np.float32(0.999), np.float32(0.1), np.int32(rounds))
    took = bench.milliseconds(lambda: function((blocks,), (256,), arguments))
    flops = 2 * 16 * rounds * blocks * 256
    bench.add("fp32 peak measured", flops / took / 1e9, "TFLOP/s")
    bench.add("instructions", flops / 2 / took * 1e3, "/s", "multiply-adds of single threads")
    source = cupy.zeros(2**28, cupy.float32)
    target = cupy.empty_like(source)
    took = bench.milliseconds(lambda: cupy.copyto(target, source))
    bench.add("copy", 2 * source.nbytes / took / 1e9, "TB/s")
    for rows, columns, depth in ((48, 3_000_000, 432), (64, 750_000, 576), (4096, 4096, 4096)):
        one, other = cupy.ones((rows, depth), np.float32), cupy.ones((depth, columns), np.float32)
        product = cupy.empty((rows, columns), np.float32)
        took = bench.milliseconds(lambda: cupy.matmul(one, other, out=product))  # noqa: B023
        bench.add(
            f"cuBLAS {rows} x {depth} x {columns}",
            2 * rows * columns * depth / took / 1e9,
            "TFLOP/s",
        )


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
        "pixelwise 21/7": lambda: run(cpu.PIXELWISE, 7, 10),
    }
    if picture.shape[2] == 3:
        sums = run(cpu.PATCH_SUMS, 5, 6)
        runs["patch sums 13/5"] = lambda: run(cpu.PATCH_SUMS, 5, 6)
        runs["patchwise 13/5"] = lambda: run(cpu.PATCHWISE, 5, 6, sums)
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


def attention(bench: Bench) -> None:
    """The generic operation over all keys, beside PyTorch's, and in a window."""
    device = gpu_device.device()
    x = np.random.default_rng(0).standard_normal((POSITIONS, DEPTH), np.float32) / 3
    on_card = device.put(x)
    line = (1, 1, POSITIONS)
    near = gpu_non_local.Neighbours(line, line)
    flops = 4 * POSITIONS**2 * DEPTH

    def everywhere() -> Any:
        return gpu_non_local.attend_on_card(on_card, on_card, on_card, near, scale=1.0)

    ours = bench.milliseconds(everywhere)
    name = f"non-local, global, N {POSITIONS}, d {DEPTH}"
    bench.add(name, ours, "ms", f"{flops / ours / 1e9:.1f} TFLOP/s")
    with launches_timed() as launches:
        everywhere()
    for kernel, took in launches:
        bench.add(f"  {kernel}", took, "ms", f"{flops / took / 1e9:.1f} TFLOP/s")
    side = int(POSITIONS**0.5)
    square = (1, side, side)
    for radius in (8, 16):
        windowed = gpu_non_local.Neighbours(square, square, radius=(0, radius, radius))

        def nearby(windowed: gpu_non_local.Neighbours = windowed) -> Any:
            return gpu_non_local.attend_on_card(on_card, on_card, on_card, windowed, scale=1.0)

        took = bench.milliseconds(nearby)
        useful = 4 * POSITIONS * DEPTH * (2 * radius + 1) ** 2
        bench.add(f"non-local, window {radius}, {side} x {side}, d {DEPTH}", took, "ms",
                  f"{useful / took / 1e9:.1f} useful TFLOP/s")  # fmt: skip

    import torch

    full_precision(torch)
    q = torch.from_numpy(x).cuda()[None, None]
    for mode in ("EFFICIENT_ATTENTION", "MATH"):
        backend = getattr(torch.nn.attention.SDPBackend, mode)
        try:
            with torch.nn.attention.sdpa_kernel(backend), torch.inference_mode():

                def theirs() -> Any:
                    return torch.nn.functional.scaled_dot_product_attention(q, q, q, scale=1.0)

                took = bench.milliseconds(on_torch_stream(theirs))
                difference = np.abs(device.get(everywhere()) - theirs()[0, 0].cpu().numpy()).max()
            bench.add(f"torch SDPA, {mode}", took, "ms", f"ours takes {ours / took:.2f} x its time")
            bench.add("  largest difference", difference, "")
        except RuntimeError as error:
            print(f"  torch SDPA, {mode}: {str(error).splitlines()[0]}")


def full_precision(torch: Any) -> None:
    """No TF32 in what follows."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True


def on_torch_stream(run: Callable[[], object]) -> Callable[[], object]:
    """PyTorch uses the default stream, as CuPy does; kept explicit, since both must."""
    import cupy
    import torch

    assert torch.cuda.current_stream().cuda_stream == cupy.cuda.get_current_stream().ptr
    return run


PLAIN = ModelConfig(channels=3, widths=(48, 64, 96), blocks=(1, 2, 2), blocks_up=(2, 1))


def networks(bench: Bench) -> Iterator[tuple[str, ModelConfig, dict[str, np.ndarray]]]:
    config, arrays, _ = weights.load(bench.options.weights)
    yield "nlnet", config, {name: np.float32(array) for name, array in arrays.items()}
    yield "plain network of 48, 64, 96 channels", PLAIN, random_weights(PLAIN, seed=1, gain=0.5)


def forward(network: NlNet, picture: Any, level: Any) -> Any:
    """The network without its copies: noise predicted for a picture that lies on the card."""
    h = gpu_layers.unshuffle_on_card(picture, level)
    first = network.convolve(h, network.layers["stem"], for_each)
    h = network.body(first.copy(), for_each)
    noise = network.convolve(h, network.layers["head"], for_each)
    return picture[..., : noise.channels // 4] - gpu_layers.shuffle_on_card(noise)


@contextmanager
def layers_timed() -> Iterator[dict[str, list[tuple[float, float]]]]:
    """Within, every layer is timed: by its kind, milliseconds and arithmetic."""
    import cupy

    found: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def timed(run: Callable[..., Any], about: Callable[..., tuple[str, float]]) -> Callable:
        def call(*given: Any, **how: Any) -> Any:
            began, ended = cupy.cuda.Event(), cupy.cuda.Event()
            began.record()
            result = run(*given, **how)
            ended.record()
            ended.synchronize()
            name, flops = about(*given, **how)
            found[name].append((cupy.cuda.get_elapsed_time(began, ended), flops))
            return result

        return call

    def convolution(source: Any, layer: Any, *rest: Any, **how: Any) -> tuple[str, float]:
        taps, step = layer.taps, layer.step
        pixels = source.rows // step * (source.columns // step)
        name = (
            f"{source.channels} -> {layer.channels}, {taps} x {taps}"
            f"{', step 2' if step == 2 else ''}{', placed' if how.get('place') else ''}"
            f", {source.rows} x {source.columns}"
        )
        return name, 2.0 * layer.channels * source.channels * taps**2 * pixels

    def window(source: Any, layer: Any, *rest: Any) -> tuple[str, float]:
        pairs = float((2 * layer.radius + 1) ** 2 * source.rows * source.columns)
        name = f"window of {layer.radius} and w_z, {layer.inner} channels, "
        return f"{name}{source.rows} x {source.columns}", 4 * pairs * layer.inner

    modules = (gpu_layers, "convolve"), (gpu_half_layers, "convolve"), (gpu_window_layer, "attend")
    usual = [getattr(*one) for one in modules]
    for (module, name), run, about in zip(
        modules, usual, (convolution, convolution, window), strict=True
    ):
        setattr(module, name, timed(run, about))
    try:
        yield found
    finally:
        for (module, name), run in zip(modules, usual, strict=True):
            setattr(module, name, run)


LAYOUTS = {
    48: [(1, 3, 8, 4, 2, 1), (1, 3, 8, 4, 2, 3), (1, 3, 4, 8, 3, 1), (1, 3, 8, 8, 1, 1)],
    80: [(1, 5, 4, 4, 3, 1), (2, 3, 4, 4, 2, 1), (1, 5, 8, 4, 1, 1)],
    128: [(2, 4, 4, 4, 2, 1), (2, 2, 4, 8, 2, 1), (2, 4, 4, 8, 1, 1)],
}  # fmt: skip
"""Of convolutions on tensor cores, by their channels: the fields of `gpu_tensor.Layout`."""


def tensor(bench: Bench) -> None:
    """Convolutions on tensor cores in several layouts, beside the kernel without them."""
    device, rng = gpu_device.device(), np.random.default_rng(0)
    size = int((bench.options.megapixels * 1e6 / 12) ** 0.5)
    for channels, layouts in LAYOUTS.items():
        rows, columns = 3 * size * 24 // channels, 4 * size * 24 // channels
        kernels = rng.standard_normal((channels, channels, 3, 3), np.float32) / 20
        bias = np.zeros(channels, np.float32)
        source = gpu_layers.FeatureMap(
            device.put(rng.standard_normal((channels, rows, columns), np.float32))
        )
        flops = 2 * 9 * channels**2 * rows * columns
        print(f"  {channels} -> {channels}, 3 x 3, {rows} x {columns}")
        expected = None
        layers: dict[str, Any] = {"float32": gpu_layers.FloatConvolution.of(kernels, bias)}
        for one in layouts:
            layout = gpu_tensor.Layout(*one)
            given = partial(gpu_tensor.TensorConvolution.of, kernels, bias, layout=layout)
            layers[f"{one}"] = given()
            if one == layouts[0]:
                layers[f"{one}, half"] = given(products=1)
        for name, layer in layers.items():
            out = gpu_layers.FeatureMap.empty(channels, rows, columns)
            took = bench.milliseconds(
                partial(gpu_layers.convolve, source, layer, for_each, out=out)
            )
            found = device.get(out.data)
            expected = found if expected is None else expected
            error = float(np.abs(found - expected).max())
            bench.add(
                f"  {channels} channels, {name}", took, "ms",
                f"{flops / took / 1e9:.1f} TFLOP/s, differs by {error:.1e}",
            )  # fmt: skip


def nlnet(bench: Bench) -> None:
    """The network: whole, and layer by layer."""
    device = gpu_device.device()
    picture = photograph(bench.options.megapixels)
    level = np.full((*picture.shape[:2], 1), SIGMA, np.float32)
    for title, config, arrays in networks(bench):
        network = NlNet(config, arrays, backends.choose("gpu"))
        if config.estimates:
            shape = (*picture.shape[:2], 3 * (1 + len(config.estimates)))
            given = device.put(np.broadcast_to(picture[..., :1], shape))
        else:
            given = device.put(picture)
        on_card = device.put(level)
        took = bench.milliseconds(partial(forward, network, given, on_card))
        bench.add(title, took, "ms", "on the card, without copies")
        with layers_timed() as layers:
            forward(network, given, on_card)
        if title == "nlnet":
            half = NlNet(config, arrays, replace(backends.choose("gpu"), half=True))
            bench.add(
                "nlnet, half precision", bench.milliseconds(partial(forward, half, given, on_card)),
                "ms",
            )  # fmt: skip
            one, other = (device.get(forward(net, given, on_card)) for net in (network, half))
            bench.add("  largest difference", float(np.abs(one - other).max()), "")
        total = sum(flops for times in layers.values() for _, flops in times)
        bench.add(f"{title}: arithmetic", total / took / 1e9, "TFLOP/s")
        for name, times in sorted(layers.items(), key=lambda one: -sum(t for t, _ in one[1])):
            spent, done = (sum(column) for column in zip(*times, strict=True))
            bench.add(f"  {len(times)} x {name}", spent, "ms", f"{done / spent / 1e9:.1f} TFLOP/s")
    place, params = backends.choose("gpu"), registry.parameters("nlnet", "balanced", {})
    params = replace(params, weights=str(bench.options.weights))
    took = bench.seconds(lambda: registry.get("nlnet").apply(picture[None], SIGMA, params, place))
    bench.add("filter nlnet, colour, whole picture", took * 1e3, "ms", "on the wall")


def in_torch(bench: Bench) -> None:
    """The same networks in PyTorch: channels last, as they are and compiled."""
    import torch

    from nlm.learned.pytorch import NlNet as Twin

    full_precision(torch)
    picture = photograph(bench.options.megapixels)
    noisy = torch.from_numpy(picture.transpose(2, 0, 1)[None].copy()).cuda()
    noisy = noisy.contiguous(memory_format=torch.channels_last)
    level = torch.full((1, 1, 1, 1), SIGMA, device="cuda")
    for title, config, arrays in networks(bench):
        twin = Twin(config)
        twin.load_state_dict({name: torch.from_numpy(one) for name, one in arrays.items()})
        twin = twin.eval().cuda().to(memory_format=torch.channels_last)
        estimates = noisy.repeat(1, len(config.estimates), 1, 1) if config.estimates else None
        ours = bench.number(title)
        small = noisy[..., :256, :384].contiguous(memory_format=torch.channels_last)
        network = NlNet(config, arrays, backends.choose("gpu"))
        with torch.inference_mode():
            if estimates is None:
                theirs = twin(small, level)[0].permute(1, 2, 0).cpu().numpy()
                own = network.denoise(picture[:256, :384], SIGMA, for_each)
                bench.add(f"{title}: difference from torch", np.abs(theirs - own).max(), "")
            for how, run in (("as it is", twin), ("compiled", torch.compile(twin))):
                began = time.perf_counter()
                run(noisy, level, estimates)
                torch.cuda.synchronize()
                first = time.perf_counter() - began
                took = bench.milliseconds(on_torch_stream(partial(run, noisy, level, estimates)))
                remark = f"first run {first:.0f} s"
                if ours:
                    remark += f"; ours takes {ours / took:.2f} x its time"
                bench.add(f"{title}, torch, {how}", took, "ms", remark)
        del twin
        torch.cuda.empty_cache()


def video(bench: Bench) -> None:
    """Frames of 1080p yuv420p a second, radius 2, between decoder and encoder."""
    from tests.bench.video import noise_planes

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


PARTS: dict[str, Callable[[Bench], None]] = {
    "machine": machine,
    "classical": classical,
    "attention": attention,
    "nlnet": nlnet,
    "tensor": tensor,
    "video": video,
    "cpu": processor,
    "torch": in_torch,
}


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TimeoutError(f"longer than {seconds} s")

    usual = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, usual)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--weights", type=Path, default=weights.shipped(3))
    parser.add_argument("--limit", type=int, default=45, help="seconds for each part")
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    bench = Bench(options)
    if reason := gpu_device.missing():
        raise SystemExit(f"there is no GPU to measure: {reason}")
    failed = False
    if "cpu" in options.only.split(","):
        how = {"preset": None, "aggregate": False, "channels": 3}
        bench.compiling = compiled_ahead.start([how])
    for name in options.only.split(","):
        began = time.perf_counter()
        print(f"{name}: {PARTS[name].__doc__}", flush=True)
        try:
            with time_limit(options.limit):
                PARTS[name](bench)
        except Exception as error:  # the others still count
            failed = True
            last = traceback.extract_tb(error.__traceback__)[-3:]
            where = " <- ".join(f"{Path(one.filename).name}:{one.lineno}" for one in last[::-1])
            text = str(error).strip()[:1500]
            print(f"  FAILED: {type(error).__name__}: {text}\n  at {where}", flush=True)
        print(f"  ({time.perf_counter() - began:.1f} s)", flush=True)
        release()
    print("\n| what | result | |\n| --- | --- | --- |")
    for what, number, unit, remark in bench.rows:
        print(f"| {what} | {number:.4g} {unit} | {remark} |")
    if options.json:
        keys = ("what", "number", "unit", "remark")
        rows = [dict(zip(keys, row, strict=True)) for row in bench.rows]
        about = {"card": gpu_device.describe(), "megapixels": options.megapixels}
        text = json.dumps({"about": about, "rows": rows}, indent=1, default=float)
        options.json.write_text(text)
    raise SystemExit(int(failed))


def release() -> None:
    """Give unused memory back, so that CuPy and PyTorch do not starve each other."""
    import cupy

    cupy.get_default_memory_pool().free_all_blocks()


if __name__ == "__main__":
    main()
