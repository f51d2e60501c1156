"""The network in half precision on processors with AMX."""

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nlm
from nlm.backends import Backend, cpu_amx_layer, cpu_half_layers
from nlm.backends.cpu_amx_layer import AmxWeights, in_bfloat16
from nlm.backends.threads import for_each
from nlm.learned import band_sizes
from nlm.learned.model import network_for
from tests import naive
from tests.conftest import checkers, noisy
from tests.networks import as_map, as_picture

HALF = Backend(half=True)
needs_amx = pytest.mark.skipif(not cpu_amx_layer.usable(), reason="needs a processor with AMX")


def rounded(numbers):
    """The nearest numbers of bfloat16, as float32."""
    return (in_bfloat16(numbers).astype(np.uint32) << 16).view(np.float32)


@given(st.floats(-(2.0**127), 2.0**127, width=32))
def test_bfloat16_is_the_nearest(number):
    near, number = float(rounded(np.float32([number]))[0]), float(np.float32(number))
    assert abs(near - number) <= max(abs(number) * 2.0**-8, 2.0**-134)
    assert rounded(np.float32([near]))[0] == near


@needs_amx
@settings(max_examples=25, deadline=None)
@given(
    inputs=st.sampled_from((32, 64, 96)),
    outputs=st.sampled_from((32, 64, 128)),
    rows=st.integers(1, 20),
    columns=st.integers(1, 150),
    slope=st.sampled_from((0.0, 0.1, 1.0)),
    add=st.booleans(),
)
def test_convolution_equals_its_naive_twin(inputs, outputs, rows, columns, slope, add):
    rng = np.random.default_rng(rows * columns)
    picture = rng.normal(size=(inputs, rows, columns)).astype(np.float32)
    kernels = rng.normal(size=(outputs, inputs, 3, 3)).astype(np.float32)
    bias = rng.normal(size=outputs).astype(np.float32)
    residual = rng.normal(size=(outputs, rows, columns)).astype(np.float32) if add else None
    expected = naive.convolve(rounded(picture), rounded(kernels), bias)
    expected = np.maximum(expected, slope * expected)
    expected = expected + residual if add else expected
    layer = cpu_half_layers.Convolution.of(kernels, bias)
    assert isinstance(layer, AmxWeights)
    result = cpu_half_layers.convolve(
        as_map(picture),
        layer,
        for_each,
        slope=slope,
        residual=as_map(residual) if add else None,
    )
    assert np.abs(as_picture(result) - expected).max() < 1e-5 * np.sqrt(inputs * 9)
    assert not result.data[:, [0, -1]].any()
    assert not result.data[:, :, [0, -1]].any()


@pytest.mark.parametrize(
    ("shape", "step"), [((32, 5, 3, 3), 1), ((4, 32, 3, 3), 1), ((32, 32, 2, 2), 2)]
)
def test_other_layers_are_as_exact_as_ever(shape, step):
    layer = cpu_half_layers.Convolution.of(np.zeros(shape), np.zeros(shape[0]), step)
    assert not isinstance(layer, AmxWeights)


@needs_amx
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.3])
def test_the_network_loses_next_to_nothing(channels, sigma):
    net = network_for(channels)
    clean = np.repeat(checkers(90, 131), channels, -1)
    picture = noisy(clean, sigma)
    exact, half = (one.denoise(picture, sigma, for_each) for one in (net, net.on(HALF)))
    assert 0 < np.abs(exact - half).max() < 0.03 * sigma + 0.003
    assert nlm.psnr(half, clean) > nlm.psnr(exact, clean) - 0.02


@needs_amx
def test_bands_equal_the_whole():
    net = network_for(1).on(HALF)
    picture = noisy(checkers(330, 70), 0.1)
    whole = net.denoise(picture, 0.1, for_each)
    with mock.patch.multiple(band_sizes, LARGEST_WHOLE=0, SHARE=1):
        assert np.abs(net.denoise(picture, 0.1, for_each) - whole).max() < 1e-6


@needs_amx
def test_the_filter_takes_it():
    picture = noisy(checkers(64, 64), 0.1)[..., 0]
    exact, half = (nlm.denoise(picture, 0.1, "nlnet", half=one) for one in (False, True))
    assert 0 < np.abs(exact - half).max() < 0.01


def test_without_amx_it_is_refused(monkeypatch):
    monkeypatch.setattr(cpu_amx_layer, "usable", lambda: False)
    picture = np.zeros((64, 64), np.float32)
    with pytest.raises(nlm.UsageError, match="AMX"):
        nlm.denoise(picture, 0.1, "nlnet", half=True, backend="cpu")


def test_what_the_processor_does_not_have_is_not_asked_for(monkeypatch):
    monkeypatch.setattr(cpu_amx_layer, "machine", lambda: ("haswell", "+avx2,+fma"))
    assert not cpu_amx_layer.usable.__wrapped__()


def test_twins_are_made_once():
    net = network_for(1)
    assert net.on(HALF) is net.on(replace(HALF, threads=2))
    assert net.on(HALF) is not net.on(Backend())
