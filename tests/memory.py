"""How much memory a job of a batch really takes, measured in a process of its own."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from nlm.batch.jobs import Job

PROGRAM = """
import pickle, sys
from nlm.batch.work import perform
result = perform(pickle.load(sys.stdin.buffer))
assert result.file.status == "ok", result.file.error
about = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(*(about[key].split()[0] for key in ("VmHWM", "RssFile")))
"""
LIBRARIES = 64 * 2**20
"""Bytes of files' pages that count: systems map more or fewer around those that are wanted."""

needs_high_water = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="this system does not tell peaks of memory"
)


def peak_of(job: Job) -> int:
    """Bytes that a worker process holds at most over a job."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=pickle.dumps(job), capture_output=True, timeout=600
    )
    assert done.returncode == 0, done.stderr.decode()
    peak, of_files = (1024 * int(number) for number in done.stdout.split())
    return peak - max(0, of_files - LIBRARIES)


def save_stack(path: Path, shape: tuple[int, ...]) -> Path:
    """A TIFF of noise: colour where the last axis is 3, else gray, one page or several."""
    pixels = np.random.default_rng(0).normal(128, 25, shape).clip(0, 255).astype(np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb" if shape[-1] == 3 else "minisblack")
    return path
