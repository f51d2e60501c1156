"""Clips on the GPU: the kernels on the stand-in against the CPU's, and copies beside computing."""

import logging

import numpy as np
import pytest

from nlm import backends, registry, spacetime
from nlm.backends import cpu_clip, gpu_clip, gpu_device
from nlm.backends.cpu_clip import Geometry
from tests import compiled_ahead
from tests.conftest import checkers, noisy
from tests.cuda.host import HostDevice
from tests.test_gpu import check_parity, needs_fibres

SIGMA = 0.1


@pytest.fixture(params=[False, True], ids=["ascending", "descending"])
def card(request, monkeypatch):
    device = HostDevice(reverse=request.param)
    monkeypatch.setattr(gpu_device, "device", lambda: device)
    monkeypatch.setattr(gpu_device, "missing", lambda: None)
    return device


def moving(rows, cols, count, channels=1, seed=0):
    clean = checkers(rows + 2 * count, cols + 2 * count, channels, period=11)
    parts = [clean[2 * k : 2 * k + rows, 2 * k : 2 * k + cols] for k in range(count)]
    return [noisy(part, SIGMA, seed + k) for k, part in enumerate(parts)]


@needs_fibres
@pytest.mark.parametrize(
    ("rows", "cols", "features", "values", "patch", "radius"),
    [(50, 90, 1, 1, 9, 2), (33, 40, 3, 2, 3, 1), (20, 31, 2, 2, 5, 2), (7, 5, 1, 1, 9, 3)],
)
def test_equals_the_cpus(card, rows, cols, features, values, patch, radius):
    frames = moving(rows, cols, 3, features)
    geometry = Geometry(rows, cols, features, values, patch, radius, 3)
    results = []
    for module in (gpu_clip, cpu_clip):
        clip = module.Clip(geometry, [SIGMA] * features)
        for slot, frame in enumerate(frames):
            clip.put(slot, [frame])
        moves = clip.moves([1, 0, 2])
        results.append((clip.denoise([1, 0, 2], moves, 0.6), np.asarray(moves)))
    (ours, our_moves), (theirs, their_moves) = results
    assert np.array_equal(our_moves, their_moves.transpose(1, 0, 2))
    assert np.abs(ours - theirs).max() < 3e-5  # weights of the CPU: 7.6e-5, relatively
    if rows >= 50:
        assert our_moves.any()


@needs_fibres
@pytest.mark.parametrize("count", [1, 4])
def test_clip_with_chroma_equals_the_cpus(card, count):
    luma, chroma = moving(37, 51, count), moving(19, 26, count, 2, seed=9)
    frames = [(y, uv[..., :1], uv[..., 1:]) for y, uv in zip(luma, chroma, strict=True)]
    search = spacetime.Search(9, 1, 1, 0.6, 0.8)
    ours, theirs = (
        list(spacetime.denoise(frames, (SIGMA,) * 3, search, backends.choose(name)))
        for name in ("gpu", "cpu")
    )
    assert len(ours) == len(theirs) == count
    for one, other in zip(ours, theirs, strict=True):
        for plane, twin in zip(one, other, strict=True):
            assert plane.shape == twin.shape
            assert np.abs(plane - twin).max() < 1e-5
    assert card.launched


@needs_fibres
def test_colours_are_taken_apart_on_the_card(card):
    """Frames go there and back as RGB, once."""
    frames = [(frame,) for frame in moving(37, 51, 3, 3)]
    search = spacetime.Search(9, 1, 1, 0.6, 0.8)
    ours, theirs = (
        list(spacetime.denoise(frames, (SIGMA,), search, backends.choose(name)))
        for name in ("gpu", "cpu")
    )
    assert np.abs(np.array(ours) - np.array(theirs)).max() < 1e-5
    events = [one[0] for one in card.launched]
    assert events.count("mix.cu") == len(frames) * (3 + 1)
    assert events.count("fetch") == len(frames)


@needs_fibres
def test_copies_go_on_beside_computing(card):
    """A result is waited for only when the next frame's copy back was asked for."""
    frames = [(frame,) for frame in moving(20, 30, 4)]
    search = spacetime.Search(3, 1, 1, 0.6, 0.8)
    list(spacetime.denoise(frames, (SIGMA,), search, backends.choose("gpu")))
    events = [one[0] for one in card.launched]
    begun = [n for n, event in enumerate(events) if event == "fetch"]
    ended = [n for n, event in enumerate(events) if event == "fetched"]
    assert len(begun) == len(ended) == 4
    assert all(end > begin for end, begin in zip(ended, begun[1:], strict=False))
    assert all("clip.cu" in events[a:b] for a, b in zip([0, *begun], begun, strict=False))


@needs_fibres
def test_copies_under_way_end_when_nobody_wants_the_rest(card):
    frames = [(frame,) for frame in moving(20, 30, 5)]
    search = spacetime.Search(3, 1, 1, 0.6, 0.8)
    denoised = spacetime.denoise(frames, (SIGMA,), search, backends.choose("gpu"))
    next(denoised)
    denoised.close()
    events = [one[0] for one in card.launched]
    assert events.count("fetch") == events.count("fetched") == 2


@needs_fibres
def test_without_memory_it_runs_on_the_cpu(card, caplog):
    card.memory = 1000
    frames = [(frame,) for frame in moving(20, 30, 3)]
    search = spacetime.Search(9, 1, 1, 0.6, 0.8)
    with caplog.at_level(logging.INFO, "nlm"):
        ours = list(spacetime.denoise(frames, (SIGMA,), search, backends.choose("gpu")))
    theirs = list(spacetime.denoise(frames, (SIGMA,), search, backends.choose("cpu")))
    assert np.array_equal(ours, theirs)
    assert "go to the CPU" in caplog.text


@needs_fibres
def test_patches_too_large_for_the_card_run_on_the_cpu(card, caplog):
    card.shared_per_block = 20 * 1024
    frames = [(frame,) for frame in moving(40, 50, 2)]
    search = spacetime.Search(31, 1, 1, 0.6, 0.8)
    with caplog.at_level(logging.INFO, "nlm"):
        ours = list(spacetime.denoise(frames, (SIGMA,), search, backends.choose("gpu")))
    theirs = list(spacetime.denoise(frames, (SIGMA,), search, backends.choose("cpu")))
    assert np.array_equal(ours, theirs)
    assert "too large for the GPU" in caplog.text


@pytest.fixture(scope="module")
def compiled_references():
    for future in compiled_ahead.start([{"clip": preset} for preset in registry.PRESETS]):
        future.result()


def test_copies_wait_for_what_had_the_memory_before(card):
    transfer = gpu_clip.Transfer()
    for _ in range(2):
        begun = len(transfer.up.begun)
        transfer.bring((np.zeros((3, 4, 1), np.float32),))
        assert transfer.up.begun[begun].__self__ == card.mark()


@pytest.mark.gpu
@pytest.mark.usefixtures("compiled_references")
@pytest.mark.skipif(gpu_device.missing() is not None, reason=str(gpu_device.missing()))
class TestParity:
    """CPU and GPU agree on clips within 1e-4 of full scale."""

    @pytest.mark.parametrize("preset", registry.PRESETS)
    @pytest.mark.parametrize("size", [(360, 500), (37, 51), (2, 3)])
    @pytest.mark.parametrize("chroma", [None, 1, 2])
    def test_presets(self, preset, size, chroma):
        rows, cols = size
        frames = [(frame,) for frame in moving(rows, cols, 6)]
        if chroma is not None:
            shape = (-(-rows // chroma), -(-cols // chroma))
            colours = moving(*shape, 6, 2, seed=20)
            frames = [
                (*luma, uv[..., :1], uv[..., 1:]) for luma, uv in zip(frames, colours, strict=True)
            ]
        params = registry.parameters("nlm", preset, {}, clip=True)
        sigmas = (SIGMA,) * len(frames[0])
        ours, theirs = (
            list(registry.get("nlm").stream(frames, sigmas, params, backends.choose(name)))
            for name in ("gpu", "cpu")
        )
        assert len(ours) == len(theirs) == len(frames)
        for one, other in zip(ours, theirs, strict=True):
            for plane, twin in zip(one, other, strict=True):
                check_parity(plane, twin)
