"""Draw the README's picture: before | after | where it differs.

python -m tests.bench.figure
"""

from pathlib import Path

import numpy as np
from PIL import Image

import nlm

SAMPLES = Path(__file__).parents[2] / "sample_images"
CROP = (slice(30, 230), slice(90, 390))
GAIN = 2.5


def main() -> None:
    noisy = np.asarray(Image.open(SAMPLES / "chelsea_noisy.png"))
    after = nlm.denoise(noisy, 25 / 255, channel_axis=-1, preset="best")
    difference = 128 + GAIN * (noisy.astype(float) - after)
    panels = [noisy[CROP], after[CROP], np.clip(difference, 0, 255).astype(np.uint8)[CROP]]
    gap = np.full((panels[0].shape[0], 6, 3), 255, np.uint8)
    sheet = np.hstack([panels[0], gap, panels[1], gap, panels[2]])
    Image.fromarray(sheet).save(SAMPLES / "before_after.png", optimize=True)


if __name__ == "__main__":
    main()
