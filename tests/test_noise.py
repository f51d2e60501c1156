"""The noise level and kind: properties, on pictures made here."""

import time
import tracemalloc

import numpy as np
import pytest

from nlm.noise import (
    NoiseEstimate,
    estimate,
    estimate_sigma,
    from_opponent,
    to_opponent,
)


def scene(rows=256, columns=256, seed=1):
    """Smooth hills, hard edges and a patch of texture: a stand-in for a photograph."""
    y, x = np.mgrid[:rows, :columns] / max(rows, columns)
    picture = 0.45 + 0.2 * np.sin(5 * x + 2 * y) * np.cos(3 * y)
    picture += 0.15 * ((x - 0.6) ** 2 + (y - 0.4) ** 2 < 0.03)
    texture = np.random.default_rng(seed).normal(size=(rows, columns)) * 0.1
    return picture + np.where((x < 0.3) & (y > 0.6), texture, 0)


def colourful(rows=256, columns=256):
    gray = scene(rows, columns)
    return np.stack([gray, 0.8 * gray + 0.1, 0.9 - gray], axis=-1)


def noisy(picture, level, seed=0):
    return picture + np.random.default_rng(seed).normal(size=picture.shape) * level / 255


def camera(picture, level, seed=0):
    """Noise that is correlated between neighbours and hardly there at the finest scale."""
    noise = np.random.default_rng(seed).normal(size=picture.shape)
    kernel = np.array([1, 4, 6, 4, 1]) / 16
    for axis in (0, 1):
        noise = np.apply_along_axis(np.convolve, axis, noise, kernel, "same")
    return picture + noise / noise.std() * level / 255


def as_frame(picture):
    picture = np.asarray(picture, np.float32)
    return picture if picture.ndim == 3 else picture[..., None]


@pytest.mark.parametrize("level", [3, 10, 25, 75])
def test_white_level_is_found(level):
    found = 255 * estimate_sigma(noisy(scene(), level))
    assert found == pytest.approx(level, rel=0.03, abs=0.2)


@pytest.mark.parametrize("level", [5, 25])
def test_white_level_in_colour(level):
    picture = noisy(colourful(), level)
    assert 255 * estimate_sigma(picture, channel_axis=-1) == pytest.approx(level, rel=0.03)
    first = estimate_sigma(np.moveaxis(picture, -1, 0), channel_axis=0)
    assert first == estimate_sigma(picture, channel_axis=-1)


@pytest.mark.parametrize(("level", "tolerance"), [(10, 0.05), (50, 0.06), (75, 0.1)])
def test_rounding_and_clipping_are_seen_through(level, tolerance):
    stored = np.clip(np.rint(255 * noisy(scene(), level)), 0, 255).astype(np.uint8)
    assert 255 * estimate_sigma(stored) == pytest.approx(level, rel=tolerance)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.float64])
def test_full_scale_is_the_dtypes(dtype):
    picture = np.clip(noisy(scene(), 12), 0, 1)
    if np.issubdtype(dtype, np.integer):
        picture = np.rint(picture * np.iinfo(dtype).max)
    found = estimate_sigma(picture.astype(dtype))
    assert 255 * found == pytest.approx(12, rel=0.04)


def test_level_scales_with_the_picture():
    picture = noisy(scene(), 10)
    assert estimate_sigma(picture * 4) == pytest.approx(4 * estimate_sigma(picture), rel=1e-4)
    assert estimate_sigma(picture + 3) == pytest.approx(estimate_sigma(picture), rel=1e-3)


def test_stacks_are_looked_at_picture_by_picture():
    stack = np.stack([noisy(scene(), 20, seed) for seed in range(3)])
    assert 255 * estimate_sigma(stack) == pytest.approx(20, rel=0.03)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 2), (5, 5), (1, 300), (300, 1), (9, 8)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_small_and_constant_pictures(shape, channels):
    rng = np.random.default_rng(0)
    for picture in (np.zeros(shape), np.full(shape, 0.3), np.ones(shape), rng.random(shape)):
        found = estimate(np.repeat(as_frame(picture), channels, axis=-1))
        assert isinstance(found, NoiseEstimate)
        assert np.isfinite(found.sigma)
        assert 0 <= found.sigma <= 1
        assert np.ptp(picture) > 0 or found.sigma < 1e-4


def test_empty_pictures_have_no_noise():
    assert estimate_sigma(np.zeros((0, 5))) == 0


def test_a_line_of_samples():
    rng = np.random.default_rng(0)
    line = np.sin(np.arange(4000) / 200) + rng.normal(size=4000) * 0.05
    assert estimate_sigma(line) == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize("steps", [255, 60, 8])
def test_clean_quantised_gradients_are_clean(steps):
    y, x = np.mgrid[:200, :300] / 300
    for gradient in (x, 0.6 * x + 0.3 * y, x * y):
        stored = np.rint(gradient * steps).astype(np.uint8)
        assert 255 * estimate_sigma(stored) < 0.5
        assert 255 * estimate(as_frame(stored / np.float32(255))).sigma < 2.5


def test_saturated_areas_say_nothing():
    picture = noisy(scene(), 10)
    picture[:120] = 1.0
    picture[120:] = np.clip(picture[120:], 0, 1)
    assert 255 * estimate_sigma(picture) == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize(("share", "rel"), [(0.01, 0.05), (0.02, 0.05), (0.05, 0.05), (0.3, 0.2)])
@pytest.mark.parametrize("level", [2, 25])
@pytest.mark.parametrize("picture", [scene(), colourful()], ids=["gray", "colour"])
def test_borders_of_one_colour_say_nothing(picture, level, share, rel):
    """Letterboxes, frames and margins, whatever their colour."""
    stored = np.rint(noisy(picture, level).clip(0, 1) * 255).astype(np.uint8)
    plain = estimate(as_frame(stored / 255)).sigma
    wide = int(256 * share)
    for border in (16, 128, 240):
        framed = stored.copy()
        framed[:wide] = framed[-wide:] = border
        assert estimate(as_frame(framed / 255)).sigma == pytest.approx(plain, rel=rel)
        framed = stored.copy()
        framed[:, : 2 * wide] = border
        assert estimate(as_frame(framed / 255)).sigma == pytest.approx(plain, rel=rel)


def test_drawn_pictures_are_clean():
    y, x = np.mgrid[:300, :400]
    for seed in range(4):
        rng = np.random.default_rng(seed)
        picture = np.full((300, 400), 200.0)
        for _ in range(30):
            inside = (x - rng.integers(400)) ** 2 + (y - rng.integers(300)) ** 2 < rng.integers(
                3000
            )
            picture[inside] = rng.integers(256)
        assert 255 * estimate(as_frame(picture / 255)).sigma < 0.01


def test_white_noise_is_told_as_white():
    for picture in (scene(), colourful()):
        found = estimate(as_frame(noisy(picture, 15)))
        assert found.model == "gaussian"
        assert found.correlation < 0.1
        assert found.gain == 0
        assert found.offset == found.sigma
        assert 255 * found.sigma == pytest.approx(15, rel=0.05)
        intensities, levels = np.transpose(found.curve)
        assert np.all(np.diff(intensities) > 0)
        assert 255 * np.median(levels) == pytest.approx(15, rel=0.1)


def test_correlated_noise_is_seen_where_white_estimators_see_nothing():
    picture = camera(scene(), 6)
    white, found = estimate_sigma(picture), estimate(as_frame(picture))
    assert 255 * white < 1
    assert 4 < 255 * found.sigma < 18
    assert found.correlation > 0.7
    stronger = estimate(as_frame(camera(scene(), 12)))
    assert stronger.sigma == pytest.approx(2 * found.sigma, rel=0.2)


def test_clean_pictures_are_clean():
    assert 255 * estimate(as_frame(scene())).sigma < 1.5
    assert 255 * estimate(as_frame(colourful())).sigma < 1.5


def test_levels_per_channel_of_luma_and_chroma():
    opponent = to_opponent(colourful().astype(np.float32))
    levels = np.array([5, 10, 20])
    opponent += np.random.default_rng(0).normal(size=opponent.shape) * levels / 255
    found = estimate(from_opponent(opponent).astype(np.float32))
    assert found.sigma_channels is not None
    np.testing.assert_allclose(255 * np.array(found.sigma_channels), levels, rtol=0.05)
    rms = np.sqrt(np.mean(np.square(found.sigma_channels)))
    assert found.sigma == pytest.approx(rms)
    assert estimate(as_frame(noisy(scene(), 9))).sigma_channels is None


def test_opponent_space_is_orthonormal():
    pixels = np.random.default_rng(0).random((4, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(from_opponent(to_opponent(pixels)), pixels, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(to_opponent(pixels)), np.linalg.norm(pixels), 1e-6)


@pytest.mark.parametrize(("gain", "offset"), [(0.004, 0.0), (0.01, 0.03)])
def test_poisson_gaussian_noise_is_told(gain, offset):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:300, :300] / 300
    clean = 0.05 + 0.8 * x + 0.05 * np.sin(9 * y)
    picture = rng.poisson(clean / gain) * gain + rng.normal(size=clean.shape) * offset
    found = estimate(as_frame(picture))
    assert found.model == "poisson-gaussian"
    assert found.gain == pytest.approx(gain, rel=0.15)
    assert found.offset == pytest.approx(offset, abs=0.01)
    rms = np.sqrt(np.mean(gain * clean + offset**2))
    assert found.sigma == pytest.approx(rms, rel=0.08)
    bottom, top = found.curve[0][1], found.curve[-1][1]
    assert top > 1.3 * bottom


def test_estimates_repeat():
    picture = as_frame(camera(colourful(), 5))
    assert estimate(picture) == estimate(picture.copy())


def test_large_pictures_are_sampled():
    tile = (np.clip(noisy(scene(500, 500), 10), 0, 1) * 255).astype(np.uint8)
    large = np.tile(tile, (16, 16))  # 64 megapixels
    tracemalloc.start()
    start = time.perf_counter()
    found = estimate_sigma(large)
    seconds = time.perf_counter() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 255 * found == pytest.approx(10, rel=0.08)
    assert peak < 64e6
    assert seconds < 2


def test_the_input_is_not_changed():
    picture = as_frame(noisy(colourful(64, 64), 10))
    before = picture.copy()
    estimate(picture)
    np.testing.assert_array_equal(picture, before)
