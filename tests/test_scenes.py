"""Cuts are found, and nothing else is taken for one."""

import numpy as np
import pytest

from nlm import scenes
from nlm.backends import Backend
from nlm.clip import denoise_clip
from nlm.noise import Plan
from nlm.params import Params
from nlm.registry import Filter
from tests.clips import texture
from tests.conftest import noisy


def cuts(clip):
    """Numbers of the frames that begin a scene, the first apart."""
    begins, count = [], 0
    for scene in scenes.split(list(clip), scenes.thumbnail):
        begins.append(count)
        count += sum(1 for _ in scene)
    assert count == len(clip)
    return begins[1:]


@pytest.fixture
def one():
    return texture(90, 120, 20, period=23)


@pytest.fixture
def other():
    return np.swapaxes(texture(120, 90, 20, step=0.7), 1, 2)[:, :, ::-1] ** 2


@pytest.mark.parametrize("sigma", [0, 20, 50])
def test_cuts_are_found_in_noise(one, other, sigma):
    clip = noisy(np.concatenate([one, other, one[::-1]]), sigma / 255)
    assert cuts(clip) == [20, 40]


@pytest.mark.parametrize("sigma", [0, 50])
def test_motion_fades_and_exposure_are_no_cuts(one, sigma):
    light = np.linspace(1, 0.1, 20)[:, None, None, None]
    jump = np.where(np.arange(20) < 10, 1, 0.6)[:, None, None, None]
    for clip in (one, one * light, one * jump, one + 0.3 * (1 - jump)):
        assert cuts(noisy(clip, sigma / 255)) == []


@pytest.mark.parametrize("length", [1, 2])
def test_flashes_are_no_cuts(one, length):
    clip = one.copy()
    clip[8 : 8 + length] = 1
    clip[14 : 14 + length] = clip[14 : 14 + length] * 0.1 + 0.9
    assert cuts(noisy(clip, 10 / 255)) == []


def test_noise_alone_is_no_cut():
    assert cuts(noisy(np.full((30, 40, 60, 1), 0.5), 40 / 255)) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 2)])
def test_tiny_frames(size):
    assert cuts(np.zeros((5, *size, 3), np.float32)) == []


def test_nothing():
    assert cuts([]) == []


def test_few_frames_are_held(one):
    taken = 0

    def frames():
        nonlocal taken
        for frame in one:
            taken += 1
            yield frame

    scene = next(scenes.split(frames(), scenes.thumbnail))
    for given, _ in enumerate(scene, 1):
        assert taken <= given + scenes.AHEAD


class TestClip:
    """`denoise_clip` with filters that tell what they are given."""

    def recorder(self, with_stream=True):
        calls = []

        def apply(frames, sigma, params, backend):
            calls.append(("apply", len(frames), sigma))
            return frames + 1

        def stream(frames, sigma, params, backend):
            calls.append(["stream", 0, sigma])
            for planes in frames:
                calls[-1][1] += 1
                yield tuple(plane + 1 for plane in planes)

        class Still(Params):
            halo = (0, 0, 0)

        chosen = Filter("x", Still, apply, "", stream=stream if with_stream else None)
        return chosen, calls

    def run(self, clip, chosen, judge, seen=None):
        planes = ((luma, luma[::2, ::2]) for luma in clip)
        return list(denoise_clip(planes, chosen, chosen.params(), judge, Backend(), None, seen))

    def test_each_scene_goes_through_stream_with_its_own_levels(self, one, other):
        chosen, calls = self.recorder()
        seen = []
        clip = np.concatenate([one, other])
        result = self.run(clip, chosen, lambda plane: Plan(float(plane.shape[0])), seen)
        assert calls == [["stream", 20, (90.0, 45.0)]] * 2
        assert [scene.frames for scene in seen] == [20, 20]
        for old, new in zip(clip, result, strict=True):
            assert np.array_equal(new[0], old + 1)
            assert np.array_equal(new[1], old[::2, ::2] + 1)

    def test_maps_that_are_given_tell_scenes_as_well(self, one, other):
        chosen, _ = self.recorder()
        seen, clip = [], np.concatenate([one, other])
        maps = iter([scenes.thumbnail(frame) for frame in clip])
        how = (chosen, chosen.params(), lambda _: Plan(0.1), Backend(), None, seen)
        list(denoise_clip(((frame,) for frame in clip), *how, look=lambda _: next(maps)))
        assert [scene.frames for scene in seen] == [20, 20]
        assert next(maps, None) is None

    def test_without_stream_every_plane_goes_by_itself(self, one):
        chosen, calls = self.recorder(with_stream=False)
        self.run(one, chosen, lambda plane: Plan(float(plane.shape[0])))
        assert calls == [("apply", 1, 90.0), ("apply", 1, 45.0)] * 20

    def test_the_level_of_a_scene_is_one_and_no_outlier(self, one):
        levels = iter([1.0, 9.0, 2.0, 5.0, 5.0, 5.0])
        chosen, calls = self.recorder()
        self.run(one, chosen, lambda _: Plan(next(levels)))
        assert calls == [["stream", 20, (2.0, 5.0)]]

    def test_without_noise_nothing_is_done(self, one):
        chosen, calls = self.recorder()
        result = self.run(one, chosen, lambda _: Plan(0.0))
        assert calls == []
        assert all(np.array_equal(new[0], old) for old, new in zip(one, result, strict=True))
