"""What a network says of a picture, averaged over the picture's turned and mirrored copies.

Errors that are not the same in all of them become smaller (Timofte, Rothe and Van Gool, CVPR 2016,
doi:10.1109/CVPR.2016.206).
"""

import numpy as np

from nlm.backends import Backend
from nlm.backends.cpu_tiles import Picture
from nlm.learned.inputs import reflect
from nlm.learned.model import NlNet

QUARTERS = (0, 2, 1, 3)
"""Quarter turns in the order in which they are used; once more, mirrored."""


def denoise(network: NlNet, noisy: Picture, sigma: float, turns: int, backend: Backend) -> Picture:
    """Denoise one picture (Y, X, C) so many times, at most 8.

    The picture is continued first, so that a tile's copies meet the network as the whole's do.
    """
    if turns == 1:
        return network.denoise(noisy, sigma, backend.silent.for_each, backend.tell)
    rows, columns, _ = noisy.shape
    whole = reflect(noisy, (network.config.align,) * 2)
    total = np.zeros_like(whole)
    for turn in range(turns):
        place = backend.part(turn, turns)
        picture = turned(whole, turn)
        denoised = network.denoise(picture, sigma, place.silent.for_each, place.tell)
        total += turned_back(denoised, turn)
    total /= turns
    return total[:rows, :columns]


def turned(picture: Picture, turn: int) -> Picture:
    """A copy of a picture, turned, and from the fifth turn on mirrored first."""
    if turn >= len(QUARTERS):
        picture = picture[:, ::-1]
    return np.ascontiguousarray(np.rot90(picture, QUARTERS[turn % len(QUARTERS)]))


def turned_back(picture: Picture, turn: int) -> Picture:
    """What `turned` makes such a picture of."""
    picture = np.rot90(picture, -QUARTERS[turn % len(QUARTERS)])
    return picture[:, ::-1] if turn >= len(QUARTERS) else picture
