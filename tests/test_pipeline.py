"""Files through the whole pipeline: every kind, and what must come out as it came in."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.ExifTags import Base

import nlm
from nlm import compare
from nlm.io import open_reader
from nlm.pipeline import default_output
from nlm.settings import Settings
from tests.conftest import ROOT, checkers, noisy
from tests.test_io_kinds import KINDS
from tests.test_io_metadata import exif

STRONG = Settings(sigma=40 / 255)


def denoised(data: bytes, settings: Settings = STRONG) -> tuple[bytes, nlm.pipeline.FileResult]:
    out = io.BytesIO()
    result = nlm.denoise_file(io.BytesIO(data), out, settings)
    return out.getvalue(), result


@pytest.mark.parametrize("name", [name for name in KINDS if "imageio" not in name])
def test_every_kind_goes_through(name):
    data = KINDS[name][0]()
    out, result = denoised(data)
    with open_reader(io.BytesIO(data)) as before, open_reader(io.BytesIO(out)) as after:
        for old, new in zip(before, after, strict=True):
            assert [p.shape for p in old.planes] == [p.shape for p in new.planes]
            assert old.duration == pytest.approx(new.duration, abs=0.02) or old.duration is None
            if old.alpha is not None and before.info.format not in ("webp", "avif", "gif"):
                assert np.array_equal(old.alpha, new.alpha)
        for name in ("format", "width", "height", "channels", "alpha", "dtype", "bits", "clip"):
            assert getattr(before.info, name) == getattr(after.info, name)
        assert before.info.metadata.icc == after.info.metadata.icc
        assert before.info.metadata.loop == after.info.metadata.loop
    assert (result.status, result.sigma) == ("ok", 40)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_profile_exif_and_resolution_come_along(tmp_path, suffix):
    profile = b"profile" * 100
    pixels = (noisy(checkers(40, 50, 3), 0.1).clip(0, 1) * 255).astype(np.uint8)
    source = tmp_path / f"a.{suffix}"
    Image.fromarray(pixels).save(source, icc_profile=profile, exif=exif(), dpi=(300, 300))
    target = default_output(source)
    nlm.denoise_file(source, target)
    with Image.open(source) as before, Image.open(target) as after:
        assert after.info["icc_profile"] == profile
        for tag in (Base.Orientation, Base.Make, Base.Model, Base.DateTime):
            assert after.getexif().get(tag) == before.getexif().get(tag)
        assert after.info.get("dpi") == before.info.get("dpi")


def test_sixteen_bits_stay_sixteen(tmp_path):
    source = ROOT / "sample_images" / "astronaut_16bit_noisy.png"
    nlm.denoise_file(source, tmp_path / "out.png")
    with open_reader(tmp_path / "out.png") as reader:
        pixels = next(iter(reader)).planes[0]
    assert pixels.dtype == np.uint16
    for channel in range(3):
        assert len(np.unique(pixels[..., channel])) > 10_000


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize("photometric", ["minisblack", "mask"])
def test_masks_among_the_pages_of_a_tiff_stay(photometric, compression):
    """A page that tells which pixels of another are seen is no picture: every bit stays."""
    pixels = (noisy(checkers(40, 50, 3), 0.1).clip(0, 1) * 255).astype(np.uint8)
    seen = np.random.default_rng(0).random((40, 50)) > 0.5
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(pixels, photometric="rgb")
        writer.write(seen, photometric=photometric, subfiletype=4, compression=compression)
    out, result = denoised(file.getvalue())
    assert (result.frames, result.sigma) == (2, 40)
    with tifffile.TiffFile(io.BytesIO(out)) as tiff:
        picture, mask = tiff.pages
        assert not np.array_equal(picture.asarray(), pixels)
        assert np.array_equal(mask.asarray(), seen)
        assert (mask.bitspersample, mask.is_mask) == (1, True)


def test_file_and_array_agree(tmp_path):
    source = ROOT / "sample_images" / "chelsea_noisy.png"
    nlm.denoise_file(source, tmp_path / "out.png", Settings(sigma=25 / 255))
    with Image.open(source) as before, Image.open(tmp_path / "out.png") as after:
        expected = nlm.denoise(np.asarray(before), 25 / 255, channel_axis=-1)
        assert np.array_equal(np.asarray(after), expected)


def test_every_page_has_its_own_noise(tmp_path):
    source, target = tmp_path / "a.tif", tmp_path / "b.tif"
    scan = (noisy(checkers(60, 70), 0.1).clip(0, 1) * 255).astype(np.uint8)[..., 0]
    with tifffile.TiffWriter(source) as tiff:
        for page in (np.full((50, 40), 255, np.uint8), scan):
            tiff.write(page, photometric="minisblack")
    result = nlm.denoise_file(source, target)
    with tifffile.TiffFile(target) as tiff:
        blank, page = (one.asarray() for one in tiff.pages)
    assert (blank == 255).all()
    assert page.std() < scan.std()
    assert result.sigma == pytest.approx(25, rel=0.2)


@pytest.mark.parametrize("scale", [1e-6, 1e-12])
def test_floats_of_any_size_are_denoised(scale):
    image = noisy(checkers(40, 50), 0.1)[..., 0]
    how = {"patch_size": 5, "search_radius": 6, "strength": 0.7}
    small = nlm.denoise(image * np.float32(scale), 0.1 * scale, **how)
    assert np.abs(small / scale - nlm.denoise(image, 0.1, **how)).max() < 1e-4
    assert nlm.estimate_sigma(image * np.float32(scale)) > 0


@pytest.mark.parametrize("share", [0.1, 0.4, 0.8])
@pytest.mark.parametrize("kind", ["transparent", "not a number", "not measured"])
def test_what_nobody_sees_says_nothing_of_the_noise(tmp_path, kind, share):
    """Nor does what is put there for the filter, which is smooth."""
    image = noisy(checkers(120, 160, 3), 0.1)
    hidden = np.arange(160) < 160 * share
    if kind == "transparent":
        levels = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
        alpha = np.broadcast_to(np.where(hidden, 0, 255).astype(np.uint8), (120, 160))
        Image.fromarray(np.dstack([levels, alpha])).save(tmp_path / "a.png")
        source = tmp_path / "a.png"
    else:
        image[:, hidden] = np.nan if "number" in kind else np.finfo(np.float32).min
        tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb")
        source = tmp_path / "a.tif"
        assert nlm.estimate_sigma(image, -1) == pytest.approx(0.1, rel=0.1)
        array = nlm.denoise(image, channel_axis=-1)
        assert np.abs(array - image)[:, ~hidden].mean() > 0.05
    result = nlm.denoise_file(source, tmp_path / f"out{source.suffix}")
    assert result.sigma == pytest.approx(25.5, rel=0.1)
    picture = compare.load(str(source))
    assert picture.noise.sigma == pytest.approx(0.1, rel=0.1)
    assert np.isfinite(picture.noisy).all()


def test_noise_where_every_patch_has_something_hidden():
    image = noisy(checkers(60, 80), 0.1)[..., 0]
    image[::4, ::4] = np.nan
    assert 0.02 < nlm.estimate_sigma(image) < 0.2
    assert nlm.estimate_sigma(np.full((60, 80), np.nan)) == 0


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("method", ["nlm", "nlnet"])
def test_what_maps_hold_where_nothing_was_measured_is_no_sample(method, dtype):
    """The least float32 there, as geographic files have it, is taken for NaN, and stays."""
    image = noisy(checkers(40, 50), 0.1)[..., 0].astype(dtype)
    holes = np.zeros(image.shape, bool)
    holes[:15, 10:30] = True
    filtered = [
        nlm.denoise(np.where(holes, value, image).astype(dtype), method=method)
        for value in (np.finfo(np.float32).min, 1e30, np.nan)
    ]
    for result, value in zip(filtered, (np.finfo(np.float32).min, 1e30), strict=False):
        assert (result[holes] == np.array(value, dtype)).all()
        assert np.array_equal(result[~holes], filtered[-1][~holes])


@pytest.mark.parametrize(("dtype", "photometric"), [("u1", 8), ("u2", 8), ("u1", 9), ("u2", 9)])
def test_noise_about_gray_in_lab_becomes_less(dtype, photometric):
    """Colours next to gray must not be taken for opposite ones."""
    step = np.iinfo(dtype).max // 255
    middle = np.array([0, 128, 128]) * step
    levels = np.array([120, 0, 0]) + np.random.default_rng(0).normal(size=(48, 64, 3)) * 3
    samples = (np.rint(levels * step) + middle).astype(dtype)
    signs = np.array([0, 1, 1], dtype) << (8 * samples.itemsize - 1) if photometric == 8 else 0
    file = io.BytesIO()
    tifffile.imwrite(file, samples ^ np.asarray(signs, dtype), photometric=photometric)
    out, _ = denoised(file.getvalue(), Settings(sigma=3 / 255))
    with tifffile.TiffFile(io.BytesIO(out)) as tiff:
        assert tiff.pages.first.photometric == photometric
        clean = tiff.asarray() ^ np.asarray(signs, dtype)
    before, after = ((one / step - middle / step)[..., 1:] for one in (samples, clean))
    assert abs(after.mean()) < 1
    assert after.std() < before.std() / 2


def test_nan_and_infinities_in_a_tiff(tmp_path):
    image = noisy(checkers(50, 60), 0.1)[..., 0]
    image[3, 4], image[20, 30], image[21, 30] = np.nan, np.inf, -np.inf
    tifffile.imwrite(tmp_path / "a.tif", image)
    nlm.denoise_file(tmp_path / "a.tif", tmp_path / "b.tif")
    result = tifffile.imread(tmp_path / "b.tif")
    assert np.array_equal(np.isfinite(result), np.isfinite(image))
    assert np.isnan(result[3, 4])
    finite = np.isfinite(image)
    assert nlm.psnr(result[finite], checkers(50, 60)[..., 0][finite]) > 22


def test_colours_under_zero_alpha_do_not_bleed(tmp_path):
    pixels = np.full((40, 40, 4), 128, np.uint8)
    pixels[:, 20:] = (255, 0, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    nlm.denoise_file(tmp_path / "a.png", tmp_path / "b.png", STRONG)
    with Image.open(tmp_path / "b.png") as image:
        assert np.array_equal(np.asarray(image), pixels)


def test_a_target_that_cannot_hold_the_depth_is_refused_before_any_work(tmp_path):
    source = ROOT / "sample_images" / "astronaut_16bit_noisy.png"
    with pytest.raises(nlm.FileError, match=r"16 bits.*PNG"):
        nlm.denoise_file(source, tmp_path / "out.jpg")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("how", "steps"),
    [
        ({}, 1),
        ({"preset": "best"}, 3),
        ({"sigma_map": True}, 4),
        ({"method": "nlnet"}, 1),
        ({"method": "nlnet", "tile": 64}, 4),
        ({"method": "nlnet", "preset": "best"}, 8),
    ],
)
def test_progress_rises_to_one_in_steps(tmp_path, how, steps):
    source, seen = tmp_path / "noisy.png", []
    with Image.open(ROOT / "sample_images" / "camera_noisy.png") as image:
        image.crop((0, 0, 256, 256)).save(source)
    if "sigma_map" in how:
        levels = np.linspace(10, 40, 256).astype(np.uint8)
        Image.fromarray(np.tile(levels, (256, 1))).save(tmp_path / "map.png")
        how = {"sigma_map": str(tmp_path / "map.png")}
    nlm.denoise_file(source, tmp_path / "out.png", Settings(**how), progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert len(set(seen)) >= steps
