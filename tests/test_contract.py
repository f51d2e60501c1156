"""The same questions asked of every registered filter."""

import numpy as np
import pytest

import nlm
from nlm import backends, registry
from nlm.tiling import by_tiles
from tests.conftest import checkers, noisy

SIGMA = 20 / 255
TOO_SLOW = {"bm3d"}  # a second for any picture: see test_reference_filters.py


@pytest.fixture(params=[name for name in registry.methods() if name not in TOO_SLOW])
def method(request):
    return request.param


WAYS = [(name, "balanced") for name in registry.methods() if name not in TOO_SLOW]


@pytest.fixture(params=[*WAYS, ("nlnet", "fast")], ids="@".join)
def way(request):
    """A filter, and one whose preset is another network."""
    return dict(zip(("method", "preset"), request.param, strict=True))


class TestFilter:
    @pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3), (50,), (33, 1), (1, 33)])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
    def test_shape_and_dtype_come_back(self, way, shape, dtype):
        image = np.random.default_rng(0).random(shape)
        if np.dtype(dtype).kind != "f":
            image = image * np.iinfo(dtype).max
        axis = -1 if len(shape) == 3 else None
        result = nlm.denoise(image.astype(dtype), SIGMA, **way, channel_axis=axis)
        assert result.shape == shape
        assert result.dtype == dtype

    @pytest.mark.parametrize("axis", [0, 1, -1, -3])
    def test_any_axis_may_be_colour(self, way, axis):
        image = noisy(checkers(40, 44, 3), SIGMA)
        moved = nlm.denoise(np.moveaxis(image, -1, axis), SIGMA, **way, channel_axis=axis)
        assert np.array_equal(
            np.moveaxis(moved, axis, -1), nlm.denoise(image, SIGMA, **way, channel_axis=-1)
        )

    def test_constant_stays_constant(self, way):
        image = np.full((40, 30), 0.37, np.float32)
        change = np.abs(nlm.denoise(image, SIGMA, **way) - image).max()
        assert change <= registry.get(way["method"]).constant

    def test_no_noise_no_change(self, way):
        image = checkers(30, 40)[..., 0]
        assert np.array_equal(nlm.denoise(image, 0, **way), image)

    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("preset", [None, *registry.PRESETS])
    def test_psnr_rises(self, method, channels, preset):
        clean = checkers(96, 80, channels)
        image = noisy(clean, SIGMA)
        result = nlm.denoise(image, SIGMA, method, channel_axis=-1, preset=preset)
        assert nlm.psnr(result, clean) > nlm.psnr(image, clean) + 3

    @pytest.mark.parametrize("tile", [16, 37, 64])
    def test_tiles_equal_the_whole(self, way, tile):
        chosen = registry.get(way["method"])
        params = registry.parameters(**way, overrides={})
        if params.halo is None:
            pytest.skip("this filter needs the whole picture")
        image = noisy(checkers(150, 131, 3), SIGMA)[None]
        place = backends.choose("cpu")

        def apply(part):
            return chosen.apply(part, SIGMA, params, place)

        whole = apply(image)
        tiles = by_tiles(apply, image, params.halo, tile, params.align)
        assert np.abs(tiles - whole).max() <= chosen.tolerance

    def test_strided_and_read_only_input(self, way):
        image = noisy(checkers(60, 80), SIGMA)[..., 0]
        strided = image[::2, ::-2]
        expected = nlm.denoise(strided.copy(), SIGMA, **way)
        strided.flags.writeable = False
        assert np.array_equal(nlm.denoise(strided, SIGMA, **way), expected)
        assert np.array_equal(nlm.denoise(np.asfortranarray(strided), SIGMA, **way), expected)

    def test_input_is_not_changed(self, way):
        image = noisy(checkers(40, 40, 3), SIGMA)
        before = image.copy()
        nlm.denoise(image, SIGMA, **way, channel_axis=-1)
        assert np.array_equal(image, before)

    def test_values_outside_the_range_are_kept(self, method):
        image = noisy(checkers(50, 50), SIGMA)[..., 0] * 4 - 1
        result = nlm.denoise(image, SIGMA, method)
        if registry.get(method).clips:
            assert (result.min(), result.max()) == (0, 1)
        else:
            assert result.min() < -0.2
            assert result.max() > 1.5

    @pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 3), (4, 4), (5, 1), (1,), (3,)])
    def test_tiny_pictures(self, way, shape):
        image = np.random.default_rng(1).random(shape).astype(np.float32)
        result = nlm.denoise(image, SIGMA, **way)
        assert result.shape == shape
        assert np.isfinite(result).all()
        assert result.min() >= image.min() - 0.1
        assert result.max() <= image.max() + 0.1

    def test_empty_picture(self, way):
        assert nlm.denoise(np.zeros((0, 5), np.float32), SIGMA, **way).shape == (0, 5)

    def test_nan_and_infinities_stay_where_they_are(self, way):
        image = noisy(checkers(60, 60), SIGMA)[..., 0]
        image[10, 20], image[30, 40], image[31, 40] = np.nan, np.inf, -np.inf
        result = nlm.denoise(image, SIGMA, **way)
        assert np.array_equal(np.isfinite(image), np.isfinite(result))
        assert np.isnan(result[10, 20])
        assert result[30, 40] == np.inf

    def test_threads_do_not_change_the_result(self, way):
        chosen = registry.get(way["method"])
        params = registry.parameters(**way, overrides={})
        image = noisy(checkers(100, 90), SIGMA)[None]
        one, two = (
            chosen.apply(image, SIGMA, params, backends.choose("cpu", threads=n)) for n in (1, 2)
        )
        assert np.array_equal(one, two)

    def test_parameters_describe_themselves(self, method):
        params = registry.get(method).params
        for spec in params.__dataclass_fields__.values():
            assert spec.metadata["help"].endswith(".")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sigma": -1}, "sigma -1"),
        ({"sigma": float("nan")}, "sigma nan"),
        ({"method": "nml"}, "did you mean 'nlm'"),
        ({"patch_size": 4}, "odd whole number of pixels"),
        ({"patch_size": 0}, "patch size 0"),
        ({"search_radius": 1.5}, "a whole number"),
        ({"strength": "much"}, "strength 'much'"),
        ({"preset": "bset"}, "unknown preset"),
        ({"backend": "tpu"}, "unknown backend"),
        ({"channel_axis": 5}, "channel_axis 5"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(nlm.UsageError, match=message):
        nlm.denoise(np.zeros((9, 9), np.float32), **{"sigma": 0.1, **arguments})


def test_unknown_parameter_lists_the_known():
    with pytest.raises(TypeError, match="it has: patch_size, search_radius"):
        nlm.denoise(np.zeros((9, 9), np.float32), 0.1, h=3)


@pytest.mark.parametrize("dtype", [bool, complex])
def test_pictures_need_grey_levels(dtype):
    with pytest.raises(nlm.UsageError, match="no grey levels"):
        nlm.denoise(np.zeros((9, 9), dtype), 0.1)
