"""Other people's filters for the benches; None where one is not installed."""

import subprocess
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import numpy as np
from PIL import Image

import nlm

Run = Callable[[], object]
Denoise = Callable[[np.ndarray, float], np.ndarray]


def eight_bit(noisy: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(noisy * 255), 0, 255).astype(np.uint8).squeeze()


def opencv(noisy: np.ndarray, threads: int) -> Run | None:
    """FastNlMeansDenoising or ...Colored with patch 7 and window 21, on the rounded picture."""
    if not find_spec("cv2"):
        return None
    import cv2

    levels = eight_bit(noisy)

    def run() -> object:
        cv2.setNumThreads(threads)
        if levels.ndim == 2:
            return cv2.fastNlMeansDenoising(levels, None, 20, 7, 21)
        return cv2.fastNlMeansDenoisingColored(levels, None, 20, 20, 7, 21)

    return run


def scikit_image(noisy: np.ndarray) -> Run | None:
    if not find_spec("skimage"):
        return None
    from skimage.restoration import denoise_nl_means

    options = {"h": 0.06, "sigma": 0.1, "fast_mode": True, "channel_axis": -1}
    return lambda: denoise_nl_means(noisy, 7, 10, **options)


def ffmpeg(noisy: np.ndarray, threads: int) -> Run | None:
    """Nlmeans on one frame, its process started anew: what that takes is small beside it."""
    if not which("ffmpeg"):
        return None
    frame = eight_bit(noisy)

    rows, cols = frame.shape
    command = (
        f"ffmpeg -v error -f rawvideo -pix_fmt gray -s {cols}x{rows} -i - "
        f"-filter_threads {threads} -vf nlmeans=s=8:p=7:r=21 -f null -"
    ).split()
    return lambda: subprocess.run(command, input=frame.tobytes(), check=True)


def bm3d(noisy: np.ndarray, sigma: float) -> Run | None:
    """BM3D, on as many threads as it takes."""
    return (lambda: _bm3d_result(noisy.squeeze(), sigma)) if find_spec("bm3d") else None


def pairs(folder: Path, sigma: float, every: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Clean and noisy pictures of a test set, float (Y, X) or (Y, X, C)."""
    found = []
    for index, path in enumerate(sorted(folder.iterdir())):
        if index % every == 0:
            with Image.open(path) as image:
                clean = np.asarray(image) / 255
            rng = np.random.default_rng(int(1000 * sigma) + index)
            found.append((clean, clean + rng.normal(size=clean.shape) * sigma / 255))
    return found


def table(
    pictures: list[tuple[np.ndarray, np.ndarray]], sigma: float, bm3d: bool
) -> Iterator[tuple[str, float]]:
    """Mean PSNR of ours at its defaults and of the peers at their best strength for the set."""

    def mean(denoise: Denoise, strength: float) -> float:
        results = [(denoise(noisy, strength * sigma), clean) for clean, noisy in pictures]
        return float(np.mean([nlm.psnr(r.clip(0, 1).astype(np.float64), c) for r, c in results]))

    def own(preset: str) -> Denoise:
        return lambda noisy, _: nlm.denoise(
            noisy, sigma, channel_axis=-1 if noisy.ndim == 3 else None, preset=preset
        )

    for preset in ("fast", "balanced", "best"):
        yield f"nlm {preset}", mean(own(preset), 1)
    for who, module, denoise, strengths in (
        ("OpenCV 7/21", "cv2", _opencv_result, (0.6, 0.7, 0.8, 0.9, 1.0, 1.1)),
        ("scikit-image fast 5/13", "skimage", _skimage_result(sigma), (0.5, 0.6, 0.7, 0.8, 0.9)),
        ("BM3D", "bm3d" if bm3d else "", _bm3d_result, (1.0,)),
    ):
        if module and find_spec(module):
            yield who, max(mean(denoise, strength) for strength in strengths)


def _opencv_result(noisy: np.ndarray, h: float) -> np.ndarray:
    import cv2

    levels = eight_bit(noisy)
    if levels.ndim == 2:
        return cv2.fastNlMeansDenoising(levels, None, 255 * h, 7, 21) / 255
    return cv2.fastNlMeansDenoisingColored(levels, None, 255 * h, 255 * h, 7, 21) / 255


def _skimage_result(sigma: float) -> Denoise:
    from skimage.restoration import denoise_nl_means

    def denoise(noisy: np.ndarray, h: float) -> np.ndarray:
        axis = -1 if noisy.ndim == 3 else None
        return denoise_nl_means(noisy, 5, 6, h=h, sigma=sigma, fast_mode=True, channel_axis=axis)

    return denoise


def _bm3d_result(noisy: np.ndarray, sigma: float) -> np.ndarray:
    import bm3d

    run = bm3d.bm3d_rgb if noisy.ndim == 3 else bm3d.bm3d
    return np.asarray(run(noisy, sigma))
