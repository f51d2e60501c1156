"""Clips on a GPU whose memory ends while they are denoised."""

import logging
from types import SimpleNamespace
from weakref import WeakSet

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nlm
from nlm import backends, registry
from nlm.backends import gpu_device
from nlm.learned.config import ModelConfig
from nlm.resuming import as_memory_allows_in_time
from nlm.sliding import sliding
from tests.conftest import checkers, noisy
from tests.cuda.host import HostDevice
from tests.networks import random_weights, saved
from tests.test_gpu import needs_fibres

SIGMA = 0.1


class FullError(Exception):
    pass


def place(room):
    """Somewhere to run, with memory for so many frames in all."""
    return SimpleNamespace(out_of_memory=(FullError,), room=room)


def sees(reach, late, begun):
    """What tells for each frame which ones it has seen, giving it out `late` frames late."""

    def run(frames, where):
        seen, waiting = [], []

        def take(number, frame):
            begun.append(where)
            if number >= where.room:
                raise FullError
            seen.append(frame)

        for number, near in sliding(frames, reach, take):
            waiting.append((seen[number], [seen[other] for other in near]))
            while len(waiting) > late:
                yield waiting.pop(0)
        yield from waiting

    return run


@given(
    count=st.integers(0, 12), reach=st.integers(0, 3), late=st.integers(0, 1),
    room=st.integers(0, 13),
)  # fmt: skip
def test_it_does_not_show_in_the_results(count, reach, late, room):
    begun, large = [], place(count)
    run = sees(reach, late, begun)
    result = list(as_memory_allows_in_time(run, range(count), reach, place(room), large))
    assert result == list(run(range(count), large))
    if room < count:
        assert begun[room] is not begun[room + 1] is large


def test_frames_are_held_only_while_they_may_be_needed():
    class Frame:
        pass

    alive, count, reach = WeakSet(), 20, 2

    def source():
        for _ in range(count):
            frame = Frame()
            alive.add(frame)
            yield frame

    def run(frames, where):
        return (None for _ in frames)

    results = as_memory_allows_in_time(run, source(), reach, place(0), place(0))
    assert max(len(alive) for _ in results) == reach + 1


def test_without_another_place_it_is_an_error_of_one_line():
    run = sees(1, 0, [])
    with pytest.raises(nlm.FileError, match="--temporal-radius 0") as caught:
        list(as_memory_allows_in_time(run, range(5), 1, place(2), None))
    assert "\n" not in str(caught.value)


@pytest.fixture
def card(monkeypatch):
    device = HostDevice()
    monkeypatch.setattr(gpu_device, "device", lambda: device)
    monkeypatch.setattr(gpu_device, "missing", lambda: None)
    return device


@pytest.fixture
def own(request, tmp_path):
    """Parameters of a method, with a small network for the learned one."""
    if request.param != "nlnet":
        return {}
    config = ModelConfig(widths=(8, 16), blocks=(0, 0), blocks_up=(0,), nonlocal_radius=(2, 0))
    return {"weights": saved(tmp_path / "small.npz", config, random_weights(config))}


FRAMES = [noisy(checkers(30, 37), SIGMA, k) for k in range(5)]


def filling(card, frames, at):
    """Frames; before one of them comes, somebody else takes all of the card's memory."""
    for number, frame in enumerate(frames):
        if number == at:
            card.memory = 16
        yield (frame,)


def run(method, own, frames, backend):
    params = registry.parameters(method, "balanced", {**own, "temporal_radius": 1}, clip=True)
    stream = registry.get(method).stream(frames, (SIGMA,), params, backends.choose(backend))
    return [planes[0] for planes in stream]


@needs_fibres
@pytest.mark.parametrize(
    ("method", "own"), [("nlm", "nlm"), ("nlnet", "nlnet")], indirect=["own"]
)  # fmt: skip
class TestClip:
    def test_the_cpu_goes_on(self, card, caplog, method, own):
        with caplog.at_level(logging.INFO, "nlm"):
            result = run(method, own, filling(card, FRAMES, 3), "auto")
        assert card.launched
        assert "the CPU goes on from frame" in caplog.text
        expected = run(method, own, [(frame,) for frame in FRAMES], "cpu")
        assert np.abs(np.array(result) - expected).max() < 1e-4

    def test_asked_for_by_name_it_fails(self, card, method, own):
        with pytest.raises(nlm.FileError, match="--backend cpu"):
            run(method, own, filling(card, FRAMES, 3), "gpu")


@needs_fibres
@pytest.mark.parametrize("method", ["nlm", "nlnet"])
def test_pictures_for_which_no_tile_is_small_enough_are_the_cpus(card, caplog, method):
    card.memory = 1000
    image = noisy(checkers(70, 80), SIGMA)[..., 0]
    with caplog.at_level(logging.INFO, "nlm"):
        result = nlm.denoise(image, SIGMA, method)
    assert "the CPU does it" in caplog.text
    assert np.array_equal(result, nlm.denoise(image, SIGMA, method, backend="cpu"))
    with pytest.raises(nlm.FileError, match="--backend cpu"):
        nlm.denoise(image, SIGMA, method, backend="gpu")
