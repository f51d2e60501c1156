"""Large copies in pieces, with arrays that copy when their events say so, not before."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from nlm.backends import gpu_copies


class Stream:
    """Copies that were asked for and have not happened."""

    def __init__(self):
        self.begun = []

    def run(self):
        for copy in self.begun:
            copy()
        self.begun.clear()


class Event:
    def __init__(self, stream):
        self.stream = stream

    def record(self, stream):
        assert stream is self.stream

    def synchronize(self):
        self.stream.run()


class CardArray:
    def __init__(self, data):
        self.data = data
        self.dtype, self.size = data.dtype, data.size

    def reshape(self, size):
        return CardArray(self.data.reshape(size))

    def __getitem__(self, part):
        return CardArray(self.data[part])

    def set(self, pinned, stream):
        stream.begun.append(lambda: np.copyto(self.data, pinned))

    def get(self, stream, out, blocking):
        assert not blocking
        stream.begun.append(lambda: np.copyto(out, self.data))


@pytest.fixture
def stream(monkeypatch):
    stream = Stream()
    cuda = SimpleNamespace(get_current_stream=lambda: stream)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(gpu_copies, "PIECE", 100)
    pieces = [(np.full(100, np.nan, np.float32), Event(stream)) for _ in range(2)]
    monkeypatch.setattr(gpu_copies, "_pinned", lambda: pieces)
    return stream


@pytest.mark.parametrize("shape", [(100,), (3, 101), (7, 43, 2)])
def test_there_and_back(stream, shape):
    source = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    there = CardArray(np.zeros(shape, np.float32))
    back = np.zeros(shape, np.float32)
    assert gpu_copies.is_large(source)
    gpu_copies.put(source, there)
    stream.run()
    assert np.array_equal(there.data, source)
    gpu_copies.fetch(there, back)
    assert np.array_equal(back, source)


def test_what_is_small_or_no_float32_is_not_copied_in_pieces(stream):
    assert not gpu_copies.is_large(np.zeros(99, np.float32))
    assert not gpu_copies.is_large(np.zeros(1000, np.int32))
