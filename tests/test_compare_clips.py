"""`nlm compare` on clips: which frames, which noise, the same path as `nlm denoise`, flicker."""

import csv
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import nlm
from nlm import compare, registry
from nlm.compare import loading, measures
from nlm.compare.comparison import Comparison
from nlm.compare.methods import parse_methods
from nlm.compare.page import render
from nlm.io import Span
from nlm.noise import Plan
from nlm.pipeline import denoise_file
from nlm.settings import Settings
from tests.browser import Browser, find_browser
from tests.clips import make_video, read_video, texture
from tests.conftest import checkers, noisy

SIGMA = 25 / 255
SIZE = (72, 56)
COUNT = 12


def half_still(count=COUNT, size=SIZE):
    """A clip whose left half stands still: float32 (T, Y, X, 1)."""
    columns, rows = size
    clip = texture(rows, columns, count)
    clip[:, :, : columns // 2] = clip[0, :, : columns // 2]
    return clip


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Twelve gray frames, stored without loss."""
    path = tmp_path_factory.mktemp("clips") / "clip.mkv"
    make_video(path, codec="ffv1", pixels="gray", size=SIZE, clip=half_still())
    return path


@pytest.fixture(scope="module")
def stored(video):
    """Its frames, full scale 1.0."""
    _, frames, _ = read_video(video)
    return [planes[0][..., None] / np.float32(255) for planes in frames]


def loaded(frames=COUNT, sigma=SIGMA, clean=True):
    """A clip without a file."""
    pictures = [
        compare.Picture("a.mkv", noisy(one, sigma, seed), Plan(sigma), one if clean else None)
        for seed, one in enumerate(half_still(frames))
    ]
    return compare.Clip("a.mkv", tuple(pictures), 3)


class TestFrames:
    def test_the_middle_ones_if_nobody_says(self, video, stored):
        clip = compare.load(str(video), sigma=0.1)
        assert (clip.first, len(clip.frames)) == (3, 5)
        for one, expected in zip(clip.frames, stored[3:8], strict=True):
            assert np.array_equal(one.noisy, expected)
        assert np.array_equal(clip.noisy, stored[5])
        assert clip.moment == "frame 5, the middle one of 3 to 7"

    @pytest.mark.parametrize(
        ("frames", "expected"), [("2:4", [2, 3]), (":3", [0, 1, 2]), ("9:", [9, 10, 11])]
    )
    def test_those_that_are_named(self, video, stored, frames, expected):
        clip = compare.load(str(video), sigma=0.1, span=Span.parse(frames))
        assert clip.first == expected[0]
        assert len(clip.frames) == len(expected)
        for one, number in zip(clip.frames, expected, strict=True):
            assert np.array_equal(one.noisy, stored[number])

    def test_a_wrong_number_in_the_header_is_found_out(self, video, stored, monkeypatch):
        real = loading.open_reader

        def open_reader(path, **how):
            reader = real(path, **how)
            reader.info = replace(reader.info, frames=30)
            return reader

        monkeypatch.setattr(loading, "open_reader", open_reader)
        clip = compare.load(str(video), sigma=0.1)
        assert clip.first == 3
        assert np.array_equal(clip.noisy, stored[5])

    def test_frames_that_are_not_there(self, video):
        with pytest.raises(nlm.FileError, match=r"has 12 frames, .* none of them in 20:25"):
            compare.load(str(video), sigma=0.1, span=Span(20, 25))

    def test_too_many(self, video, monkeypatch):
        monkeypatch.setattr(loading, "MOST_FRAMES", 8)
        with pytest.raises(nlm.FileError, match=r"more than 8 frames .*--frames 0:8"):
            compare.load(str(video), sigma=0.1, span=Span(0))

    def test_a_picture_is_taken_whole(self, tmp_path):
        Image.new("L", (30, 20)).save(tmp_path / "a.png")
        picture = compare.load(str(tmp_path / "a.png"), sigma=0.1, span=Span(3, 5))
        assert picture.noisy.shape[:2] == (20, 30)

    def test_animations_and_sequences(self, tmp_path):
        frames = checkers(24, 30, 3)[None] * np.linspace(0.5, 1, 6)[:, None, None, None] * 255
        pictures = [Image.fromarray(one.astype(np.uint8)) for one in frames]
        pictures[0].save(tmp_path / "a.png", save_all=True, append_images=pictures[1:], duration=40)
        for number, one in enumerate(pictures):
            one.save(tmp_path / f"frame_{number:02}.png")
        for name in ("a.png", "frame_%02d.png"):
            clip = compare.load(str(tmp_path / name), sigma=0.1)
            assert len(clip.frames) == 5
            for one, expected in zip(clip.frames, pictures, strict=False):
                assert np.abs(one.noisy * 255 - np.asarray(expected)).max() < 1e-4

    def test_of_yuv_luma(self, tmp_path):
        make_video(tmp_path / "a.mkv", codec="ffv1", size=SIZE)
        _, frames, _ = read_video(tmp_path / "a.mkv")
        clip = compare.load(str(tmp_path / "a.mkv"), sigma=0.1, span=Span(4, 5))
        assert np.array_equal(clip.noisy[..., 0], frames[4][0] / np.float32(255))
        with pytest.raises(nlm.FileError, match="YUV video is taken as Gaussian"):
            compare.load(str(tmp_path / "a.mkv"), noise_model="poisson-gaussian")


class TestNoise:
    def test_every_frame_has_its_own(self, video, stored):
        clip = compare.load(str(video), add_noise=SIGMA, seed=7, span=Span(2, 6))
        for number, one in enumerate(clip.frames, 2):
            rng = np.random.default_rng([7, number])
            expected = stored[number] + rng.normal(size=stored[number].shape) * SIGMA
            assert np.abs(one.noisy - expected).max() < 1e-6
            assert np.array_equal(one.reference, stored[number])
            assert (one.noise, one.origin) == (Plan(SIGMA), "added")
        first, second = (one.noisy - one.reference for one in clip.frames[:2])
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.1

    def test_a_frame_has_the_same_whichever_are_taken(self, video):
        one = compare.load(str(video), add_noise=SIGMA, span=Span(5, 6))
        assert np.array_equal(one.noisy, compare.load(str(video), add_noise=SIGMA).noisy)

    def test_estimated_as_denoise_does(self, video, tmp_path):
        clip = compare.load(str(video), add_noise=SIGMA)
        tifffile.imwrite(
            tmp_path / "a.tif",
            np.stack([one.noisy[..., 0] for one in clip.frames]),
            photometric="minisblack",
        )
        done = denoise_file(tmp_path / "a.tif", tmp_path / "b.tif", Settings(stack="clip"))
        frames = tuple(
            replace(one, noise=nlm.noise.plan(one.noisy), bounded=False) for one in clip.frames
        )
        (found,) = compare.compare_picture(
            replace(clip, frames=frames), parse_methods("nlm"), runs=0
        )
        assert found.sigma == pytest.approx(done.sigma)
        pages = tifffile.imread(tmp_path / "b.tif")
        assert np.array_equal(np.stack(found.frames)[..., 0], pages)


class TestFlicker:
    def test_by_direct_sums(self):
        clean = half_still(4)
        result = [noisy(one, 0.05, seed) for seed, one in enumerate(clean)]
        total = count = 0
        for k in range(3):
            for y in range(SIZE[1]):
                for x in range(SIZE[0]):
                    if abs(clean[k + 1, y, x, 0] - clean[k, y, x, 0]) < 0.5 / 255:
                        total += abs(float(result[k + 1][y, x, 0]) - float(result[k][y, x, 0]))
                        count += 1
        assert 4 * SIZE[1] > count / SIZE[0] > 1.4 * SIZE[1]
        found = measures.flicker(result, measures.still(clean))
        assert found == pytest.approx(255 * total / count, rel=1e-5)

    def test_of_noise_and_of_what_stands_still(self):
        still = [checkers(100, 120)] * 4
        assert measures.flicker(still, measures.still(still)) == 0
        noise = [noisy(one, SIGMA, seed) for seed, one in enumerate(still)]
        found = measures.flicker(noise, measures.still(still))
        assert found == pytest.approx(2 * 25 / math.sqrt(math.pi), rel=0.02)
        blind = measures.flicker(noise, measures.seemingly_still(noise, SIGMA))
        assert blind == pytest.approx(found, rel=0.03)

    def test_without_a_clean_clip_what_moves_does_not_count(self):
        clip = loaded(clean=False)
        half = SIZE[0] // 2
        still = np.stack(clip.still)
        assert still[:, :, : half - 6].mean() > 0.85
        assert still[:, :, half + 6 :].mean() < 0.1

    def test_none_where_nothing_stands_still_or_follows(self):
        ramp = [np.full((20, 20, 1), level, np.float32) for level in (0.1, 0.2, 0.3)]
        assert measures.flicker(ramp, measures.still(ramp)) is None
        assert measures.flicker(ramp[:1], measures.still(ramp[:1])) is None


class TestTrials:
    def test_neighbouring_frames_help_those_that_look_at_them(self):
        clip = loaded(7)
        labels = "nlm,nlm:temporal_radius=0,tv"
        time, single, other = compare.compare_picture(clip, parse_methods(labels), runs=1)
        assert {one.status for one in (time, single, other)} == {"ok"}
        assert time.flicker < 0.7 * single.flicker
        assert single.flicker < 25
        assert time.megapixels == pytest.approx(7 * SIZE[0] * SIZE[1] / 1e6)
        assert np.array_equal(time.denoised, time.frames[3])
        for k in (0, 6):  # without neighbours it is the filter for pictures
            params = registry.parameters("nlm", "balanced", {"temporal_radius": 0})
            place = nlm.backends.choose("cpu")
            alone = nlm.arrays.apply(
                registry.get("nlm"), params, clip.frames[k].noisy[None], Plan(SIGMA), place
            )
            assert np.array_equal(single.frames[k], alone[0].clip(0, 1))

    def test_blind_psnr_is_near_the_true_one(self):
        methods = parse_methods("nlm,tv")
        true = compare.compare_picture(loaded(5), methods, runs=0)
        blind = compare.compare_picture(loaded(5, clean=False), methods, runs=0)
        for one, other in zip(true, blind, strict=True):
            assert (other.psnr, other.ssim, one.blind_psnr) == (None, None, None)
            assert abs(other.blind_psnr - one.psnr) < 1
            assert abs(other.flicker - one.flicker) < 0.25 * one.flicker

    def test_one_that_is_not_for_clips_says_so(self):
        bad, good = compare.compare_picture(
            loaded(3), parse_methods("nlm:refine=yes,nlm"), runs=0
        )  # fmt: skip
        assert bad.status == "failed"
        assert "refine is not for clips" in bad.error
        assert (bad.frames, bad.flicker) == ([], None)
        assert good.status == "ok"


METHODS = "nlm,nlm:temporal_radius=0,tv"


@pytest.fixture(scope="module")
def outputs(video, run_nlm, tmp_path_factory):
    """Everything that a comparison on a clip gives, by the command line."""
    folder = tmp_path_factory.mktemp("compared")
    words = ["compare", video, "--add-noise", 25, "--seed", 5, "--runs", 1, "--methods", METHODS]
    files = ["-o", "page.html", "--sheet", "sheet.png", "--csv", "table.csv", "--save-dir", "saved"]
    done = run_nlm(*words, *files, "--json", cwd=folder, check=0)
    table = run_nlm(*words, "--frames", "3:8", cwd=folder, check=0).stdout.decode()
    return folder, json.loads(done.stdout), table


class TestOutputs:
    def test_numbers_from_what_was_saved(self, outputs):
        folder, rows, _ = outputs
        saved = folder / "saved" / "clip"
        clean = tifffile.imread(saved / "reference.tiff").astype(float)
        assert clean.shape == (5, SIZE[1], SIZE[0])
        still = np.abs(np.diff(clean, axis=0)) < 0.5 / 255
        assert len(rows) == 3
        for row in rows:
            result = tifffile.imread(saved / f"{row['method'].replace(':', '_')}.tiff")
            assert result.dtype == np.float32
            pairs = list(zip(clean, result.astype(float), strict=True))
            psnr = [peak_signal_noise_ratio(*pair, data_range=1) for pair in pairs]
            ssim = [
                structural_similarity(
                    *pair, data_range=1, gaussian_weights=True, sigma=1.5,
                    use_sample_covariance=False,
                )
                for pair in pairs
            ]  # fmt: skip
            assert row["psnr"] == pytest.approx(np.mean(psnr), abs=1e-6)
            assert row["ssim"] == pytest.approx(np.mean(ssim), abs=1e-6)
            change = np.abs(np.diff(result.astype(float), axis=0))[still]
            assert row["flicker"] == pytest.approx(255 * change.mean(), abs=1e-4)

    @pytest.mark.parametrize(("name", "words"), [("nlm", ()), ("tv", ("--method", "tv"))])
    def test_the_same_as_denoise_makes(self, outputs, run_nlm, name, words, tmp_path):
        folder, _, _ = outputs
        saved = folder / "saved" / "clip"
        run_nlm(
            "denoise", saved / "noisy.tiff", "-o", tmp_path / "a.tiff", "--sigma", 25, "--stack",
            "clip", *words, check=0,
        )  # fmt: skip
        expected = tifffile.imread(tmp_path / "a.tiff").clip(0, 1)
        assert np.array_equal(tifffile.imread(saved / f"{name}.tiff"), expected)

    def test_the_same_numbers_everywhere(self, outputs):
        folder, rows, table = outputs
        page = (folder / "page.html").read_text()
        lines = list(csv.DictReader(io.StringIO((folder / "table.csv").read_text())))
        assert [float(one["flicker"]) for one in lines] == [row["flicker"] for row in rows]
        assert "flicker" in table.splitlines()[1]
        for row in rows:
            (line,) = [one for one in table.splitlines() if one.startswith(row["method"] + " ")]
            assert f" {row['flicker']:.2f} " in line
            assert f'data-value="{row["flicker"]!r}">{row["flicker"]:.2f}</td>' in page
        best = min(rows, key=lambda row: row["flicker"])
        assert f'class="best" data-value="{best["flicker"]!r}"' in page

    def test_the_page_says_which_frame_it_shows(self, outputs):
        folder, _, table = outputs
        page = (folder / "page.html").read_text()
        assert page.count("frame 5, the middle one of 3 to 7") == 2
        assert "frame 5, the middle one of 3 to 7" in table.splitlines()[0]
        assert "Flicker is the mean change" in page
        clean = tifffile.imread(folder / "saved" / "clip" / "reference.tiff")
        exhibits = Comparison(parse_methods("nlm"), None, 1)
        exhibits.add(loaded(5), [])
        shown = exhibits.exhibits[0].pictures["reference"]
        assert shown.shape == (*clean.shape[1:], 1)
        assert np.array_equal(shown, np.rint(loaded(5).frames[2].reference * 255))

    def test_sheet(self, outputs):
        folder, _, _ = outputs
        with Image.open(folder / "sheet.png") as sheet:
            assert len(np.unique(np.asarray(sheet))) > 100


class TestCommand:
    def test_against_a_clean_clip(self, video, run_nlm, tmp_path):
        run_nlm("noise", video, "-o", tmp_path / "noisy.mkv", "--sigma", 20, check=0)
        done = run_nlm(
            "compare", tmp_path / "noisy.mkv", "--reference", video, "--sigma", 20, "--methods",
            "nlm", "--runs", 1, "--frames", "1:5", "--save-dir", tmp_path / "saved", "--json",
            check=0,
        )  # fmt: skip
        (row,) = json.loads(done.stdout)
        clean = tifffile.imread(tmp_path / "saved" / "noisy" / "reference.tiff")
        _, frames, _ = read_video(video)
        assert np.array_equal(clean, np.stack([one[0] for one in frames[1:5]]) / np.float32(255))
        assert row["psnr"] > 25
        assert row["flicker"] > 0

    def test_without_a_clean_clip(self, video, run_nlm):
        words = ("compare", video, "--sigma", 5, "--methods", "nlm,tv", "--runs", 1)
        rows = json.loads(run_nlm(*words, "--json", check=0).stdout)
        assert [(row["psnr"], row["ssim"]) for row in rows] == [(None, None)] * 2
        assert all(row["flicker"] > 0 for row in rows)

    def test_a_reference_with_fewer_frames(self, video, run_nlm, tmp_path):
        make_video(tmp_path / "short.mkv", codec="ffv1", pixels="gray", size=SIZE, count=6)
        done = run_nlm(
            "compare", video, "--reference", tmp_path / "short.mkv", "--methods", "nlm", check=1
        )
        (line,) = done.stderr.decode().splitlines()
        assert "has 5 frames from 3 on, its reference" in line
        assert "short.mkv 3; name the clean version" in line

    def test_frames_are_spelt_as_for_denoise(self, video, run_nlm):
        done = run_nlm("compare", video, "--frames", "5", "--methods", "nlm", check=2)
        assert b"--frames 5 is not allowed; give A:B, :B or A:" in done.stderr


@pytest.fixture(scope="module")
def browser():
    path = find_browser()
    if path is None:
        pytest.skip("no browser is installed")
    with Browser(path) as running:
        yield running


def test_in_a_browser(browser, tmp_path):
    """The middle frame is painted, which one it is is seen, and flicker sorts."""
    comparison = Comparison(parse_methods(METHODS), None, 1)
    clip = loaded(5)
    comparison.add(clip, compare.compare_picture(clip, comparison.methods, runs=1))
    (tmp_path / "page.html").write_text(render(comparison.report("nlm compare a.mkv", None)))
    browser.messages.clear()
    browser.resize(1100, 900)
    browser.open(tmp_path / "page.html")
    browser.wait_for("document.querySelector('#under canvas').dataset.content !== undefined")
    browser.evaluate("document.querySelector('#right').value = 'reference'")
    browser.evaluate("document.querySelector('#right').onchange()")
    browser.wait_for("document.querySelector('#over canvas').ariaLabel.includes('without noise')")
    shown = browser.evaluate(
        "(c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data])"
        "(document.querySelector('#over canvas'))"
    )
    expected = np.rint(clip.frames[2].reference[..., 0] * 255)
    assert np.array_equal(np.reshape(shown, (SIZE[1], SIZE[0], 4))[..., 0], expected)
    words = "frame 5, the middle one of 3 to 7"
    assert words in browser.evaluate("document.querySelector('.facts').innerText")
    browser.evaluate("document.querySelector('[value=grid]').click()")
    browser.wait_for("document.querySelector('.pictures .window').offsetHeight > 0")
    assert words in browser.evaluate("document.querySelector('.pictures .window').innerText")
    table = "document.querySelector('#numbers').closest('section').querySelector('table')"
    heads = browser.evaluate(f"[...{table}.tHead.rows[0].cells].map(c => c.innerText)")
    column = heads.index("Flicker")
    browser.evaluate(f"{table}.tHead.rows[0].cells[{column}].querySelector('button').click()")
    values = f"[...{table}.tBodies[0].rows].map(r => Number(r.cells[{column}].dataset.value))"
    found = browser.evaluate(values)
    assert found == sorted(found)
    assert len(set(found)) == 3
    assert browser.messages == []
