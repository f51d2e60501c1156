"""The parts of a batch by themselves: globs, names, memory, the gate, reports of size."""

import json
import os
import threading
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlm.batch import capacity, plan
from nlm.batch.jobs import FileState, Job
from nlm.batch.manifest import Manifest, Record, fingerprint
from nlm.batch.need import PROCESS, THREAD, needed
from nlm.batch.supervisor import Workers
from nlm.batch.tree import walk
from nlm.errors import UsageError
from nlm.io import Info, open_reader
from nlm.settings import Settings
from tests.memory import needs_high_water, peak_of, save_stack

GIB = 2**30


@pytest.fixture
def tree(tmp_path):
    """A folder of empty files."""
    for name in ("a.png", "b.JPG", "c.txt", "x/a.png", "x/y/a.tif", "x/y/b[1].png", ".nlm/a.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "x" / ".nlm-0123ab.part.png").touch()
    return str(tmp_path)


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ([], [], "a.png b.JPG x/a.png x/y/a.tif x/y/b[1].png"),
        (["*.png"], [], "a.png x/a.png x/y/b[1].png"),
        (["*.jpg"], [], "b.JPG"),
        (["*.txt"], [], "c.txt"),
        (["x/*"], [], "x/a.png"),
        (["x/**"], [], "x/a.png x/y/a.tif x/y/b[1].png"),
        (["**/a.*"], [], "a.png x/a.png x/y/a.tif"),
        (["?.tif", "[!a].*"], [], "b.JPG c.txt x/y/a.tif"),
        (["b[[]1].png"], [], "x/y/b[1].png"),
        ([], ["x"], "a.png b.JPG"),
        ([], ["y/"], "a.png b.JPG x/a.png"),
        ([], ["x/y/*.png", "b.*"], "a.png x/a.png x/y/a.tif"),
        (["a.png"], ["*.png"], ""),
    ],
)
def test_globs(tree, include, exclude, expected):
    assert walk(tree, include=include, exclude=exclude).files == expected.split()


def test_walk_counts_what_it_leaves_alone_and_leaves_out_a_folder(tree):
    found = walk(tree, without=[os.path.join(tree, "x", "y")])
    assert found.files == ["a.png", "b.JPG", "x/a.png"]
    assert found.others == 3


@given(st.text("ab*?[]!-", max_size=6), st.text("ab-[]!", max_size=4))
def test_globs_of_names_are_fnmatch(pattern, name):
    from nlm.batch.tree import _glob

    if "**" not in pattern:
        assert bool(_glob(pattern)[0].fullmatch(name)) == fnmatchcase(name, pattern)


@given(
    st.lists(st.text("ab.", min_size=1, max_size=4).map(lambda stem: stem + ".png"), unique=True),
    st.sampled_from([".png", ".jpg", ".webp", ".PNG"]),
)
def test_every_source_has_a_target_of_its_own(names, suffix):
    names = sorted({*names, *(name[:-4] + suffix for name in names)})
    tasks = plan.targets(names, "webp")
    assert [task.source for task in tasks] == names
    good = [task.target for task in tasks if not task.problem]
    assert len(set(good)) == len(good)
    assert all(Path(target).suffix == ".webp" for target in good)


def test_names_keep_a_suffix_that_says_the_format_already():
    assert plan.renamed("x/a.jpeg", "jpeg") == "x/a.jpeg"
    assert plan.renamed("x/a.TIF", "tiff") == "x/a.TIF"
    assert plan.renamed("x/a.tar.png", "jpeg") == "x/a.tar.jpg"
    assert plan.renamed("x/a", None) == "x/a"


def test_names_that_cannot_be_told_apart_are_refused():
    tasks = plan.targets(["a.png", "a.jpg", "a.png.webp"], "webp")
    assert {task.source: bool(task.problem) for task in tasks} == {
        "a.png": True,
        "a.jpg": False,
        "a.png.webp": True,
    }


def square(side):
    return Info("png", side, side, 1, False, np.dtype("u1"), 8)


CASES = {
    "balanced": ((600, 600, 3), Settings(sigma=0.1, threads=2)),
    "best": ((400, 400, 3), Settings(sigma=0.1, preset="best", threads=2)),
    "nlnet": ((600, 600, 3), Settings(sigma=0.1, method="nlnet", threads=2)),
    "nlnet, refined": (
        (400, 500, 3),
        Settings(sigma=0.1, method="nlnet", parameters={"refine": True}, threads=2),
    ),
    "nlnet fast, by bands": (
        (1200, 1000, 3),
        Settings(sigma=0.1, method="nlnet", preset="fast", threads=2),
    ),
    "nlnet in time": (
        (6, 300, 400),
        Settings(sigma=0.1, method="nlnet", stack="clip", threads=2),
    ),
    "volume": (
        (24, 160, 160),
        Settings(sigma=0.1, preset="fast", stack="volume", threads=2),
    ),
}
"""What is measured: shape and settings."""


class TestMemory:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("3G", 3 * GIB),
            ("3GB", 3 * GIB),
            ("1.5gib", 1.5 * GIB),
            (" 800m ", 800 * 2**20),
            ("1024", 1024),
            ("2T", 2048 * GIB),
        ],
    )
    def test_amounts(self, text, expected):
        assert capacity.parse_memory(text) == expected

    @pytest.mark.parametrize("text", ["", "G", "3X", "-1G", "0", "nan", "inf", "1e999", "3 4"])
    def test_nonsense(self, text):
        with pytest.raises(UsageError, match="3G"):
            capacity.parse_memory(text)

    def test_default_is_part_of_what_there_is(self):
        assert 2**20 < capacity.default_memory() < 2**50

    def test_need_grows_with_the_picture(self):
        small = Info("png", 100, 100, 1, False, np.dtype("u1"), 8)
        large = Info("png", 6000, 4000, 3, False, np.dtype("u1"), 8)
        assert needed(small, Settings()) < 120 * 2**20
        assert 1.4 * GIB < needed(large, Settings()) < 2.5 * GIB  # measured: 1.4
        assert needed(large, Settings(preset="best")) < 2.5 * GIB
        assert needed(square(1000), Settings()) < needed(square(1000), Settings(preset="best"))
        guided = Settings(guide="guide.png", sigma_map="map.png")
        assert needed(large, guided) > needed(large, Settings(sigma=0.1)) + 24e6 * 4 * 4

    def test_tiles_bound_the_need_of_a_network(self):
        """Of the pixels beyond a tile only pictures are held, not features."""
        sides = (500, 1000, 4000, 8000)
        needs = [needed(square(side), Settings(sigma=0.1, method="nlnet")) for side in sides]
        small, large = ((b - a) / (s * s - r * r) for a, b, r, s in (
            (*needs[:2], *sides[:2]), (*needs[2:], *sides[2:])
        ))  # fmt: skip
        assert small > 150 > 50 > large

    @needs_high_water
    @pytest.mark.parametrize("how", list(CASES))
    def test_need_is_not_below_the_real_peak(self, tmp_path, how):
        shape, settings = CASES[how]
        source = save_stack(tmp_path / "a.tif", shape)
        job = Job(str(source), str(tmp_path / "b.tif"), settings)
        peak_of(job)  # kernels may have to be compiled, which takes more, once
        with open_reader(source) as reader:
            need = needed(reader.info, settings) + (settings.threads or 1) * THREAD
        peak = peak_of(replace(job, force=True))
        assert peak < need < 3 * peak

    def test_parent_and_threads_have_their_part(self):
        assert GIB < capacity.to_share(2 * GIB, 8) < 2 * GIB - 8 * THREAD
        assert capacity.to_share(10**8, 64) == 5 * 10**7

    @pytest.mark.parametrize(("memory", "lanes"), [(300, 1), (700, 1), (1200, 3), (9000, 4)])
    def test_processes_without_a_job_count_too(self, memory, lanes):
        jobs = [Job("a", "b", memory=PROCESS + 200 * 2**20)] * 6
        found, room = Workers(4, threads=2, memory=memory * 2**20)._lanes(jobs)
        assert found == lanes
        if memory > 300:
            assert (lanes + 1) * PROCESS + 2 * THREAD + room <= memory * 2**20
            assert room >= lanes * 200 * 2**20


class TestGate:
    def test_the_fewer_fit_the_more_threads_each_gets(self):
        gate = capacity.Gate(threads=8, lanes=8, memory=8 * GIB)
        needs = (0, GIB // 2, GIB, 2 * GIB, 3 * GIB, 9 * GIB)
        assert [gate.threads_for(need) for need in needs] == [1, 1, 1, 2, 4, 8]

    @given(
        st.integers(1, 6), st.integers(1, 6), st.lists(st.integers(0, 12), min_size=1, max_size=12)
    )
    def test_never_too_much_at_once_and_everybody_gets_in(self, threads, lanes, needs):
        gate, lock = capacity.Gate(threads, lanes, 8), threading.Lock()
        inside, seen, waiting = [], [], iter(needs)

        def work():
            while True:
                with lock:
                    need = next(waiting, None)
                if need is None:
                    return
                with gate.admit(need) as granted:
                    with lock:
                        inside.append((granted, need))
                        seen.append(need)
                        used = sum(one for _, one in inside)
                        busy = sum(one for one, _ in inside)
                    assert used <= 8 or len(inside) == 1
                    assert busy <= max(threads, lanes) or len(inside) == 1
                    with lock:
                        inside.remove((granted, need))

        crew = [threading.Thread(target=work) for _ in range(lanes)]
        for one in crew:
            one.start()
        for one in crew:
            one.join(10)
        assert sorted(seen) == sorted(needs)

    def test_closing_wakes_whoever_waits(self):
        gate, woken = capacity.Gate(1, 2, 8), []

        def wait():
            try:
                with gate.admit(8):
                    pass
            except capacity.GateClosedError:
                woken.append(True)

        with gate.admit(8):
            waiter = threading.Thread(target=wait)
            waiter.start()
            gate.close()
            waiter.join(10)
        assert woken == [True]


class TestRecords:
    def test_lines_come_back(self):
        state = FileState(3, 4, "abc")
        record = Record("a\udcff.png", "b\n.png", "0", state, state, None, {"sigma": 1.5})
        line = record.as_line()
        assert line.isascii()
        assert line.count(b"\n") == 1
        assert Record.of_line(line) == record
        for cut in range(len(line) - 1):
            assert Record.of_line(line[:cut]) is None

    @pytest.mark.parametrize(
        "changes",
        [
            {"target": ["a"]}, {"source": 3}, {"options": None}, {"read": None}, {"written": 0},
            {"read": []}, {"over": 0}, {"over": [1]}, {"result": []}, {"files": []},
            {"files": {"a": 1}},
        ],
        ids=str,
    )  # fmt: skip
    def test_lines_of_wrong_types_are_passed_over(self, tmp_path, changes):
        state = FileState(3, 4, "abc")
        good = Record("a.png", "b.png", "0", state, state)
        bad = json.dumps({**json.loads(good.as_line()), **changes}).encode()
        path = tmp_path / "manifest.jsonl"
        path.write_bytes(bad + b"\n" + good.as_line() + bad + b"\n" + b"[" * 100_000 + b"\n")
        assert Manifest(str(path)).records == {"a.png": good}

    def test_fingerprint_tells_options_apart(self):
        base = fingerprint(Settings())
        assert base == fingerprint(Settings(threads=3, max_pixels=7))
        different = [
            Settings(sigma=0.1), Settings(preset="fast"), Settings(format="png"),
            Settings(parameters={"strength": 0.123}), Settings(tile=64),
        ]  # fmt: skip
        assert len({base, *map(fingerprint, different)}) == 6

    def test_a_file_is_recognised_by_content(self, tmp_path):
        path = tmp_path / "a"
        path.write_bytes(b"one")
        state = FileState.of(str(path))
        os.utime(path, ns=(1, 1))
        assert state.is_that_of(str(path))
        path.write_bytes(b"two")
        assert not state.is_that_of(str(path))
        path.unlink()
        assert not state.is_that_of(str(path))


def test_importing_the_package_imports_nothing_heavy():
    import subprocess
    import sys

    code = "import sys, nlm.batch; sys.exit('numpy' in sys.modules or 'distributed' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
