"""Noise that grows with the signal: the transform, and the way there from files and arrays."""

import json

import numpy as np
import pytest
from PIL import Image

import nlm
from nlm.noise import Anscombe, estimate, plan
from nlm.synthetic import add_noise
from tests.conftest import checkers


def scene(rows=300, cols=320):
    """Smooth areas of all intensities between edges."""
    y, x = np.mgrid[:rows, :cols] / 100
    picture = 0.5 + 0.25 * np.sin(2 * x) * np.cos(1.5 * y) + 0.2 * (np.sin(3 * y + x) > 0)
    return picture.clip(0.02, 0.98)[..., None]


class TestAnscombe:
    @pytest.mark.parametrize(("gain", "offset"), [(0.02, 0.01), (0.1, 0.0), (0.005, 0.02)])
    @pytest.mark.parametrize("level", [0.05, 0.2, 0.5, 1.0])
    def test_noise_is_even_and_the_mean_comes_back(self, gain, offset, level):
        rng = np.random.default_rng(0)
        signal = add_noise(np.full(300_000, level), offset, rng, gain * 255)
        transform = Anscombe(gain, offset)
        even = transform.forward(signal.astype(np.float32))
        if level / gain > 4:
            assert even.std() == pytest.approx(transform.sigma, rel=0.03)
        back = transform.inverse(np.array([even.mean(dtype=np.float64)], np.float32))[0]
        assert back == pytest.approx(level, abs=0.003)

    def test_inverse_rises(self):
        transform = Anscombe(0.01, 0.02)
        y = np.linspace(0, 1.5, 500, dtype=np.float32)
        assert (np.diff(transform.inverse(y)) >= 0).all()

    def test_large_intensities_come_back_as_they_were(self):
        transform = Anscombe(0.01, 0.02)
        x = np.linspace(0.2, 2, 100, dtype=np.float32)
        assert np.abs(transform.inverse(transform.forward(x)) - x).max() < 0.005


class TestPlan:
    def test_estimate_is_believed(self):
        rng = np.random.default_rng(1)
        picture = add_noise(scene(), 0.01, rng, 2.0).astype(np.float32)
        found = plan(picture)
        assert found.stabiliser is not None
        assert found.stabiliser.gain == pytest.approx(2 / 255, rel=0.3)
        assert plan(picture, model="gaussian").stabiliser is None
        assert plan(picture, 0.1).stabiliser is None

    def test_white_noise_needs_no_transform(self):
        rng = np.random.default_rng(1)
        picture = add_noise(scene(), 0.05, rng).astype(np.float32)
        assert plan(picture).stabiliser is None

    @pytest.mark.parametrize(
        "arguments",
        [
            {"model": "poisson"},
            {"gain": 0.0},
            {"gain": float("nan")},
            {"gain": 0.1, "model": "gaussian"},
            {"sigma": 0.1, "model": "poisson-gaussian"},
        ],
    )
    def test_what_does_not_fit_together(self, arguments):
        with pytest.raises(nlm.UsageError):
            plan(np.zeros((8, 8, 1), np.float32), **arguments)


def test_the_transform_is_worth_it():
    clean = scene()[..., 0]
    noisy = add_noise(clean, 0.005, np.random.default_rng(2), 8.0)
    even = nlm.denoise(noisy, 0.005, gain=8 / 255)
    level = np.sqrt(8 / 255 * clean.mean() + 0.005**2)
    assert nlm.psnr(even, clean) > nlm.psnr(nlm.denoise(noisy, level), clean) + 0.3
    assert nlm.psnr(nlm.denoise(noisy), clean) > nlm.psnr(even, clean) - 0.5


@pytest.fixture
def photo(tmp_path):
    noisy = add_noise(scene(), 0.01, np.random.default_rng(3), 2.0)[..., 0]
    Image.fromarray((noisy.clip(0, 1) * 255).round().astype(np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_estimate_tells_the_model_and_draws_it(run_nlm, photo, tmp_path):
    report = json.loads(run_nlm("estimate", "--json", photo, check=0).stdout)
    assert report["model"] == "poisson-gaussian"
    assert report["gain"] == pytest.approx(2, rel=0.3)
    assert len(report["curve"]) > 3
    refused = run_nlm("estimate", photo, "--plot", tmp_path / "curve.jpg", check=2)
    assert b"let its name end in .png" in refused.stderr
    assert not (tmp_path / "curve.jpg").exists()
    done = run_nlm("estimate", photo, "--plot", tmp_path / "curve.png", check=0)
    assert b"grows with brightness" in done.stdout
    with Image.open(tmp_path / "curve.png") as image:
        assert image.size == (720, 480)
    assert b"exists already" in run_nlm("estimate", photo, "--plot", tmp_path / "curve.png").stderr


def test_denoise_takes_gain_and_model(run_nlm, photo, tmp_path):
    for k, options in enumerate(
        (["--poisson", 2, "--sigma", 2.55], ["--noise-model", "gaussian"], [])
    ):
        target = tmp_path / f"{k}.png"
        run_nlm("denoise", photo, "-o", target, *options, check=0)
        assert target.exists()
    wrong = run_nlm("denoise", photo, "--noise-model", "poisson-gaussian", "--sigma", 3, check=2)
    assert b"needs the gain" in wrong.stderr


def test_a_texture_that_fills_the_picture_is_no_noise():
    assert estimate(checkers(100, 120, period=4)).sigma < 0.1
