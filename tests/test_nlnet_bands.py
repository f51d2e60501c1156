"""The network by bands: what it gives is what the whole picture gives, in less memory."""

import tracemalloc
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlm import registry
from nlm.backends import Backend
from nlm.backends.threads import available_threads, for_each
from nlm.learned import band_sizes
from nlm.learned.config import ModelConfig
from nlm.learned.model import NlNet
from nlm.learned.turns import turned
from nlm.tiling import by_tiles
from tests.conftest import checkers, noisy
from tests.networks import random_weights

CONFIG = ModelConfig(
    widths=(8, 8, 8), blocks=(1, 2, 1), blocks_up=(1, 1), nonlocal_radius=(0, 3, 0)
)


@contextmanager
def bands(pixels):
    """Pictures of any size go by bands of so many pixels for each thread, about."""
    with mock.patch.multiple(band_sizes, LARGEST_WHOLE=0, SHARE=pixels):
        yield


@st.composite
def networks(draw):
    levels = draw(st.integers(1, 4))
    counts = st.integers(0, 2)

    def one_each(strategy, count):
        return tuple(draw(strategy) for _ in range(count))

    return ModelConfig(
        channels=draw(st.sampled_from((1, 3))),
        widths=one_each(st.sampled_from((4, 20)), levels),
        blocks=one_each(counts, levels),
        blocks_up=one_each(counts, levels - 1),
        nonlocal_radius=one_each(st.sampled_from((0, 0, 1, 5)), levels),
        repeats=draw(st.integers(1, 4)),
        estimates=draw(st.sampled_from(((), (), (0.6,)))),
        estimate_radius=2,
    )


@settings(max_examples=30, deadline=None)
@given(networks(), st.integers(1, 180), st.integers(1, 90), st.sampled_from((1, 2**11)))
def test_bands_equal_the_whole(config, rows, columns, pixels):
    net = NlNet(config, random_weights(config))
    random = np.random.default_rng(0)
    picture = random.random((rows, columns, config.channels), dtype=np.float32)
    level = random.random((rows, columns), dtype=np.float32) / 5
    whole = net.denoise(picture, level, for_each)
    with bands(pixels):
        assert np.abs(net.denoise(picture, level, for_each) - whole).max() < 1e-6


@pytest.mark.parametrize("pairwise", ["distance", "embedded_gaussian"])
def test_with_results_of_the_classical_filter(pairwise):
    config = replace(CONFIG, estimates=(0.6,), pairwise=pairwise)
    net = NlNet(config, random_weights(config))
    picture = noisy(checkers(150, 70), 0.1)
    whole = net.denoise(picture, 0.1, for_each)
    with bands(1):
        assert np.abs(net.denoise(picture, 0.1, for_each) - whole).max() < 1e-6


def test_memory_does_not_grow_with_the_height():
    net = NlNet(CONFIG, random_weights(CONFIG))
    peaks = []
    for rows in (512, 512, 2048):
        picture = np.zeros((rows, 96, 1), np.float32)
        with bands(2**11):
            tracemalloc.start()
            net.denoise(picture, 0.1, for_each)
            peaks.append(tracemalloc.get_traced_memory()[1] - picture.nbytes)
            tracemalloc.stop()
    assert peaks[2] < 1.1 * peaks[1]


def test_the_model_of_memory_holds():
    config = replace(CONFIG, widths=(32, 32, 32))
    net = NlNet(config, random_weights(config))
    picture = np.zeros((1024, 384, 1), np.float32)
    with bands(2**13):
        net.denoise(picture[:64], 0.1, for_each)
        tracemalloc.start()
        net.denoise(picture, 0.1, for_each)
        peak = tracemalloc.get_traced_memory()[1] - picture.nbytes
        tracemalloc.stop()
        pixels = 2**13 * available_threads()
        held = 4 * band_sizes.numbers_held(picture.shape, config, pixels)
    assert 0.7 * held < peak < 1.3 * held


def test_small_pictures_are_whole_and_large_ones_bands():
    config = registry.parameters("nlnet", "balanced", {})._networks[0]
    assert band_sizes.rows_for((1024, 1024), config) is None
    rows = band_sizes.rows_for((1025, 1024, 3), config)
    assert 0 < rows < 1025
    assert rows % config.align == 0
    assert band_sizes.rows_for((100, 10**6), config) == config.align


def test_tall_tiles_are_as_high_as_the_picture():
    shapes = []

    def apply(part):
        shapes.append(part.shape[1:3])
        return part

    picture = np.random.default_rng(0).random((1, 300, 100, 1), dtype=np.float32)
    assert np.array_equal(by_tiles(apply, picture, (0, 8, 8), 48, 8, tall=True), picture)
    assert shapes == [(300, 56), (300, 60), (300, 12)]


def test_the_filter_takes_tall_tiles_on_the_processor():
    chosen = registry.get("nlnet")
    params, best = (registry.parameters("nlnet", one, {}) for one in ("balanced", "best"))
    assert params.tall
    assert not best.tall
    wide, tall = (params.working_memory(*shape, 3) for shape in ((1024, 8192), (8192, 1024)))
    assert tall < wide
    picture = np.random.default_rng(0).random((1, 1100, 1000, 1), dtype=np.float32)
    by_bands = chosen.apply(picture, 0.1, params, Backend())
    with mock.patch.object(band_sizes, "LARGEST_WHOLE", 2**30):
        assert np.abs(chosen.apply(picture, 0.1, params, Backend()) - by_bands).max() < 1e-6


@pytest.mark.parametrize("turns", [1, 2])
def test_upright_copies_alone_are_tall(turns):
    picture = np.zeros((8, 16, 1), np.float32)
    assert all(turned(picture, turn).shape == picture.shape for turn in range(turns))
    assert registry.parameters("nlnet", None, {"turns": turns}).tall
    assert not registry.parameters("nlnet", None, {"turns": 3}).tall


def test_a_larger_part_never_needs_less_memory():
    params = registry.parameters("nlnet", None, {})
    needs = [params.working_memory(rows, 1024, 3) for rows in range(128, 4096, 128)]
    assert needs == sorted(needs)
