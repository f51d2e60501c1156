"""Convolutions on tensor cores, layout by layout."""

from functools import partial
from typing import Any

import numpy as np

from nlm.backends import gpu_device, gpu_layers, gpu_tensor
from nlm.backends.threads import for_each
from tests.bench.gpu.measuring import Bench

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
