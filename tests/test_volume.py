"""Volumes: the kernel against its slow twin, and the same promises as for pictures."""

import numpy as np
import pytest
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st

import nlm
from nlm import backends, registry
from nlm.backends.cpu_volume import Weights, nlm_volume, weighted_sums
from nlm.backends.slices import Neighbourhood
from nlm.settings import Settings
from nlm.tiling import by_tiles
from tests import naive
from tests.conftest import noisy

SIGMA = 0.1
TOLERANCE = 0.005 / 255


def blocks(*shape: int) -> np.ndarray:
    """A clean volume (Z, Y, X, C) of boxes that go through several slices."""
    z, y, x = np.mgrid[: shape[0], : shape[1], : shape[2]]
    board = 0.2 + 0.5 * ((z // 5 + y // 6 + x // 7) % 2)
    return (board[..., None] * np.linspace(1, 0.7, shape[3])).astype(np.float32)


@settings(max_examples=12, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 12), st.integers(1, 30), st.integers(1, 3)),
    sigma=st.floats(2 / 255, 80 / 255),
    strength=st.floats(0.3, 1.2),
    half=st.integers(0, 2),
    radius=st.integers(0, 2),
    aggregate=st.booleans(),
)
@example(shape=(2, 2, 8, 2), sigma=0.25, strength=1.0, half=2, radius=1, aggregate=True)
@example(shape=(2, 2, 8, 2), sigma=0.25, strength=1.0, half=2, radius=1, aggregate=False)
def test_equals_the_naive_twin(shape, sigma, strength, half, radius, aggregate):
    volume = noisy(blocks(*shape), sigma)
    options = {"patch": 2 * half + 1, "radius": radius, "aggregate": aggregate}
    fast = nlm_volume(volume, volume, sigma, strength, **options)
    long = [size > 1 for size in shape[:3]]
    patch = tuple(2 * half * far + 1 for far in long)
    reach = tuple(radius * far for far in long)
    slow = naive.nlm(volume, volume, sigma, strength, patch, reach, aggregate)
    assert np.abs(fast - slow).max() < TOLERANCE


def test_four_axes_and_a_guide_equal_the_naive_twin():
    clean = np.broadcast_to(blocks(2, 6, 7, 2), (3, 2, 6, 7, 2))
    features, values = noisy(clean, SIGMA), noisy(clean[..., :1], SIGMA, seed=1)
    fast = nlm_volume(features, values, SIGMA, 0.6, patch=3, radius=1, aggregate=True)
    slow = naive.nlm(features, values, SIGMA, 0.6, (3,) * 4, (1,) * 4, True)
    assert np.abs(fast - slow).max() < TOLERANCE


def test_little_noise_beside_edges_of_full_range():
    board = (blocks(5, 10, 12, 1) > 0.5).astype(np.float32)
    volume = noisy(board, 1 / 255)
    fast = nlm_volume(volume, volume, 1 / 255, 0.5, patch=5, radius=2, aggregate=True)
    slow = naive.nlm(volume, volume, 1 / 255, 0.5, (5,) * 3, (2,) * 3, True)
    assert np.abs(fast - slow).max() < TOLERANCE


def test_one_slice_is_a_picture():
    volume = noisy(blocks(1, 50, 60, 1), SIGMA)
    options = {"sigma": SIGMA, "channel_axis": -1, "preset": "fast", "patch_size": 3}
    as_picture = nlm.denoise(volume[0], search_radius=2, strength=0.8, **options)
    as_volume = nlm.denoise(volume, **options)
    assert np.abs(as_volume[0] - as_picture).max() < 1e-5


def test_sums_over_frames_of_a_clip():
    frames = noisy(blocks(5, 20, 30, 1), SIGMA)
    window = Neighbourhood(np.array([[[2], [1], [2], [3]]]), itself=1)
    weights = Weights(SIGMA, 0.6 * SIGMA, (3, 3), (2, 2))
    (sums,) = weighted_sums(frames, frames, window, weights)
    slow = naive.nlm(frames[1:4], frames[1:4], SIGMA, 0.6, (1, 3, 3), (1, 2, 2), False)[1]
    assert np.abs(sums[..., :1] / sums[..., 1:] - slow).max() < TOLERANCE


@pytest.mark.parametrize("preset", registry.PRESETS)
def test_depth_helps(preset):
    clean = blocks(12, 40, 44, 1)[..., 0]
    volume = noisy(clean, SIGMA)
    by_slice = np.stack([nlm.denoise(one, SIGMA, preset=preset) for one in volume])
    result = nlm.denoise(volume, SIGMA, preset=preset)
    assert result.dtype == np.float32
    assert nlm.psnr(result, clean) > nlm.psnr(by_slice, clean) + 1


def test_tiles_and_threads_do_not_change_it():
    chosen = registry.get("nlm")
    params = registry.parameters("nlm", "fast", {}, volume=True)
    volume = noisy(blocks(26, 30, 27, 1), SIGMA)
    reach = params.halo[1]

    def apply(part, threads=2):
        return chosen.volume.apply(part, SIGMA, params, backends.choose("cpu", threads))

    whole = apply(volume)
    assert np.array_equal(whole, apply(volume, threads=1))
    tiles = by_tiles(apply, volume, (reach, reach, reach), 16)
    assert np.abs(tiles - whole).max() < 1e-6


def test_dtype_and_axis_of_colour():
    volume = (noisy(blocks(5, 20, 21, 3), SIGMA).clip(0, 1) * 65535).astype(np.uint16)
    result = nlm.denoise(volume, SIGMA, channel_axis=-1)
    moved = nlm.denoise(np.moveaxis(volume, -1, 0), SIGMA, channel_axis=0)
    assert (result.shape, result.dtype) == (volume.shape, np.uint16)
    assert np.array_equal(np.moveaxis(moved, 0, -1), result)


def test_noise_of_a_volume_is_estimated():
    clean = np.full((6, 64, 64), 0.5, np.float32)
    result = nlm.denoise(noisy(clean, SIGMA))
    assert nlm.psnr(result, clean) > 35


def test_filters_that_know_no_volumes_say_so():
    with pytest.raises(nlm.UsageError, match=r"nlnet.*volumes; these do: nlm"):
        nlm.denoise(np.zeros((5, 9, 9), np.float32), 0.1, "nlnet")


def test_a_stack_of_slices(tmp_path):
    volume = (noisy(blocks(6, 30, 33, 1), SIGMA).clip(0, 1) * 255).astype(np.uint8)[..., 0]
    tifffile.imwrite(tmp_path / "a.tif", volume, photometric="minisblack")
    done = nlm.denoise_file(
        tmp_path / "a.tif", tmp_path / "b.tif", Settings(sigma=SIGMA, stack="volume")
    )
    assert done.frames == 6
    assert np.array_equal(tifffile.imread(tmp_path / "b.tif"), nlm.denoise(volume, SIGMA))


def test_slices_of_different_sizes_are_no_volume(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for size in (20, 30):
            writer.write(np.zeros((size, size), np.uint8))
    with pytest.raises(nlm.FileError, match=r"differ in size.*--stack pages"):
        nlm.denoise_file(tmp_path / "a.tif", tmp_path / "b.tif", Settings(stack="volume"))
