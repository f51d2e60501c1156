"""The non-local operation against its slow twin, other libraries and classical non-local means."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlm.attention import PAIRWISE, non_local
from nlm.backends import cpu_non_local
from nlm.backends.neighbours import Neighbours
from nlm.errors import UsageError
from tests import naive
from tests.conftest import checkers, noisy

SOFTMAX_FORMS = ("gaussian", "embedded_gaussian", "distance")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def projections(channels, depth, out_channels, pairwise):
    """Keywords of a call with all its matrices."""
    matrices = {
        "theta": normal(channels, depth, seed=1) / 2,
        "phi": normal(channels, depth, seed=2) / 2,
        "g": normal(channels, out_channels, seed=3),
    }
    w_f = normal(2 * depth, seed=4) if pairwise == "concatenation" else None
    return {**matrices, "pairwise": pairwise, "w_f": w_f}


def assert_equals_twin(x, **arguments):
    fast, slow = non_local(x, **arguments), naive.non_local(x, **arguments)
    assert fast.dtype == np.float32
    assert fast.shape == slow.shape
    np.testing.assert_allclose(fast, slow, rtol=2e-5, atol=2e-5 * max(1, np.abs(slow).max()))


@pytest.mark.parametrize("window", [None, 2, "each"])
@pytest.mark.parametrize("grid", [(70,), (7, 11), (3, 6, 5)])
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_equals_the_naive_twin(pairwise, grid, window):
    window = {None: None, 2: (2,) * len(grid), "each": (1, 3, 2)[-len(grid) :]}[window]
    x = normal(*grid, 6)
    assert_equals_twin(x, **projections(6, 3, 4, pairwise), scale=0.7, window=window)


@settings(max_examples=60, deadline=None)
@given(
    grid=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    channels=st.integers(1, 5),
    depth=st.integers(1, 9),
    out_channels=st.integers(1, 10),
    pairwise=st.sampled_from(PAIRWISE),
    scale=st.floats(0.01, 3),
    windowed=st.booleans(),
    data=st.data(),
)
def test_equals_the_naive_twin_for_all_sizes(
    grid, channels, depth, out_channels, pairwise, scale, windowed, data
):
    axes = len(grid)
    radius = st.lists(st.integers(0, 5), min_size=axes, max_size=axes)
    window = tuple(data.draw(radius)) if windowed else None
    subsample = data.draw(st.integers(1, min(3, *grid[-2:], 3)))
    x = normal(*grid, channels)
    arguments = projections(channels, depth, out_channels, pairwise)
    assert_equals_twin(x, **arguments, scale=scale, window=window, subsample=subsample)


@pytest.mark.parametrize("grid", [(9,), (8, 7), (2, 4, 6)])
@pytest.mark.parametrize("pairwise", ["gaussian", "distance", "dot_product"])
def test_left_out_matrices_are_the_identity(pairwise, grid):
    assert_equals_twin(normal(*grid, 3), pairwise=pairwise)


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("pairwise", SOFTMAX_FORMS)
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_rows_of_the_softmax_sum_to_one(pairwise, window, size):
    x = normal(11, 12, 4) * np.float32(size)
    x[..., 3] = 1
    ones = non_local(x, g=[[0], [0], [0], [1]], pairwise=pairwise, window=window)
    np.testing.assert_allclose(ones, 1, rtol=1e-6)


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_full_window_equals_global(pairwise):
    x = normal(3, 9, 10, 4)
    arguments = projections(4, 4, 5, pairwise)
    everything = non_local(x, **arguments)
    assert np.array_equal(non_local(x, **arguments, window=(2, 8, 9)), everything)
    windowed = cpu_non_local.non_local(
        *(x @ arguments[name] for name in ("theta", "phi", "g")),
        pairwise=pairwise,
        w_f=arguments["w_f"],
        radius=(3, 9, 10),
    )
    np.testing.assert_allclose(windowed, everything, rtol=1e-5, atol=1e-5)


def test_an_axis_of_a_window_may_be_open():
    x = normal(4, 6, 5, 2)
    assert np.array_equal(non_local(x, window=(None, 1, 1)), non_local(x, window=(3, 1, 1)))


def test_large_scores_do_not_overflow():
    x = normal(300, 3) * 200
    fast = non_local(x)
    winner = x[np.argmax(x.astype(np.float64) @ x.T.astype(np.float64), axis=1)]
    np.testing.assert_allclose(fast, winner, rtol=1e-5)


def test_distances_are_exact_far_from_zero():
    x = normal(60, 2) * np.float32(0.01) + np.float32(100)
    fast = non_local(x, g=np.eye(2) / 100, pairwise="distance", scale=1e4)
    slow = naive.non_local(x, g=np.eye(2) / 100, pairwise="distance", scale=1e4)
    np.testing.assert_allclose(fast, slow, rtol=1e-6)


def test_many_keys_and_queries():
    x = normal(1500, 5)
    scores = x.astype(np.float64) @ x.T
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    slow = (weights / weights.sum(axis=1, keepdims=True)) @ x
    np.testing.assert_allclose(non_local(x), slow, rtol=2e-5, atol=2e-5)


def test_attention_with_a_key_bias():
    queries, keys, values = normal(50, 4), normal(33, 4, seed=1), normal(33, 3, seed=2)
    bias = 3 * normal(33, seed=3)
    near = Neighbours((1, 1, 50), (1, 1, 33))
    fast = cpu_non_local.attend(queries, keys, values, near, scale=0.5, bias=bias)
    weights = np.exp(0.5 * queries.astype(np.float64) @ keys.T + bias)
    np.testing.assert_allclose(
        fast, weights @ values / weights.sum(axis=1, keepdims=True), atol=1e-5
    )


class TestClassicalNonLocalMeans:
    """Classical non-local means without its sigma term is windowed attention on patches."""

    H, PATCH, RADIUS = 0.1, 5, 3

    @pytest.fixture
    def image(self):
        return noisy(checkers(40, 44), 0.05)

    def patches(self, image):
        windows = np.lib.stride_tricks.sliding_window_view(image[..., 0], (self.PATCH,) * 2)
        return windows.reshape(*windows.shape[:2], self.PATCH**2)

    def inner(self, picture):
        margin = self.RADIUS
        return picture[margin:-margin, margin:-margin]

    def classical(self, image):
        sigma, half = 1e-7, self.PATCH // 2
        slow = naive.nlm(
            image, image, sigma, self.H / sigma, (self.PATCH,) * 2, (self.RADIUS,) * 2, False
        )
        return self.inner(slow[half:-half, half:-half])

    def test_by_the_distance_form(self, image):
        patches = self.patches(image)
        centre = np.eye(self.PATCH**2)[:, [self.PATCH**2 // 2]]
        scale = 1 / (self.H * self.PATCH) ** 2
        y = non_local(patches, g=centre, pairwise="distance", scale=scale, window=self.RADIUS)
        np.testing.assert_allclose(self.inner(y), self.classical(image), atol=2e-6)

    def test_by_attention_with_a_key_bias(self, image):
        patches = self.patches(image)
        grid = (1, *patches.shape[:2])
        keys = patches.reshape(-1, self.PATCH**2) / self.PATCH
        near = Neighbours(grid, grid, radius=(0, self.RADIUS, self.RADIUS))
        y = cpu_non_local.attend(
            2 * keys / self.H**2,
            keys,
            keys[:, [self.PATCH**2 // 2]] * self.PATCH,
            near,
            bias=-(keys**2).sum(axis=1) / self.H**2,
        )
        y = y.reshape(*patches.shape[:2], 1)
        np.testing.assert_allclose(self.inner(y), self.classical(image), atol=2e-5)


def test_equals_scaled_dot_product_attention():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = normal(13, 17, 8)
    arguments = projections(8, 6, 9, "embedded_gaussian")
    flat = [torch.from_numpy(x.reshape(-1, 8) @ arguments[n]) for n in ("theta", "phi", "g")]
    expected = torch.nn.functional.scaled_dot_product_attention(*(one[None] for one in flat))[0]
    fast = non_local(x, **arguments, scale=1 / np.sqrt(6)).reshape(-1, 9)
    np.testing.assert_allclose(fast, expected.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_memory_grows_with_the_number_of_positions(pairwise):
    """All weights of a 128 x 128 map would take a gigabyte."""
    x = normal(128, 128, 4)
    arguments = projections(4, 4, 4, pairwise)
    non_local(x[:8, :8], **arguments)
    tracemalloc.start()
    non_local(x, **arguments)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6


def test_input_of_any_kind():
    x = np.arange(60).reshape(5, 6, 2) % 7
    expected = naive.non_local(x)
    frozen = x.astype(np.float64)
    frozen.setflags(write=False)
    strided = np.repeat(x.astype(np.float32), 2, axis=1)[:, ::2]
    flipped = np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1]
    for one in (x, x.astype(np.uint8), frozen, strided, flipped, x.tolist(), x.astype(np.float16)):
        y = non_local(one)
        assert y.dtype == np.float32
        np.testing.assert_allclose(y, expected, atol=1e-5)
    before = x.astype(np.float32)
    kept = before.copy()
    non_local(before)[...] = 0
    assert np.array_equal(before, kept)


def test_threads_do_not_change_the_result():
    x = normal(40, 40, 4)
    alone, together = (
        cpu_non_local.non_local(*(x[None],) * 3, pairwise="gaussian", radius=r, for_each=run)
        for r in ((0, 3, 3),)
        for run in (lambda work, items: [work(one) for one in items], cpu_non_local.for_each)
    )
    assert np.array_equal(alone, together)


SQUARE = np.eye(3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": np.zeros(4)}, "1 axes; give 1, 2 or 3 axes of positions"),
        ({"x": np.zeros((1, 2, 2, 2, 3))}, "5 axes"),
        ({"x": np.zeros((0, 3))}, "empty"),
        ({"x": np.zeros((4, 3), complex)}, "complex128; give integers or floats"),
        ({"x": np.full((4, 3), np.nan)}, "NaN"),
        ({"x": np.full((4, 3), 1e200)}, "huge"),
        ({"theta": np.eye(4)}, r"theta has shape \(4, 4\).*matrix of 3 rows"),
        ({"g": np.ones(3)}, "g has shape"),
        ({"theta": np.ones((3, 2))}, "queries have 2 channels and keys have 3"),
        ({"pairwise": "cosine"}, "'cosine'; available: gaussian, embedded"),
        ({"pairwise": "concatenation"}, "needs w_f; give a vector of 6"),
        ({"pairwise": "concatenation", "w_f": np.ones(5)}, "w_f has shape"),
        ({"w_f": np.ones(6)}, "w_f is of no use for gaussian"),
        ({"scale": np.inf}, "scale inf"),
        ({"scale": "much"}, "scale 'much'"),
        ({"window": -1}, "window -1 is not allowed"),
        ({"window": 1.5}, "window 1.5 is not allowed"),
        ({"window": (1, 2, 3)}, "for 3 axes and there are 2"),
        ({"subsample": 0}, "subsample 0"),
        ({"subsample": 9}, "subsample 9.*give 4 or less"),
        ({"subsample": True}, "subsample True"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        non_local(**{"x": np.zeros((4, 5, 3)), **arguments})


def test_power_of_two_is_within_its_bound():
    from nlm.backends.simd import EXP2, ROUNDER

    x = np.linspace(-126, 127, 400_001).astype(np.float32)
    rounded = (x + np.float32(ROUNDER)) - np.float32(ROUNDER)
    rest, power = np.float64(x - rounded), np.float32(EXP2[-1])
    for coefficient in EXP2[-2::-1]:  # multiply and add, rounded once
        power = np.float32(power * rest + np.float32(coefficient))
    ratio = np.ldexp(np.float64(power), rounded.astype(int)) / np.exp2(np.float64(x))
    assert np.abs(ratio - 1).max() < 1e-7
