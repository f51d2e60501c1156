"""Stored samples to float and back without losing any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nlm.errors import UsageError
from nlm.frames import (
    fill_holes,
    fill_invalid,
    fill_transparent,
    full_scale,
    to_float,
    to_stored,
)
from nlm.io import Info

DTYPES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")
SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, max_side=9)


def info_of(dtype: str, bits: int) -> Info:
    return Info("x", 1, 1, 1, False, np.dtype(dtype), bits)


@given(st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, SHAPES)))
def test_what_the_filter_kept_is_kept_bit_for_bit(stored) -> None:
    back = to_stored(to_float(stored), stored)
    assert back.dtype == stored.dtype
    assert back.tobytes() == stored.tobytes()


@given(hnp.arrays("f8", SHAPES))
def test_filled_holes_come_back_as_they_were(stored) -> None:
    filled, invalid = fill_invalid(to_float(stored))
    assert np.isfinite(filled).all()
    assert (invalid >= ~np.isfinite(stored)).all()
    back = to_stored(filled * np.float32(0.5), stored)
    lost = ~np.isfinite(stored)
    assert back[lost].tobytes() == stored[lost].tobytes()


@given(st.sampled_from(("u1", "u2")).flatmap(lambda dtype: hnp.arrays(dtype, SHAPES)), st.data())
def test_bits_below_the_container(stored, data) -> None:
    bits = data.draw(st.integers(2, 8 * stored.dtype.itemsize))
    info = info_of(stored.dtype.str, bits)
    assert to_stored(to_float(stored, info), stored, info).tobytes() == stored.tobytes()
    filtered = np.full(stored.shape, 2.0, "f4")
    changed = to_float(stored, info) != filtered
    assert (to_stored(filtered, stored, info)[changed] == 2**bits - 1).all()


@pytest.mark.parametrize("dtype", DTYPES[:8])
def test_integers_are_rounded_and_clipped(dtype: str) -> None:
    limits = np.iinfo(dtype)
    stored = np.array([[[limits.min], [0], [limits.max]]], dtype)
    assert (to_stored(np.full((1, 3, 1), 9, "f4"), stored) >= limits.max * 0.999).all()
    low = 0 if limits.min == 0 else limits.min
    assert (to_stored(np.full((1, 3, 1), -9, "f4"), stored) == low).all()


def test_rounding_is_to_nearest() -> None:
    stored = np.zeros((1, 3, 1), "u1")
    filtered = np.array([10.4, 10.6, 254.6], "f4").reshape(1, 3, 1) / 255
    assert to_stored(filtered, stored).ravel().tolist() == [10, 11, 255]


@pytest.mark.parametrize(
    "shape", [(1, 70001, 1), (70001, 1, 1), (300, 301, 3), (0, 5, 1), (5, 0, 1)]
)
@pytest.mark.parametrize("dtype", ["u1", "i2"])
def test_large_pictures_come_back_whole(shape: tuple[int, ...], dtype: str) -> None:
    generator = np.random.default_rng(0)
    limits = np.iinfo(dtype)
    stored = generator.integers(limits.min, limits.max, shape).astype(dtype)
    filtered = to_float(stored) + generator.normal(size=shape).astype("f4") * np.float32(0.1)
    wanted = np.rint(filtered * np.float32(limits.max)).clip(limits.min, limits.max)
    assert (to_stored(filtered, stored) == wanted).all()


@pytest.mark.parametrize("dtype", ["u4", "i4", "f8"])
def test_wide_samples_keep_what_float32_cannot_hold(dtype: str) -> None:
    generator = np.random.default_rng(0)
    scale = full_scale(np.dtype(dtype))
    stored = (generator.random((20, 30, 2)) * scale).astype(dtype)
    step = np.float32(2**-9)
    back = to_stored(to_float(stored) + step, stored)
    room = stored < 0.9 * scale
    difference = back[room].astype("f8") - stored[room].astype("f8")
    np.testing.assert_allclose(difference, float(step) * scale, rtol=1e-4)


@pytest.mark.parametrize("kind", ["u2", "u4", "i8", "f4", "f8"])
def test_byte_order_stays(kind: str) -> None:
    stored = np.arange(24).reshape(2, 4, 3).astype(">" + kind)
    assert to_stored(to_float(stored) * 2, stored).dtype == stored.dtype


def test_values_outside_the_range_are_kept_in_floats() -> None:
    stored = np.array([[[-3.5], [1e5], [7.25]]], "f4")
    np.testing.assert_array_equal(to_float(stored), stored)
    np.testing.assert_array_equal(to_stored(stored * 2, stored), stored * 2)


@pytest.mark.parametrize("dtype", ["bool", "c8", "O", "U3"])
def test_types_without_grey_levels_are_refused(dtype: str) -> None:
    with pytest.raises(UsageError, match="no grey levels"):
        to_float(np.zeros((2, 2, 1), dtype))


def test_full_scale() -> None:
    assert full_scale(np.dtype("u2"), 12) == 4095
    assert full_scale(np.dtype("u2")) == 65535
    assert full_scale(np.dtype("i2")) == 32767
    assert full_scale(np.dtype("f8")) == 1
    assert to_float(np.array([[[4095]]], "u2"), info_of("u2", 12)).item() == 1


@given(SHAPES, st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_holes_are_filled_from_good_samples_only(shape, seed, share) -> None:
    generator = np.random.default_rng(seed)
    picture = generator.random(shape).astype("f4")
    holes = generator.random(shape) < share
    picture[holes] = np.nan
    filled = fill_holes(picture, holes)
    np.testing.assert_array_equal(filled[~holes], picture[~holes])
    for channel in range(shape[2]):
        good = picture[..., channel][~holes[..., channel]]
        low, high = (good.min(), good.max()) if good.size else (0, 0)
        assert filled[..., channel].min() >= low - 1e-6
        assert filled[..., channel].max() <= high + 1e-6


def test_a_hole_takes_the_values_around_it() -> None:
    picture = np.repeat(np.linspace(0, 1, 64, dtype="f4")[None, :, None], 64, axis=0)
    holes = np.zeros((64, 64, 1), bool)
    holes[20:24, 40:44] = True
    filled = fill_holes(np.where(holes, np.float32(np.inf), picture), holes)
    assert np.abs(filled - picture).max() < 0.1


def test_invisible_colours_do_not_bleed_and_come_back() -> None:
    generator = np.random.default_rng(1)
    stored = generator.integers(100, 110, (30, 40, 3), "u1")
    alpha = np.full((30, 40), 255, "u1")
    alpha[10:20, 10:30] = 0
    stored[alpha == 0] = (255, 0, 255)
    seen = fill_transparent(to_float(stored), alpha)
    assert seen.min() * 255 >= 99.9
    assert seen.max() * 255 <= 110.1
    back = to_stored(seen * 0 + 0.5, stored, alpha=alpha)
    np.testing.assert_array_equal(back[alpha == 0], stored[alpha == 0])
    assert (back[alpha > 0] == 128).all()


def test_nothing_given_is_changed() -> None:
    for dtype in DTYPES:
        stored = np.ones((3, 4, 1), dtype)
        stored.flags.writeable = False
        filtered = to_float(stored)
        filtered.flags.writeable = False
        to_stored(filtered, stored, alpha=np.zeros((3, 4), "u1"))
        fill_invalid(filtered)
