"""3 x 3 convolutions by Winograd's minimal filtering, at every SIMD width."""

import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlm.backends.compiled import simd_width
from nlm.backends.cpu_layers import Convolution, FeatureMap, convolve
from nlm.backends.cpu_winograd_layer import BATCH, TILE, WinogradWeights, register_block
from nlm.backends.threads import for_each
from nlm.learned.config import SQUARE
from tests import naive
from tests.conftest import ROOT

SCRIPT = """
import sys
import numpy as np
from nlm.backends import compiled
compiled.simd_width = lambda: int(sys.argv[2])
from nlm.backends.cpu_layers import Convolution, FeatureMap, convolve
from nlm.backends.threads import for_each
given = np.load(sys.argv[1])
picture, results = given["picture"], {}
source = FeatureMap.zeros(*picture.shape)
for channel, values in enumerate(picture):
    source.set(channel, values)
for outputs in (1, 80):
    layer = Convolution.of(given["kernels"][:outputs], given["bias"][:outputs])
    result = convolve(source, layer, for_each)
    results[f"to {outputs}"] = np.stack([result.get(channel) for channel in range(outputs)])
np.savez(sys.argv[1], **results)
"""


def layer_of(outputs, inputs, seed=0):
    """Weights and biases that keep the variance of what they are applied to."""
    rng = np.random.default_rng(seed)
    kernels = rng.normal(size=(outputs, inputs, 3, 3)) / np.sqrt(9 * inputs)
    return kernels.astype(np.float32), rng.normal(size=outputs).astype(np.float32)


def picture_of(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def convolved(picture, kernels, bias, share=for_each, **how):
    source = FeatureMap.zeros(*picture.shape)
    for channel, values in enumerate(picture):
        source.set(channel, values)
    result = convolve(source, Convolution.of(kernels, bias), share, **how)
    return np.stack([result.get(channel) for channel in range(result.channels)])


@settings(max_examples=40, deadline=None)
@given(
    inputs=st.sampled_from([1, 3, 8, 13, 48]),
    outputs=st.sampled_from([1, 4, 12, 24, 40, 48, 80]),
    rows=st.integers(1, 21),
    columns=st.integers(1, 75),
)
def test_equals_the_plain_sum(inputs, outputs, rows, columns):
    layer, picture = layer_of(outputs, inputs), picture_of(inputs, rows, columns)
    error = convolved(picture, *layer) - naive.convolve(picture, *layer)
    assert np.abs(error).max() < 1e-5


@pytest.mark.parametrize("channels", [48, 128])
def test_rounding_errors_are_about_those_of_the_plain_sum(channels):
    (kernels, bias), picture = layer_of(channels, channels), picture_of(channels, 32, 32)
    exact = naive.convolve(picture, kernels, bias)
    plain = np.zeros(exact.shape, np.float32) + bias[:, None, None]
    padded = np.pad(picture, ((0, 0), (1, 1), (1, 1)))
    for y in range(3):
        for x in range(3):
            for c in range(channels):
                plain += kernels[:, c, y, x, None, None] * padded[c, y : y + 32, x : x + 32]
    errors = [
        np.sqrt(np.square(result - exact).mean())
        for result in (plain, convolved(picture, kernels, bias))
    ]
    assert errors[1] < 3 * errors[0]


def test_a_square_does_not_depend_on_where_a_map_begins():
    layer, picture = layer_of(16, 16), picture_of(16, 40, 40)
    whole, part = convolved(picture, *layer), convolved(picture[:, 8:, 12:], *layer)
    assert np.array_equal(whole[:, 12:, 16:], part[:, 4:, 4:])
    assert SQUARE == TILE  # where tiles of a picture may begin


def test_threads_do_not_change_the_result():
    layer, picture = layer_of(80, 80), picture_of(80, 50, 70)
    one, two = (convolved(picture, *layer, partial(for_each, threads=n)) for n in (1, 2))
    assert np.array_equal(one, two)


def test_what_an_earlier_layer_left_behind_is_not_used():
    layer, picture = layer_of(8, 8), picture_of(8, 5, 9)
    before = convolved(picture, *layer)
    convolved(np.full((96, 64, 64), np.nan, np.float32), *layer_of(96, 96))
    assert np.array_equal(convolved(picture, *layer), before)


def test_nothing_beyond_a_map_is_written():
    kernels, bias = layer_of(8, 8)
    target = FeatureMap.zeros(8, 6, 7)
    source = FeatureMap.zeros(8, 6, 7)
    convolve(source, Convolution.of(kernels, bias + 1), for_each, out=target)
    assert np.all(target.data[:, ::7] == 0)
    assert np.all(target.data[:, :, ::8] == 0)
    assert np.all(target.data[:, 1:-1, 1:-1, :8] != 0)  # a vector may have lanes to spare


@pytest.mark.parametrize("width", [4, 8, 16])
@pytest.mark.parametrize("vectors", range(1, 13))
def test_registers_hold_whole_parts_of_a_batch(monkeypatch, width, vectors):
    monkeypatch.setattr("nlm.backends.cpu_winograd_layer.simd_width", lambda: width)
    together, tiles = register_block(vectors)
    assert vectors % together == 0
    assert BATCH % tiles == 0
    assert together * tiles + together + 1 <= (32 if width == 16 else 16)


def test_other_layers_stay_plain():
    kernels = np.zeros((4, 4, 3, 3), np.float32)
    bias = np.zeros(4, np.float32)
    assert isinstance(Convolution.of(kernels, bias), WinogradWeights)
    assert isinstance(Convolution.of(kernels[..., :1, :1], bias), Convolution)
    assert isinstance(Convolution.of(kernels[..., :2, :2], bias, 2), Convolution)


@pytest.mark.parametrize("width", [4, 8, 16])
def test_other_processors_get_the_same(tmp_path, width):
    if width == simd_width():
        pytest.skip("that is this processor's width")
    (kernels, bias), picture = layer_of(80, 13), picture_of(13, 19, 30)
    place = str(tmp_path / "given.npz")
    np.savez(place, picture=picture, kernels=kernels, bias=bias)
    subprocess.run(
        [sys.executable, "-c", SCRIPT, place, str(width)],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")},
        cwd=ROOT,
        check=True,
        timeout=300,
    )
    expected = naive.convolve(picture, kernels, bias)
    for name, result in np.load(place).items():
        outputs = int(name.split()[1])
        assert np.abs(result - expected[:outputs]).max() < 1e-5
