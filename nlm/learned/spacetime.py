"""`nlnet` in space and time: its non-local block sees the frames before and after, too.

A frame runs through the network as far as the block by itself. There, its queries are compared with
the keys in their windows of all frames that are near, by the same weights as in a still picture:

    y_i = sum_j softmax_j(-|theta_i - phi_j|^2) g_j, j over these windows

The window is wide enough for what moves from frame to frame, so nothing is aligned.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.backends.cpu_tiles import ForEach
from nlm.learned.model import Halfway, NlNet
from nlm.sliding import sliding
from nlm.tiling import Windows, windows

Picture = NDArray[np.float32]


def denoise(
    frames: Iterable[Picture],
    sigma: float | Picture,
    network: NlNet,
    reach: int,
    for_each: ForEach,
    tile: int | None = None,
) -> Iterator[Picture]:
    """Denoise the frames of one scene.

    Parameters
    ----------
    frames : iterable of ndarray of float32, shape (Y, X, C)
        Full scale 1.0, all of one size; C is a multiple of the network's channels.
    sigma : float or ndarray, shape (Y, X)
        Noise level of all frames, fraction of full scale.
    network : NlNet
        With one non-local block.
    reach : int
        Frames before and after one that it sees; at the ends of the scene there are fewer.
    for_each : callable
        Runs a function over jobs, in parallel.
    tile : int, optional
        Side of the tiles that larger frames are cut into, in pixels.

    Yields
    ------
    ndarray of float32, shape (Y, X, C)
        The frames, in order. Of ``2 * reach + 1`` at most are keys held, and of ``reach + 1`` the
        rest of what the network knows.
    """
    parts: list[_Part] = []

    def take(number: int, frame: Picture) -> None:
        parts[:] = parts or _parts(frame.shape, sigma, network, tile)
        for part in parts:
            part.take(number, frame, for_each)

    for number, near in sliding(frames, reach, take):
        whole = np.empty(parts[0].size, np.float32)
        for part in parts:
            whole[part.inner] = part.denoised(number, near, for_each)
        yield whole


def _parts(
    shape: tuple[int, ...], sigma: float | Picture, network: NlNet, tile: int | None
) -> "list[_Part]":
    config = network.config
    align = config.align
    side = -(-(tile or max(shape)) // align) * align
    step = config.channels  # a network for one channel takes each by itself
    return [
        _Part(
            network,
            sigma if np.ndim(sigma) == 0 else np.asarray(sigma)[outer],
            (shape[0], shape[1], shape[2]),
            (*inner, slice(c, c + step)),
            (*outer, slice(c, c + step)),
            place,
        )
        for inner, outer, place in windows(shape[:2], (side, side), (config.halo, config.halo))
        for c in range(0, shape[2], step)
    ]


@dataclass
class _Part:
    """A tile and channel of all frames.

    Attributes
    ----------
    size : (int, int, int)
        Of a frame.
    inner, outer : tuple of slice
        Where the tile lies in a frame, without and with its halo.
    place : tuple of slice
        Where the former lies in the latter.
    halfway, keys : dict
        Of frames by their number.
    """

    network: NlNet
    sigma: float | Picture
    size: tuple[int, int, int]
    inner: Windows
    outer: Windows
    place: Windows
    halfway: dict[int, Halfway] = field(default_factory=dict)
    keys: dict[int, Any] = field(default_factory=dict)

    def take(self, number: int, frame: Picture, for_each: ForEach) -> None:
        """Run a frame as far as the block."""
        half = self.network.to_block(frame[self.outer], self.sigma, for_each)
        self.halfway[number], self.keys[number] = half, half.keys

    def denoised(self, number: int, near: range, for_each: ForEach) -> Picture:
        """The rest for a frame, which sees those that are near."""
        for old in [one for one in self.keys if one < near.start]:
            del self.keys[old]
        seen = [self.keys[one] for one in sorted(near, key=lambda one: abs(one - number))]
        return self.network.from_block(self.halfway.pop(number), seen, for_each)[self.place]
