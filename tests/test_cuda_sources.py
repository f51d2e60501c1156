"""The .cu files: they compile for every generation of cards, spill nothing, and are shipped."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from nlm.backends import gpu_device

ROOT = Path(__file__).parent.parent
SOURCES = sorted(gpu_device.SOURCES.glob("*.cu"))
ARCHITECTURES = (75, 80, 90, 100)
FORMS = [  # beside the defaults
    ("nlm.cu", {"FORM": 0, "FEATURES": 4, "VALUES": 4, "HALF": 5}),
    ("nlm.cu", {"FORM": 1, "FEATURES": 3, "VALUES": 2, "HALF": 2}),
    ("nlm.cu", {"FORM": 2, "FEATURES": 3, "VALUES": 3, "HALF": 3}),
    ("nlm.cu", {"FORM": 0, "FEATURES": 3, "VALUES": 3, "HALF": 3, "GROUP": 3}),
    ("nlm.cu", {"FORM": 2, "FEATURES": 3, "VALUES": 2, "HALF": 2, "GUIDED": 1, "GROUP": 3}),
    ("nlm.cu", {"FORM": 2, "FEATURES": 3, "VALUES": 3, "HALF": 2, "COLUMNS": 32, "GROUP": 1}),
    ("layers.cu", {"TAPS": 2, "STEP": 2, "WARPS": 8}),
    ("attention.cu", {"FORM": 0, "DISTANCE": 1, "WINDOWED": 1}),
    ("softmax.cu", {"DEPTH": 128, "CHANNELS": 64}),
    ("softmax.cu", {"DEPTH": 32, "CHANNELS": 32}),
    ("window.cu", {"DEPTH": 64, "DISTANCE": 0}),
    ("window.cu", {"DEPTH": 48, "DISTANCE": 1}),
    ("clip.cu", {"CELL": 3, "CELLS": 3, "FEATURES": 3, "VALUES": 2, "GROUP": 4}),
    ("clip.cu", {"CELL": 1, "CELLS": 7, "FEATURES": 1, "VALUES": 1, "GROUP": 5}),
]

needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")


def spills(source, architectures, defines, folder):
    """What nvcc says of spilled registers, one line for each architecture."""
    targets = (f"-gencode=arch=compute_{one},code=sm_{one}" for one in architectures)
    told = ("-fatbin", "-Xptxas", "-v", "-Werror", "all-warnings", "--threads", "0")
    options = (*told, *gpu_device.OPTIONS, *targets, *defines)
    done = subprocess.run(
        ["nvcc", *options, source, "-o", folder / "code.fatbin"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [line.strip() for line in done.stderr.splitlines() if "spill" in line]


NONE = "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads"


def test_there_are_sources():
    names = "attention clip layers mix motion nlm peak softmax tensor window"
    assert [path.stem for path in SOURCES] == names.split()


@needs_nvcc
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_every_file_compiles_on_its_own_without_spills(source, tmp_path):
    listed = subprocess.run(["nvcc", "--list-gpu-arch"], capture_output=True, text=True).stdout
    known = [one for one in ARCHITECTURES if f"compute_{one}" in listed.split()]
    if not known:
        pytest.skip("this nvcc knows none of these cards")
    said = spills(source, known, [], tmp_path)
    assert len(said) >= len(known)
    assert set(said) == {NONE}


@needs_nvcc
@pytest.mark.parametrize(("source", "constants"), FORMS)
def test_every_form_compiles_without_spills(source, constants, tmp_path):
    if "HALF" in constants:
        half = constants["HALF"]
        constants = {"GUIDED": 0, "COLUMNS": 64, "GROUP": 2, **constants}
        constants |= {"HALF_Y": half, "HALF_X": half}
    if source == "clip.cu":
        constants = {"CORE_ROWS": 16, "LENGTH": 32, **constants}
    defines = [f"-D{name}={value}" for name, value in constants.items()]
    assert set(spills(gpu_device.SOURCES / source, [90], defines, tmp_path)) == {NONE}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
@pytest.mark.parametrize("architecture", ARCHITECTURES if shutil.which("nvcc") is None else [90])
def test_nvrtc_compiles_every_file(source, architecture):
    nvrtc = pytest.importorskip("cupy_backends.cuda.libs.nvrtc", reason="CuPy is not installed")
    try:
        program = nvrtc.createProgram(source.read_text(), source.name, (), ())
    except RuntimeError:
        pytest.skip("NVRTC is not installed")
    nvrtc.compileProgram(program, (*gpu_device.OPTIONS, f"-arch=sm_{architecture}"))
    assert len(nvrtc.getCUBIN(program)) > 10_000
    nvrtc.destroyProgram(program)


def test_sources_are_in_the_wheel():
    """Setuptools takes data beside the packages it is told of, by pattern."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = [ROOT / name.replace(".", "/") for name in settings["packages"] if name != "nlm_cli"]
    patterns = settings["package-data"]["*"]
    shipped = {path for one in folders for pattern in patterns for path in one.glob(pattern)}
    assert SOURCES
    assert set(SOURCES) <= shipped
