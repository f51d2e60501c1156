"""What enters a network: a noisy picture, results of the classical filter, and the noise level."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.backends.cpu_tiles import Picture


class Inputs:
    """A picture as a network takes it, all of it or some rows.

    Parameters
    ----------
    noisy : ndarray of float32, shape (Y, X, C)
        Full scale 1.0.
    guides : ndarray of float32, shape (Y, X, N)
        Further input pictures.
    sigma : float or ndarray, shape (Y, X)
        Noise level, fraction of full scale.
    multiple : int
        Sides are continued to a multiple of this many pixels.

    Attributes
    ----------
    rows, columns : int
        Of the first layer's map: half of the picture's, which is continued by reflection.
    """

    def __init__(
        self, noisy: Picture, guides: Picture, sigma: float | Picture, multiple: int
    ) -> None:
        self.noisy, self.guides, self.multiple = noisy, guides, multiple
        level = np.broadcast_to(np.asarray(sigma, np.float32), noisy.shape[:2])
        self.level = level[..., None]
        self.lines = continued(len(noisy), self.multiple)
        self.rows, self.columns = (
            -(-side // self.multiple) * self.multiple // 2 for side in level.shape
        )

    def unshuffled(self, ops: Any, rows: range | None = None) -> Any:
        """The map of some rows, or of all, by a backend's layers."""
        rows = range(self.rows) if rows is None else rows
        part = self.lines[2 * rows.start : 2 * rows.stop]
        pictures = np.concatenate((self.noisy[part], self.guides[part]), -1)
        level = self.level[part]
        return ops.unshuffle(*(reflect(one, (1, self.multiple)) for one in (pictures, level)))


def reflect(picture: Picture, multiples: tuple[int, int]) -> Picture:
    """Continue a picture (Y, X, C) at its end by reflection to multiples of so many pixels."""
    down, across = (
        -size % multiple for size, multiple in zip(picture.shape, multiples, strict=False)
    )
    return np.pad(picture, ((0, down), (0, across), (0, 0)), "reflect")


def continued(size: int, multiple: int) -> NDArray[np.int64]:
    """Positions along an axis that is continued so."""
    return np.pad(np.arange(size), (0, -size % multiple), "reflect")
