"""The same jobs on a Dask cluster of separate processes, one of which is killed on the way."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.batching import (
    PROGRAM,
    QUICK,
    arguments,
    batch,
    contents,
    own_files,
    save_picture,
    save_pictures,
)
from tests.test_batch_kills import children, count, needs_proc, wait_until

needs_dask = pytest.mark.skipif(
    not any((Path(place) / "distributed").is_dir() for place in sys.path),
    reason="Dask is not installed (extra: cluster)",
)


def cluster_arguments(*words):
    """As `arguments`, but Dask's own warnings are its own."""
    return [word for word in arguments(*words) if word not in ("-W", "error")]


@needs_dask
@needs_proc
def test_local_cluster_with_a_killed_worker(tmp_path):
    src = save_pictures(tmp_path / "src", 60, size=80)
    save_picture(src / "bad.png").write_text("no picture")
    batch(src, tmp_path / "here", *QUICK, check=1)
    dst, report = tmp_path / "there", tmp_path / "report.json"
    words = (src, dst, *QUICK, "--cluster", "local", "-j", "2", "--report", report)
    child = subprocess.Popen(cluster_arguments(*words), stderr=subprocess.PIPE)
    wait_until(lambda: child.poll() is not None or count(dst) >= 5)
    workers = [
        process
        for process in children(child.pid)
        if b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes()
    ]
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    said = child.communicate(timeout=120)[1].decode()
    assert child.returncode == 1, said
    assert "60 done, 1 failed" in said
    assert contents(dst) == contents(tmp_path / "here")
    assert own_files(dst) == {"manifest.jsonl", "lock"}
    failed = [row for row in json.loads(report.read_text()) if row["status"] == "failed"]
    assert [os.path.basename(row["input"]) for row in failed] == ["bad.png"]


@needs_dask
def test_existing_scheduler(tmp_path):
    """Jobs carry absolute paths, so relative folders do for workers elsewhere too."""
    save_pictures(tmp_path / "src", 6)
    batch(tmp_path / "src", tmp_path / "here", *QUICK)
    keeper = subprocess.Popen(
        [
            sys.executable, "-c",
            "from distributed import LocalCluster\n"
            "if __name__ == '__main__':\n"
            "    cluster = LocalCluster(n_workers=1, threads_per_worker=2, processes=True,\n"
            "                           dashboard_address=None)\n"
            "    print(cluster.scheduler_address, flush=True)\n"
            "    input()\n",
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/",
    )  # fmt: skip
    try:
        address = keeper.stdout.readline().strip()
        assert re.match(r"tcp://", address)
        done = subprocess.run(
            cluster_arguments("src", "there", *QUICK, "--scheduler", address),
            cwd=tmp_path, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    finally:
        keeper.communicate("\n", timeout=60)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


@needs_dask
def test_scheduler_that_does_not_answer(tmp_path, monkeypatch):
    save_pictures(tmp_path / "src", 1)
    program = "import nlm.batch.cluster as c; c.PATIENCE = '1s'\n" + PROGRAM
    done = subprocess.run(
        [sys.executable, "-c", program, "batch", str(tmp_path / "src"), str(tmp_path / "dst"),
         *QUICK, "--scheduler", "tcp://127.0.0.1:9"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_dask_the_extra_is_named(tmp_path):
    save_pictures(tmp_path / "src", 1)
    program = "import sys; sys.modules['distributed'] = None\n" + PROGRAM
    done = subprocess.run(
        [sys.executable, "-c", program, "batch", str(tmp_path / "src"), str(tmp_path / "dst"),
         *QUICK, "--cluster", "local"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "nlm: clusters need Dask, which is not installed; use: pip install 'nlm[cluster]'"
    ]
