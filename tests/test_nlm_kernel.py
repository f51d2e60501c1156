"""The classical kernel against its slow twin, and what it promises of its arithmetic."""

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlm.backends import cpu, cpu_layout, cpu_tiles
from nlm.backends.compiled import simd_width
from nlm.backends.cpu import nlm
from tests import naive
from tests.conftest import checkers, noisy

TOLERANCE = 0.01 / 255


def both(image, sigma, strength, patch, radius, aggregate, values=None):
    values = image if values is None else values
    options = {"patch": patch, "radius": radius, "aggregate": aggregate}
    return (
        nlm(image, values, sigma, strength, **options),
        naive.nlm(image, values, sigma, strength, **options),
    )


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 90),
    cols=st.integers(1, 90),
    channels=st.integers(1, 4),
    sigma=st.floats(2 / 255, 80 / 255),
    strength=st.floats(0.3, 1.2),
    half=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    radius=st.tuples(st.integers(0, 7), st.integers(0, 7)),
    aggregate=st.booleans(),
    seed=st.integers(0, 99),
)
def test_equals_the_naive_twin(
    rows, cols, channels, sigma, strength, half, radius, aggregate, seed
):
    image = noisy(checkers(rows, cols, channels), sigma, seed)
    patch = (2 * half[0] + 1, 2 * half[1] + 1)
    fast, slow = both(image, sigma, strength, patch, radius, aggregate)
    assert np.abs(fast - slow).max() < TOLERANCE


@pytest.mark.parametrize("level", [10, 50])
def test_many_roundings_of_large_patches_in_colour_do_not_show(level):
    sigma = level / 255
    image = noisy(checkers(60, 70, 3, period=23), sigma)
    fast, slow = both(image, sigma, 0.3, (31, 31), (10, 10), False)
    assert np.abs(fast - slow).max() < TOLERANCE


def test_a_flat_part_is_rounded_as_the_whole_is(monkeypatch):
    # tiles that share pairs would add in another order
    monkeypatch.setattr(cpu_layout, "grids", lambda: [(1, 1)])
    monkeypatch.setattr(cpu, "tiles_for", cpu_layout.tiles_for.__wrapped__)
    sigma = 50 / 255
    image = noisy(checkers(90, 160, 3), sigma)
    image[:, 80:] = noisy(np.full((90, 80, 3), 0.5, np.float32), sigma / 5)
    options = {"patch": (31, 31), "radius": (6, 6), "aggregate": False}
    whole = nlm(image, image, sigma, 0.3, **options)
    part = nlm(image[:, 100:], image[:, 100:], sigma, 0.3, **options)
    assert np.abs(whole[:, 130:] - part[:, 30:]).max() < 1e-6


@pytest.mark.parametrize("aggregate", [False, True])
@pytest.mark.parametrize("patch", [5, 7, 11])
def test_little_noise_beside_edges_of_full_range(aggregate, patch):
    board = (checkers(90, 140, period=13) > 0.5).astype(np.float32)
    image = noisy(board, 1 / 255)
    fast, slow = both(image, 1 / 255, 0.5, (patch, patch), (6, 6), aggregate)
    assert np.abs(fast - slow).max() < TOLERANCE


@pytest.mark.parametrize("aggregate", [False, True])
def test_sums_of_floats_are_as_good_as_those_of_integers(aggregate, monkeypatch):
    board = (checkers(150, 170, period=13) > 0.5).astype(np.float32)
    image = noisy(board, 20 / 255)
    options = {"patch": (7, 7), "radius": (6, 6), "aggregate": aggregate}
    floats = nlm(image, image, 20 / 255, 0.55, **options)
    monkeypatch.setattr(cpu, "FLOAT_SUMS", 0)
    integers = nlm(image, image, 20 / 255, 0.55, **options)
    assert 0 < np.abs(floats - integers).max() < TOLERANCE / 5


@pytest.mark.parametrize("side", [3, 7, 15])
def test_sums_of_floats_beside_the_steepest_edges_they_are_used_for(side):
    board = (checkers(70, 150, period=13) > 0.5).astype(np.float32)
    image = noisy(board, 5 / 255)
    span = cpu.value_range(image)
    least = span * np.sqrt(np.log2(np.e) / cpu.FLOAT_SUMS)  # of h
    for strength, capped in ((0.99, True), (1.01, False)):
        arithmetic = cpu.arithmetic_for(span, 1, least, strength, (side, side))
        assert arithmetic.capped is capped
        fast, slow = both(image, float(least), strength, (side, side), (4, 4), False)
        assert np.abs(fast - slow).max() < TOLERANCE


@pytest.mark.parametrize("aggregate", [False, True])
def test_caps_change_nothing_where_sums_cannot_overflow(aggregate, monkeypatch):
    image = noisy(checkers(70, 90, 3, period=13), 5 / 255)
    options = {"patch": (7, 7), "radius": (6, 6), "aggregate": aggregate}
    results = []
    for capped in (False, True):
        monkeypatch.setattr(cpu, "_needs_cap", lambda *_, capped=capped: capped)
        results.append(nlm(image, image, 5 / 255, 0.5, **options))
    assert np.array_equal(*results)


def test_sums_are_capped_where_they_might_overflow():
    image = noisy(checkers(60, 60), 2 / 255)
    image[30, 30] = 1e3
    fast, slow = both(image, 2 / 255, 0.5, (7, 7), (5, 5), False)
    away = np.ones(image.shape[:2], bool)
    away[30, 30] = False
    assert np.abs(fast - slow)[away].max() < TOLERANCE
    assert fast[30, 30] == pytest.approx(1e3)


def test_guide_gives_weights_and_values_come_from_the_picture():
    guide = noisy(checkers(70, 60, 3), 0.05)
    values = noisy(checkers(70, 60, 1), 0.1, seed=5)
    fast, slow = both(guide, 0.05, 0.5, (5, 5), (6, 6), True, values)
    assert np.abs(fast - slow).max() < TOLERANCE


@pytest.mark.parametrize(
    ("channels", "radius", "aggregate"),
    [
        (1, (6, 7), True),
        (3, (6, 7), False),
        (1, (2, 2), False),
        (1, (0, 3), False),
        (1, (5, 0), True),
    ],
)
@pytest.mark.parametrize("grid", cpu_layout.grids())
def test_tiles_of_a_block_share_their_pairs(grid, channels, radius, aggregate, monkeypatch):
    monkeypatch.setattr(cpu_layout, "grids", lambda: [grid])
    monkeypatch.setattr(cpu_layout, "LARGEST_TILE", 15)
    monkeypatch.setattr(cpu, "tiles_for", cpu_layout.tiles_for.__wrapped__)
    image = noisy(checkers(101, 117, channels), 0.1)
    fast, slow = both(image, 0.1, 0.5, (5, 3), radius, aggregate)
    assert np.abs(fast - slow).max() < TOLERANCE


def test_areas_that_are_not_kept_last_as_long_as_they_are_used(monkeypatch):
    image = noisy(checkers(300, 300), 0.1)
    options = {"patch": (5, 3), "radius": (6, 7), "aggregate": True}
    usual = nlm(image, image, 0.1, 0.5, **options)
    monkeypatch.setattr(cpu_tiles, "KEPT", 0)
    assert np.array_equal(nlm(image, image, 0.1, 0.5, **options), usual)


def test_result_does_not_depend_on_where_tiles_lie():
    image = noisy(checkers(200, 200), 0.1)
    options = {"patch": (5, 5), "radius": (4, 4), "aggregate": True}
    whole = nlm(image, image, 0.1, 0.5, **options)
    part = np.ascontiguousarray(image[23:140, 31:150])
    reach = 2 * (4 + 2)
    inner = nlm(part, part, 0.1, 0.5, **options)[reach:-reach, reach:-reach]
    assert np.abs(inner - whole[23 + reach : 140 - reach, 31 + reach : 150 - reach]).max() < 1e-6


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_scales_with_the_picture(scale):
    image = noisy(checkers(60, 50), 0.1)
    options = {"patch": (5, 5), "radius": (4, 4), "aggregate": True}
    small = nlm(image, image, 0.1, 0.5, **options)
    scaled = (image * np.float32(scale)).astype(np.float32)
    large = nlm(scaled, scaled, 0.1 * scale, 0.5, **options)
    assert np.abs(large / scale - small).max() < TOLERANCE


def test_reflection_does_not_repeat_the_edge():
    assert cpu.reflected(4, 4, 5).tolist() == [1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert cpu.reflected(1, 1, 2).tolist() == [0, 0, 0, 0, 0]


@given(st.integers(1, 2000), st.integers(0, 10**6), st.integers(0, 10**6))
def test_range_of_a_picture(size, least_at, largest_at):
    numbers = np.random.default_rng(size).normal(size=(1, size, 1)).astype(np.float32)
    numbers[0, least_at % size] -= 100
    numbers[0, largest_at % size] += 1000
    assert cpu.value_range(numbers) == np.ptp(numbers)


def test_range_of_a_large_picture():
    numbers = np.zeros((3, cpu.SCANNED + 5, 1), np.float32)
    numbers[0, 0], numbers[2, -1] = 2, -3
    assert cpu.value_range(numbers) == 5


def test_power_of_two_of_a_fixed_point_number_is_within_its_bound():
    from numba import cfunc, float32, int64, types

    from nlm.backends.simd import EXP2_OFFSET, simd

    width = simd_width()
    ops = simd(width)
    constants_of, power_of, load, store = (
        ops.fixed_exp2_constants,
        ops.fixed_exp2,
        ops.load,
        ops.store,
    )

    @cfunc(types.void(types.CPointer(float32), int64, float32))
    def to_powers(numbers, count, zero):
        constants = constants_of(zero)
        for k in range(count):
            store(numbers, k, power_of(load(numbers, k), constants))

    fraction = np.arange(2**16) / 2**16
    for whole in (0, -1, -40, 20):
        bits = (whole + EXP2_OFFSET) * 2**16 + np.arange(2**16)
        powers = bits.astype(np.int32).view(np.float32)
        to_powers.ctypes(powers.ctypes.data_as(ctypes.POINTER(ctypes.c_float)), 2**16 // width, 0)
        assert np.all(np.abs(powers / 2 ** (whole + fraction) - 1) < 7.6e-5)


@pytest.mark.parametrize(
    ("strength", "aggregate"), [(0.01, False), (0.01, True), (0.1, False), (10, False), (10, True)]
)
def test_strengths_at_their_limits(strength, aggregate):
    image = noisy(checkers(40, 50), 0.1)
    fast, slow = both(image, 0.1, strength, (3, 3), (3, 3), aggregate)
    assert np.abs(fast - slow).max() < TOLERANCE
