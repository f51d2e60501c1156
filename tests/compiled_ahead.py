"""The CPU's kernels, compiled side by side: one after the other takes minutes."""

import os
from collections.abc import Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np

Job = dict[str, Any]
"""Arguments of `nlm.denoise` and the number of channels; or a preset for clips, with chroma."""


def denoise_little(job: Job) -> None:
    """Denoise a small picture, for the kernels that this compiles."""
    import nlm
    from nlm import registry
    from nlm.backends import choose

    if "clip" in job:
        plane = np.zeros((40, 40, 1), np.float32)
        params = registry.parameters("nlm", job["clip"], {}, clip=True)
        list(registry.get("nlm").stream([(plane,) * 3] * 2, (0.1,) * 3, params, choose("cpu")))
        return
    picture = np.zeros((40, 40, job.pop("channels")), np.float32)
    nlm.denoise(picture, sigma=0.1, channel_axis=-1, backend="cpu", **job)


def start(jobs: Iterable[Job]) -> list[Future[None]]:
    """Begin to compile; kernels come to lie in the cache folder."""
    pool = ProcessPoolExecutor(os.cpu_count(), get_context("spawn"))
    futures = [pool.submit(denoise_little, dict(job)) for job in jobs]
    pool.shutdown(wait=False)
    return futures
