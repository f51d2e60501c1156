"""The generic non-local operation."""

from typing import Any

import numpy as np

from nlm.backends import gpu_device, gpu_non_local
from tests.bench.gpu.measuring import Bench, launches_timed
from tests.bench.gpu.torch_side import full_precision, on_torch_stream

POSITIONS, DEPTH = 65536, 64


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
