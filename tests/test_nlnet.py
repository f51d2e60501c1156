"""The learned filter: its layers, its twin in PyTorch, and its files of weights."""

import json
import os
import zipfile
from dataclasses import asdict, replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as arrays_of
from PIL import Image

import nlm
from nlm import registry
from nlm.backends import Backend
from nlm.backends.cpu_layers import Convolution, convolve
from nlm.backends.threads import for_each
from nlm.errors import FileError
from nlm.learned import turns, weights
from nlm.learned.config import ModelConfig
from nlm.learned.model import NlNet, network_for
from nlm.learned.packing import FINENESS, packed, unpacked
from nlm.tiling import by_tiles
from tests import naive
from tests.conftest import ROOT, checkers, noisy
from tests.networks import as_map, as_picture, no_larger_files_than, random_weights

SMALL = ModelConfig(widths=(20, 24), blocks=(1, 1), blocks_up=(1,), nonlocal_radius=(0, 0))


def changes(config):
    """What sets a configuration apart from `SMALL`."""
    own, small = asdict(config), asdict(SMALL)
    return {name: value for name, value in own.items() if value != small[name]}


@settings(max_examples=30, deadline=None)
@given(
    inputs=st.integers(1, 40),
    outputs=st.integers(1, 70),
    rows=st.integers(1, 20),
    columns=st.integers(1, 30),
    kind=st.sampled_from([(1, 1), (3, 1), (2, 2)]),
    slope=st.sampled_from([0.0, 0.1, 1.0]),
    add=st.booleans(),
)
def test_convolution_equals_its_naive_twin(inputs, outputs, rows, columns, kind, slope, add):
    taps, step = kind
    rng = np.random.default_rng(rows * columns)
    picture = rng.normal(size=(inputs, rows * step, columns * step)).astype(np.float32)
    kernels = rng.normal(size=(outputs, inputs, taps, taps)).astype(np.float32)
    bias = rng.normal(size=outputs).astype(np.float32)
    residual = rng.normal(size=(outputs, rows, columns)).astype(np.float32) if add else None
    expected = naive.convolve(picture, kernels, bias, step)
    expected = np.maximum(expected, slope * expected)
    expected = expected + residual if add else expected
    result = convolve(
        as_map(picture),
        Convolution.of(kernels, bias, step),
        for_each,
        slope=slope,
        residual=as_map(residual) if add else None,
    )
    assert np.abs(as_picture(result) - expected).max() < 1e-4 * np.sqrt(inputs * taps**2)


@pytest.mark.parametrize("shape", [(64, 64), (61, 75), (8, 100)])
@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        ModelConfig(channels=3, widths=(48, 64, 96)),
        replace(SMALL, repeats=3),
        replace(SMALL, nonlocal_radius=(3, 2)),
        replace(SMALL, nonlocal_radius=(2, 0), nonlocal_width=5, pairwise="embedded_gaussian"),
        replace(SMALL, channels=3, estimates=(0.5, 0.8)),
        replace(SMALL, nonlocal_radius=(0, 5), estimates=(0.6,), repeats=2),
    ],
    ids=lambda config: repr(changes(config)),
)
def test_network_equals_its_twin_in_pytorch(shape, config):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from nlm.learned import pytorch, train

    arrays = random_weights(config)
    twin = pytorch.NlNet(config)
    twin.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
    picture = np.random.default_rng(1).random((*shape, config.channels), dtype=np.float32)
    ours = NlNet(config, arrays).denoise(picture, 0.1, for_each)
    theirs = train.denoise(twin, picture.transpose(2, 0, 1), 0.1, torch.device("cpu"))
    assert np.abs(ours - theirs.transpose(1, 2, 0)).max() < 1e-4


def test_estimates_are_the_classical_filter_of_the_networks_backend():
    asked = []

    def kernel(features, values, sigma, strength, **geometry):
        asked.append((float(sigma), strength, geometry["patch"], geometry["radius"]))
        return np.float32(0.5) * values

    config = replace(SMALL, estimates=(0.4, 0.7), estimate_patch=3, estimate_radius=2)
    net = NlNet(config, random_weights(config))
    net.kernels = SimpleNamespace(nlm=kernel)
    picture = noisy(checkers(40, 48), 0.1)
    inputs = net.given(picture, 0.25, for_each)
    assert np.array_equal(inputs.guides, np.repeat(picture / 2, 2, -1))
    net.given(picture[:1], 0.25, for_each)
    shapes = [((3, 3), (2, 2))] * 2 + [((1, 3), (0, 2))] * 2
    assert asked == [(0.25, s, *one) for s, one in zip((0.4, 0.7) * 2, shapes, strict=True)]


def test_where_the_level_varies_estimates_compare_in_units_of_it():
    config = replace(SMALL, estimates=(0.6,), estimate_patch=3, estimate_radius=2)
    picture = noisy(checkers(20, 24), 0.1)
    level = np.linspace(0.05, 0.2, 24, dtype=np.float32) * np.ones((20, 1), np.float32)
    found = NlNet(config, random_weights(config)).given(picture, level, for_each).guides
    geometry = {"patch": (3, 3), "radius": (2, 2), "aggregate": True}
    expected = naive.nlm(picture / level[..., None], picture, 1.0, 0.6, **geometry)
    assert np.abs(found - expected).max() < 1e-3


@pytest.mark.parametrize("config", [SMALL, replace(SMALL, estimates=(0.6,))])
def test_a_map_of_sigma_equals_a_number(config):
    net = NlNet(config, random_weights(config))
    picture = noisy(checkers(40, 48), 0.1)
    level = np.full((40, 48), 0.1, np.float32)
    assert np.array_equal(
        net.denoise(picture, 0.1, for_each), net.denoise(picture, level, for_each)
    )


def test_a_map_of_sigma_rules_each_place():
    net = network_for(1)
    clean = checkers(96, 192)
    level = np.full((96, 192), 0.02, np.float32)
    level[:, 96:] = 0.2
    picture = noisy(clean, 1) * level[..., None] + clean * (1 - level[..., None])
    errors = {
        name: np.square(net.denoise(picture, sigma, for_each) - clean)
        .reshape(96, 2, 96)
        .mean((0, 2))
        for name, sigma in (("map", level), ("left", 0.02), ("right", 0.2))
    }
    assert np.all(errors["map"] < 1.1 * np.minimum(errors["left"], errors["right"]))


REACHING = [
    SMALL,
    replace(SMALL, repeats=2),
    replace(SMALL, nonlocal_radius=(3, 2)),
    replace(SMALL, estimates=(0.6,)),
    replace(SMALL, nonlocal_radius=(0, 3), pairwise="embedded_gaussian", estimates=(0.6,)),
]


@pytest.mark.parametrize("config", REACHING)
def test_halo_is_the_networks_reach(config):
    net = NlNet(config, random_weights(config))
    size, halo = 2 * config.halo + 32, config.halo
    picture = noisy(checkers(size, size), 0.1)
    changed = picture.copy()
    changed[0, 0] += 1
    moved = net.denoise(changed, 0.1, for_each) - net.denoise(picture, 0.1, for_each)
    moved = np.abs(moved) > 1e-6  # a number may change the rounding of its whole tile
    assert moved.any()
    assert not moved[halo + 1 :].any()
    assert not moved[:, halo + 1 :].any()


@pytest.mark.parametrize("config", REACHING)
@pytest.mark.parametrize("varying", [False, True])
def test_tiles_equal_the_whole(config, varying):
    net = NlNet(config, random_weights(config))
    picture = noisy(checkers(150, 203), 0.1)
    level = np.full((150, 203, 1), 0.1, np.float32)
    level[:, 80:] += 0.05 * varying
    both = np.concatenate((picture, level), -1)[None]

    def apply(part):
        return net.denoise(part[0, ..., :1], part[0, ..., 1], for_each)[None]

    reach = (0, config.halo, config.halo)
    tiles = by_tiles(apply, both, reach, 40, config.align)[..., :1]
    assert np.abs(tiles - apply(both)).max() < 1e-6


class TestTurns:
    @pytest.mark.parametrize("turn", range(8))
    def test_turning_back_undoes_turning(self, turn):
        picture = noisy(checkers(6, 9), 0.1)
        turned = turns.turned(picture, turn)
        assert np.array_equal(turns.turned_back(turned, turn), picture)
        assert sum(np.array_equal(turned, turns.turned(picture, k)) for k in range(8)) == 1

    def test_all_eight_treat_every_direction_alike(self):
        config = ModelConfig(widths=(16, 16), blocks=(1, 1), blocks_up=(1,),
                             nonlocal_radius=(0, 2))  # fmt: skip
        net = NlNet(config, random_weights(config))
        picture = noisy(checkers(48, 64), 0.1)
        result = turns.denoise(net, picture, 0.1, 8, Backend())
        for turn in range(8):
            other = turns.denoise(net, turns.turned(picture, turn), 0.1, 8, Backend())
            assert np.allclose(turns.turned_back(other, turn), result, atol=1e-5)

    def test_tiles_equal_the_whole(self):
        config = ModelConfig(widths=(16, 16), blocks=(1, 1), blocks_up=(1,),
                             nonlocal_radius=(0, 2))  # fmt: skip
        net = NlNet(config, random_weights(config))
        picture = noisy(checkers(90, 111), 0.1)[None]

        def apply(part):
            return turns.denoise(net, part[0], 0.1, 8, Backend())[None]

        reach = (0, config.halo, config.halo)
        tiles = by_tiles(apply, picture, reach, 48, config.align)
        assert np.abs(tiles - apply(picture)).max() < 1e-6

    def test_best_averages_them(self):
        image = noisy(checkers(40, 56), 0.1)[..., 0]
        best = nlm.denoise(image, 0.1, method="nlnet", preset="best")
        assert np.array_equal(best, nlm.denoise(image, 0.1, method="nlnet", turns=8))
        assert not np.array_equal(best, nlm.denoise(image, 0.1, method="nlnet"))


@pytest.mark.parametrize("name", ["camera.png", "chelsea.png"])
class TestSmall:
    """`--preset fast` takes small networks, which know the classical filter's result."""

    @pytest.fixture
    def pictures(self, name):
        with Image.open(ROOT / "sample_images" / name) as one:
            clean = np.asarray(one)[:200, :220] / 255
        return clean, noisy(clean, 0.1)

    def test_between_the_classical_filter_and_the_usual_networks(self, pictures):
        clean, image = pictures
        how = {"sigma": 0.1, "channel_axis": -1 if clean.ndim > 2 else None}
        psnr = [
            nlm.psnr(nlm.denoise(image, method=method, preset=preset, **how), clean)
            for method, preset in (("nlm", "best"), ("nlnet", "fast"), ("nlnet", "balanced"))
        ]
        assert psnr == sorted(psnr)

    def test_weights_given_by_hand_win(self, pictures):
        clean, image = pictures
        path = str(weights.shipped(1 if clean.ndim == 2 else 3))
        how = {"sigma": 0.1, "method": "nlnet", "channel_axis": -1 if clean.ndim > 2 else None}
        expected = nlm.denoise(image, **how)
        assert np.array_equal(nlm.denoise(image, preset="fast", weights=path, **how), expected)
        assert not np.array_equal(nlm.denoise(image, small=True, **how), expected)


def test_results_of_small_networks_are_told_apart():
    small, usual = (registry.parameters("nlnet", one, {}) for one in ("fast", "balanced"))
    assert not set(small.comes_with_nlm) & set(usual.comes_with_nlm)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("level", [0.02, 0.1, 0.3, 0.5])
@pytest.mark.parametrize("preset", ["fast", "balanced"])
def test_faint_noise_does_not_become_more(channels, level, preset):
    with Image.open(
        ROOT / "sample_images" / ("chelsea.png" if channels > 1 else "camera.png")
    ) as one:
        clean = np.asarray(one, np.float32).reshape(one.height, one.width, channels)[:128, :128]
    clean, sigma = clean / 255, level / 255
    image = noisy(clean, sigma)
    how = {"method": "nlnet", "preset": preset, "channel_axis": -1, "backend": "cpu"}
    result = nlm.denoise(image, sigma, **how)
    before, after = (np.sqrt(np.mean((one - clean) ** 2)) for one in (image, result))
    assert after < 1.005 * before


@pytest.mark.parametrize("scale", [4, 256, 2.0**40])
def test_floats_of_any_size_are_denoised_as_at_0_to_1(scale):
    picture = noisy(checkers(40, 52), 0.1).astype(np.float32)
    picture[3, 4] = 40  # a bright light does not decide
    level = np.full(picture.shape[:2], 0.1)
    for sigma in (None, 0.1, level):
        expected = nlm.denoise(picture, sigma, "nlnet", channel_axis=-1)
        large = None if sigma is None else sigma * scale
        found = nlm.denoise(picture * np.float32(scale), large, "nlnet", channel_axis=-1)
        np.testing.assert_allclose(found / scale, expected, rtol=1e-4, atol=1e-4)


def test_faint_noise_in_clips_does_not_become_more():
    with Image.open(ROOT / "sample_images" / "camera.png") as one:
        clean, sigma = np.asarray(one, np.float32)[:96, :96, None] / 255, 0.05 / 255
    frames = [(noisy(clean, sigma, seed),) for seed in range(3)]
    params = registry.parameters("nlnet", None, {"blend": 0}, clip=True)
    results = registry.get("nlnet").stream(frames, (sigma,), params, Backend())
    for (before,), (after,) in zip(frames, results, strict=True):
        assert np.std(after - clean) < 1.005 * np.std(before - clean)


def test_threads_do_not_change_the_result():
    net = NlNet(SMALL, random_weights(SMALL))
    picture = noisy(checkers(80, 48), 0.1)
    one, two = (net.denoise(picture, 0.1, partial(for_each, threads=n)) for n in (1, 2))
    assert np.array_equal(one, two)


class TestWeights:
    """A bad file of weights gets one clear line."""

    @staticmethod
    def save(path, change=lambda arrays, meta: None):
        arrays = random_weights(SMALL)
        meta = {"format": 1, "model": SMALL.to_dict(), "card": {"steps": 3}}
        meta["sha256"] = weights.digest(arrays)
        change(arrays, meta)
        np.savez(path, meta=np.array(json.dumps(meta)), **arrays)
        return path

    def test_good_file(self, tmp_path):
        config, arrays, card = weights.load(self.save(tmp_path / "good.npz"))
        assert (config, card["steps"]) == (SMALL, 3)
        assert card["sha256"] == weights.digest(arrays)
        assert set(arrays) == set(SMALL.shapes())

    def test_what_is_saved_comes_back_but_for_small_differences(self, tmp_path):
        arrays = random_weights(SMALL)
        arrays["head.weight"][:] = 0
        arrays["stem.weight"] *= 1e-3
        weights.save(tmp_path / "a.npz", SMALL, arrays, {"steps": 3})
        config, found, card = weights.load(tmp_path / "a.npz")
        assert (config, card["steps"]) == (SMALL, 3)
        for name, array in arrays.items():
            if array.ndim == 1:
                assert np.array_equal(found[name], array)
            else:
                assert found[name].dtype == np.float16
                size = np.sqrt(np.square(array).mean())
                assert np.abs(found[name] - array).max() <= size / FINENESS
        weights.save(tmp_path / "b.npz", SMALL, {k: np.float32(a) for k, a in found.items()}, card)
        again = weights.load(tmp_path / "b.npz")[1]
        assert all(np.array_equal(found[name], again[name]) for name in found)
        assert (tmp_path / "a.npz").stat().st_size < sum(a.size for a in arrays.values()) * 2

    @given(kernel=arrays_of(np.float32, (2, 3), elements=st.floats(-65504, 65504, width=32)))
    def test_kernels_come_back_from_their_bytes(self, kernel):
        kept = unpacked(*packed(kernel)).astype(np.float64)
        size = np.sqrt(np.square(kernel, dtype=np.float64).mean())
        smallest, share = 2.0**-24, 2.0**-11  # what float16 can tell apart
        near = 1.5 * size / FINENESS + smallest + share * np.abs(kernel)
        assert (np.abs(kept - kernel) <= near).all()

    @pytest.mark.parametrize("scale", [0.0, -0.0, 1e-44, 1e-20, 1e-6, 1e-3])
    @pytest.mark.parametrize("largest", [0.0, 32764 / 32768, -65504.0])
    def test_odd_kernels_are_read_as_they_were_saved(self, tmp_path, scale, largest):
        arrays = random_weights(SMALL)
        arrays["head.weight"] *= np.float32(scale)
        arrays["head.weight"][0, 0, 0, 0] = largest
        weights.save(tmp_path / "a.npz", SMALL, arrays, {})
        found = weights.load(tmp_path / "a.npz")[1]["head.weight"]
        assert found[0, 0, 0, 0] == pytest.approx(largest, rel=2**-11, abs=2**-24)

    @pytest.mark.parametrize("upper", [1, 2])
    def test_files_of_earlier_formats_are_read(self, tmp_path, upper):
        """Format 2 has the bytes of float16 numbers, lower ones first."""
        halves = {k: a.astype("<f2") if a.ndim > 1 else a for k, a in random_weights(SMALL).items()}

        def store(arrays, meta):
            meta.update(format=upper, sha256=weights.digest(halves))
            for name, array in halves.items():
                apart = array.view(np.uint8).reshape(*array.shape, -1)
                in_bytes = upper == 2 and array.ndim > 1
                arrays[name] = np.moveaxis(apart, -1, 0) if in_bytes else array

        found = weights.load(self.save(tmp_path / "old.npz", store))[1]
        assert all(np.array_equal(found[name], array) for name, array in halves.items())

    @pytest.mark.parametrize("unit", [0.0, -1.0, float("nan"), float("inf"), 2, "2"])
    def test_units_that_are_none(self, tmp_path, unit):
        def store(arrays, meta):
            meta["units"] = {"stem.weight": unit}
            arrays["stem.weight"] = np.zeros((2, 3), np.uint8)

        with pytest.raises(FileError, match=r"bad\.npz: .*damaged \(a unit of"):
            weights.load(self.save(tmp_path / "bad.npz", store))

    @pytest.mark.parametrize("shape", [(), (4,), (0, 4), (3, 4), (4, 4)])
    def test_bytes_that_are_no_kernel(self, tmp_path, shape):
        stored = np.zeros(shape, np.uint8)
        path = self.save(tmp_path / "bad.npz", lambda arrays, _: arrays.update(x=stored))
        with pytest.raises(FileError, match=r"bad\.npz: .*damaged \(bytes of shape"):
            weights.load(path)

    @pytest.mark.parametrize("number", [np.nan, np.inf, 1e5, -1e20])
    def test_what_went_astray_is_not_saved(self, tmp_path, number):
        arrays = random_weights(SMALL)
        arrays["head.weight"][0, 0, 0, 0] = number
        with pytest.raises(FileError, match=r"a\.npz: not written, head\.weight holds NaN or"):
            weights.save(tmp_path / "a.npz", SMALL, arrays, {})
        assert not list(tmp_path.iterdir())

    def test_what_cannot_be_written_leaves_the_old_file(self, tmp_path):
        path = tmp_path / "a.npz"
        weights.save(path, SMALL, random_weights(SMALL), {"steps": 3})
        with no_larger_files_than(3000), pytest.raises(FileError, match=r"a\.npz: cannot be wri"):
            weights.save(path, SMALL, random_weights(SMALL, seed=1), {"steps": 4})
        assert weights.load(path)[2]["steps"] == 3
        assert list(tmp_path.iterdir()) == [path]
        with pytest.raises(FileError, match=r"b\.npz: cannot be written: the folder does not"):
            weights.save(tmp_path / "none" / "b.npz", SMALL, random_weights(SMALL), {})

    def test_what_older_files_do_not_tell(self, tmp_path):
        def forget(arrays, meta):
            for name in ("leak", "estimate_patch", "estimate_radius"):
                del meta["model"][name]

        def with_estimate(arrays, meta):
            forget(arrays, meta)
            meta["model"]["estimates"] = [0.6]
            arrays["stem.weight"] = np.repeat(arrays["stem.weight"], 2, 1)[:, :9]
            meta["sha256"] = weights.digest(arrays)

        assert weights.load(self.save(tmp_path / "old.npz", forget))[0] == replace(SMALL, leak=0.0)
        found = weights.load(self.save(tmp_path / "old.npz", with_estimate))[0]
        known = {"estimates": (0.6,), "estimate_patch": 5, "estimate_radius": 6}
        assert found == replace(SMALL, leak=0.0, **known)

    @pytest.mark.parametrize("small", [False, True])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_shipped_files_are_good(self, channels, small):
        path = weights.shipped(channels, small)
        config, _, card = weights.load(path)
        assert config.channels == channels
        assert card["sigma"] == [0, 75]
        assert "sigma 0 to 75" in weights.describe(path)

    def test_shipped_files_are_small(self):
        paths = [weights.shipped(channels, small) for channels in (1, 3) for small in (0, 1)]
        assert sum(path.stat().st_size for path in paths) <= 8e6

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda a, m: m.update(format=99), "format 99"),
            (lambda a, m: a.update({"stem.bias": a["stem.bias"] + 1}), "checksum"),
            (lambda a, m: m["model"].update(warp=3), "warp"),
            (lambda a, m: m["model"].update(channels=2), "channels"),
            (lambda a, m: m["model"].update(widths=[20, 25]), "where the network needs"),
            (lambda a, m: m["model"].update(channels=3), "where the network needs"),
            (lambda a, m: m.update(format=-1), "format -1"),
            (lambda a, m: m.update(format=True), "format True"),
            (lambda a, m: m.update(card=None), "its model card is none"),
            (lambda a, m: m.update(card=[1]), "its model card is none"),
            (lambda a, m: m.update(model=[]), "describes no network"),
            (lambda a, m: m.update(model="abc"), "describes no network"),
            (lambda a, m: m.pop("model"), "describes no network"),
        ],
    )
    def test_wrong_content(self, tmp_path, change, message):
        with pytest.raises(FileError, match=message) as error:
            weights.load(self.save(tmp_path / "bad.npz", change))
        assert "bad.npz" in str(error.value)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize(
        "changes",
        [
            {"channels": True}, {"channels": 1.0}, {"estimates": ["a"]}, {"estimates": 8},
            {"estimates": [float("nan")]}, {"estimate_patch": 4}, {"estimate_radius": 0},
            {"widths": "abc"}, {"widths": 8},
            {"widths": ["a", "b"]}, {"widths": [8.5, 8]}, {"widths": [-8, 8]}, {"widths": [0, 8]},
            {"widths": [5000, 8]}, {"blocks": [1, None]}, {"blocks": [10**7, 1]},
            {"blocks_up": [-1]}, {"nonlocal_radius": [-3, 0]}, {"nonlocal_radius": [0, True]},
            {"nonlocal_radius": [0, 65]}, {"nonlocal_width": -1}, {"pairwise": ["x"]},
            {"leak": "x"}, {"leak": None}, {"leak": float("nan")}, {"repeats": 1.5},
            {"repeats": 10**9}, {"repeats": "a"},
        ],
        ids=str,
    )  # fmt: skip
    def test_numbers_that_make_no_network(self, tmp_path, changes):
        path = self.save(tmp_path / "bad.npz", lambda _, meta: meta["model"].update(changes))
        (name,) = changes
        with pytest.raises(FileError, match=rf"bad\.npz: describes no network .*{name}") as error:
            weights.load(path)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (np.float32(np.nan), "holds NaN or numbers beyond 65504"),
            (np.float32(-np.inf), "holds NaN or numbers beyond 65504"),
            (np.float64(1e300), "holds NaN or numbers beyond 65504"),
            (np.str_("0.5"), "is of type <U3, not of floats"),
            (np.bool_(True), "is of type bool"),
            (np.complex64(1), "is of type complex64"),
            (np.int32(1), "is of type int32"),
            (np.datetime64(1, "s"), "is of type datetime64"),
        ],
        ids=repr,
    )
    def test_arrays_that_hold_no_weights(self, tmp_path, values, message):
        def change(arrays, meta):
            arrays["stem.bias"] = np.full(arrays["stem.bias"].shape, values)
            meta["sha256"] = weights.digest(arrays)

        path = self.save(tmp_path / "bad.npz", change)
        with pytest.raises(FileError, match=rf"bad\.npz: stem\.bias {message}"):
            weights.load(path)

    @pytest.mark.parametrize(("place", "value"), [(8, 1), (10, 99)], ids=["encrypted", "packed"])
    def test_archives_that_cannot_be_unpacked(self, tmp_path, place, value):
        content = bytearray(self.save(tmp_path / "bad.npz").read_bytes())
        start = 0
        while (start := content.find(b"PK\1\2", start)) >= 0:  # every member, as the end lists it
            local = int.from_bytes(content[start + 42 : start + 46], "little")
            content[start + place] = content[local + place - 2] = value
            start += 4
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(FileError, match=r"bad\.npz: .*damaged") as error:
            weights.load(tmp_path / "bad.npz")
        assert "\n" not in str(error.value)

    def test_arrays_larger_than_any_memory(self, tmp_path):
        path = self.save(tmp_path / "bad.npz")
        about = {"descr": "<f4", "fortran_order": False, "shape": (10**14,)}
        with zipfile.ZipFile(path, "a") as archive, archive.open("x.npy", "w") as member:
            np.lib.format.write_array_header_1_0(member, about)
        with pytest.raises(FileError, match=r"bad\.npz: .*damaged"):
            weights.load(path)

    def test_archives_that_unpack_to_far_more_than_the_network_are_not_unpacked(self, tmp_path):
        def change(arrays, meta):
            arrays["x"] = np.zeros(10**7, np.float32)

        path = self.save(tmp_path / "good.npz", change)
        bomb = tmp_path / "bad.npz"
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(bomb, "w", 8) as target:
            for name in source.namelist():
                target.writestr(name, source.read(name))
        assert bomb.stat().st_size < 10**6
        with pytest.raises(FileError, match=r"bad\.npz: would unpack to 40 MB"):
            weights.load(bomb)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
    def test_a_pipe_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.npz")
        with pytest.raises(FileError, match=r"pipe\.npz: is no regular file"):
            weights.load(tmp_path / "pipe.npz")

    @pytest.mark.parametrize("pixels", ["many", None, True, float("nan"), -1])
    def test_a_card_with_anything_but_numbers(self, tmp_path, pixels):
        path = self.save(tmp_path / "a.npz", lambda _, meta: meta["card"].update(pixels=pixels))
        card = weights.load(path)[2]
        with pytest.raises(FileError, match=r"a\.npz: its model card says pixels"):
            weights.number_of(path, card, "pixels")
        assert weights.number_of(path, card, "steps") == 3
        assert card["sha256"][:12] in weights.describe(path)

    def test_truncated_and_flipped(self, tmp_path):
        content = self.save(tmp_path / "good.npz").read_bytes()
        flipped = bytearray(content)
        flipped[len(content) // 2] ^= 4
        for bad in (content[: len(content) // 2], bytes(flipped), b"", b"text"):
            (tmp_path / "bad.npz").write_bytes(bad)
            with pytest.raises(FileError, match=r"bad\.npz"):
                weights.load(tmp_path / "bad.npz")

    def test_pickles_are_refused(self, tmp_path):
        np.savez(tmp_path / "bad.npz", meta=np.array([{"format": 1}], dtype=object))
        with pytest.raises(FileError, match="damaged"):
            weights.load(tmp_path / "bad.npz")

    @pytest.mark.parametrize(
        ("meta", "message"),
        [("[]", "its model card is none"), ("3", "its model card is none"), ("[" * 10**5, "recur")],
        ids=["list", "number", "deep"],
    )
    def test_a_card_that_is_none(self, tmp_path, meta, message):
        np.savez(tmp_path / "bad.npz", meta=np.array(meta))
        with pytest.raises(FileError, match=message):
            weights.load(tmp_path / "bad.npz")

    def test_missing_file(self, tmp_path):
        with pytest.raises(FileError, match="does not exist"):
            weights.load(tmp_path / "none.npz")
