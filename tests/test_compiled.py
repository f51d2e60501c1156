"""Compiled kernels: where they are kept, or cannot be kept, and every SIMD width."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from nlm.backends import compiled, cpu
from tests.conftest import ROOT, checkers, noisy

PICTURE = noisy(checkers(40, 50), 0.1)
OPTIONS = {"patch": (5, 5), "radius": (3, 3), "aggregate": False}

SCRIPT = """
import sys
import numpy as np
from nlm.backends import compiled
if len(sys.argv) > 2:
    compiled.simd_width = lambda: int(sys.argv[2])
from nlm.backends import cpu
cpu.available_threads = lambda: 2
picture = np.load(sys.argv[1])
options = {"patch": (5, 5), "radius": (3, 3), "aggregate": False}
np.save(sys.argv[1], cpu.nlm(picture, picture, 0.1, 0.6, **options))
"""


def result_elsewhere(folder, *arguments, **environment):
    """The picture denoised by a process of its own."""
    place = str(folder / "picture.npy")
    np.save(place, PICTURE)
    subprocess.run(
        [sys.executable, "-c", SCRIPT, place, *arguments],
        env={**os.environ, **environment},
        cwd=ROOT,
        check=True,
        timeout=120,
    )
    return np.load(place)


@pytest.fixture
def expected(monkeypatch):
    monkeypatch.setattr(cpu, "available_threads", lambda: 2)  # decides on tiles, and so on rounding
    return cpu.nlm(PICTURE, PICTURE, 0.1, 0.6, **OPTIONS)


def test_without_any_cache(tmp_path, expected):
    (tmp_path / "file").touch()
    result = result_elsewhere(tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "file" / "cache"))
    assert np.array_equal(result, expected)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86 processors")
@pytest.mark.parametrize(
    ("width", "processor", "features"),
    [("4", "x86-64", "+sse2"), ("8", "haswell", "+avx2,+fma")],
)
def test_other_processors_get_the_same(tmp_path, expected, width, processor, features):
    if width == str(compiled.simd_width()):
        pytest.skip("that is this processor's width")
    result = result_elsewhere(
        tmp_path,
        width,
        NUMBA_CACHE_DIR=str(tmp_path / "cache"),
        NUMBA_CPU_NAME=processor,
        NUMBA_CPU_FEATURES=features,
    )
    assert np.abs(result - expected).max() < 1e-6


def test_chosen_folder_is_used_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert list(compiled.cache_folders()) == [tmp_path / "nlm"]
    assert compiled.cache_folder() == tmp_path / "nlm"


def test_a_read_only_install_falls_back(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    folders = [tmp_path / "file" / "install", tmp_path / "home"]
    monkeypatch.setattr(compiled, "cache_folders", lambda: iter(folders))
    compiled._write_cached("kernel.o", b"code")
    assert compiled._read_cached("kernel.o") == b"code"
    assert [path.name for path in folders[1].iterdir()] == ["kernel.o"]
    assert compiled.cache_folder() == folders[1]


@pytest.mark.parametrize("damage", [b"", b"nlm-object-1\n", b"nlm-object-1\n\0\0\0\0code", b"else"])
def test_damaged_files_are_not_believed(tmp_path, monkeypatch, damage):
    monkeypatch.setattr(compiled, "cache_folders", lambda: iter([tmp_path]))
    (tmp_path / "kernel.o").write_bytes(damage)
    assert compiled._read_cached("kernel.o") is None


def test_processors_and_constants_have_their_own_files(monkeypatch):
    names = {compiled._fingerprint("cpu_nlm", "average", (("form", form),)) for form in (0, 1)}
    monkeypatch.setattr(compiled, "machine", lambda: ("another", "+sse2"))
    names.add(compiled._fingerprint("cpu_nlm", "average", (("form", 0),)))
    assert len(names) == 3
