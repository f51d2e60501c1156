"""Runs the parts of the bench."""

import argparse
import json
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nlm.backends import gpu_device
from nlm.learned import weights
from tests import compiled_ahead
from tests.bench import gpu
from tests.bench.gpu.attention import attention
from tests.bench.gpu.classical import classical, processor
from tests.bench.gpu.machine import machine
from tests.bench.gpu.measuring import Bench
from tests.bench.gpu.networks import nlnet
from tests.bench.gpu.tensor import tensor
from tests.bench.gpu.torch_side import in_torch
from tests.bench.gpu.video import video

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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m tests.bench.gpu", description=(gpu.__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--weights", type=Path, default=weights.shipped(3))
    parser.add_argument("--limit", type=int, default=45, help="seconds for each part")
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
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
