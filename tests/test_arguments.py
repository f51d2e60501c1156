"""What the Python functions are given: numbers of any type, and what is wrong is named."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import nlm
from nlm.compat import opencv
from nlm.compat.skimage import denoise_nl_means
from nlm.filters.nlm import NlmParams
from nlm.filters.nlnet import NlnetParams
from nlm.learned.weights import shipped
from nlm.settings import Settings
from tests.conftest import checkers, noisy

SIGMA = 20 / 255
GRAY = noisy(checkers(24, 26), SIGMA)[..., 0]
COLOUR = noisy(checkers(24, 26, 3), SIGMA)


@pytest.mark.parametrize("given", [3, 3.0, np.int64(3), np.uint8(3), np.float32(3), np.array(3)])
def test_whole_numbers_of_any_type(given):
    expected = nlm.denoise(GRAY, SIGMA, patch_size=3, search_radius=3)
    assert np.array_equal(nlm.denoise(GRAY, SIGMA, patch_size=given, search_radius=given), expected)
    assert type(NlmParams(patch_size=given).patch_size) is int


@pytest.mark.parametrize("given", [0.75, np.float32(0.75), np.array(0.75), Fraction(3, 4)])
def test_numbers_of_any_type(given):
    assert np.array_equal(
        nlm.denoise(GRAY, sigma=given, strength=given), nlm.denoise(GRAY, 0.75, strength=0.75)
    )


def test_truth_values_of_numpy_and_paths():
    assert NlmParams(aggregate=np.False_).aggregate is False
    path = str(shipped(1))
    assert NlnetParams(weights=Path(path)).weights == path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patch_size": "5"}, "patch size '5' is not allowed; give an odd whole number"),
        ({"patch_size": [5]}, r"patch size \[5\] is not allowed"),
        ({"patch_size": np.array([5])}, r"patch size array\(\[5\]\) is not allowed"),
        ({"strength": "0.5"}, "strength '0.5' is not allowed; give a number from"),
        ({"strength": 10**400}, "strength 1000.* is not allowed"),
        ({"aggregate": "yes"}, "aggregate 'yes' is not allowed; give True or False"),
        ({"method": None}, "unknown method None"),
        ({"method": ["nlm"]}, r"unknown method \['nlm'\]"),
        ({"sigma": "0.1"}, "sigma '0.1' is not allowed"),
        ({"sigma": True}, "sigma True is not allowed"),
        ({"sigma": 10**400}, "sigma 1000.* is not allowed"),
        ({"sigma": np.ma.masked_less(np.full((24, 26), 0.1), 1)}, "masked"),
        ({"gain": "x"}, "gain 'x' is not allowed; give a number above 0"),
        ({"gain": [1, 2]}, r"gain \[1, 2\] is not allowed"),
    ],
)
def test_wrong_ones_are_named(arguments, message):
    with pytest.raises(nlm.UsageError, match=message):
        nlm.denoise(GRAY, **{"sigma": SIGMA, **arguments})


@pytest.mark.parametrize("sigma", [25, np.full((24, 26), 25.0)])
def test_grey_levels_are_no_fraction_of_full_scale(sigma):
    with pytest.raises(nlm.UsageError, match=r"sigma 25 is more than the full scale.*25/255"):
        nlm.denoise((GRAY * 255).astype(np.uint8), sigma)
    assert np.isfinite(nlm.denoise(GRAY * 255, sigma)).all()


@pytest.mark.parametrize("axis", [3, -4, 2.0, "2", (2,), True])
@pytest.mark.parametrize(
    "function",
    [
        lambda image, axis: nlm.denoise(image, SIGMA, channel_axis=axis),
        lambda image, axis: nlm.estimate_sigma(image, channel_axis=axis),
        lambda image, axis: nlm.ssim(image, image, channel_axis=axis),
        lambda image, axis: denoise_nl_means(image, channel_axis=axis),
    ],
)
def test_an_axis_that_does_not_exist(function, axis):
    with pytest.raises(nlm.UsageError, match=r"channel_axis .* 3 axes; give .* from -3 to 2"):
        function(COLOUR, axis)


@pytest.mark.parametrize("function", [nlm.psnr, nlm.ssim])
@pytest.mark.parametrize("shape", [(0,), (0, 20)])
def test_pictures_without_pixels_cannot_be_compared(function, shape):
    with pytest.raises(nlm.UsageError, match="with pixels in them"):
        function(np.zeros(shape), np.zeros(shape))


def test_ssim_of_a_number():
    with pytest.raises(nlm.UsageError, match="at least 11 pixels"):
        nlm.ssim(0.5, 0.5)


@pytest.mark.parametrize("data", ["photo.png", None, np.zeros((2, 2, 2, 2))])
def test_what_is_no_picture(data):
    with pytest.raises(nlm.UsageError, match="axes of space; give 1, 2 or 3"):
        nlm.denoise(data)


class TestTwins:
    """nlm.compat."""

    BYTES = np.rint(GRAY * 255).clip(0, 255).astype(np.uint8)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"patch_size": -3}, "patch_size -3 is not allowed"),
            ({"patch_size": 4.5}, "patch_size 4.5 is not allowed"),
            ({"patch_distance": -1}, "patch_distance -1 is not allowed"),
            ({"h": "x"}, "h 'x' is not allowed"),
            ({"h": np.inf}, "h inf is not allowed"),
            ({"sigma": -1}, "sigma -1 is not allowed"),
            ({"sigma": np.nan}, "sigma nan is not allowed"),
            ({"image": GRAY + 0j}, "dtype complex.* is not allowed"),
        ],
    )
    def test_skimage_names_what_is_wrong(self, arguments, message):
        with pytest.raises(nlm.UsageError, match=message):
            denoise_nl_means(**{"image": GRAY, **arguments})

    def test_skimage_takes_numbers_of_any_type(self):
        expected = denoise_nl_means(GRAY, 5, 3)
        for kind in (float, np.uint8, np.array):
            assert np.array_equal(denoise_nl_means(GRAY, kind(5), kind(3)), expected)
        assert denoise_nl_means(np.zeros((0, 5))).shape == (0, 5)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"h": np.nan}, "strength of .*nan.* is not allowed"),
            ({"h": "x"}, "strength of .*x.* is not allowed"),
            ({"templateWindowSize": "7"}, "templateWindowSize '7' is not allowed"),
            ({"searchWindowSize": 0}, "searchWindowSize 0 is not allowed"),
            ({"dst": 10}, "dst 10 is not allowed"),
            ({"src": np.zeros((0, 5), np.uint8)}, "is empty"),
        ],
    )
    def test_opencv_names_what_is_wrong(self, arguments, message):
        with pytest.raises(nlm.UsageError, match=message):
            opencv.fastNlMeansDenoising(**{"src": self.BYTES, **arguments})

    def test_opencv_takes_numbers_of_any_type(self):
        expected = opencv.fastNlMeansDenoising(self.BYTES, None, 10, 5, 13)
        for kind in (float, np.uint8, np.array):
            result = opencv.fastNlMeansDenoising(self.BYTES, None, kind(10), kind(5), kind(13))
            assert np.array_equal(result, expected)
        frames = [self.BYTES] * 3
        expected = opencv.fastNlMeansDenoisingMulti(frames, 1, 3, None, 10, 5, 13)
        for given in (iter(frames), tuple(frames), np.stack(frames)):
            result = opencv.fastNlMeansDenoisingMulti(given, 1.0, np.uint8(3), None, 10, 5, 13)
            assert np.array_equal(result, expected)

    def test_opencv_leaves_a_target_that_does_not_fit(self):
        target = np.zeros((2, 2), np.uint8)
        result = opencv.fastNlMeansDenoising(self.BYTES, target, 10)
        assert result.shape == self.BYTES.shape
        assert not target.any()

    @pytest.mark.parametrize("given", [None, [1, 2], np.zeros((0, 4, 3), np.uint8)])
    def test_opencv_wants_colour(self, given):
        with pytest.raises(nlm.UsageError, match=r"give uint8 \(Y, X, 3\)"):
            opencv.fastNlMeansDenoisingColored(given)


class TestNonLocal:
    """nlm.non_local and nlm.NonLocalBlock."""

    X = np.random.default_rng(0).normal(size=(5, 6, 4)).astype(np.float32)

    @pytest.mark.parametrize("given", [1, 1.0, np.int64(1), np.array(1), [1, 1], np.array([1, 1])])
    def test_windows_of_any_type(self, given):
        assert np.array_equal(nlm.non_local(self.X, window=given), nlm.non_local(self.X, window=1))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"scale": 10**400}, "scale 1000.* is not allowed"),
            ({"scale": 1e300}, "scale 1e.300 is not allowed"),
            ({"scale": "2"}, "scale '2' is not allowed"),
            ({"window": "12"}, "window '12' is not allowed"),
            ({"x": X * 1e20}, "too large for single precision"),
        ],
    )
    def test_wrong_ones_are_named(self, arguments, message):
        with pytest.raises(nlm.UsageError, match=message):
            nlm.non_local(**{"x": self.X, **arguments})

    @pytest.mark.parametrize("rng", ["a", 1.5, -1])
    def test_rng(self, rng):
        with pytest.raises(nlm.UsageError, match=r"rng .* is not allowed; give a numpy\.random"):
            nlm.NonLocalBlock(4, rng=rng)

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("theta_bias", np.ones(3), r"theta_bias of shape \(3,\) do not fit.*give \(2,\)"),
            ("theta_bias", None, "give theta, theta_bias"),
            ("w_z", None, "give theta, .*w_z"),
            ("more", np.ones(3), "has weights .*more"),
        ],
    )
    def test_replaced_weights_that_do_not_fit(self, name, value, message):
        block = nlm.NonLocalBlock(4)
        block.weights[name] = value
        if value is None:
            del block.weights[name]
        with pytest.raises(nlm.UsageError, match=message):
            block(self.X)

    @pytest.mark.parametrize("pairwise", ["gaussian", "embedded_gaussian", "concatenation"])
    def test_a_block_tells_what_it_is(self, pairwise):
        block = nlm.NonLocalBlock(4, pairwise=pairwise, window=(1, None))
        again = eval(repr(block), {"NonLocalBlock": nlm.NonLocalBlock})
        assert again.settings == block.settings
        assert np.array_equal(again(self.X), self.X)


class TestFiles:
    """nlm.denoise_file and its settings."""

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"sigma": np.full((3, 3), 0.1)}, "sigma .* give one number.*sigma_map"),
            ({"sigma": "0.1"}, "sigma '0.1' is not allowed"),
            ({"tile": 0}, "tile 0 is not allowed"),
            ({"tile": -3}, "tile -3 is not allowed"),
            ({"threads": 1.5}, "threads 1.5 is not allowed"),
            ({"max_pixels": 0}, "max_pixels 0 is not allowed"),
            ({"stack": "pagez"}, "unknown stack 'pagez'; available: pages, clip, volume"),
            ({"parameters": None}, "parameters None are not allowed; give a dictionary"),
            ({"guide": np.zeros((3, 3))}, "guide is no name of a file"),
        ],
    )
    def test_settings_name_what_is_wrong(self, arguments, message):
        with pytest.raises(nlm.UsageError, match=message):
            Settings(**arguments)

    def test_settings_of_any_type(self):
        given = Settings(threads=2.0, tile=np.int64(64), guide=Path("guide.png"))
        assert given == Settings(threads=2, tile=64, guide="guide.png")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((None, "b.png"), "src None is not allowed; give a path or a binary stream"),
            ((b"a.png", "b.png"), "src b'a.png' is not allowed"),
            (("a.png", None), "dst None is not allowed"),
            (("a.png", "b.png", {"sigma": 0.1}), r"settings .* give nlm\.settings\.Settings"),
            (("a.png", "b.png", 0.1), "settings 0.1 are not allowed"),
        ],
    )
    def test_what_is_no_file(self, arguments, message):
        with pytest.raises(nlm.UsageError, match=message):
            nlm.denoise_file(*arguments)
