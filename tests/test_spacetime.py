"""Clips through the classical filter: frames in, the same frames denoised out."""

import numpy as np
import pytest

import nlm
from nlm import backends, registry
from nlm.backends import cpu_clip
from tests.conftest import noisy
from tests.test_clip_kernel import texture

SIGMA = 25 / 255
CPU = backends.choose("cpu")


def stream(frames, sigmas=(SIGMA,), preset=None, backend=CPU, **given):
    params = registry.parameters("nlm", preset, given, clip=True)
    return registry.get("nlm").stream(frames, sigmas, params, backend)


def planes(picture):
    return (picture.reshape(*picture.shape[:2], -1).astype(np.float32),)


def single(frames):
    return [nlm.denoise(frame, SIGMA) for frame in frames]


def denoised(frames, **given):
    return [out[0][..., 0] for out in stream(map(planes, frames), **given)]


def psnr(pictures, clean):
    return nlm.psnr(np.stack(pictures), np.stack(clean))


def panning(count, speed, rows=96, cols=160):
    world = texture(rows, cols + speed * count)
    return [world[:, speed * k : speed * k + cols] for k in range(count)]


@pytest.mark.parametrize("count", range(6))
@pytest.mark.parametrize("radius", [1, 2])
def test_frames_come_back_in_order(count, radius):
    levels = np.linspace(0.2, 0.8, 6)[:count]
    frames = [np.full((40, 50), level) for level in levels]
    result = denoised(frames, temporal_radius=radius, strength=0.3, sigmas=(0.01,))
    assert len(result) == count
    for one, frame in zip(result, frames, strict=True):
        assert one.shape == frame.shape
        assert np.abs(one - frame).max() < 1e-6


def test_ends_of_a_clip_have_fewer_neighbours():
    frames = [noisy(frame, SIGMA, k) for k, frame in enumerate(panning(5, 2))]
    whole = denoised(frames, temporal_radius=1)
    assert np.array_equal(whole[0], denoised(frames[:2], temporal_radius=1)[0])
    assert np.array_equal(whole[4], denoised(frames[3:], temporal_radius=1)[1])
    assert np.array_equal(whole[2], denoised(frames[1:4], temporal_radius=1)[1])


def test_frames_are_taken_one_by_one():
    taken = 0

    def source():
        nonlocal taken
        for _ in range(9):
            taken += 1
            yield planes(np.zeros((30, 30)))

    for done, _ in enumerate(stream(source()), 1):
        assert taken == min(done + 2, 9)


@pytest.mark.parametrize(
    ("luma", "chroma"),
    [((48, 64), (24, 32)), ((47, 61), (24, 31)), ((40, 51), (40, 26)), ((33, 35), (33, 35))],
)
def test_subsampled_chroma(luma, chroma):
    rng = np.random.default_rng(0)
    y, u = texture(*luma), texture(*chroma, seed=1)
    clean = (y[..., None], u[..., None], 1 - u[..., None])
    frames = [
        tuple((p + rng.normal(size=p.shape) * SIGMA).astype(np.float32) for p in clean)
        for _ in range(4)
    ]
    result = list(stream(frames, (SIGMA,) * 3))
    assert len(result) == 4
    for out, source in zip(result, frames, strict=True):
        for one, plane, truth in zip(out, source, clean, strict=True):
            assert one.shape == plane.shape
            assert nlm.psnr(one, truth) > nlm.psnr(plane, truth) + 3


def test_luma_is_brought_to_the_grid_of_chroma():
    luma = np.arange(15, dtype=np.float32).reshape(3, 5, 1)
    small = cpu_clip.shrunk(luma, (2, 3))
    assert small[..., 0].tolist() == [[3, 5, 6.5], [10.5, 12.5, 14]]
    assert cpu_clip.shrunk(luma, (3, 5)).tolist() == luma.tolist()


def test_strength_of_chroma_is_its_own():
    clean = [texture(size, size, seed)[..., None] for seed, size in enumerate((60, 30, 30))]
    frames = [tuple(noisy(plane, 0.05, k) for plane in clean) for k in range(3)]
    weak, strong = (
        next(stream(frames, (0.05,) * 3, strength_chroma=strength)) for strength in (0.3, 5.0)
    )
    assert np.array_equal(weak[0], strong[0])
    for c in (1, 2):
        assert weak[c].std() > 1.2 * strong[c].std()


def test_every_plane_has_its_own_noise():
    levels = (0.02, 0.06, 0.04)
    clean = [np.full((size, size, 1), 0.5) for size in (60, 30, 30)]
    frames = [
        tuple(noisy(p, s, 9 * k + c) for c, (p, s) in enumerate(zip(clean, levels, strict=True)))
        for k in range(4)
    ]
    for out in stream(frames, levels):
        for plane, level in zip(out, levels, strict=True):
            assert abs(plane.mean() - 0.5) < level / 8
            assert plane.std() < level / 4


class TestQuality:
    def test_time_helps_what_stands_still(self):
        clean = [texture(96, 120)] * 5
        frames = [noisy(frame, SIGMA, k) for k, frame in enumerate(clean)]
        still, moving = single(frames), denoised(frames)
        assert psnr(moving, clean) > psnr(still, clean) + 1.5
        flicker = [np.abs(np.diff(np.stack(one), axis=0)).mean() for one in (still, moving)]
        assert flicker[1] < flicker[0] / 2

    def test_colours_of_rgb_help_each_other(self):
        clean = np.stack([texture(96, 120), texture(96, 120, 1), texture(96, 120)], axis=2)
        frames = [noisy(clean, SIGMA, k) for k in range(4)]
        still = [nlm.denoise(frame, SIGMA, channel_axis=-1) for frame in frames]
        moving = [out[0] for out in stream([(frame,) for frame in frames])]
        assert psnr(moving, [clean] * 4) > psnr(still, [clean] * 4) + 1

    def test_noise_common_to_all_colours_goes(self):
        clean = [texture(96, 120)] * 4
        gray = [noisy(frame, SIGMA, k) for k, frame in enumerate(clean)]
        coloured = list(stream([(np.stack([frame] * 3, axis=2),) for frame in gray]))
        in_rgb = [out[0].mean(axis=2) for out in coloured]
        assert psnr(in_rgb, clean) > psnr(denoised(gray), clean) - 0.5

    @pytest.mark.parametrize("speed", [1, 7, 13])
    def test_search_follows_a_pan(self, speed):
        clean = panning(5, speed)
        frames = [noisy(frame, SIGMA, k) for k, frame in enumerate(clean)]
        assert psnr(denoised(frames), clean) > psnr(single(frames), clean) + 1

    @pytest.mark.parametrize("strength", [0.57, 1.2])
    def test_moving_edges_leave_no_ghosts(self, strength):
        def frame(k):
            picture = np.full((90, 150), 0.3)
            picture[30:60, 20 + 9 * k : 50 + 9 * k] = 0.8
            return picture

        clean = [frame(k) for k in range(7)]
        frames = [noisy(one, SIGMA, k) for k, one in enumerate(clean)]
        error = np.stack(denoised(frames, strength=strength)) - clean
        for k in range(7):
            behind, ahead = error[k, 35:55, : 14 + 9 * k], error[k, 35:55, 56 + 9 * k :]
            for part in (behind, ahead):
                assert np.abs(part.mean(axis=0)).max() < 0.03
                assert abs(part.mean()) < 0.006


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (2, 3), (31, 33)])
@pytest.mark.parametrize("channels", [1, 3])
def test_small_frames(shape, channels):
    rng = np.random.default_rng(0)
    frames = [(rng.random((*shape, channels)).astype(np.float32),) for _ in range(3)]
    for out, frame in zip(stream(frames), frames, strict=True):
        assert out[0].shape == frame[0].shape
        assert np.isfinite(out[0]).all()


def test_threads_do_not_change_the_result():
    frames = [planes(noisy(frame, SIGMA, k)) for k, frame in enumerate(panning(3, 5))]
    one, two = (
        [out[0] for out in stream(frames, backend=backends.choose("cpu", threads=n))]
        for n in (1, 2)
    )
    assert np.array_equal(one, two)


def test_planes_without_noise_stay():
    frames = [planes(frame) for frame in panning(3, 5)]
    for out, frame in zip(stream(frames, (1e-6,)), frames, strict=True):
        assert np.abs(out[0] - frame[0]).max() < 1e-4


def test_clips_have_parameters_of_their_own():
    usual = registry.parameters("nlm", "balanced", {}, clip=True).at(20 / 255)
    assert (usual.patch_size, usual.search_radius, usual.strength) == (9, 2, 0.57)
    strong = registry.parameters("nlm", "balanced", {}, clip=True).at(40 / 255)
    assert (strong.patch_size, strong.search_radius, strong.strength) == (15, 2, 0.44)
    given = {"patch_size": 5, "strength": 1.14, "temporal_radius": 4}
    by_hand = registry.parameters("nlm", "best", given, clip=True).at(20 / 255)
    assert {name: getattr(by_hand, name) for name in given} == given
    assert by_hand.strength_chroma == pytest.approx(2 * usual.strength_chroma)


@pytest.mark.parametrize("given", [{"refine": True}, {"aggregate": False}])
def test_what_clips_cannot_do_is_said(given):
    with pytest.raises(nlm.UsageError, match="is not for clips"):
        registry.parameters("nlm", None, given, clip=True)
