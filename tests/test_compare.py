"""`nlm compare`: the same for all, and numbers that anyone can check."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import click
import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import nlm
from nlm import compare, registry
from nlm.boxes import box_sums
from nlm.compare import measures
from nlm.compare.comparison import Comparison
from nlm.compare.exhibits import affordable_side, exhibit, telling_window
from nlm.compare.methods import parse_methods
from nlm.compare.pictures import find_pictures
from nlm.compare.records import saved_names
from nlm.compare.summary import best
from nlm.noise import Plan
from nlm_cli.main import nlm as command_line
from tests.conftest import ROOT, checkers, noisy

SIGMA = 25 / 255


def as_png(path, pixels):
    levels = np.rint(pixels.clip(0, 1) * 255).astype(np.uint8)
    Image.fromarray(levels.squeeze()).save(path)
    return path


@pytest.fixture
def clean(tmp_path):
    """A small clean picture."""
    return as_png(tmp_path / "clean.png", checkers(60, 72))


def picture(shape=(60, 72, 1), **about):
    pixels = checkers(*shape)
    about = {"reference": pixels, "path": "a.png", **about}
    return compare.Picture(noisy=noisy(pixels, SIGMA), noise=Plan(SIGMA), **about)


def run(*arguments):
    """The command line in this process; gives the exit code."""
    return command_line.main(["compare", *map(str, arguments)], standalone_mode=False) or 0


class TestMethods:
    def test_everything_can_be_said(self):
        method = compare.parse_method("nlm@best:patch-size=3:strength=0.5:aggregate=no")
        assert (method.name, method.preset) == ("nlm", "best")
        assert method.parameters == {"patch_size": 3, "strength": 0.5, "aggregate": False}
        assert type(method.parameters["patch_size"]) is int

    @pytest.mark.parametrize(
        ("label", "message"),
        [
            ("nml", "did you mean 'nlm'"),
            ("nlm@bets", "unknown preset 'bets'"),
            ("nlm:h=3", "no parameter 'h'"),
            ("nlm:strength", "no parameter|PARAMETER=VALUE"),
            ("nlm:patch_size=4", "odd whole number"),
            ("nlm:patch_size=few", "'few' is not allowed"),
            ("nlm:aggregate=maybe", "True or False"),
        ],
    )
    def test_mistakes_are_named(self, label, message):
        with pytest.raises(nlm.UsageError, match=message):
            compare.parse_method(label)

    @pytest.mark.parametrize("labels", ["nlm,nlm", "", ","])
    def test_lists_are_checked(self, labels):
        with pytest.raises(nlm.UsageError, match="--methods"):
            parse_methods(labels)

    def test_default_is_every_quick_filter(self):
        labels = [method.label for method in compare.default_methods()]
        assert labels[:3] == ["nlm@fast", "nlm", "nlm@best"]
        assert {*labels} >= {"nlnet", "tv", "bilateral", "skimage-nlm"}
        assert "bm3d" not in labels

    def test_all_names_the_missing_too(self, monkeypatch):
        monkeypatch.setattr(registry, "find_spec", lambda name: None)
        methods = parse_methods("all")
        assert {one.label for one in methods if not one.installed} == {"bm3d", "opencv", "wavelet"}


class TestPictures:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_noise_is_as_promised(self, tmp_path, channels):
        path = as_png(tmp_path / "clean.png", checkers(40, 50, channels))
        stored = np.asarray(Image.open(path)) / 255
        expected = stored + np.random.default_rng(3).normal(size=stored.shape) * SIGMA
        loaded = compare.load(str(path), add_noise=SIGMA, seed=3)
        assert np.abs(loaded.noisy.squeeze() - expected).max() < 1e-6
        assert np.abs(loaded.reference.squeeze() - stored).max() < 1e-7
        assert loaded.noise == Plan(SIGMA)

    def test_a_sigma_by_hand_wins(self, clean):
        assert compare.load(str(clean), add_noise=SIGMA, sigma=0.2).noise.sigma == 0.2

    def test_without_a_sigma_it_is_estimated(self, tmp_path):
        path = as_png(tmp_path / "noisy.png", noisy(checkers(200, 200), 0.05) * 0.8)
        loaded = compare.load(str(path))
        assert loaded.origin == "estimated"
        assert 0.03 < loaded.noise.sigma < 0.05
        assert loaded.reference is None

    def test_reference_of_another_shape(self, clean, tmp_path):
        other = as_png(tmp_path / "other.png", checkers(60, 70, 3))
        with pytest.raises(
            nlm.FileError, match=r"72 x 60 with 1 channel, its reference .* 70 x 60"
        ):
            compare.load(str(clean), reference=str(other))

    def test_shown_upright(self, tmp_path):
        exif = Image.Exif()
        exif[274] = 6
        pixels = (checkers(30, 40)[..., 0] * 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
        loaded = compare.load(str(tmp_path / "turned.png"), sigma=0.1)
        assert loaded.noisy.shape == (40, 30, 1)
        assert np.array_equal(loaded.noisy[..., 0], np.rot90(pixels, -1) / np.float32(255))

    def test_folders(self, clean, tmp_path):
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep" / "b.png").write_bytes(clean.read_bytes())
        (tmp_path / "notes.txt").write_text("no picture")
        assert find_pictures([str(tmp_path)]) == [str(clean), str(tmp_path / "deep" / "b.png")]

    def test_folder_without_pictures(self, tmp_path):
        with pytest.raises(nlm.FileError, match="no picture in this folder"):
            find_pictures([str(tmp_path)])


class TestMeasures:
    @pytest.mark.parametrize("shape", [(30, 41), (30, 41, 3), (1, 9)])
    def test_box_sums(self, shape):
        samples = np.random.default_rng(0).random(shape)
        rows, columns = min(4, shape[0]), 7
        expected = [
            [samples[y : y + rows, x : x + columns].sum((0, 1)) for x in range(shape[1] - 6)]
            for y in range(shape[0] - rows + 1)
        ]
        assert np.allclose(box_sums(samples, rows, columns), expected)

    def test_whiteness_by_direct_sums(self):
        residual = np.random.default_rng(0).random((17, 23, 1)).astype(np.float32)
        centred = residual[..., 0].astype(float) - residual.mean(dtype=float)
        total = 0.0
        for dy in range(-4, 5):
            for dx in range(-4, 5):
                y, x = slice(max(0, dy), 17 + min(0, dy)), slice(max(0, dx), 23 + min(0, dx))
                back_y, back_x = slice(y.start - dy, y.stop - dy), slice(x.start - dx, x.stop - dx)
                total += ((centred[y, x] * centred[back_y, back_x]).sum() / (centred**2).sum()) ** 2
        assert measures.whiteness(residual) == pytest.approx(1 / total, rel=1e-4)

    def test_whiteness_tells_noise_from_structure(self):
        noise = np.random.default_rng(0).normal(size=(200, 200, 3)).astype(np.float32)
        smooth = noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1)
        assert measures.whiteness(noise) > 0.99
        assert measures.whiteness(smooth) == pytest.approx(1 / (1 + 6 / 9), abs=0.01)
        assert measures.whiteness(checkers(200, 200)) < 0.2
        assert measures.whiteness(np.zeros((20, 20, 1), np.float32)) == 1

    @pytest.mark.parametrize("method", ["nlm", "tv", "opencv"])
    def test_blind_psnr_is_near_the_true_one(self, method):
        if method in registry.missing():
            pytest.skip(f"{method} is not installed")
        told = picture((150, 150, 1))
        (true,) = compare.compare_picture(told, parse_methods(method), runs=1)
        (blind,) = compare.compare_picture(replace(told, reference=None), parse_methods(method))
        assert true.blind_psnr is None
        assert blind.psnr is None
        assert abs(blind.blind_psnr - true.psnr) < 1

    def test_blind_psnr_of_a_clipped_picture_is_not_fooled(self):
        """Half of it is black, where clipping takes half of the noise away."""
        pixels = checkers(120, 160)
        pixels[:, :80] = 0
        clipped = noisy(pixels, SIGMA).clip(0, 1)
        told = compare.Picture("a.png", clipped, Plan(SIGMA))
        (blind,) = compare.compare_picture(told, parse_methods("nlm"), runs=1)
        true = nlm.psnr(blind.denoised[:, 90:], pixels[:, 90:])
        assert abs(blind.blind_psnr - true) < 1.5


class TestTrials:
    def test_order_timing_and_range(self):
        told = picture()
        results = compare.compare_picture(told, parse_methods("tv,nlm,nlm:strength=0.3"), runs=2)
        assert [one.method for one in results] == ["tv", "nlm", "nlm:strength=0.3"]
        for one in results:
            assert one.status == "ok"
            assert one.seconds == pytest.approx(np.median(one.times))
            assert len(one.times) == 2
            assert (one.denoised.min() >= 0) & (one.denoised.max() <= 1)
            assert one.sigma == pytest.approx(25)
        assert results[1].psnr > results[2].psnr

    def test_floats_keep_their_range(self):
        told = picture(bounded=False)
        told = replace(told, noisy=told.noisy + 0.5)
        (one,) = compare.compare_picture(told, parse_methods("nlm"), runs=1)
        assert one.denoised.max() > 1

    def test_tiny_pictures_have_no_ssim(self):
        (one,) = compare.compare_picture(picture((8, 9, 1)), parse_methods("nlm"), runs=1)
        assert one.ssim is None
        assert one.psnr > 0

    @pytest.mark.parametrize(
        ("result", "message"),
        [
            (lambda frames: 1 / 0, "ZeroDivisionError: division by zero"),
            (lambda frames: frames[:, 1:], "another shape"),
            (lambda frames: frames * np.nan, "not finite"),
        ],
    )
    def test_one_that_fails_does_not_harm_the_others(self, monkeypatch, result, message):
        broken = replace(registry.get("tv"), apply=lambda frames, *_: result(frames))
        monkeypatch.setitem(registry._filters(), "tv", broken)
        bad, good = compare.compare_picture(picture(), parse_methods("tv,nlm"), runs=1)
        assert bad.status == "failed"
        assert message in bad.error
        assert (bad.psnr, bad.seconds, bad.denoised) == (None, None, None)
        assert good.status == "ok"

    def test_one_that_fails_late_has_no_numbers(self, monkeypatch):
        calls = []

        def apply(frames, *_):
            calls.append(1)
            if len(calls) > 2:
                raise MemoryError
            return frames.copy()

        monkeypatch.setitem(registry._filters(), "tv", replace(registry.get("tv"), apply=apply))
        (bad,) = compare.compare_picture(picture(), parse_methods("tv"), runs=3)
        assert (bad.status, bad.error, bad.psnr) == ("failed", "MemoryError()", None)


class TestSweep:
    def test_expands_what_has_the_parameter(self):
        sweep = compare.parse_sweep("patch-size=3:7:3")
        labels = [one.label for one in sweep.expand(parse_methods("nlm@fast,tv"))]
        assert labels == [
            "nlm@fast:patch_size=3", "nlm@fast:patch_size=5", "nlm@fast:patch_size=7", "tv",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        "text",
        ["strength", "strength=1:2", "strength=1:2:1", "strength=a:b:3", "=1:2:3", "s=1:inf:3"],
    )
    def test_mistakes_are_named(self, text):
        with pytest.raises(nlm.UsageError, match="--sweep"):
            compare.parse_sweep(text)

    def test_of_what_nobody_has(self):
        with pytest.raises(nlm.UsageError, match="no parameter of tv"):
            compare.parse_sweep("patch_size=3:7:3").expand(parse_methods("tv"))

    def test_the_best_is_named(self):
        sweep, asked = compare.parse_sweep("strength=0.2:1.4:3"), parse_methods("nlm,tv")
        comparison = Comparison(asked, sweep, 1)
        told = picture()
        comparison.add(told, compare.compare_picture(told, comparison.methods, runs=1))
        levels = {one.method: one.psnr for one in comparison.results}
        for curve in comparison.curves:
            own = {
                label: level for label, level in levels.items() if label.startswith(curve.method)
            }
            assert len(curve.points) == len(own) == 3
            assert curve.best == max(own, key=own.get)
        shown = set(comparison.shown()[0].pictures)
        assert shown == {"noisy", "reference", *(curve.best for curve in comparison.curves)}


class TestExhibits:
    def test_the_window_is_where_methods_differ(self):
        one = np.full((200, 300, 1), 128, np.uint8)
        other = one.copy()
        other[130:150, 220:240] += 60
        rows, columns = telling_window([one, other, one], 40)
        assert (rows.start <= 130) & (rows.stop >= 150)
        assert (columns.start <= 220) & (columns.stop >= 240)
        assert (rows.stop - rows.start, columns.stop - columns.start) == (40, 40)

    def test_equal_pictures_are_shown_from_the_middle(self):
        same = np.zeros((100, 60, 1), np.uint8)
        assert telling_window([same, same], 20) == (slice(40, 60), slice(20, 40))

    def test_a_large_picture_is_cut_alike_for_all(self):
        told = picture((90, 120, 3))
        results = compare.compare_picture(told, parse_methods("nlm,tv"), runs=1)
        shown = exhibit(told, results, side=64)
        assert not shown.whole
        assert {levels.shape for levels in shown.pictures.values()} == {(64, 64, 3)}
        expected = np.rint(told.reference[shown.window] * 255)
        assert np.array_equal(shown.pictures["reference"], expected)
        inner = shown.cut(16)
        assert np.array_equal(
            inner.pictures["reference"], np.rint(told.reference[inner.window] * 255)
        )

    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    def test_any_number_of_channels_is_shown(self, channels):
        shown = exhibit(picture((20, 30, channels)), [], side=100)
        assert shown.pictures["noisy"].shape == (20, 30, 3 if channels >= 3 else 1)

    def test_a_page_has_a_budget(self):
        assert affordable_side(1, 8, 1) > 512
        assert affordable_side(50, 8, 3) >= 64
        assert affordable_side(50, 8, 3) == affordable_side(4, 8, 3)


@pytest.fixture(scope="module")
def outputs(run_nlm, tmp_path_factory):
    """Everything that one comparison gives, by the command line."""
    folder = tmp_path_factory.mktemp("compare")
    as_png(folder / "gray.png", checkers(60, 72))
    as_png(folder / "colour.png", checkers(50, 64, 3))
    arguments = ["compare", "gray.png", "colour.png", "--add-noise", 25, "--seed", 5, "--runs", 1]
    arguments += ["--methods", "nlm,nlm@best,tv:strength=0.9"]
    files = ["-o", "page.html", "--sheet", "sheet.png", "--csv", "table.csv", "--save-dir", "saved"]
    done = run_nlm(*arguments, *files, "--json", cwd=folder, check=0)
    table = run_nlm(*arguments, cwd=folder, check=0).stdout.decode()
    return folder, json.loads(done.stdout), table


class TestOutputs:
    def test_json_holds_what_the_interface_says(self, outputs):
        _, rows, _ = outputs
        names = "input method status psnr ssim seconds sigma error flicker"
        assert all(" ".join(row) == names for row in rows)
        assert [(row["input"], row["method"]) for row in rows] == [
            (path, method)
            for path in ("gray.png", "colour.png")
            for method in ("nlm", "nlm@best", "tv:strength=0.9")
        ]
        assert {(row["status"], row["sigma"], row["error"]) for row in rows} == {("ok", 25.0, None)}
        assert {row["flicker"] for row in rows} == {None}

    def test_numbers_agree_with_scikit_image(self, outputs):
        """Measured again from the pictures that were saved."""
        folder, rows, _ = outputs
        for row in rows:
            saved = folder / "saved" / row["input"].removesuffix(".png")
            clean = tifffile.imread(saved / "reference.tiff").astype(float)
            result = tifffile.imread(saved / f"{row['method'].replace(':', '_')}.tiff").astype(
                float
            )
            assert row["psnr"] == pytest.approx(
                peak_signal_noise_ratio(clean, result, data_range=1), abs=1e-6
            )
            expected = structural_similarity(
                clean, result, data_range=1, channel_axis=-1 if clean.ndim == 3 else None,
                gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
            )  # fmt: skip
            assert row["ssim"] == pytest.approx(expected, abs=1e-6)

    def test_saved_pictures_are_float(self, outputs):
        folder, _, _ = outputs
        stored = np.asarray(Image.open(folder / "colour.png")) / 255
        saved = {path.name: tifffile.imread(path) for path in (folder / "saved/colour").iterdir()}
        assert {pixels.dtype for pixels in saved.values()} == {np.dtype("float32")}
        assert set(saved) == {
            "noisy.tiff", "reference.tiff", "nlm.tiff", "nlm@best.tiff", "tv_strength=0.9.tiff",
        }  # fmt: skip
        noise = np.random.default_rng(5).normal(size=stored.shape) * 25 / 255
        assert np.abs(saved["noisy.tiff"] - stored - noise).max() < 1e-6

    def test_the_same_numbers_everywhere(self, outputs):
        folder, rows, table = outputs
        page = (folder / "page.html").read_text()
        lines = list(csv.DictReader(io.StringIO((folder / "table.csv").read_text())))
        assert [float(line["psnr"]) for line in lines] == [row["psnr"] for row in rows]
        for method in ("nlm", "nlm@best", "tv:strength=0.9"):
            levels = [row["psnr"] for row in rows if row["method"] == method]
            shown = f"{np.mean(levels):.2f} ± {np.std(levels):.2f}"
            (line,) = [one for one in table.splitlines() if one.startswith(method + " ")]
            assert shown in line
            heading = f'data-value="{method}"'
            row = page[page.index(heading) :].partition("</tr>")[0]
            value = re.search(r'<td[^>]* data-value="([^"]+)">([0-9.]+) <small>', row)
            assert float(value[1]) == pytest.approx(np.mean(levels), abs=1e-9)
            assert f"{value[2]} ± {np.std(levels):.2f}" == shown
            assert all(f">{level:.2f}<" in page for level in levels)

    def test_sheet(self, outputs):
        folder, _, _ = outputs
        with Image.open(folder / "sheet.png") as sheet:
            assert sheet.format == "PNG"
            assert len(np.unique(np.asarray(sheet))) > 100

    def test_existing_outputs_are_protected(self, outputs, run_nlm):
        folder, _, _ = outputs
        arguments = ["compare", "gray.png", "--sigma", 9, "--methods", "nlm", "--runs", 1]
        for flag, name in (("-o", "page.html"), ("--csv", "table.csv"), ("--save-dir", "saved")):
            done = run_nlm(*arguments, flag, name, cwd=folder, check=1)
            assert b"exists already" in done.stderr
            assert done.stdout == b""
        run_nlm(*arguments, "--csv", "table.csv", "-f", "-q", cwd=folder, check=0)
        assert len((folder / "table.csv").read_text().splitlines()) == 2


class TestCommand:
    def test_without_a_clean_picture(self, tmp_path, capsys):
        path = as_png(tmp_path / "noisy.png", noisy(checkers(60, 72), 20 / 255))
        assert run(path, "--sigma", 20, "--methods", "nlm,tv", "--runs", 1, "--json") == 0
        rows = json.loads(capsys.readouterr().out)
        assert [(row["psnr"], row["ssim"]) for row in rows] == [(None, None)] * 2
        assert run(path, "--sigma", 20, "--methods", "nlm,tv", "--runs", 1) == 0
        assert "est. PSNR" in capsys.readouterr().out

    def test_equal_pictures_make_valid_json(self, clean, capsys):
        assert run(clean, "--reference", clean, "--sigma", 0, "--methods", "nlm", "--json") == 0
        (row,) = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
        assert (row["psnr"], row["ssim"]) == (None, 1)

    def test_a_crash_shows_and_exits_1(self, clean, capsys, monkeypatch, tmp_path):
        def crash(*_):
            raise RuntimeError("<b>boom</b>")

        monkeypatch.setitem(registry._filters(), "tv", replace(registry.get("tv"), apply=crash))
        page = tmp_path / "page.html"
        assert run(clean, "--add-noise", 9, "--methods", "tv,nlm", "--runs", 1, "-o", page) == 1
        lines = capsys.readouterr().out.splitlines()
        assert any(line.startswith("tv") and "failed: RuntimeError" in line for line in lines)
        assert any(line.startswith("nlm ") for line in lines)
        assert "&lt;b&gt;boom" in page.read_text()
        assert "<b>boom" not in page.read_text()

    def test_what_is_not_installed_shows_and_exits_0(self, clean, capsys, monkeypatch):
        monkeypatch.setattr(registry, "find_spec", lambda name: None)
        assert run(clean, "--add-noise", 9, "--methods", "bm3d@best,nlm", "--json") == 0
        missing, good = json.loads(capsys.readouterr().out)
        assert (missing["method"], missing["status"]) == ("bm3d@best", "not installed")
        assert "pip install" in missing["error"]
        assert good["status"] == "ok"

    def test_a_file_that_cannot_be_read_does_not_stop_the_others(self, clean, capsys, tmp_path):
        page = tmp_path / "page.html"
        arguments = ("--add-noise", 9, "--methods", "nlm", "--runs", 1, "-o", page)
        assert run("missing.png", clean, *arguments, "--json") == 1
        said = capsys.readouterr()
        assert [row["status"] for row in json.loads(said.out)] == ["failed", "ok"]
        assert "missing.png: does not exist" in said.err
        assert page.exists()
        assert run("missing.png", *arguments, "-f") == 1

    def test_a_sweep_names_the_best(self, clean, capsys):
        arguments = ("--add-noise", 25, "--methods", "nlm", "--sweep", "strength=0.2:1:3")
        assert run(clean, *arguments, "--runs", 1) == 0
        assert re.search(r"best of nlm: nlm:strength=0\.\d, \d\d\.\d\d dB", capsys.readouterr().out)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--add-noise", -1], "--add-noise -1 is not allowed"),
            (["--sigma", "nan"], "--sigma nan is not allowed"),
            (["--add-noise", 9, "--reference", "b.png"], "exclude each other"),
            (["--seed", -1, "--add-noise", 9], "--seed -1 is not allowed"),
            (["--runs", 0], "--runs 0 is not allowed"),
            (["--methods", "nml"], "did you mean 'nlm'"),
            (["--sweep", "strength=1"], "--sweep strength=1 is not allowed"),
            (["--threads", 0], "0 threads are not allowed"),
        ],
    )
    def test_wrong_usage(self, clean, arguments, message):
        with pytest.raises(nlm.UsageError, match=message):
            run(clean, *arguments)

    def test_an_output_without_a_folder_is_refused_before_any_work(self, clean, tmp_path, capsys):
        with pytest.raises(nlm.FileError, match="its folder does not exist"):
            run(clean, "--add-noise", 9, "-o", tmp_path / "none" / "page.html")
        assert capsys.readouterr().out == ""

    @pytest.mark.skipif(os.name == "nt", reason="no such limit there")
    @pytest.mark.parametrize("there", [(), ("out",), ("out/picture",)])
    def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(self, tmp_path, there):
        for name in there:
            (tmp_path / name).mkdir(parents=True)
        before = sorted(tmp_path.rglob("*"))
        code = f"""
import os, resource, signal
import numpy as np
from nlm.compare import Picture
from nlm.noise import Plan
from nlm.compare.records import save, write_text
from nlm.io.output import write_bytes
from nlm.batch.outcome import failed
from nlm.batch.report import write_report
from nlm.errors import FileError
from nlm.settings import Settings
os.chdir({str(tmp_path)!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
noisy = np.random.default_rng(0).random((200, 200, 1), np.float32)
picture = Picture("picture.png", noisy, Plan(0.1))
outcome = failed("a.png", "b.png", Settings(), "no picture")
for write in (
    lambda: write_bytes("sheet.png", bytes(50000)),
    lambda: write_text("table.csv", "x" * 50000),
    lambda: save("out", picture, []),
    lambda: write_report("report.json", [outcome] * 500),
):
    try:
        write()
    except FileError as error:
        assert "larger than allowed" in str(error), error
        assert chr(10) not in str(error)
    else:
        raise SystemExit("no error")
"""
        subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
        assert sorted(tmp_path.rglob("*")) == before

    @pytest.mark.parametrize(
        ("option", "name", "allowed"),
        [
            ("-o", "page.png", ".html"), ("-o", "page.JPG", ".html"),
            ("--sheet", "sheet.jpg", ".png"), ("--sheet", "sheet.xyz", ".png"),
            ("--csv", "table.html", ".csv"),
        ],
    )  # fmt: skip
    def test_a_suffix_of_another_kind_is_wrong_usage(self, clean, tmp_path, option, name, allowed):
        target = tmp_path / name
        with pytest.raises(click.BadParameter, match=rf"{name}: .* is written; .*\{allowed}"):
            run(clean, "--add-noise", 9, option, target)
        assert not target.exists()

    def test_two_pictures_of_one_name_are_not_saved_together(self, clean):
        with pytest.raises(nlm.UsageError, match="two pictures are called a"):
            list(saved_names("out", ["x/a.png", "y/a.tif"], []))

    def test_methods_that_fail_are_never_best(self):
        told = picture()
        good, bad = compare.compare_picture(told, parse_methods("nlm:strength=0.1,nlm"), runs=1)
        bad.status = "failed"
        assert best(compare.summarise([good, bad]))["psnr"] == "nlm:strength=0.1"


def test_parts_of_the_page_are_packaged():
    settings = (ROOT / "pyproject.toml").read_text()
    for path in (ROOT / "nlm" / "compare").glob("page.*"):
        assert path.suffix == ".py" or f'"*{path.suffix}"' in settings
