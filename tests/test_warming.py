"""Kernels compiled ahead: side by side, none twice, and gone with whoever asked for them."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from nlm import registry, warming
from nlm.errors import FileError
from tests.conftest import INTERRUPTIBLE, ROOT

posix = pytest.mark.skipif(os.name != "posix", reason="locks and groups of processes")

SCRIPT = """
import sys, time
from nlm.backends import compiled, compiling
def slow(*names, real=compiling.compile_kernel, **constants):
    with open(sys.argv[1], "a") as log:
        print(*names, file=log)
    time.sleep(1)
    return real(*names, **constants)
compiling.compile_kernel = slow
compiled.kernel("cpu_range", "extremes", vectors=4)
"""


@posix
def test_processes_that_need_the_same_kernel_compile_it_once(tmp_path):
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", SCRIPT, tmp_path / "log"]
    processes = [subprocess.Popen(command, env=env, cwd=ROOT) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert (tmp_path / "log").read_text() == "cpu_range extremes\n"
    assert [path.suffix for path in (tmp_path / "nlm").iterdir()] == [".o"]


def test_every_filter_of_nlms_own_is_warmed_up():
    own = {name for name in registry.methods() if not registry.get(name).reference}
    for clip in (False, True):
        for channels in (1, 3):
            chosen = [t for t in warming.tasks() if (t.clip, t.channels) == (clip, channels)]
            assert {(t.method, t.preset) for t in chosen} == {
                (name, preset) for name in own for preset in registry.PRESETS
            }


def test_work_is_shared_and_told(monkeypatch):
    few = [warming.Task("nlm", 1, "fast", sigma) for sigma in (0.1, 0.2, 0.3)]
    monkeypatch.setattr(warming, "tasks", lambda: few)
    before = set(multiprocessing.active_children())
    told = []
    assert warming.warm_up(told.append, processes=2) == ["nlm"]
    assert told == pytest.approx([1 / 3, 2 / 3, 1])
    deadline = time.monotonic() + 20
    while set(multiprocessing.active_children()) - before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_where_no_process_can_be_started_the_work_is_done_here(monkeypatch):
    def refused(*_):
        raise OSError("no more processes")

    monkeypatch.setattr(warming, "tasks", lambda: [warming.Task("nlm", 1, "fast", 0.1)])
    monkeypatch.setattr(warming, "ProcessPoolExecutor", refused)
    told = []
    assert warming.warm_up(told.append) == ["nlm"]
    assert told == [1]


def test_without_a_folder_to_keep_them_nothing_is_compiled(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(FileError, match="NUMBA_CACHE_DIR"):
        warming.warm_up()


@posix
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_interrupted_no_process_stays(tmp_path, number, code):
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", INTERRUPTIBLE, "info", "--warm-up"]
    with subprocess.Popen(
        command,
        env=env,
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("nlm/*.lock")):  # a kernel is being compiled
            assert time.monotonic() < deadline
            time.sleep(0.05)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal sends it
        else:
            process.send_signal(number)
        said = process.communicate(timeout=60)[1]  # its end comes when no process holds the pipe
        assert process.returncode == code
        if number == signal.SIGINT:
            assert said.decode().strip() == "nlm: interrupted; unfinished outputs were removed"
