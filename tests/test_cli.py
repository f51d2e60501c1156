"""The command line as people and scripts use it."""

import io
import json
import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tests.conftest import INTERRUPTIBLE, MAIN, ROOT, checkers, noisy

NOISY = ROOT / "sample_images" / "chelsea_noisy.png"


@pytest.fixture
def picture(tmp_path):
    """A small noisy gray PNG."""
    path = tmp_path / "photo.png"
    pixels = noisy(checkers(64, 72), 20 / 255)[..., 0]
    Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8)).save(path)
    return path


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


class TestOutputs:
    def test_default_name_is_beside_the_input(self, run_nlm, picture):
        done = run_nlm("denoise", "photo.png", cwd=picture.parent, check=0)
        assert done.stdout == b""
        result = read(picture.with_name("photo_denoised.png"))
        assert result.shape == (64, 72)
        assert not np.array_equal(result, read(picture))

    def test_named_output_in_another_format(self, run_nlm, picture, tmp_path):
        run_nlm("denoise", picture, "-o", tmp_path / "out.tif", "--sigma", 20, check=0)
        assert read(tmp_path / "out.tif").dtype == np.uint8

    def test_several_inputs_go_into_a_folder(self, run_nlm, picture, tmp_path):
        other = tmp_path / "other.png"
        other.write_bytes(picture.read_bytes())
        run_nlm("denoise", picture, other, "-o", tmp_path / "new" / "folder", check=0)
        assert {p.name for p in (tmp_path / "new" / "folder").iterdir()} == {
            "photo.png",
            "other.png",
        }

    def test_globs_that_the_shell_left_alone(self, run_nlm, picture, tmp_path):
        run_nlm("denoise", "*.png", "-o", "out/", cwd=tmp_path, check=0)
        assert (tmp_path / "out" / "photo.png").exists()

    def test_existing_output_is_protected(self, run_nlm, picture, tmp_path):
        target = tmp_path / "there.png"
        target.write_bytes(b"precious")
        done = run_nlm("denoise", picture, "-o", target, check=1)
        assert b"exists already" in done.stderr
        assert target.read_bytes() == b"precious"
        run_nlm("denoise", picture, "-o", target, "-f", check=0)
        assert read(target).shape == (64, 72)

    def test_in_place_with_force(self, run_nlm, picture):
        before = read(picture)
        run_nlm("denoise", picture, "-o", picture, "-f", "--sigma", 20, check=0)
        assert not np.array_equal(read(picture), before)

    def test_dry_run_writes_nothing(self, run_nlm, picture, tmp_path):
        done = run_nlm("denoise", picture, "-n", "--json", check=0)
        assert json.loads(done.stdout)["status"] == "planned"
        assert [p.name for p in tmp_path.iterdir()] == ["photo.png"]

    def test_standard_streams(self, run_nlm, picture):
        done = run_nlm("denoise", "-", "--format", "png", stdin=picture.read_bytes(), check=0)
        with Image.open(io.BytesIO(done.stdout)) as image:
            assert image.size == (72, 64)

    def test_standard_output_from_a_file(self, run_nlm, picture):
        done = run_nlm("denoise", picture, "-o", "-", "--format", "tiff", "-v", check=0)
        with Image.open(io.BytesIO(done.stdout)) as image:
            assert image.format == "TIFF"

    def test_sigma_zero_returns_the_input(self, run_nlm, picture, tmp_path):
        run_nlm("denoise", picture, "-o", tmp_path / "same.png", "--sigma", 0, check=0)
        assert np.array_equal(read(tmp_path / "same.png"), read(picture))


def test_json_lines_hold_what_the_interface_says(run_nlm, picture):
    done = run_nlm("denoise", picture, "missing.png", "--json", "--sigma", 20, check=1)
    good, bad = map(json.loads, done.stdout.splitlines())
    names = (
        "input output status method preset sigma sigma_channels strength backend seconds width "
        "height frames error"
    )
    assert set(good) == set(bad) == set(names.split())
    assert (good["status"], good["sigma"], good["width"], good["frames"]) == ("ok", 20.0, 72, 1)
    assert bad["status"] == "failed"
    assert "missing.png" in bad["error"]


class TestTrouble:
    """One line on stderr that names the file or option and the next step; no traceback."""

    @staticmethod
    def one_line(done, *words):
        lines = done.stderr.decode().strip().splitlines()
        assert len(lines) == 1, lines
        for word in words:
            assert word in lines[0]

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--patch-size", "4"], ["patch size 4", "odd"]),
            (["--sigma", "-3"], ["--sigma -3", "0 or more"]),
            (["--sigma", "nan"], ["--sigma nan"]),
            (["--method", "nlmm"], ["'nlmm'", "did you mean 'nlm'"]),
            (["--threads", "0"], ["0 threads"]),
            (["--tile", "3"], ["--tile 3"]),
            (["--format", "pgn"], ["pgn"]),
        ],
    )
    def test_wrong_options_exit_2(self, run_nlm, picture, arguments, words):
        self.one_line(run_nlm("denoise", picture, *arguments, check=2), *words)
        assert not picture.with_name("photo_denoised.png").exists()

    @pytest.mark.parametrize("number", ["0", "-1", "x"])
    def test_limits_of_pixels_are_positive(self, run_nlm, picture, number):
        done = run_nlm("denoise", picture, "--max-pixels", number, check=2)
        assert b"--max-pixels" in done.stderr

    @pytest.mark.parametrize("folder", [".", "/"])
    def test_a_folder_without_a_name(self, run_nlm, folder):
        self.one_line(run_nlm("denoise", folder, check=1), f"{folder}: is a folder", "nlm batch")

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
    @pytest.mark.parametrize(
        "arguments", [["methods"], ["estimate", "photo.png"], ["denoise", "-n", "photo.png"]]
    )
    def test_standard_output_on_a_full_disk(self, picture, arguments):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [sys.executable, "-c", MAIN, *arguments],
                stdout=full,
                stderr=subprocess.PIPE,
                cwd=picture.parent,
            )
        assert done.returncode == 1
        self.one_line(done, "standard output", "No space")

    def test_unknown_command_and_option_exit_2(self, run_nlm):
        assert b"denoise" in run_nlm("denoize", check=2).stderr
        assert b"--sigmas" in run_nlm("denoise", "a.png", "--sigmas", "3", check=2).stderr
        run_nlm("denoise", check=2)

    def test_two_inputs_for_one_output(self, run_nlm, picture, tmp_path):
        other = tmp_path / "sub" / "photo.png"
        other.parent.mkdir()
        other.write_bytes(picture.read_bytes())
        done = run_nlm("denoise", picture, other, "-o", tmp_path / "out/", check=2)
        self.one_line(done, "photo.png", "rename")

    def test_bad_files_do_not_stop_the_good(self, run_nlm, picture, tmp_path):
        (tmp_path / "text.png").write_text("this is no picture")
        (tmp_path / "empty.jpg").write_bytes(b"")
        (tmp_path / "folder.png").mkdir()
        jpeg = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200), np.uint8)).save(
            jpeg, "JPEG"
        )
        (tmp_path / "cut.jpg").write_bytes(jpeg.getvalue()[: len(jpeg.getvalue()) // 2])
        bad = ["missing.png", "text.png", "empty.jpg", "folder.png", "cut.jpg"]
        done = run_nlm("denoise", *bad, "photo.png", "-o", "out/", cwd=tmp_path, check=1)
        lines = done.stderr.decode().strip().splitlines()
        assert len(lines) == len(bad)
        for name, line in zip(bad, lines, strict=True):
            assert name in line
        assert [p.name for p in (tmp_path / "out").iterdir()] == ["photo.png"]

    def test_huge_header_is_refused(self, run_nlm, tmp_path):
        import struct
        import zlib

        def chunk(kind, body):
            checksum = zlib.crc32(kind + body)
            return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

        header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
        path = tmp_path / "huge.png"
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", header)
            + chunk(b"IDAT", b"")
            + chunk(b"IEND", b"")
        )
        self.one_line(run_nlm("denoise", path, check=1), "huge.png", "--max-pixels")

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
    def test_unwritable_folder(self, run_nlm, picture, tmp_path):
        folder = tmp_path / "locked"
        folder.mkdir(mode=0o500)
        self.one_line(run_nlm("denoise", picture, "-o", folder / "a.png", check=1), "locked")

    def test_output_folder_that_does_not_exist(self, run_nlm, picture, tmp_path):
        target = tmp_path / "nowhere" / "a.png"
        self.one_line(run_nlm("denoise", picture, "-o", target, check=1), "nowhere")

    def test_disk_full(self, picture, tmp_path):
        target = tmp_path / "out.tif"
        done = subprocess.run(
            [sys.executable, "-c", MAIN, "denoise", str(NOISY), "-o", str(target), "--sigma", "9"],
            capture_output=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        )
        assert done.returncode == 1
        self.one_line(done, "out.tif")
        assert [p.name for p in tmp_path.iterdir()] == ["photo.png"]


def test_interrupt_leaves_nothing_behind(tmp_path):
    big = tmp_path / "big.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (3000, 3000), np.uint8)).save(
        big, compress_level=1
    )
    arguments = ["denoise", str(big), "--sigma", "30", "--search-radius", "30"]
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, *arguments], stderr=subprocess.PIPE
    )
    while not any(p.name != "big.png" for p in tmp_path.iterdir()):
        assert child.poll() is None
        time.sleep(0.02)
    time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == 130
    assert b"Traceback" not in stderr
    assert [p.name for p in tmp_path.iterdir()] == ["big.png"]


class TestOtherCommands:
    def test_noise_is_reproducible(self, run_nlm, tmp_path):
        clean = ROOT / "sample_images" / "camera.png"
        run_nlm("noise", clean, "-o", tmp_path / "a.png", "--sigma", 25, check=0)
        expected = read(clean) + np.random.default_rng(0).normal(size=(512, 512)) * 25
        made = read(tmp_path / "a.png")
        assert np.abs(made - expected.clip(0, 255)).max() < 0.501
        assert np.array_equal(made, read(clean.with_name("camera_noisy.png")))

    def test_noise_refuses_nonsense(self, run_nlm, picture):
        for wrong in (["--sigma", "-1"], ["--sigma", "1", "--poisson", "0"]):
            run_nlm("noise", picture, "-o", "x.png", *wrong, check=2)

    def test_estimate(self, run_nlm, tmp_path):
        done = run_nlm("estimate", "--json", NOISY, "missing.png", check=1)
        report = json.loads(done.stdout)
        assert set(report) >= {"input", "sigma", "sigma_channels", "model", "correlation"}
        assert 20 < report["sigma"] < 30
        text = run_nlm("estimate", NOISY, check=0).stdout.decode()
        assert "chelsea_noisy.png" in text

    def test_methods_and_info(self, run_nlm):
        assert run_nlm("methods", check=0).stdout.startswith(b"nlm ")
        assert b"--patch-size" in run_nlm("methods", "-v", check=0).stdout
        told = run_nlm("info", check=0).stdout
        for word in (b"numpy", b"nlnet gray", b"nlnet small gray", b"nlnet small colour"):
            assert word in told


@pytest.mark.parametrize("command", ["denoise", "batch", "estimate", "noise", "methods", "info"])
def test_every_help_has_worked_examples(run_nlm, command):
    text = run_nlm(command, "--help", check=0).stdout.decode()
    assert "Examples:" in text
    assert f"  nlm {command}" in text


@pytest.mark.parametrize("arguments", [["--help"], ["denoise", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys; from nlm_cli.main import nlm\n"
        f"nlm.main({arguments!r}, standalone_mode=False)\n"
        "heavy = {'numpy', 'numba', 'llvmlite', 'PIL', 'rich', 'skimage', 'imageio', 'tifffile'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_denoising_imports_neither_numba_nor_scientific_stacks(picture):
    code = (
        "import sys; from nlm_cli.main import nlm\n"
        f"nlm.main(['denoise', {str(picture)!r}, '-f'], standalone_mode=False)\n"
        "heavy = {'numba', 'scipy', 'skimage', 'imageio', 'tifffile', 'rich'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )
    subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)  # compiles
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("denoise ph", ["file,ph"]),
        ("denoise -o ", ["file,"]),
        ("denoise --guide fl", ["file,fl"]),
        ("denoise --method nlm --weights ", ["file,"]),
        ("denoise --method nln", ["plain,nlnet"]),
        ("denoise --format ti", ["plain,tiff"]),
        ("batch ", ["dir,"]),
        ("batch photos/ cl", ["dir,cl"]),
        ("compare a.png --methods nlm,nln", ["plain,nlm,nlnet"]),
        ("compare a.png --sheet ", ["file,"]),
        ("estimate ", ["file,"]),
        ("noise ", ["file,"]),
        ("train --data ", ["file,"]),
    ],
)
def test_shells_complete_files_and_names(words, offered):
    env = {
        **os.environ,
        "_NLM_COMPLETE": "bash_complete",
        "COMP_WORDS": f"nlm {words}",
        "COMP_CWORD": str(len(words.split(" "))),
    }
    script = f"import sys; sys.argv[0] = 'nlm'; {MAIN}"
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    assert done.stdout.splitlines() == offered


def test_a_dry_run_makes_no_folder(run_nlm, picture, tmp_path):
    folder = f"{tmp_path / 'new' / 'sub'}/"
    run_nlm("denoise", "-n", picture, "-o", folder, check=0)
    run_nlm("denoise", "-n", picture, picture.with_name("x.png"), "-o", folder, check=1)
    assert not (tmp_path / "new").exists()
    run_nlm("denoise", picture, "-o", folder, check=0)
    assert (tmp_path / "new" / "sub" / "photo.png").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["denoise", ""],
        ["denoise", "photo.png", "-o", ""],
        ["batch", ".", ""],
        ["batch", "", "new"],
        ["compare", "photo.png", "--methods", "nlm", "-o", ""],
        ["noise", "photo.png", "--sigma", "5", "-o", ""],
    ],
    ids=" ".join,
)
def test_empty_names_are_told(run_nlm, picture, tmp_path, arguments):
    """A variable of the shell that is not set must not send files to other places."""
    done = run_nlm(*arguments, cwd=tmp_path, check=2)
    assert b"the name is empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="needs /dev/stdout")
def test_devices_are_written_to_and_not_replaced(run_nlm, picture):
    done = run_nlm("denoise", picture, "-o", "/dev/stdout", "--format", "png", check=0)
    with Image.open(io.BytesIO(done.stdout)) as image:
        assert image.size == (72, 64)
    run_nlm("denoise", picture, "-o", os.devnull, "--format", "png", check=0)
    assert not os.path.isfile(os.devnull)


def test_noise_by_standard_streams(run_nlm, picture, tmp_path):
    run_nlm("noise", picture, "-o", tmp_path / "noisy.png", "--sigma", 25, check=0)
    done = run_nlm("noise", "-", "-o", "-", "--sigma", 25, stdin=picture.read_bytes(), check=0)
    assert np.array_equal(read(io.BytesIO(done.stdout)), read(tmp_path / "noisy.png"))


def test_a_clip_that_cannot_have_a_guide_stops_no_other_file(run_nlm, picture, tmp_path):
    with Image.open(picture) as image:
        image.save(tmp_path / "clip.gif", save_all=True, append_images=[image.rotate(180)])
    done = run_nlm("denoise", "clip.gif", picture, "--guide", picture, cwd=tmp_path, check=2)
    assert b"clip.gif: is a clip" in done.stderr
    assert (tmp_path / "photo_denoised.png").exists()


def test_quiet_wins_over_verbose(run_nlm, picture):
    assert run_nlm("denoise", "-q", "-v", picture, check=0).stderr == b""
