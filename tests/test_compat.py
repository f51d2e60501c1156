"""Drop-in twins against those whose place they take."""

import inspect

import numpy as np
import pytest
from PIL import Image

import nlm
from nlm.compat import opencv
from nlm.compat.lab import bgr_of_lab, lab_of_bgr
from nlm.compat.skimage import denoise_nl_means
from tests import naive
from tests.conftest import ROOT, checkers, noisy

SIGMA = 0.1


def levels(rows: int, cols: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """A noisy 8-bit picture, gray without an axis of colour."""
    picture = noisy(checkers(rows, cols, channels), SIGMA, seed)
    return np.rint(picture.clip(0, 1) * 255).astype(np.uint8).squeeze()


class TestScikitImage:
    @pytest.fixture
    def theirs(self):
        return pytest.importorskip("skimage.restoration").denoise_nl_means

    def test_signature(self, theirs):
        ours = inspect.signature(denoise_nl_means).parameters
        for name, parameter in inspect.signature(theirs).parameters.items():
            assert ours[name].default == parameter.default
            assert ours[name].kind == parameter.kind

    @pytest.mark.parametrize("shape", [(40, 44), (40, 44, 3), (8, 16, 12)])
    @pytest.mark.parametrize("sigma", [0, SIGMA])
    def test_slow_mode_is_theirs(self, theirs, shape, sigma):
        """But for their exponential and for where they look whether a weight is negligible."""
        axis = -1 if shape[-1] == 3 else None
        rows, cols = shape[-2:] if axis is None else shape[:2]
        clean = checkers(rows, cols, 3 if axis else 1)
        clean = clean if axis else np.broadcast_to(clean[..., 0], shape)
        image = noisy(clean, SIGMA).astype(np.float64)
        options = {"h": 0.6 * SIGMA, "sigma": sigma, "fast_mode": False, "channel_axis": axis}
        ours = denoise_nl_means(image, 5, 3, **options)
        error = np.abs(ours - theirs(image, 5, 3, **options)) * 255
        assert error.mean() < 0.6
        assert error.max() < 4

    @pytest.mark.parametrize("sigma", [0, SIGMA])
    def test_fast_mode_is_the_definition(self, sigma):
        image = noisy(checkers(40, 44, 3), SIGMA)
        ours = denoise_nl_means(image, 5, 3, 0.08, sigma=sigma, channel_axis=-1)
        h, own = 0.08 * 5 / 4, max(sigma, 1e-4)
        slow = naive.nlm(image, image, own, h / own, (5, 5), (3, 3), False)
        assert np.abs(ours - slow).max() < 0.01 / 255

    @pytest.mark.parametrize("strength", [0.5, 0.8, 1.2])
    @pytest.mark.parametrize("patch", [3, 5, 7])
    def test_fast_mode_is_as_good_as_theirs(self, theirs, patch, strength):
        """The same h gives as much: their sums leave out a row and a column of each patch."""
        with Image.open(ROOT / "sample_images" / "camera.png") as picture:
            clean = np.asarray(picture.convert("L"))[100:200, 150:260] / 255
        image = noisy(clean, SIGMA)
        ours, their = (
            nlm.psnr(run(image, patch, 5, strength * SIGMA, sigma=SIGMA).astype(np.float64), clean)
            for run in (denoise_nl_means, theirs)
        )
        assert ours > their - 0.5

    @pytest.mark.parametrize("fast_mode", [False, True])
    def test_negligible_h_changes_nothing(self, fast_mode):
        image = noisy(checkers(30, 30), 0.3)[..., 0]
        assert np.allclose(denoise_nl_means(image, 7, 5, 0.01, fast_mode), image)

    @pytest.mark.parametrize(("shape", "axis"), [((6, 7, 8, 9), None), ((4, 6, 7, 8, 2), -1)])
    def test_four_axes(self, shape, axis):
        clean = np.zeros(shape)
        clean[:, 2:-2, 2:-2, 2:-2] = 1
        image = clean + np.random.default_rng(0).normal(size=shape) * 0.3
        ours = denoise_nl_means(image, 3, 2, h=0.1, sigma=0.3, channel_axis=axis)
        assert ours.shape == shape
        assert nlm.psnr(ours, clean) > nlm.psnr(image, clean) + 4

    @pytest.mark.parametrize(
        ("dtype", "result"),
        [("uint8", "f8"), ("int64", "f8"), ("f2", "f4"), ("f4", "f4"), ("f8", "f8"), (">f4", "f4")],
    )
    def test_dtypes(self, theirs, dtype, result):
        scale = 100 if np.dtype(dtype).kind in "iu" else 1
        image = (checkers(20, 20)[..., 0] * scale).astype(dtype)
        ours = denoise_nl_means(image, 3, 2, h=0.5)
        native = image.astype(image.dtype.newbyteorder("="))
        assert ours.dtype == np.dtype(result)
        assert np.allclose(ours, theirs(native, 3, 2, h=0.5), atol=0.05)

    def test_range_is_preserved(self, theirs):
        image = levels(30, 33)
        options = {"h": 20, "preserve_range": True, "fast_mode": False}
        assert (
            np.abs(denoise_nl_means(image, 3, 3, **options) - theirs(image, 3, 3, **options)).max()
            < 3
        )

    def test_any_axis_may_be_colour(self):
        image = noisy(checkers(30, 33, 3), SIGMA)
        moved = denoise_nl_means(np.moveaxis(image, -1, 0), channel_axis=0)
        assert np.array_equal(np.moveaxis(moved, 0, -1), denoise_nl_means(image, channel_axis=-1))

    @pytest.mark.parametrize(
        ("axes", "channel_axis", "fast_mode"),
        [(1, None, True), (5, None, True), (4, None, False), (4, -1, False), (2, -1, True)],
    )
    def test_other_numbers_of_axes(self, axes, channel_axis, fast_mode):
        with pytest.raises(NotImplementedError):
            denoise_nl_means(np.zeros((5,) * axes), channel_axis=channel_axis, fast_mode=fast_mode)

    def test_h_must_be_positive(self):
        with pytest.raises(nlm.UsageError, match="h 0"):
            denoise_nl_means(np.zeros((9, 9)), h=0)


def close(ours: np.ndarray, theirs: np.ndarray, mean: float, largest: float) -> None:
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    error = np.abs(ours.astype(np.float64) - theirs)
    assert error.mean() < mean
    assert error.max() <= largest


class TestOpenCv:
    @pytest.fixture
    def cv2(self):
        return pytest.importorskip("cv2")

    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    @pytest.mark.parametrize("h", [10, 25])
    def test_gray_and_joint(self, cv2, channels, h):
        image = levels(60, 70, channels)
        arguments = (image, None, h, 5, 11)
        ours = opencv.fastNlMeansDenoising(*arguments)
        close(ours, cv2.fastNlMeansDenoising(*arguments), 0.5, 9)

    def test_defaults(self, cv2):
        image = levels(40, 50)
        close(opencv.fastNlMeansDenoising(image), cv2.fastNlMeansDenoising(image), 0.1, 2)

    def test_a_strength_for_each_channel(self, cv2):
        image = levels(40, 50, 3)
        arguments = (image, [5.0, 10.0, 20.0], None, 5, 11)
        ours = opencv.fastNlMeansDenoising(*arguments)
        close(ours, cv2.fastNlMeansDenoising(*arguments), 0.5, 11)

    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("depth", [8, 16])
    def test_absolute_differences(self, cv2, channels, depth):
        image = levels(30, 33, channels)
        full = 1
        if depth == 16:
            image, full = image.astype(np.uint16) * 257, 257
        arguments = (image, [15.0 * full], None, 5, 11, cv2.NORM_L1)
        ours = opencv.fastNlMeansDenoising(*arguments)
        close(ours, cv2.fastNlMeansDenoising(*arguments), 0.5 * full, 9 * full)

    def test_sixteen_bits_by_squares(self):
        image = levels(40, 50)
        deep = opencv.fastNlMeansDenoising(image.astype(np.uint16) * 257, h=15 * 257)
        assert np.abs(deep / 257 - opencv.fastNlMeansDenoising(image, h=15)).max() <= 0.51

    @pytest.mark.parametrize("channels", [3, 4])
    def test_coloured(self, cv2, channels):
        image = levels(40, 50, channels)
        arguments = (image, None, 15, 10, 5, 11)
        ours = opencv.fastNlMeansDenoisingColored(*arguments)
        close(ours, cv2.fastNlMeansDenoisingColored(*arguments), 1, 9)

    def test_several_frames(self, cv2):
        frames = [levels(40, 50, seed=k) for k in range(5)]
        arguments = (frames, 2, 3, None, 20, 5, 11)
        ours = opencv.fastNlMeansDenoisingMulti(*arguments)
        close(ours, cv2.fastNlMeansDenoisingMulti(*arguments), 0.3, 15)

    def test_several_coloured_frames(self, cv2):
        frames = [levels(40, 50, 3, seed=k) for k in range(3)]
        arguments = (frames, 1, 3, None, 15, 10, 5, 11)
        ours = opencv.fastNlMeansDenoisingColoredMulti(*arguments)
        close(ours, cv2.fastNlMeansDenoisingColoredMulti(*arguments), 1, 9)

    def test_one_frame_is_a_picture(self):
        image = levels(40, 50, 3)
        alone = opencv.fastNlMeansDenoisingMulti([image], 0, 1, None, 15)
        assert np.abs(alone.astype(int) - opencv.fastNlMeansDenoising(image, None, 15)).max() <= 1

    def test_lab_there_and_back(self, cv2):
        bgr = np.random.default_rng(0).random((30, 40, 3))
        lab = lab_of_bgr(bgr)
        assert np.allclose(bgr_of_lab(lab), bgr, atol=1e-6)
        theirs = cv2.cvtColor(bgr.astype(np.float32), cv2.COLOR_LBGR2Lab)
        assert np.allclose(lab, theirs * (2.55, 1, 1) + (0, 128, 128), atol=0.2)

    def test_result_goes_where_it_is_wanted(self):
        image = levels(30, 33)
        place = np.zeros_like(image)
        assert opencv.fastNlMeansDenoising(image, place, 10) is place
        assert np.array_equal(place, opencv.fastNlMeansDenoising(image, [10], None))

    def test_no_strength_no_change(self):
        image = levels(30, 33)
        assert np.array_equal(opencv.fastNlMeansDenoising(image, None, 0), image)

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: opencv.fastNlMeansDenoising(np.zeros((9, 9))), "float64"),
            (lambda: opencv.fastNlMeansDenoising(levels(9, 9), [1, 2]), "2 strengths for 1"),
            (lambda: opencv.fastNlMeansDenoising(levels(9, 9), normType=1), "normType 1"),
            (lambda: opencv.fastNlMeansDenoisingColored(levels(9, 9)), "uint8"),
            (lambda: opencv.fastNlMeansDenoisingMulti([levels(9, 9)], 0, 3), "frames -1 to 1"),
            (lambda: opencv.fastNlMeansDenoisingMulti([levels(9, 9)], 0, 2), "odd number"),
        ],
    )
    def test_wrong_arguments_are_named(self, call, message):
        with pytest.raises(nlm.UsageError, match=message):
            call()
