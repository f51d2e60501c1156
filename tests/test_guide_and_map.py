"""Pictures that come with a picture: a guide for the weights, a map of the noise level."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

import nlm
from nlm import arrays, backends, registry
from nlm.noise import Plan
from nlm.noise.levels import RATIO, levels_of
from tests import naive
from tests.conftest import checkers, noisy

SIGMA = 0.1


def ramp(rows: int, cols: int, low: float, high: float) -> np.ndarray:
    return np.broadcast_to(np.linspace(low, high, cols, dtype=np.float32), (rows, cols))


class TestGuide:
    def test_the_picture_itself_changes_nothing(self):
        image = noisy(checkers(60, 70, 3), SIGMA)
        guided = nlm.denoise(image, channel_axis=-1, guide=image)
        assert np.array_equal(guided, nlm.denoise(image, channel_axis=-1))

    def test_weights_without_the_noise_of_the_picture(self):
        clean = checkers(100, 90, 3)
        image = noisy(clean, 2 * SIGMA)
        guided = nlm.denoise(image, 2 * SIGMA, channel_axis=-1, guide=clean)
        plain = nlm.denoise(image, 2 * SIGMA, channel_axis=-1)
        assert nlm.psnr(guided, clean) > nlm.psnr(plain, clean) + 1

    @pytest.mark.parametrize("its_noise", [0.0, 0.04])
    def test_equals_the_naive_twin(self, its_noise):
        guide = noisy(checkers(40, 44, 3), its_noise)
        image = noisy(checkers(40, 44), SIGMA)
        options = {"patch_size": 3, "search_radius": 3, "strength": 0.6}
        params = registry.parameters("nlm", None, options)
        given = registry.Guide(guide[None], its_noise)
        place = backends.choose("cpu")
        (result,) = registry.get("nlm").guided(image[None], SIGMA, params, place, given)
        own = max(its_noise, 1e-3)
        slow = naive.nlm(guide, image, own, 0.6 * SIGMA / own, (3, 3), (3, 3), True)
        assert np.abs(result - slow).max() < 0.1 / 255

    @pytest.mark.parametrize("tile", [None, 32])
    def test_by_tiles(self, tile):
        guide = registry.Guide(noisy(checkers(90, 80, 3), 0.02)[None], 0.02)
        image = noisy(checkers(90, 80), SIGMA)[None]
        params = registry.parameters("nlm", "fast", {})
        chosen, place = registry.get("nlm"), backends.choose("cpu")
        whole = chosen.guided(image, SIGMA, params, place, guide)
        result = arrays.apply(chosen, params, image, Plan(SIGMA), place, tile, guide)
        assert np.abs(result - whole).max() < 1e-6

    def test_sizes_must_fit(self):
        with pytest.raises(nlm.UsageError, match="a guide of 9 x 8 rows x columns does not fit"):
            nlm.denoise(np.zeros((9, 9)), SIGMA, guide=np.zeros((9, 8)))

    def test_filters_that_take_none_say_so(self):
        with pytest.raises(nlm.UsageError, match=r"nlnet.*takes no guide"):
            nlm.denoise(np.zeros((9, 9)), SIGMA, "nlnet", guide=np.zeros((9, 9)))


class TestSigmaMap:
    @pytest.mark.parametrize("method", ["nlm", "nlnet"])
    def test_constant_parts_equal_the_constant(self, method):
        image = noisy(checkers(32, 256), 0.08)[..., 0]
        levels = np.full((32, 256), 0.05, np.float32)
        levels[:, 128:] = 0.15
        result = nlm.denoise(image, levels, method)
        for part, level in ((np.s_[:, :128], 0.05), (np.s_[:, 128:], 0.15)):
            assert np.allclose(result[part], nlm.denoise(image, level, method)[part], atol=1e-6)

    def test_beats_every_constant_on_a_ramp(self):
        clean = checkers(96, 200)[..., 0]
        levels = ramp(96, 200, 0.02, 0.25)
        image = (clean + np.random.default_rng(0).normal(size=clean.shape) * levels).astype("f4")
        constant = [nlm.denoise(image, level) for level in np.geomspace(0.02, 0.25, 5)]
        mapped = nlm.denoise(image, levels)
        assert nlm.psnr(mapped, clean) > max(nlm.psnr(one, clean) for one in constant) + 0.5

    def test_volumes_and_signals_follow_it(self):
        volume = noisy(np.repeat(checkers(30, 40)[None, ..., 0], 6, 0), SIGMA)
        levels = np.full((6, 1, 1), SIGMA, np.float32)
        levels[3:] = 0
        result = nlm.denoise(volume, levels)
        assert np.array_equal(result[3:], volume[3:])
        assert np.allclose(result[:3], nlm.denoise(volume, SIGMA)[:3], atol=1e-6)
        signal = volume[0, 5]
        assert np.allclose(nlm.denoise(signal, np.full(40, SIGMA)), nlm.denoise(signal, SIGMA))

    def test_no_noise_no_change(self):
        image = noisy(checkers(40, 40), SIGMA)[..., 0]
        levels = ramp(40, 40, 0, 0.1)
        assert np.array_equal(nlm.denoise(image, levels * 0), image)
        assert np.array_equal(nlm.denoise(image, levels)[:, 0], image[:, 0])

    def test_levels_are_close_and_cover_the_map(self):
        levels = levels_of(ramp(20, 50, 0.0, 0.3))
        assert levels[0] == 0
        assert levels[-1] == pytest.approx(0.3)
        assert (levels[2:] / levels[1:-1]).max() <= RATIO + 1e-9

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"sigma": np.full((8, 9), 0.1)}, "does not fit"),
            ({"sigma": np.array([0.1, -0.1])}, "negative or infinite"),
            ({"sigma": np.full((9, 9), 0.1), "gain": 0.1}, "leave out gain"),
        ],
    )
    def test_wrong_maps_are_named(self, arguments, message):
        with pytest.raises(nlm.UsageError, match=message):
            nlm.denoise(np.zeros((9, 9), np.float32), **arguments)


class TestCommandLine:
    @pytest.fixture
    def folder(self, tmp_path):
        image = (noisy(checkers(40, 50), SIGMA).clip(0, 1) * 255).astype(np.uint8)[..., 0]
        guide = (checkers(40, 50, 3) * 255).astype(np.uint8)
        Image.fromarray(image).save(tmp_path / "a.png")
        Image.fromarray(guide).save(tmp_path / "guide.png")
        Image.fromarray(np.full((40, 50), 25, np.uint8)).save(tmp_path / "map.png")
        tifffile.imwrite(tmp_path / "map.tif", np.full((40, 50), 25.0, np.float32))
        return tmp_path

    @pytest.mark.parametrize("name", ["map.png", "map.tif"])
    def test_sigma_map(self, folder, run_nlm, name):
        done = run_nlm(
            "denoise", "a.png", "--sigma-map", name, "-o", "b.png", "--json", cwd=folder, check=0
        )
        assert json.loads(done.stdout)["sigma"] == pytest.approx(25)
        image = np.asarray(Image.open(folder / "a.png"))
        expected = nlm.denoise(image, 25 / 255)
        assert np.array_equal(np.asarray(Image.open(folder / "b.png")), expected)

    def test_guide(self, folder, run_nlm):
        run_nlm(
            "denoise", "a.png", "--sigma", 25, "--guide", "guide.png", "-o", "b.png",
            cwd=folder, check=0,
        )  # fmt: skip
        image, guide = (np.asarray(Image.open(folder / name)) for name in ("a.png", "guide.png"))
        expected = nlm.denoise(image, 25 / 255, guide=guide)
        assert np.array_equal(np.asarray(Image.open(folder / "b.png")), expected)

    def test_what_does_not_fit_is_told_before_any_work(self, folder, run_nlm):
        Image.fromarray(np.zeros((7, 8), np.uint8)).save(folder / "small.png")
        for option in ("--guide", "--sigma-map"):
            done = run_nlm("denoise", "a.png", option, "small.png", "-n", cwd=folder, check=1)
            assert b"small.png" in done.stderr
            assert b"does not fit" in done.stderr
        wrong = run_nlm(
            "denoise", "a.png", "--sigma-map", "map.png", "--sigma", 5, cwd=folder, check=2
        )
        assert b"leave out --sigma" in wrong.stderr
