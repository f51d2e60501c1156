"""A second look at a network's result: where it helps, and that it does no harm elsewhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

import nlm
from nlm import registry
from nlm.backends import Backend, in_precision
from nlm.learned import second_look
from nlm.learned.second_look import PATTERN, REACH, ROUND, best_share
from nlm.tiling import by_tiles
from tests.conftest import ROOT, noisy

SIGMA = 25 / 255
SAMPLES = ROOT / "sample_images"


def weave(rows, cols):
    """Fine stripes under a slope: with as much noise, a network takes them for noise."""
    y, x = np.mgrid[:rows, :cols].astype(np.float32)
    stripes = np.sin(2 * np.pi * (0.31 * x + 0.17 * y)) * np.sin(2 * np.pi * (0.12 * x - 0.23 * y))
    return (0.4 + 0.15 * stripes + 0.2 * x / cols)[..., None].astype(np.float32)


def photograph(name, rows, cols):
    with Image.open(SAMPLES / name) as image:
        pixels = np.asarray(image.convert("RGB"), np.float32) / 255
    return pixels[100 : 100 + rows, 100 : 100 + cols]


def gain(clean, sigma=SIGMA):
    """By how many dB the second look is better."""
    image = noisy(clean, sigma)
    first, second = (
        nlm.psnr(nlm.denoise(image, sigma, "nlnet", channel_axis=-1, refine=refine), clean)
        for refine in (False, True)
    )
    return second - first


def test_structure_that_repeats_gains():
    assert gain(weave(128, 144)) > 0.3


@pytest.mark.parametrize("channels", [1, 3])
def test_photographs_lose_nothing(channels):
    assert gain(photograph("chelsea.png", 120, 130)[..., :channels]) > -0.01


class TestShare:
    pictures = arrays.arrays(np.float32, (9, 12, 2), elements=st.floats(-1, 1, width=32))

    @settings(deadline=None)
    @given(one=pictures, other=pictures, share=st.sampled_from([0, 0.25, 1]))
    def test_is_that_of_the_least_error(self, one, other, share):
        found = best_share(one + np.float32(share) * (other - one), one, other, 1)
        assert found.shape == (9, 12, 1)
        if np.square(other - one).sum() > 1e-3:
            assert np.abs(found - share).max() < 1e-4

    def test_is_none_where_nothing_changes(self):
        one = np.ones((20, 20, 1), np.float32)
        assert np.all(best_share(one + 1, one, one, 1) == 0)

    def test_differs_from_place_to_place(self):
        one, other = (noisy(np.zeros((30, 400, 1), np.float32), 1, seed) for seed in (1, 2))
        truth = np.where(np.arange(400)[:, None] < 200, one, other)
        truth[5, 20] = 1e12  # a light beyond all range, here and no farther
        found = best_share(truth, one, other, 1)[..., 0]
        assert np.abs(found[:, 20 + ROUND + 1 : 200 - ROUND]).max() < 1e-6
        assert np.abs(found[:, 200 + ROUND :] - 1).max() < 1e-6


def blurred(picture, place):
    """A denoiser that reaches one pixel far."""
    place.tell(0.5)
    padded = np.pad(picture, [(1, 1), (1, 1), (0, 0)], mode="reflect")
    rows, cols = picture.shape[:2]
    parts = [padded[y : y + rows, x : x + cols] for y in range(3) for x in range(3)]
    place.tell(1)
    return np.mean(parts, axis=0, dtype=np.float32)


@pytest.mark.parametrize("shape", [(40, 3 * PATTERN + 20, 1), (3 * PATTERN + 20, 40, 3)])
def test_tiles_equal_the_whole(shape):
    clean = np.repeat(weave(*shape[:2]), shape[2], axis=2)
    image = noisy(clean, SIGMA)[None]

    def apply(part):
        return second_look.denoise(part[0], SIGMA, blurred, Backend())[None]

    reach = REACH + 2
    tiles = by_tiles(apply, image, (0, reach, reach), PATTERN, PATTERN)
    assert np.abs(tiles - apply(image)).max() < 1e-5


def test_a_pixel_reaches_as_far_as_is_told():
    image = noisy(weave(40, 400), SIGMA)
    other = image.copy()
    other[:, 100] += 0.2
    results = (second_look.denoise(one, SIGMA, blurred, Backend()) for one in (image, other))
    change = np.abs(np.subtract(*results)).max(axis=(0, 2))
    assert change[100 - 1] > 1e-3
    assert change[100 + REACH + 3 :].max() < 1e-6


@pytest.mark.parametrize("channels", [1, 3])
def test_the_usual_networks_tiles_equal_the_whole(channels):
    image = noisy(np.repeat(weave(1050, 20), channels, axis=2), SIGMA)
    chosen, params = registry.get("nlnet"), registry.parameters("nlnet", None, {"refine": True})

    def apply(part):
        return chosen.apply(part, SIGMA, params, Backend())

    tiles = by_tiles(apply, image[None], params.halo, 512, params.align)
    assert np.abs(tiles - apply(image[None])).max() < chosen.tolerance


def test_tiles_begin_where_the_pattern_of_noise_does():
    for turns in (1, 8):
        params = registry.parameters("nlnet", None, {"refine": True, "turns": turns})
        assert params.align % PATTERN == 0
        plain = registry.parameters("nlnet", None, {"turns": turns})
        assert params.halo[1] == 2 * plain.halo[1] + REACH


def test_half_precision_where_the_processor_has_none(monkeypatch):
    monkeypatch.setattr("nlm.backends.cpu_amx_layer.usable", lambda: False)
    params = registry.parameters("nlnet", None, {"refine": True, "half": True})
    with pytest.raises(nlm.UsageError, match="--refine uses none"):
        in_precision(Backend("gpu"), params)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (15, 60), (16, 16), (17, 90)])
def test_small_pictures(shape):
    image = noisy(weave(*shape), SIGMA)
    result = second_look.denoise(image, SIGMA, blurred, Backend())
    assert result.shape == image.shape
    assert np.isfinite(result).all()


@pytest.mark.parametrize("rows", [10, 60])
def test_progress_rises_to_one(rows):
    told = []
    image = noisy(weave(rows, 70), SIGMA)
    second_look.denoise(image, SIGMA, blurred, Backend(progress=told.append))
    assert told == sorted(told)
    assert told[-1] == 1


def test_by_the_command(run_nlm, tmp_path):
    source = tmp_path / "a.png"
    image = np.rint(noisy(weave(70, 80), SIGMA)[..., 0].clip(0, 1) * 255).astype(np.uint8)
    Image.fromarray(image).save(source)
    words = ("--method", "nlnet", "--sigma", 25, "--refine")
    run_nlm("denoise", source, "-o", tmp_path / "b.png", *words, check=0)
    with Image.open(tmp_path / "b.png") as result:
        expected = nlm.denoise(image, SIGMA, "nlnet", refine=True)
        assert np.array_equal(np.asarray(result), expected)
