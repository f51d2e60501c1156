"""Convolutions on tensor cores, whose instructions the stand-in has in C++."""

import numpy as np
import pytest

from nlm.backends import gpu_device, gpu_softmax, gpu_tensor
from nlm.backends.gpu_tensor import Layout, TensorConvolution
from tests import naive
from tests.cuda.host import HostDevice
from tests.test_gpu import needs_fibres


@pytest.fixture(params=[False, True], ids=["ascending", "descending"], autouse=True)
def card(request, monkeypatch):
    device = HostDevice(reverse=request.param)
    monkeypatch.setattr(gpu_device, "device", lambda: device)
    return device


@needs_fibres
@pytest.mark.parametrize(
    ("inputs", "outputs", "taps", "step", "slope", "add", "layout"),
    [
        (5, 20, 3, 1, 0.0, False, None),
        (9, 70, 1, 1, 1.0, True, None),
        (3, 9, 2, 2, 0.1, False, None),
        (17, 8, 3, 1, 0.1, True, Layout(1, 1, n_warps=2, n_tiles=8)),
    ],
)
def test_convolution_equals_its_naive_twin(inputs, outputs, taps, step, slope, add, layout):
    rng = np.random.default_rng(inputs)
    rows, columns = 11, 37
    picture = 100 * rng.normal(size=(inputs, rows * step, columns * step)).astype(np.float32)
    kernels = rng.normal(size=(outputs, inputs, taps, taps)).astype(np.float32)
    bias = rng.normal(size=outputs).astype(np.float32)
    residual = rng.normal(size=(outputs, rows, columns)).astype(np.float32)
    expected = naive.convolve(picture, kernels, bias, step)
    expected = np.maximum(expected, slope * expected)
    expected = expected + residual if add else expected
    out = np.zeros((outputs, rows, columns), np.float32)
    peak, out_peak = np.abs(picture).max(keepdims=True).ravel(), np.zeros(1, np.float32)
    gpu_tensor.convolve(
        picture, peak, TensorConvolution.of(kernels, bias, step, layout), out, out_peak,
        slope=slope, residual=residual if add else None,
    )  # fmt: skip
    assert np.abs(out - expected).max() < 3e-6 * 100 * np.sqrt(inputs * taps**2)
    assert out_peak[0] == np.abs(out).max()


@needs_fibres
@pytest.mark.parametrize(
    ("count", "keys", "depth", "channels", "size"),
    [(70, 150, 20, 70, 1.0), (5, 64, 64, 3, 300.0), (1, 1, 1, 1, 1e-6)],
)
def test_softmax_equals_its_naive_twin(card, count, keys, depth, channels, size):
    rng = np.random.default_rng(0)
    q, k, v = (
        rng.normal(size=shape).astype(np.float32)
        for shape in ((count, depth), (keys, depth), (keys, channels))
    )
    scores = 0.5 * q.astype(np.float64) @ k.T
    weights = np.exp(scores - scores.max(1, keepdims=True))
    expected = size * (weights / weights.sum(1, keepdims=True)) @ v
    found = gpu_softmax.attend(size * q, k / np.float32(size), size * v, 0.5)
    assert np.abs(found - expected).max() < 1e-5 * size


@needs_fibres
def test_largest_value_of_an_array():
    numbers = np.random.default_rng(0).normal(size=(7, 100)).astype(np.float32)
    assert gpu_tensor.peak_of(numbers)[0] == np.abs(numbers).max()
    assert gpu_tensor.peak_of(np.zeros((1, 1), np.float32))[0] == 0
