"""The learned filter: whole, and layer by layer."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from nlm import backends, registry
from nlm.backends import gpu_device, gpu_half_layers, gpu_layers, gpu_window_layer
from nlm.backends.threads import for_each
from nlm.learned import weights
from nlm.learned.config import ModelConfig
from nlm.learned.model import NlNet
from tests.bench.gpu.measuring import SIGMA, Bench, photograph, timed
from tests.networks import random_weights

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
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def noted(run: Callable[..., Any], about: Callable[..., tuple[str, float]]) -> Callable:
        def call(*given: Any, **how: Any) -> Any:
            result, took = timed(partial(run, *given, **how))
            name, flops = about(*given, **how)
            found[name].append((took, flops))
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
        setattr(module, name, noted(run, about))
    try:
        yield found
    finally:
        for (module, name), run in zip(modules, usual, strict=True):
            setattr(module, name, run)


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
