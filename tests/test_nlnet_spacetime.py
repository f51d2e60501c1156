"""The learned filter in space and time: its block against a slow twin, and clips through it."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nlm
from nlm import backends, registry
from nlm.backends import cpu_window_layer as window
from nlm.backends.threads import for_each
from nlm.clip import denoise_clip
from nlm.filters import nlnet
from nlm.learned import spacetime, weights
from nlm.learned.config import ModelConfig
from nlm.learned.model import NlNet
from nlm.noise import Plan
from nlm.sliding import sliding
from tests import networks
from tests.clips import texture as moving_texture
from tests.conftest import checkers, noisy
from tests.naive import non_local_block
from tests.networks import random_weights
from tests.test_clip_kernel import texture
from tests.test_nlnet import as_map, as_picture

SIGMA = 0.1
CONFIG = ModelConfig(
    widths=(12, 20, 24), blocks=(1, 1, 1), blocks_up=(1, 1), nonlocal_radius=(0, 3, 0),
    nonlocal_width=9,
)  # fmt: skip
PLAIN = replace(CONFIG, nonlocal_radius=(0, 0, 0))


def sharp_weights(config, seed=0):
    """Random ones, with a block that tells positions apart and changes what it is given."""
    arrays = random_weights(config, seed)
    for name, array in arrays.items():
        if name.startswith("non_local"):
            array *= 20
    return arrays


def panning(count, rows=70, cols=90, channels=1):
    world = checkers(rows, cols + 3 * count, channels, period=11)
    clean = [world[:, 3 * k : 3 * k + cols] for k in range(count)]
    return [noisy(frame, SIGMA, k) for k, frame in enumerate(clean)]


def denoised(frames, net, reach, sigma=SIGMA, tile=None, share=for_each):
    return list(spacetime.denoise(frames, sigma, net, reach, share, tile))


@pytest.fixture(scope="module")
def net():
    return NlNet(CONFIG, sharp_weights(CONFIG))


@settings(max_examples=15, deadline=None)
@given(
    channels=st.integers(1, 20),
    inner=st.integers(1, 9),
    rows=st.integers(1, 12),
    columns=st.integers(1, 20),
    radius=st.integers(1, 3),
    count=st.integers(1, 4),
    reach=st.integers(0, 2),
    pairwise=st.sampled_from(["distance", "embedded_gaussian"]),
    size=st.sampled_from([0.1, 1.0, 6.0]),
)
def test_block_equals_its_naive_twin(
    channels, inner, rows, columns, radius, count, reach, pairwise, size
):
    rng = np.random.default_rng(rows * columns)
    maps = rng.normal(size=(count, channels, rows, columns)).astype(np.float32)
    own = {}
    for name in ("theta", "phi", "g", "w_z"):
        sizes = (channels, inner) if name == "w_z" else (inner, channels)
        own[f"{name}.weight"] = (rng.normal(size=(*sizes, 1, 1)) * size).astype(np.float32)
        own[f"{name}.bias"] = rng.normal(size=sizes[0]).astype(np.float32)
    layer = window.NonLocalLayer.of(own, radius, pairwise == "distance")
    projected = [window.project(as_map(one), layer, for_each) for one in maps]
    expected = non_local_block(maps, own, (reach, radius, radius), pairwise)
    tolerance = 2e-6 * max(1, np.abs(expected).max())
    for number, near in sliding(range(count), reach, lambda *_: None):
        seen = [projected[one].keys for one in near]
        source = as_map(maps[number])
        result = window.attend(source, layer, projected[number].queries, seen, for_each)
        error = np.abs(as_picture(result) - expected[number])
        # in float32, high scores are known to some millionths of the largest of their parts
        assert error.max() < tolerance * (1 + size**2 * channels)


@pytest.mark.parametrize("pairwise", ["distance", "embedded_gaussian"])
@pytest.mark.parametrize("reach", [0, 1, 2])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_network_equals_its_twin_in_pytorch(count, reach, pairwise):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from nlm.learned import pytorch

    config = replace(CONFIG, pairwise=pairwise)
    arrays = sharp_weights(config)
    twin = pytorch.NlNet(config)
    twin.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
    frames = panning(count, 40, 56)
    pictures = torch.from_numpy(np.stack(frames).transpose(0, 3, 1, 2))
    with torch.inference_mode():
        theirs = twin(pictures, torch.full((count, 1, 1, 1), SIGMA), frames=count, reach=reach)
    ours = np.stack(denoised(frames, NlNet(config, arrays), reach))
    assert np.abs(ours - theirs.numpy().transpose(0, 2, 3, 1)).max() < 1e-4


@pytest.mark.parametrize("count", range(6))
@pytest.mark.parametrize("reach", [0, 1, 2])
def test_a_window_slides_over_the_frames(count, reach):
    taken = []
    result = []
    for number, near in sliding("abcdef"[:count], reach, lambda k, item: taken.append((k, item))):
        assert len(taken) == min(number + reach + 1, count)
        result.append((number, list(near)))
    assert taken == list(enumerate("abcdef"[:count]))
    assert result == [(k, [n for n in range(count) if abs(n - k) <= reach]) for k in range(count)]


class TestFrames:
    def test_alone_a_frame_is_a_still_picture(self, net):
        frames = panning(3)
        still = [net.denoise(frame, SIGMA, for_each) for frame in frames]
        assert np.array_equal(denoised(frames, net, 0), still)
        assert np.array_equal(denoised(frames[:1], net, 2), still[:1])

    def test_copies_of_a_frame_change_nothing(self, net):
        frame = panning(1)[0]
        still = net.denoise(frame, SIGMA, for_each)
        for result in denoised([frame] * 5, net, 2):
            assert np.abs(result - still).max() < 1e-5

    def test_others_are_seen_as_far_as_they_reach(self, net):
        frames = panning(7)
        before = denoised(frames, net, 2)
        frames[3] = noisy(frames[3], 0.3, 9)
        after = denoised(frames, net, 2)
        moved = [float(np.abs(a - b).max()) for a, b in zip(before, after, strict=True)]
        assert moved[0] == moved[6] == 0
        assert all(one > 1e-3 for one in moved[1:6])

    def test_ends_of_a_scene_have_fewer(self, net):
        frames = panning(5)
        whole = denoised(frames, net, 1)
        assert np.array_equal(whole[0], denoised(frames[:2], net, 1)[0])
        assert np.array_equal(whole[4], denoised(frames[3:], net, 1)[1])
        assert np.array_equal(whole[2], denoised(frames[1:4], net, 1)[1])

    def test_few_are_held(self, net):
        taken = 0

        def source():
            nonlocal taken
            for frame in panning(8, 16, 16):
                taken += 1
                yield frame

        for done, _ in enumerate(spacetime.denoise(source(), SIGMA, net, 2, for_each), 1):
            assert taken == min(done + 2, 8)

    @pytest.mark.parametrize("varying", [False, True])
    def test_tiles_equal_the_whole(self, net, varying):
        frames = panning(4, 130, 203)
        level = np.full((130, 203), SIGMA, np.float32)
        level[:, 80:] += 0.05 * varying
        sigma = level if varying else SIGMA
        whole = np.stack(denoised(frames, net, 1, sigma))
        tiles = np.stack(denoised(frames, net, 1, sigma, tile=60))
        assert np.abs(whole - tiles).max() < 1e-5

    @pytest.mark.parametrize("block", [(2, 0, 0), (0, 0, 2)])
    def test_the_block_may_be_at_any_level(self, block):
        config = replace(CONFIG, nonlocal_radius=block)
        net = NlNet(config, sharp_weights(config))
        frames = panning(3, 45, 50)
        still = [net.denoise(frame, SIGMA, for_each) for frame in frames]
        assert np.array_equal(denoised(frames, net, 0), still)
        tiles = np.stack(denoised(frames, net, 2, tile=30))
        assert np.abs(np.stack(denoised(frames, net, 2)) - tiles).max() < 1e-5

    @pytest.mark.parametrize("channels", [1, 2])
    def test_a_gray_network_takes_each_channel_by_itself(self, net, channels):
        frames = panning(3, channels=channels)
        whole = np.stack(denoised(frames, net, 1))
        for c in range(channels):
            alone = denoised([frame[..., c : c + 1] for frame in frames], net, 1)
            assert np.array_equal(whole[..., c], np.stack(alone)[..., 0])

    @pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (2, 3), (9, 8)])
    def test_small_frames(self, net, shape):
        frames = [noisy(np.full((*shape, 1), 0.5), SIGMA, k) for k in range(3)]
        results = denoised(frames, net, 2)
        assert [one.shape for one in results] == [(*shape, 1)] * 3
        assert np.isfinite(results).all()

    def test_nothing_comes_of_nothing(self, net):
        assert denoised([], net, 2) == []

    def test_threads_do_not_change_the_result(self, net):
        frames = panning(3)
        one, two = (denoised(frames, net, 1, share=partial(for_each, threads=n)) for n in (1, 2))
        assert np.array_equal(one, two)

    @pytest.mark.parametrize(
        "config", [PLAIN, replace(CONFIG, repeats=2), replace(CONFIG, nonlocal_radius=(1, 1, 0))]
    )
    def test_other_networks_have_no_block_to_stop_at(self, config):
        net = NlNet(config, random_weights(config))
        assert net.only_block is None
        with pytest.raises(ValueError, match="several"):
            net.to_block(panning(1)[0], SIGMA, for_each)


def averaging_weights(config):
    """By hand: a network whose block averages what its windows show, and nothing else.

    Unshuffled pixels go down as they are and come to the head by the block only: it finds as noise
    what a pixel has more than the average of those in its window, in all frames.
    """
    arrays = {name: np.zeros(shape, np.float32) for name, shape in config.shapes().items()}
    pixels = np.arange(4)
    arrays["stem.weight"][pixels, pixels, 1, 1] = 1
    block = "non_local.0"
    arrays[f"{block}.g.weight"][pixels, pixels] = 1
    arrays[f"{block}.w_z.weight"][pixels, pixels] = -1
    arrays["head.weight"][pixels, pixels, 1, 1] = 1
    return arrays


class TestWhatTimeBuys:
    CONFIG = ModelConfig(
        widths=(8, 8), blocks=(0, 0), blocks_up=(0,), nonlocal_radius=(1, 0), nonlocal_width=4
    )

    def test_a_still_clip_of_noise_gets_better(self):
        """Means of 9 positions in each of n frames leave sigma / sqrt(9 n)."""
        net = NlNet(self.CONFIG, averaging_weights(self.CONFIG))
        frames = [noisy(np.full((64, 80, 1), 0.5), SIGMA, k) for k in range(5)]
        errors = [
            np.std((denoised(frames, net, reach)[2] - 0.5)[4:-4, 4:-4]) for reach in (0, 1, 2)
        ]
        expected = [SIGMA / np.sqrt(9 * count) for count in (1, 3, 5)]
        assert errors == pytest.approx(expected, rel=0.08)


@pytest.fixture
def saved(tmp_path):
    def save(config, arrays=None):
        arrays = sharp_weights(config) if arrays is None else arrays
        return networks.saved(tmp_path / f"{len(list(tmp_path.iterdir()))}.npz", config, arrays)

    return save


class TestShippedWeights:
    """Where things move, as in the clips that the weights were trained on, time helps."""

    @pytest.mark.parametrize(("channels", "gain"), [(1, 0.5), (3, 0.05)])
    def test_time_helps(self, channels, gain):
        world = texture(96, 150)[..., None] * np.linspace(1, 0.6, channels, dtype=np.float32)
        clean = [world[:, 3 * k : 3 * k + 120] for k in range(5)]
        frames = [(noisy(frame, SIGMA, k),) for k, frame in enumerate(clean)]
        quality = []
        for own in ({"temporal_radius": 0, "blend": 0}, {"blend": 0}, {}):
            params = registry.parameters("nlnet", "balanced", own, clip=True)
            stream = registry.get("nlnet").stream(frames, (SIGMA,), params, backends.choose("cpu"))
            middle = list(stream)[2][0]
            quality.append(nlm.psnr(middle, clean[2]))
        assert quality[1] > quality[0] + gain
        assert quality[2] > quality[1] + 0.1


class TestFilter:
    CPU = backends.choose("cpu")

    def run(self, frames, path, judge=lambda plane: Plan(SIGMA), blend=0, **given):
        chosen = registry.get("nlnet")
        given |= {"weights": path, "blend": blend}
        params = registry.parameters("nlnet", "balanced", given, clip=True)
        return list(denoise_clip(frames, chosen, params, judge, self.CPU))

    def test_each_plane_is_seen_in_time_with_its_own_level(self, saved):
        luma = panning(4)
        clip = [(y, y[::2, ::2], 1 - y[::2, ::2]) for y in luma]
        path = saved(CONFIG)
        levels = {70: 0.1, 35: 0.05}
        result = self.run(clip, path, lambda plane: Plan(levels[len(plane)]), strength=0.8)
        net = NlNet(*weights.load(path)[:2])
        for index, level in enumerate((0.1, 0.05, 0.05)):
            alone = denoised([planes[index] for planes in clip], net, 2, 0.8 * level)
            assert np.array_equal([planes[index] for planes in result], alone)

    @pytest.mark.parametrize("radius", [1, 2])
    def test_the_classical_filters_result_is_mixed_in(self, saved, radius):
        path = saved(CONFIG)
        clip = [(y, y[::2, ::2]) for y in panning(4)]
        how = {"temporal_radius": radius}
        mixed, learned = (self.run(clip, path, blend=share, **how) for share in (0.25, 0))
        params = registry.parameters("nlm", None, how, clip=True)
        classical = list(registry.get("nlm").stream(clip, (SIGMA, SIGMA), params, self.CPU))
        for both in zip(mixed, learned, classical, strict=True):
            for got, one, other in zip(*both, strict=True):
                assert np.abs(got - (0.75 * one + 0.25 * other)).max() < 1e-6

    @pytest.mark.parametrize("blend", [0, 0.5])
    def test_a_plane_without_noise_stays(self, saved, blend):
        clip = [(y, y[::2, ::2]) for y in panning(3)]
        levels = {70: SIGMA, 35: 0}
        result = self.run(clip, saved(CONFIG), lambda one: Plan(levels[len(one)]), blend)
        for old, new in zip(clip, result, strict=True):
            assert np.array_equal(old[1], new[1])
            assert np.abs(old[0] - new[0]).max() > 1e-2

    def test_scenes_are_never_mixed(self, saved):
        path = saved(CONFIG)
        one = moving_texture(60, 80, 5, period=23).astype(np.float32)
        other = np.swapaxes(moving_texture(80, 60, 5, step=0.7), 1, 2)[:, :, ::-1] ** 2
        scenes = [[(frame,) for frame in noisy(scene, 0.02)] for scene in (one, other)]
        both = self.run([*scenes[0], *scenes[1]], path)
        assert np.array_equal(both, [*self.run(scenes[0], path), *self.run(scenes[1], path)])

    @pytest.mark.parametrize(
        ("config", "given"),
        [(CONFIG, {"temporal_radius": 0}), (PLAIN, {}), (replace(CONFIG, repeats=2), {})],
    )
    def test_otherwise_each_frame_is_for_itself(self, saved, config, given):
        frames = panning(3)
        path = saved(config)
        result = self.run([(frame,) for frame in frames], path, **given)
        net = NlNet(*weights.load(path)[:2])
        still = [net.denoise(frame, SIGMA, for_each) for frame in frames]
        assert np.array_equal([planes[0] for planes in result], still)

    def test_huge_frames_are_each_for_itself(self, saved, monkeypatch):
        path = saved(CONFIG)
        clip = [(frame,) for frame in panning(3)]
        alone = self.run(clip, path, temporal_radius=0)
        assert not np.array_equal(self.run(clip, path), alone)
        monkeypatch.setattr(nlnet, "MOST_PIXELS", 3 * 70 * 90 - 1)
        assert np.array_equal(self.run(clip, path), alone)

    def test_colour_networks_see_time_too(self, saved):
        config = replace(CONFIG, channels=3)
        path, frames = saved(config), panning(3, channels=3)
        result = self.run([(frame,) for frame in frames], path)
        net = NlNet(*weights.load(path)[:2])
        assert np.array_equal([planes[0] for planes in result], denoised(frames, net, 2))

    def test_too_little_memory_of_a_card_is_an_error_of_one_line(self, saved, monkeypatch):
        class FullError(MemoryError):
            pass

        def fail(*_):
            raise FullError

        monkeypatch.setattr(NlNet, "to_block", fail)
        monkeypatch.setattr(backends.Backend, "out_of_memory", (FullError,))
        with pytest.raises(nlm.FileError, match="--temporal-radius 0") as caught:
            self.run([(frame,) for frame in panning(2)], saved(CONFIG))
        assert "\n" not in str(caught.value)


def test_command_line(saved, run_nlm, tmp_path):
    """An animation: nlnet looks around in time, and is told not to."""
    from nlm.io import open_reader

    frames = (np.stack(panning(4))[..., 0].clip(0, 1) * 255).astype(np.uint8)
    nlm_tiff = tmp_path / "stack.tiff"
    import tifffile

    tifffile.imwrite(nlm_tiff, frames, photometric="minisblack")
    path = saved(CONFIG)
    results = []
    for radius in ("2", "0"):
        out = tmp_path / f"out{radius}.tiff"
        run_nlm(
            "denoise", str(nlm_tiff), "-o", str(out), "--stack", "clip", "--method", "nlnet",
            "--weights", path, "--sigma", "20", "--temporal-radius", radius, check=0,
        )  # fmt: skip
        with open_reader(out) as reader:
            results.append(np.stack([frame.planes[0][..., 0] for frame in reader]))
    assert results[0].shape == results[1].shape == frames.shape
    assert not np.array_equal(*results)
