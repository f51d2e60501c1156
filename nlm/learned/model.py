"""The network `nlnet`: a U of residual blocks that predicts the noise of a picture.

Its twin in PyTorch, for training, is `pytorch.NlNet`; both read `config.ModelConfig`.
Shapes are given as (channels, Y, X) of the picture.
"""

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from nlm.backends.cpu_layers import Convolution, FeatureMap, convolve
from nlm.backends.cpu_tiles import ForEach
from nlm.backends.cpu_window_layer import NonLocalLayer, attend
from nlm.errors import FileError
from nlm.learned import weights
from nlm.learned.config import ModelConfig
from nlm.learned.estimates import estimates

Picture = NDArray[np.float32]


class NlNet:
    """The network with its weights, ready to denoise.

    Parameters
    ----------
    config : ModelConfig
    arrays : mapping
        Weights by name, as `train.export` writes them.
    """

    def __init__(self, config: ModelConfig, arrays: Mapping[str, NDArray[np.floating]]) -> None:
        self.config = config
        self.layers: dict[str, Convolution] = {}
        self.non_local: dict[int, NonLocalLayer] = {}
        for level, radius in enumerate(config.nonlocal_radius):
            if radius:
                start = f"non_local.{level}."
                parts = {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}
                distance = config.pairwise == "distance"
                self.non_local[level] = NonLocalLayer.of(parts, radius, distance)
        for name in (key.removesuffix(".weight") for key in arrays if key.endswith(".weight")):
            weights, bias = arrays[f"{name}.weight"], arrays[f"{name}.bias"]
            if name.startswith("up."):  # one layer for each of the four pixels it gives
                for k in range(4):
                    self.layers[f"{name}.{k}"] = Convolution.of(weights[k::4], bias[k::4])
            elif not name.startswith("non_local."):
                step = 2 if name.startswith("down.") else 1
                self.layers[name] = Convolution.of(weights, bias, step)

    def denoise(self, noisy: Picture, sigma: float | Picture, for_each: ForEach) -> Picture:
        """Denoise one picture.

        Parameters
        ----------
        noisy : ndarray of float32, shape (Y, X, C)
            Full scale 1.0.
        sigma : float or ndarray, shape (Y, X)
            Noise level, fraction of full scale.
        for_each : callable
            Runs a function over jobs, in parallel.

        Returns
        -------
        ndarray of float32, shape (Y, X, C)
        """
        rows, columns, _ = noisy.shape
        guides = estimates(noisy, sigma, self.config.estimates, for_each)
        pictures = reflect(np.concatenate((noisy, guides), -1), self.config.multiple)
        level = np.broadcast_to(np.asarray(sigma, np.float32), noisy.shape[:2])
        level = reflect(level[..., None], self.config.multiple)
        first = convolve(self.unshuffle(pictures, level), self.layers["stem"], for_each)
        h = first.copy()
        for repeat in range(self.config.repeats):
            if repeat > 0:
                h.data += first.data
            h = self.body(h, for_each)
        noise = convolve(h, self.layers["head"], for_each)  # (4 C, Y/2, X/2)
        return noisy - self.shuffle(noise)[:rows, :columns]

    def body(self, h: FeatureMap, for_each: ForEach) -> FeatureMap:
        """Run the U, in which each level's way down is added to its way up. Changes `h`."""
        kept = []
        for i in range(len(self.config.widths) - 1):
            h = self.residual_blocks(h, f"encoder.{i}", self.config.blocks[i], for_each)
            kept.append(h)
            h = convolve(h, self.layers[f"down.{i}"], for_each)  # (widths[i + 1], Y/2, X/2)
        h = self.attend(h, len(kept), for_each)
        h = self.residual_blocks(h, "bottom", self.config.blocks[-1], for_each)
        for i in reversed(range(len(kept))):
            wide = kept.pop()
            for k in range(4):  # (widths[i], 2 Y, 2 X), a quarter of the pixels each
                layer = self.layers[f"up.{i}.{k}"]
                convolve(h, layer, for_each, residual=wide, out=wide, place=divmod(k, 2))
            h = self.attend(wide, i, for_each)
            h = self.residual_blocks(h, f"decoder.{i}", self.config.blocks_up[i], for_each)
        return h

    def attend(self, h: FeatureMap, level: int, for_each: ForEach) -> FeatureMap:
        """Pass through the level's non-local block, if it has one. Changes `h`."""
        return attend(h, self.non_local[level], for_each) if level in self.non_local else h

    def residual_blocks(
        self, h: FeatureMap, name: str, count: int, for_each: ForEach
    ) -> FeatureMap:
        """Add conv2(ReLU(conv1(h))) to h, so many times."""
        inner = None
        for k in range(count):
            conv1 = self.layers[f"{name}.{k}.conv1"]
            inner = convolve(h, conv1, for_each, rectify=True, out=inner)
            convolve(inner, self.layers[f"{name}.{k}.conv2"], for_each, residual=h, out=h)
        return h

    def unshuffle(self, pictures: Picture, level: Picture) -> FeatureMap:
        """Every 2 x 2 pixels become channels (C, dy, dx), and sigma's mean the last one."""
        rows, columns, count = pictures.shape
        h = FeatureMap.zeros(self.config.inputs, rows // 2, columns // 2)
        for channel in range(4 * count):
            c, dy, dx = channel // 4, channel // 2 % 2, channel % 2
            h.set(channel, pictures[dy::2, dx::2, c])
        means = level.reshape(rows // 2, 2, columns // 2, 2).mean((1, 3))
        h.set(self.config.inputs - 1, means)
        return h

    def shuffle(self, h: FeatureMap) -> Picture:
        """Channels (C, dy, dx) become 2 x 2 pixels again."""
        picture = np.empty((2 * h.rows, 2 * h.columns, self.config.channels), np.float32)
        for channel in range(h.channels):
            c, dy, dx = channel // 4, channel // 2 % 2, channel % 2
            picture[dy::2, dx::2, c] = h.get(channel)
        return picture


def network_for(channels: int, path: str | None = None) -> NlNet:
    """The network for pictures of so many channels.

    Parameters
    ----------
    channels : int
    path : str, optional
        A file of weights; left out, those that come with nlm.

    Returns
    -------
    NlNet
        Of one channel where there is none for that number: to be run on each channel by itself.

    Raises
    ------
    FileError
        If the file is bad, or its network cannot take so many channels.
    """
    if path is not None:
        network = network_of(path)
        if channels % network.config.channels:
            raise FileError(
                f"{path}: these weights are for {network.config.channels} channels and the picture "
                f"has {channels}; give weights for gray pictures, or leave them out"
            )
        return network
    for found in (weights.shipped(channels), weights.shipped(1)):
        if found is not None:
            return network_of(str(found))
    raise FileError("nlm was installed without weights for nlnet; install it again")


@cache
def network_of(path: str) -> NlNet:
    """The network whose weights are in a file, ready to run."""
    config, arrays, _ = weights.load(path)
    return NlNet(config, arrays)


def reflect(picture: Picture, multiple: int) -> Picture:
    """Continue a picture (Y, X, C) at its end by reflection to a multiple of so many pixels."""
    rows, columns, _ = picture.shape
    missing = ((0, -rows % multiple), (0, -columns % multiple), (0, 0))
    return np.pad(picture, missing, "reflect")
