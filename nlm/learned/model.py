"""The network `nlnet`: a U of residual blocks that predicts the noise of a picture.

Its twin in PyTorch, for training, is `pytorch.NlNet`; both read `config.ModelConfig`.
Shapes are given as (channels, Y, X) of the picture.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.backends import Backend
from nlm.backends.cpu_layers import FeatureMap
from nlm.backends.cpu_tiles import ForEach
from nlm.errors import FileError
from nlm.learned import weights
from nlm.learned.config import ModelConfig
from nlm.learned.estimates import estimates

Picture = NDArray[np.float32]
CPU = Backend()


@dataclass
class Halfway:
    """A picture that has come as far as the network's only non-local block.

    Attributes
    ----------
    noisy : ndarray of float32, shape (Y, X, C)
    maps : list of FeatureMap
        What goes on: a map for each level from the finest to the block's.
    queries : array
        Of the block's own.
    keys : Keys
        What other pictures see of it.
    """

    noisy: Picture
    maps: list[FeatureMap]
    queries: Any
    keys: Any


class NlNet:
    """The network with its weights, ready to denoise.

    Parameters
    ----------
    config : ModelConfig
    arrays : mapping
        Weights by name, as `train.export` writes them.
    backend : Backend
        Where its layers run.
    """

    def __init__(
        self,
        config: ModelConfig,
        arrays: Mapping[str, NDArray[np.floating]],
        backend: Backend = CPU,
    ) -> None:
        self.config, self.arrays = config, arrays
        self.ops, self.window = backend.layers, backend.window_layer
        self.twins = {backend.engine: self}
        self.layers: dict[str, Any] = {}
        self.non_local: dict[int, Any] = {}
        for level, radius in enumerate(config.nonlocal_radius):
            if radius:
                start = f"non_local.{level}."
                parts = {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}
                distance = config.pairwise == "distance"
                self.non_local[level] = self.window.NonLocalLayer.of(parts, radius, distance)
        for name in (key.removesuffix(".weight") for key in arrays if key.endswith(".weight")):
            weights, bias = arrays[f"{name}.weight"], arrays[f"{name}.bias"]
            if name.startswith("up."):  # one layer for each of the four pixels it gives
                for k in range(4):
                    self.layers[f"{name}.{k}"] = self.ops.Convolution.of(weights[k::4], bias[k::4])
            elif not name.startswith("non_local."):
                step = 2 if name.startswith("down.") else 1
                self.layers[name] = self.ops.Convolution.of(weights, bias, step)

    def on(self, backend: Backend) -> "NlNet":
        """The same network on such a backend."""
        if backend.engine not in self.twins:
            self.twins[backend.engine] = NlNet(self.config, self.arrays, backend)
        return self.twins[backend.engine]

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
        first = self.begin(noisy, sigma, for_each)
        h = first.copy() if self.config.repeats > 1 else first
        for repeat in range(self.config.repeats):
            if repeat > 0:
                h.data += first.data
            h = self.body(h, for_each)
        return self.end(noisy, h, for_each)

    @property
    def only_block(self) -> int | None:
        """The level of the network's non-local block, if there is one that is passed once."""
        return self.config.only_block

    def to_block(self, noisy: Picture, sigma: float | Picture, for_each: ForEach) -> Halfway:
        """Do the first half of `denoise`, up to the only block."""
        block = self.the_block()
        maps = self.descend(self.begin(noisy, sigma, for_each), for_each)
        self.climb(maps, range(len(maps) - 1, block, -1), for_each)
        self.arrive(maps, block, for_each)
        projected = self.window.project(maps[-1], self.non_local[block], for_each)
        return Halfway(noisy, maps, projected.queries, projected.keys)

    def from_block(self, half: Halfway, seen: Sequence[Any], for_each: ForEach) -> Picture:
        """Do the rest of `denoise`, with the keys of these pictures. Uses `half` up."""
        block = self.the_block()
        maps, layer = half.maps, self.non_local[block]
        maps[-1] = self.window.attend(maps[-1], layer, half.queries, seen, for_each)
        self.leave(maps, block, for_each)
        self.climb(maps, range(block - 1, -1, -1), for_each)
        return self.end(half.noisy, maps[0], for_each)

    def the_block(self) -> int:
        """The level of the only block, which there must be."""
        level = self.only_block
        if level is None:
            raise ValueError("the network has no non-local block, or passes through several")
        return level

    def begin(self, noisy: Picture, sigma: float | Picture, for_each: ForEach) -> FeatureMap:
        """The first layer's map, (widths[0], Y/2, X/2)."""
        guides = estimates(noisy, sigma, self.config.estimates, for_each)
        pictures = reflect(np.concatenate((noisy, guides), -1), self.config.multiple)
        level = np.broadcast_to(np.asarray(sigma, np.float32), noisy.shape[:2])
        level = reflect(level[..., None], self.config.multiple)
        return self.convolve(self.ops.unshuffle(pictures, level), self.layers["stem"], for_each)

    def end(self, noisy: Picture, h: FeatureMap, for_each: ForEach) -> Picture:
        """The picture without the noise that the last layer finds."""
        rows, columns, _ = noisy.shape
        noise = self.convolve(h, self.layers["head"], for_each)  # (4 C, Y/2, X/2)
        return np.asarray(noisy - self.ops.shuffle(noise)[:rows, :columns])

    def convolve(self, h: FeatureMap, layer: Any, for_each: ForEach, **how: Any) -> FeatureMap:
        """Apply a layer; `how` as in `cpu_layers.convolve`."""
        done: FeatureMap = self.ops.convolve(h, layer, for_each, **how)
        return done

    def body(self, h: FeatureMap, for_each: ForEach) -> FeatureMap:
        """Run the U, in which each level's way down is added to its way up. Changes `h`."""
        maps = self.descend(h, for_each)
        self.climb(maps, range(len(maps) - 1, -1, -1), for_each)
        return maps[0]

    def descend(self, h: FeatureMap, for_each: ForEach) -> list[FeatureMap]:
        """Run the way down; gives the map of each level, finest first."""
        maps = []
        for i in range(len(self.config.widths) - 1):
            h = self.residual_blocks(h, f"encoder.{i}", self.config.blocks[i], for_each)
            maps.append(h)
            h = self.convolve(h, self.layers[f"down.{i}"], for_each)  # (widths[i + 1], Y/2, X/2)
        return [*maps, h]

    def climb(self, maps: list[FeatureMap], levels: Iterable[int], for_each: ForEach) -> None:
        """Run some levels of the way up, the bottom being the first; the last map is the way's."""
        for level in levels:
            self.arrive(maps, level, for_each)
            self.attend(maps, level, for_each)
            self.leave(maps, level, for_each)

    def arrive(self, maps: list[FeatureMap], level: int, for_each: ForEach) -> None:
        """Add what comes from below to a level's map; at the bottom, nothing does."""
        if level == len(self.config.widths) - 1:
            return
        below, wide = maps.pop(), maps[-1]
        for k in range(4):  # (widths[level], 2 Y, 2 X), a quarter of the pixels each
            layer = self.layers[f"up.{level}.{k}"]
            self.convolve(below, layer, for_each, residual=wide, out=wide, place=divmod(k, 2))

    def attend(self, maps: list[FeatureMap], level: int, for_each: ForEach) -> None:
        """Pass through the level's non-local block, if it has one."""
        if level in self.non_local:
            layer = self.non_local[level]
            projected = self.window.project(maps[-1], layer, for_each)
            seen = [projected.keys]
            maps[-1] = self.window.attend(maps[-1], layer, projected.queries, seen, for_each)

    def leave(self, maps: list[FeatureMap], level: int, for_each: ForEach) -> None:
        """Run the residual blocks of a level's way up."""
        if level == len(self.config.widths) - 1:
            name, count = "bottom", self.config.blocks[-1]
        else:
            name, count = f"decoder.{level}", self.config.blocks_up[level]
        maps[-1] = self.residual_blocks(maps[-1], name, count, for_each)

    def residual_blocks(
        self, h: FeatureMap, name: str, count: int, for_each: ForEach
    ) -> FeatureMap:
        """Add conv2(leaky ReLU(conv1(h))) to h, so many times."""
        inner = None
        for k in range(count):
            conv1 = self.layers[f"{name}.{k}.conv1"]
            inner = self.convolve(h, conv1, for_each, slope=self.config.leak, out=inner)
            self.convolve(inner, self.layers[f"{name}.{k}.conv2"], for_each, residual=h, out=h)
        return h


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
    return network_of(str(_file_for(channels)))


def config_for(channels: int) -> ModelConfig:
    """What the network that comes with nlm for so many channels is made of."""
    return weights.config_of(_file_for(channels))


def _file_for(channels: int) -> Path:
    for found in (weights.shipped(channels), weights.shipped(1)):
        if found is not None:
            return found
    raise FileError("nlm was installed without weights for nlnet; install it again")


def network_of(path: str) -> NlNet:
    """The network whose weights are in a file, ready to run; it is read again when it changed."""
    try:
        about = os.stat(path)
    except OSError:
        return _loaded(path, None)
    return _loaded(path, (about.st_size, about.st_mtime_ns))


@lru_cache(maxsize=8)
def _loaded(path: str, version: tuple[int, int] | None) -> NlNet:
    config, arrays, _ = weights.load(path)
    return NlNet(config, arrays)


def reflect(picture: Picture, multiple: int) -> Picture:
    """Continue a picture (Y, X, C) at its end by reflection to a multiple of so many pixels."""
    rows, columns, _ = picture.shape
    missing = ((0, -rows % multiple), (0, -columns % multiple), (0, 0))
    return np.pad(picture, missing, "reflect")
