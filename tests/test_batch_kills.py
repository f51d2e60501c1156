"""Nothing is lost: parents and workers killed at any moment, two runs at once, Ctrl-C."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nlm import batch as nlm_batch
from nlm.batch import Folder, InProcess, Job, Workers, staging
from nlm.batch.lock import Lock
from nlm.errors import UsageError
from nlm.settings import Settings
from tests.batching import (
    PROGRAM,
    QUICK,
    arguments,
    batch,
    contents,
    own_files,
    results,
    save_picture,
    save_pictures,
)

FAST = Settings(sigma=20 / 255, preset="fast")
KEPT = {"manifest.jsonl", "lock"}

needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children: Linux only")


def children(process: int) -> list[int]:
    """The processes that a process started, straight from the kernel."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(words[1]) == process:
                found.append(int(entry.name))
    return found


def count(folder):
    """How many outputs there are by now."""
    found = 0
    for _, folders, names in os.walk(folder):
        if ".nlm" in folders:
            folders.remove(".nlm")
        found += len(names)
    return found


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def wait_for_outputs(child, folder, goal):
    """Until there are so many, or the run is over."""
    wait_until(lambda: child.poll() is not None or count(folder) >= goal)


def is_gone(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A folder, and what becomes of it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    src = save_pictures(folder / "src", 60, size=100)
    batch(src, folder / "dst", *QUICK)
    return src, contents(folder / "dst")


@needs_proc
def test_parent_killed_20_times(undisturbed, tmp_path):
    """Each run goes on where a SIGKILL stopped the one before.

    A fast machine may finish between two kills: then the next run begins anew.
    """
    src, expected = undisturbed
    dst, chance = tmp_path / "dst", random.Random(20)
    counts = []
    for _ in range(20):
        if counts and counts[-1] == len(expected):
            shutil.rmtree(dst)
        child = subprocess.Popen(arguments(src, dst, *QUICK, "-q"))
        before = count(dst)
        if len(counts) % 4 == 0:  # somewhere in start-up, otherwise amid the work
            time.sleep(chance.uniform(0, 0.6))
        else:
            goal = before + chance.randint(1, 3)
            wait_for_outputs(child, dst, goal)
            time.sleep(chance.uniform(0, 0.01))
        workers = children(child.pid)
        child.kill()
        child.wait()
        wait_until(lambda workers=workers: all(map(is_gone, workers)))
        counts.append(len(contents(dst)))
        assert contents(dst).items() <= expected.items()
    assert max(counts) > 0
    rows = results(src, dst, *QUICK)
    skipped = [row["status"] for row in rows.values()].count("skipped")
    assert counts[-1] - 1 <= skipped <= counts[-1]
    assert contents(dst) == expected
    assert own_files(dst) == KEPT


@pytest.mark.parametrize("moment", ["before the record", "before the move", "after the move"])
@pytest.mark.parametrize("redo", [False, True], ids=["new", "redone"])
def test_killed_between_record_and_output(tmp_path, monkeypatch, moment, redo):
    """The moments that chance seldom meets: the next run knows what is whose in each of them."""
    src, dst = save_pictures(tmp_path / "src", 3), tmp_path / "dst"
    wanted = Settings(sigma=0.1, preset="fast")
    do(src, tmp_path / "whole", wanted)
    if redo:
        do(src, dst, FAST)

    class Killed(BaseException):
        pass

    def dies(staged, target):
        if moment == "after the move":
            os.replace(staged, target)
        raise Killed

    for _ in range(3):
        with monkeypatch.context() as patch:
            if moment == "before the record":
                patch.setattr("nlm.batch.manifest.Manifest.add", lambda self, record: dies("", ""))
            else:
                patch.setattr("nlm.batch.folder.put_in_place", dies)
            patch.setattr(staging.Staging, "remove", lambda self: None)
            with pytest.raises(Killed):
                do(src, dst, wanted)
    assert set(do(src, dst, wanted)) <= {"ok", "skipped"}
    assert contents(dst) == contents(tmp_path / "whole")
    assert own_files(dst) == KEPT


def do(src, dst, settings):
    with Folder(str(src), str(dst), settings) as folder:
        return [one.file.status for one in folder.run(InProcess())]


@needs_proc
def test_workers_killed_at_random(tmp_path):
    src, dst = save_pictures(tmp_path / "src", 200, size=64), tmp_path / "dst"
    report, chance = tmp_path / "report.json", random.Random(4)
    child = subprocess.Popen(
        arguments(src, dst, *QUICK, "-j", "2", "--report", report), stderr=subprocess.PIPE
    )
    killed = 0
    while child.poll() is None and killed < 12:
        before = count(dst)
        wait_for_outputs(child, dst, before + 8)
        for victim in chance.sample(children(child.pid), k=1) if child.poll() is None else ():
            os.kill(victim, signal.SIGKILL)
            killed += 1
    said = child.communicate(timeout=120)[1].decode()
    assert child.returncode == 0, said
    assert killed >= 8
    assert len(contents(dst)) == 200
    rows = json.loads(report.read_text())
    assert {row["status"] for row in rows} == {"ok"}
    retried = sum(row["attempts"] > 1 for row in rows)
    assert 0 < retried <= killed
    assert f"{retried} tried more than once" in said
    assert "killed by SIGKILL" in said


@needs_proc
def test_file_that_kills_its_workers_fails_alone(tmp_path):
    """What a crash in a decoder or the kernel's memory killer does, every time."""
    src = save_pictures(tmp_path / "src", 6)
    save_picture(src / "deadly.png")
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import builtins, os, sys\n"
        "real = builtins.open\n"
        "def deadly(path, *rest, **options):\n"
        "    if str(path).endswith('deadly.png') and '-P' in sys.orig_argv: os.abort()\n"
        "    return real(path, *rest, **options)\n"
        "builtins.open = deadly\n"
    )
    rows = results(
        src, tmp_path / "dst", *QUICK, "--retries", "1", check=1,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )  # fmt: skip
    assert [name for name, row in rows.items() if row["status"] == "failed"] == ["deadly.png"]
    assert "died 2 times (killed by SIGABRT)" in rows["deadly.png"]["error"]
    assert len(contents(tmp_path / "dst")) == 6


def test_broken_installation_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "nlm.batch.worker.command", lambda: [sys.executable, "-c", "raise SystemExit(3)"]
    )
    src = save_pictures(tmp_path / "src", 3)
    folder = Folder(str(src), str(tmp_path / "dst"), FAST)
    with folder, pytest.raises(OSError, match="exit code 3"):
        list(folder.run(Workers(1)))


def test_two_runs_do_not_spoil_each_other(tmp_path):
    src = save_pictures(tmp_path / "src", 2)
    with Folder(str(src), str(tmp_path / "dst"), FAST) as folder:
        said = batch(src, tmp_path / "dst", *QUICK, check=2).stderr
        assert "another run writes there" in said
        assert f"process {os.getpid()}" in said
        assert len(said.splitlines()) == 1
        assert {one.file.status for one in folder.run(InProcess())} == {"ok"}
    batch(src, tmp_path / "dst", *QUICK)


class TestLock:
    def test_stale_lock_is_taken_over(self, tmp_path):
        path = tmp_path / "lock"
        path.write_text(json.dumps({"pid": 4_000_000, "host": "elsewhere", "since": "long ago"}))
        Lock(str(path), "there").release()
        Lock(str(path), "there").release()

    def test_without_locks_of_the_file_system(self, tmp_path, monkeypatch):
        """Then what the holder wrote is believed: a dead process of this host holds nothing."""
        monkeypatch.setattr("nlm.batch.lock._take", lambda file: None)
        path = str(tmp_path / "lock")
        held = Lock(path, "there")
        with pytest.raises(UsageError, match="another run writes there"):
            Lock(path, "there")
        held.release()
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        import socket

        Path(path).write_text(json.dumps({"pid": gone.pid, "host": socket.gethostname()}))
        Lock(path, "there").release()


@needs_proc
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("send", [os.killpg, os.kill], ids=["to all", "to one"])
def test_interrupt(tmp_path, send, by):
    src = save_pictures(tmp_path / "src", 40, size=200)
    dst = tmp_path / "dst"
    child = subprocess.Popen(
        arguments(src, dst, "--sigma", "20"),
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_until(lambda: count(dst) >= 2)
    workers = children(child.pid)
    send(child.pid, by)  # a terminal sends it to all
    said = child.communicate(timeout=30)[1].decode()
    assert child.returncode == 128 + by
    assert "Traceback" not in said
    wait_until(lambda: all(map(is_gone, workers)))
    assert own_files(dst) == KEPT
    assert 2 <= len(contents(dst)) < 40


def test_closing_the_results_stops_the_work(tmp_path):
    src = save_pictures(tmp_path / "src", 12)
    jobs = [Job(str(one), str(tmp_path / one.name), FAST) for one in src.rglob("*.png")]
    done = nlm_batch.run(jobs, Workers(2))
    next(done)
    done.close()
    assert not [one for one in threading.enumerate() if one.name == "nlm-batch"]
    assert len(list(tmp_path.glob("*.png"))) < 12


def test_the_program_of_the_tests_is_the_command(tmp_path):
    """The command line comes from the same main() as the others'."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "batch", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "Examples:" in done.stdout
    assert "  nlm batch" in done.stdout
