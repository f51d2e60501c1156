"""Groups of similar patches against their slow twin."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nlm
from nlm.backends.cpu import Groups, collaborate
from tests import naive
from tests.conftest import checkers, noisy

SIGMA = 25 / 255
KERNELS = [
    (5, 1, True), (5, 3, True), (7, 1, True),  # those of `--preset best`
    (2, 2, True), (6, 2, False), (3, 3, False),
]  # fmt: skip
"""Patch, channels and `by_pixels`: what is compiled, which takes longer than all the rest."""


def pilot_of(picture):
    return noisy(picture, SIGMA / 5, seed=7)


@pytest.mark.parametrize(("patch", "channels", "by_pixels"), KERNELS)
@settings(max_examples=3, deadline=None)
@given(
    rows=st.integers(12, 50),
    cols=st.integers(12, 50),
    step=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_equals_the_naive_twin(rows, cols, channels, patch, step, by_pixels, seed):
    """With all patches of the window as members, so that nothing hangs on which are chosen."""
    clean = checkers(rows, cols, channels)
    image = noisy(clean, SIGMA, seed)
    groups = Groups(patch, 9, min(step, patch), 1, by_pixels)
    fast = collaborate(image, pilot_of(clean), SIGMA, groups)
    slow = naive.collaborate(image, pilot_of(clean), SIGMA, groups)
    assert np.abs(fast - slow).max() < 1e-4


@pytest.mark.parametrize("channels", [1, 3])
def test_told_by_the_noisy_patches_themselves(channels):
    image = noisy(checkers(40, 30, channels), SIGMA)
    groups = Groups(9, 9, 4, 1, by_pixels=False)
    fast = collaborate(image, image, SIGMA, groups, from_pilot=False)
    slow = naive.collaborate(image, image, SIGMA, groups, from_pilot=False)
    assert np.abs(fast - slow).max() < 1e-3


@pytest.mark.parametrize("channels", [1, 3])
@settings(max_examples=4, deadline=None)
@given(
    block=st.integers(2, 5),
    log_sigma=st.floats(-4.5, -2),
    seed=st.integers(0, 99),
)
def test_black_and_white_without_noise_comes_back(channels, block, log_sigma, seed):
    """Where patches are equal, what they say of each other has no inverse."""
    dots = np.random.default_rng(seed).random((20, 25)) > 0.5
    picture = dots.repeat(block, 0).repeat(block, 1).astype(np.float32)
    picture = np.repeat(picture[..., None], channels, 2)
    sigma = 10.0**log_sigma
    result = nlm.denoise(picture, sigma, channel_axis=-1, preset="best", backend="cpu")
    assert np.abs(result - picture).max() < sigma / 2


@pytest.mark.parametrize(("by_pixels", "members", "matched"), [(True, 20, 1), (False, 12, 3)])
def test_members_are_the_nearest(by_pixels, members, matched):
    """But for some that are hardly farther."""
    clean = checkers(40, 45, 3)
    image, groups = noisy(clean, SIGMA), Groups(5, members, 4, 4, by_pixels)
    fast = collaborate(image, pilot_of(clean), SIGMA, groups, matched=matched)
    slow = naive.collaborate(image, pilot_of(clean), SIGMA, groups, matched=matched)
    assert np.abs(fast - slow).mean() < 0.02 * SIGMA


def test_the_order_of_tiles_does_not_matter():
    image = noisy(checkers(150, 130), SIGMA)
    groups = Groups(5, 30, 3, 6, True)

    def backwards(work, items):
        for item in reversed(list(items)):
            work(item)

    forth = collaborate(image, image, SIGMA, groups)
    assert np.array_equal(forth, collaborate(image, image, SIGMA, groups, for_each=backwards))


@pytest.mark.parametrize("channels", [1, 3])
def test_best_is_better_than_balanced(channels):
    clean = checkers(96, 96, channels, period=11)
    image = noisy(clean, SIGMA)
    best, balanced = (
        nlm.psnr(nlm.denoise(image, SIGMA, channel_axis=-1, preset=preset), clean)
        for preset in ("best", "balanced")
    )
    assert best > balanced + 0.2
