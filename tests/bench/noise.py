"""The noise estimator against scikit-image's, on test pictures and real photographs.

    python -m tests.bench.noise [--data ../shared/data] [--every N]

Needs the pictures of `../shared/data` (BSD68, CBSD68, CC60). Noise on test picture number i is
numpy.random.default_rng(1000 * sigma + i).normal * sigma / 255. Levels are in 8-bit grey levels.
"""

import argparse
import time
import timeit
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import imageio.v3 as iio
import numpy as np

from nlm import backends, registry
from nlm.noise import estimate, estimate_sigma
from tests.bench import needs

LEVELS = (5, 10, 15, 25, 50, 75)
FIXED = (2, 3, 4, 5, 6, 8, 10, 13, 16)
CEILING = 70.0
Estimator = Callable[[np.ndarray], float]


def pictures(folder: Path, every: int) -> Iterator[np.ndarray]:
    """Pictures of a folder as float32, full scale 1.0."""
    for path in sorted(folder.iterdir())[::every]:
        yield iio.imread(path).astype(np.float32) / 255


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = float(np.mean(np.square(np.clip(a, 0, 1).astype(np.float64) - b)))
    return CEILING if error == 0 else min(CEILING, -10 * float(np.log10(error)))


def denoised(picture: np.ndarray, sigma: float) -> np.ndarray:
    """The picture after `nlm denoise --sigma SIGMA`."""
    if sigma <= 0:
        return picture
    place = backends.choose("cpu", 1)
    frames = picture.reshape(1, *picture.shape[:2], -1)
    params = registry.parameters("nlm", "balanced", {})
    result = registry.get("nlm").apply(frames, sigma / 255, params, place)
    return np.asarray(result).reshape(picture.shape)


def automatic(picture: np.ndarray) -> np.ndarray:
    frame = picture.reshape(*picture.shape[:2], -1)
    return denoised(picture, 255 * estimate(frame).sigma)


def skimage_sigma(picture: np.ndarray) -> float:
    from skimage.restoration import estimate_sigma as usual

    axis = -1 if picture.ndim == 3 else None
    sigma = usual(picture, channel_axis=axis, average_sigmas=True)  # type: ignore[no-untyped-call]
    return float(sigma)


def our_sigma(picture: np.ndarray) -> float:
    return estimate_sigma(picture, channel_axis=-1 if picture.ndim == 3 else None)


def errors(
    clean: list[np.ndarray], level: int, eight_bit: bool, estimator: Estimator
) -> np.ndarray:
    found = []
    for index, picture in enumerate(clean):
        noise = np.random.default_rng(1000 * level + index).normal(size=picture.shape)
        noisy = picture + noise * level / 255
        if eight_bit:
            noisy = np.rint(np.clip(noisy, 0, 1) * 255) / 255
        found.append(255 * estimator(noisy.astype(np.float32)) - level)
    return np.array(found)


def white_noise(clean: list[np.ndarray]) -> None:
    print(f"\nWhite Gaussian noise on {len(clean)} pictures of BSD68: mean absolute error (bias)")
    for eight_bit, levels in ((False, (0, *LEVELS)), (True, (50, 75))):
        for level in levels:
            ours, usual = (
                errors(clean, level, eight_bit, estimator)
                for estimator in (our_sigma, skimage_sigma)
            )
            print(
                f"  sigma {level:2d} {'8-bit' if eight_bit else 'float'}:"
                f"  nlm {np.abs(ours).mean():.2f} ({ours.mean():+.2f})"
                f"  scikit-image {np.abs(usual).mean():.2f} ({usual.mean():+.2f})"
            )


def photographs(folder: Path, every: int) -> None:
    rows = []
    pairs = (pictures(folder / part, every) for part in ("noisy", "mean"))
    for photo, reference in zip(*pairs, strict=True):
        results = [
            photo,
            denoised(photo, 255 * skimage_sigma(photo)),
            automatic(photo),
            *(denoised(photo, level) for level in FIXED),
        ]
        quality = [psnr(result, reference) for result in results]
        rows.append([*quality[:3], max(quality[3:]), psnr(automatic(reference), reference)])
    table = np.array(rows)
    before, usual, ours, best, kept = table.mean(0)
    gain = table[:, 2] - table[:, 0]
    print(f"\n{len(table)} camera photographs of CC60: PSNR after `nlm denoise` with no option")
    print(f"  noisy {before:.2f}  with scikit-image's sigma {usual:.2f}  nlm {ours:.2f}")
    print(f"  best fixed sigma per picture {best:.2f}  least gain of a picture {gain.min():+.2f}")
    print(f"  their mean pictures, denoised too, keep {kept:.2f}")


def clean_pictures(name: str, clean: list[np.ndarray]) -> None:
    kept = [psnr(automatic(picture), picture) for picture in clean]
    levels = [255 * estimate(picture.reshape(*picture.shape[:2], -1)).sigma for picture in clean]
    print(
        f"  {name}: PSNR against themselves {np.mean(kept):.2f} (least {np.min(kept):.2f}),"
        f" sigma {np.mean(levels):.2f}"
    )


def least_milliseconds(work: Callable[[], object]) -> float:
    """Processor time, so that a busy machine does not count."""
    return 1000 * min(timeit.repeat(work, timer=time.process_time, number=1, repeat=15))


def speed() -> None:
    print("\nMilliseconds of processor time for 512x512 (least of 15)")
    for channels in (1, 3):
        picture = np.random.default_rng(0).random((512, 512, channels)).astype(np.float32)
        full = least_milliseconds(partial(estimate, picture))
        white = least_milliseconds(partial(estimate_sigma, picture, channel_axis=-1))
        print(f"  {channels} channels: estimate {full:.1f}  estimate_sigma {white:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=needs.DATA, help="folder that holds BSD68, CC60 ..."
    )
    parser.add_argument("--every", type=int, default=1, help="take every N-th picture")
    options = parser.parse_args()
    for name in ("BSD68", "CBSD68", "CC60"):
        needs.folder(options.data / name)
    warnings.simplefilter("error")
    speed()
    gray = list(pictures(options.data / "BSD68", options.every))
    white_noise(gray)
    print("\nClean pictures after `nlm denoise` with no option")
    clean_pictures("BSD68", gray)
    clean_pictures("CBSD68", list(pictures(options.data / "CBSD68", options.every)))
    photographs(options.data / "CC60", options.every)


if __name__ == "__main__":
    main()
