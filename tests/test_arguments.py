"""What the Python functions are given: numbers of any type, and what is wrong is named."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import nlm
from nlm.compat.skimage import denoise_nl_means
from nlm.filters.nlm import NlmParams
from nlm.filters.nlnet import NlnetParams
from nlm.learned.weights import shipped
from tests.conftest import checkers, noisy

SIGMA = 20 / 255
GRAY = noisy(checkers(24, 26), SIGMA)[..., 0]
COLOUR = noisy(checkers(24, 26, 3), SIGMA)


@pytest.mark.parametrize("given", [5, 5.0, np.int64(5), np.uint8(5), np.float32(5), np.array(5)])
def test_whole_numbers_of_any_type(given):
    expected = nlm.denoise(GRAY, SIGMA, patch_size=5, search_radius=5)
    assert np.array_equal(nlm.denoise(GRAY, SIGMA, patch_size=given, search_radius=given), expected)
    assert type(NlmParams(patch_size=given).patch_size) is int


@pytest.mark.parametrize("given", [0.5, np.float32(0.5), np.array(0.5), Fraction(1, 2)])
def test_numbers_of_any_type(given):
    assert np.array_equal(
        nlm.denoise(GRAY, sigma=given, strength=given), nlm.denoise(GRAY, 0.5, strength=0.5)
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
