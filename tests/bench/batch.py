"""`nlm batch` measured: scaling, memory, and kills of the parent at random moments.

    python -m tests.bench.batch scaling [--files 1000] [--size 256] [--rounds 3]
    python -m tests.bench.batch memory [--files 50] [--limit 3]
    python -m tests.bench.batch kills [--rounds 20] [--files 100]

Scaling compares with a loop over the same files in one process on one thread, interleaved with the
batch. On a machine that others use, the figures by processor time tell more than those by the
clock: processor time of the loop / processor time of everything that the batch started.
"""

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from nlm.backends.threads import available_threads
from tests.batching import PROGRAM, arguments, batch, contents, own_files, save_picture

LOOP = """
import glob, json, resource, sys, time
from nlm.pipeline import denoise_file
from nlm.settings import Settings
files = sorted(glob.glob(sys.argv[1] + "/*"))
settings = Settings(sigma=20 / 255, threads=1)
denoise_file(files[0], sys.argv[2] + "/warm.png", settings)
clock, own = time.perf_counter(), time.process_time()
for path in files:
    denoise_file(path, sys.argv[2] + "/" + path.rpartition("/")[2], settings)
print(json.dumps([time.perf_counter() - clock, time.process_time() - own]))
"""


def timed(command: list[str]) -> tuple[float, float, str]:
    """Clock and processor seconds of a process and all that it started, and its output."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, used, done.stdout


def scaling(folder: Path, files: int, size: int, rounds: int) -> None:
    """Processor and clock time against a plain loop."""
    for number in range(files):
        save_picture(folder / "src" / f"{number:05}.png", size, channels=3, seed=number)
    threads, loops, batches = available_threads(), [], []
    for turn in range(rounds):
        (folder / f"loop{turn}").mkdir()
        command = [sys.executable, "-c", LOOP, str(folder / "src"), str(folder / f"loop{turn}")]
        loops.append(json.loads(timed(command)[2]))
        command = [sys.executable, "-c", PROGRAM, "batch", str(folder / "src")]
        batches.append(timed([*command, str(folder / f"batch{turn}"), "--sigma", "20", "-q"]))
    loop_clock, loop_used = (median(values) for values in zip(*loops, strict=True))
    clock, used = median(one[0] for one in batches), median(one[1] for one in batches)
    print(f"{files} pictures of {size} x {size + 8}, {threads} threads, median of {rounds}")
    print(f"loop   {loop_clock:8.2f} s by the clock, {loop_used:8.2f} s of processor time")
    print(f"batch  {clock:8.2f} s by the clock, {used:8.2f} s of processor time, start included")
    print(f"share of perfect scaling: {loop_clock / clock / threads:.3f} by the clock, "
          f"{loop_used / used:.3f} by processor time")  # fmt: skip
    print(f"overhead per file: {(used - loop_used) / files * 1e3:.2f} ms of processor time")


def memory(folder: Path, files: int, limit: float) -> None:
    """The most memory that the batch and its workers held together."""
    import psutil

    picture = save_picture(folder / "picture.bmp", 4896, channels=3)
    (folder / "src").mkdir()
    for number in range(files):
        os.link(picture, folder / "src" / f"{number:02}.bmp")
    quick = ["--sigma", "20", "--search-radius", "1", "--patch-size", "3"]
    began, peak = time.perf_counter(), 0
    command = arguments(folder / "src", folder / "dst", *quick, "--memory", f"{limit}G")
    with subprocess.Popen(command) as child:
        tree = psutil.Process(child.pid)
        while child.poll() is None:
            held = 0
            for process in (tree, *tree.children(recursive=True)):
                try:
                    held += process.memory_info().rss
                except psutil.Error:
                    continue
            peak = max(peak, held)
            time.sleep(0.05)
    seconds = time.perf_counter() - began
    print(f"{files} pictures of {4896 * 4904 / 1e6:.1f} million pixels, limit {limit} GiB: exit "
          f"{child.returncode}, peak {peak / 2**30:.2f} GiB, {seconds:.0f} s")  # fmt: skip


def kills(folder: Path, files: int, rounds: int) -> None:
    """Fresh runs, each killed once at a random moment and resumed."""
    for number in range(files):
        save_picture(folder / "src" / f"{number % 5}" / f"{number:05}.png", 96, seed=number)
    began = time.perf_counter()
    batch(folder / "src", folder / "whole", "--sigma", "20", "-q")
    whole, expected = time.perf_counter() - began, contents(folder / "whole")
    chance, moments = random.Random(0), []
    for turn in range(rounds):
        dst = folder / f"{turn}"
        child = subprocess.Popen(arguments(folder / "src", dst, "--sigma", "20", "-q"))
        time.sleep(chance.uniform(0, whole))
        child.send_signal(signal.SIGKILL)
        child.wait()
        moments.append(len(contents(dst)))
        batch(folder / "src", dst, "--sigma", "20", "-q")
        assert contents(dst) == expected, f"round {turn} differs"
        assert own_files(dst) == {"manifest.jsonl", "lock"}
    print(f"{rounds} kills after {sorted(moments)} of {files} files: every tree is the same")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["scaling", "memory", "kills"])
    parser.add_argument("--files", type=int)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--limit", type=float, default=3.0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if chosen.what == "scaling":
            scaling(Path(name), chosen.files or 1000, chosen.size, chosen.rounds or 3)
        elif chosen.what == "memory":
            memory(Path(name), chosen.files or 50, chosen.limit)
        else:
            kills(Path(name), chosen.files or 100, chosen.rounds or 20)


if __name__ == "__main__":
    main()
