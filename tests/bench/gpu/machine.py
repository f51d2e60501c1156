"""The card, and what it can do at most."""

from importlib.metadata import version
from importlib.util import find_spec

import numpy as np

from nlm.backends import gpu_device
from tests.bench.gpu.measuring import Bench

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
