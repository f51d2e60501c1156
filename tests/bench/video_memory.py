"""Peak memory of `nlm denoise` on a long video: it must not grow with the length.

    python -m tests.bench.video_memory [--minutes 10] [--size 640x360] [denoise's options]

The first tenth is denoised by itself, then the whole. Without options, at sigma 20.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np

RATE = 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--size", default="640x360")
    own, rest = parser.parse_known_args()
    minutes, size = own.minutes, own.size
    columns, rows = map(int, size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "long.mp4"
        make(source, columns, rows, round(minutes * 60 * RATE))
        options = rest or ["--sigma", "20"]
        frames = round(minutes * 60 * RATE)
        for part in (frames // 10, frames):
            began = time.perf_counter()
            peak = peak_of(["denoise", str(source), *options, "--frames", f"0:{part}", "--force"])
            seconds = time.perf_counter() - began
            print(
                f"{part / 60 / RATE:g} minutes of {size}, {' '.join(options)}: "
                f"peak {peak:.0f} MB, {seconds:.0f} s",
                flush=True,
            )


def peak_of(arguments: list[str]) -> float:
    """Megabytes that nlm takes at most."""
    command = [sys.executable, "-c", "from nlm_cli.main import main; main()", *arguments]
    process = subprocess.Popen(command)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"nlm failed: {' '.join(arguments)}")
    return used.ru_maxrss / 1024


def make(path: Path, columns: int, rows: int, count: int) -> None:
    """A noisy picture that moves, coded as fast as can be."""
    rng = np.random.default_rng(0)
    wide = rng.integers(60, 190, (rows // 8 + 1, columns // 4), np.uint8)
    wide = wide.repeat(8, axis=0).repeat(8, axis=1)[:rows]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", RATE, options={"preset": "ultrafast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = columns, rows, "yuv420p"
        for number in range(count):
            frame = av.VideoFrame(columns, rows, "yuv420p")
            for plane in frame.planes:
                lines = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)
                start = number % columns
                lines[:, : plane.width] = wide[: plane.height, start : start + plane.width]
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


if __name__ == "__main__":
    main()
