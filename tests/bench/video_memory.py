"""Peak memory of `nlm denoise` on a long video: it must not grow with the length.

python -m tests.bench.video_memory [--minutes 10] [--size 640x360] [denoise's options]
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np

RATE = 25


def main() -> None:
    minutes, size, rest = 10.0, "640x360", []
    words = iter(sys.argv[1:])
    for word in words:
        if word == "--minutes":
            minutes = float(next(words))
        elif word == "--size":
            size = next(words)
        else:
            rest.append(word)
    columns, rows = map(int, size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "long.mp4"
        make(source, columns, rows, round(minutes * 60 * RATE))
        began = time.perf_counter()
        program = "from nlm_cli.main import main; main()"
        subprocess.run(
            [sys.executable, "-c", program, "denoise", str(source), *(rest or ["--sigma", "0"])],
            check=True,
        )
        seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{minutes:g} minutes of {size}: peak {peak:.0f} MB, {seconds:.0f} s")


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
            for index, plane in enumerate(frame.planes):
                lines = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)
                start = number % columns
                lines[:, : plane.width] = wide[:, start : start + columns] if not index else 128
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


if __name__ == "__main__":
    main()
