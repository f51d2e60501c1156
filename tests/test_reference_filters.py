"""Other people's filters, registered for comparison, do what their own packages do."""

import subprocess
import sys

import numpy as np
import pytest

import nlm
from nlm import registry
from tests.conftest import checkers, noisy

SIGMA = 20 / 255


def test_tv_is_scikit_images():
    from skimage.restoration import denoise_tv_chambolle

    picture = noisy(checkers(50, 60), SIGMA)[..., 0]
    expected = denoise_tv_chambolle(picture.astype(float), 0.8 * SIGMA, eps=0, max_num_iter=30)
    assert np.abs(nlm.denoise(picture, SIGMA, "tv") - expected).max() < 1e-6


def test_non_local_means_is_scikit_images():
    from skimage.restoration import denoise_nl_means

    picture = noisy(checkers(50, 60, 3), SIGMA)
    expected = denoise_nl_means(
        picture.astype(float), 7, 8, h=0.5 * SIGMA, sigma=SIGMA, channel_axis=-1
    )
    result = nlm.denoise(
        picture, SIGMA, "skimage-nlm", -1, patch_size=7, search_radius=8, strength=0.5
    )
    assert np.abs(result - expected).max() < 1e-6


def test_bilateral_is_scikit_images():
    from skimage.restoration import denoise_bilateral

    picture = noisy(checkers(50, 60), SIGMA)[..., 0].astype(float)
    picture -= picture.min()
    expected = denoise_bilateral(picture, 7, 1.5 * SIGMA, 1.5, mode="reflect")
    assert np.abs(nlm.denoise(picture, SIGMA, "bilateral") - expected).max() < 1e-6


def test_bilateral_is_the_same_at_any_brightness_and_for_equal_channels():
    picture = noisy(checkers(30, 40), SIGMA)
    gray = nlm.denoise(picture, SIGMA, "bilateral", -1)
    darker = nlm.denoise(picture - 0.7, SIGMA, "bilateral", -1)
    colour = nlm.denoise(picture.repeat(3, axis=2), SIGMA, "bilateral", -1)
    assert np.abs(darker + 0.7 - gray).max() < 1e-3
    assert np.abs(colour - gray).max() < 1e-3


def test_wavelet_is_scikit_images():
    pytest.importorskip("pywt", reason="PyWavelets is not installed")
    from skimage.restoration import cycle_spin, denoise_wavelet

    picture = noisy(checkers(40, 48), SIGMA)[..., 0].astype(float)
    expected = cycle_spin(picture, denoise_wavelet, 3, func_kw={"sigma": SIGMA}, workers=1)
    assert np.abs(nlm.denoise(picture, SIGMA, "wavelet") - expected).max() < 1e-6


def test_opencv_is_opencvs():
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    stored = (noisy(checkers(50, 60), SIGMA).clip(0, 1) * 255).astype(np.uint8)[..., 0]
    expected = cv2.fastNlMeansDenoising(stored, None, 0.9 * 20, 7, 21)
    assert np.array_equal(nlm.denoise(stored, SIGMA, "opencv"), expected)


@pytest.mark.parametrize("shape", [(1, 1, 1), (40, 30, 3)])
def test_bm3d(shape):
    pytest.importorskip("bm3d", reason="BM3D is not installed")
    clean = checkers(*shape)
    picture = noisy(clean, SIGMA)
    result = nlm.denoise(picture, SIGMA, "bm3d", channel_axis=-1)
    assert result.shape == shape
    if shape[0] > 1:
        assert nlm.psnr(result, clean) > nlm.psnr(picture, clean) + 6


def test_what_is_not_installed_says_how_to_get_it():
    """In a process that finds neither OpenCV nor BM3D."""
    script = """
import importlib.util, nlm
from nlm import registry
find = importlib.util.find_spec
registry.find_spec = lambda name: None if name in ("cv2", "bm3d") else find(name)
assert registry.missing() == ["bm3d", "opencv"], registry.missing()
assert "opencv" not in nlm.methods()
try:
    registry.get("opencv")
except nlm.UsageError as error:
    assert "pip install" in str(error), error
else:
    raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_own_filters_come_first():
    names = nlm.methods()
    marks = [registry.get(name).reference for name in names]
    assert names[0] == registry.DEFAULT
    assert marks == sorted(marks)
