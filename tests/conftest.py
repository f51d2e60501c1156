"""What tests share: seeded pictures and the command line as people run it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nlm.backends.threads import available_threads

ROOT = Path(__file__).parent.parent
MAIN = "from nlm_cli.main import main; main()"
INTERRUPTIBLE = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {MAIN}"
"""The same where what starts it ignores SIGINT, as a shell makes what runs in its background."""


MANY_TESTS = 1000
"""From so many on, kernels are compiled beside them."""


def pytest_collection_finish(session):
    """Compile kernels on another processor meanwhile, where many tests are about to run."""
    if len(session.items) >= MANY_TESTS and available_threads() > 1:
        command = [sys.executable, "-c", "from nlm.arrays import warm_up; warm_up()"]
        session.compiling = subprocess.Popen(command, stderr=subprocess.DEVNULL)


def pytest_sessionfinish(session):
    if compiling := getattr(session, "compiling", None):
        compiling.kill()
        compiling.wait()


def checkers(rows: int, cols: int, channels: int = 1, period: int = 9) -> np.ndarray:
    """A clean picture of repeated structure with edges and a slope, float32 (Y, X, C)."""
    y, x = np.mgrid[:rows, :cols]
    board = 0.3 + 0.35 * ((y // period + x // period) % 2) + 0.2 * (x / max(cols, 2))
    tint = np.linspace(1, 0.8, channels)
    return (board[..., None] * tint).astype(np.float32)


def noisy(clean: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    """`clean` with white Gaussian noise."""
    noise = np.random.default_rng(seed).normal(size=clean.shape) * sigma
    return (clean + noise).astype(np.float32)


@pytest.fixture(scope="session")
def run_nlm():
    """Runs `nlm ARGUMENTS` in a process of its own."""

    def run(*arguments, stdin=None, cwd=None, env=None, check=None):
        done = subprocess.run(
            [sys.executable, "-c", MAIN, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            timeout=120,
        )
        if check is not None:
            assert done.returncode == check, done.stderr.decode()
        return done

    return run
