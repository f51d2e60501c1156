"""How much of a picture repeats itself, decided on the clean picture alone.

    python -m tests.bench.repeats [--data ../shared/data/BSDS500-val32]

The score is the share of the picture's 7x7 patches that have texture (a standard deviation above
10 grey levels) and a like patch 8 to 24 pixels away: one whose mean squared difference is below a
fifth of the patch's own variance.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import uniform_filter

from tests.bench import needs

PATCH, NEAR, FAR, STEP = 7, 8, 24, 2
TEXTURE, LIKE = 10.0, 0.2


def self_similarity(picture: np.ndarray) -> float:
    """The score, 0 to 1, of a clean picture (Y, X) of 8-bit grey levels."""
    picture = np.asarray(picture, np.float32)
    mean = uniform_filter(picture, PATCH)
    variance = uniform_filter(picture**2, PATCH) - mean**2
    nearest = np.full(picture.shape, np.inf, np.float32)
    reach = range(-FAR, FAR + 1, STEP)
    for dy in range(0, FAR + 1, STEP):
        for dx in reach:
            if max(dy, abs(dx)) < NEAR or (dy == 0 and dx < 0):
                continue
            here = np.s_[: picture.shape[0] - dy, max(0, -dx) : picture.shape[1] - max(0, dx)]
            there = np.s_[dy:, max(0, dx) : picture.shape[1] + min(0, dx)]
            distance = uniform_filter((picture[here] - picture[there]) ** 2, PATCH)
            np.minimum(nearest[here], distance, out=nearest[here])
            np.minimum(nearest[there], distance, out=nearest[there])
    return float(np.mean((variance > TEXTURE**2) & (nearest < LIKE * variance)))


def ranked(folder: Path) -> list[tuple[float, Path]]:
    """The pictures of a folder with their scores, those that repeat themselves most first."""
    scores = []
    for path in sorted(folder.iterdir()):
        with Image.open(path) as image:
            scores.append((self_similarity(np.asarray(image.convert("L"))), path))
    return sorted(scores, reverse=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=needs.DATA / "BSDS500-val32")
    for score, path in ranked(needs.folder(parser.parse_args().data)):
        print(f"{score:.3f} {path.name}")


if __name__ == "__main__":
    main()
