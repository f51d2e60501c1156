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

from nlm.backends import Backend, Progress
from nlm.backends.cpu_layers import FeatureMap
from nlm.backends.cpu_tiles import ForEach
from nlm.errors import FileError
from nlm.learned import weights
from nlm.learned.band_sizes import rows_for
from nlm.learned.bands import Banded
from nlm.learned.config import ModelConfig
from nlm.learned.estimates import estimates
from nlm.learned.inputs import Inputs
from nlm.learned.whole import Whole

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
        self.on_cpu, self.kernels = backend.name == "cpu", backend.kernels
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

    def denoise(
        self,
        noisy: Picture,
        sigma: float | Picture,
        for_each: ForEach,
        tell: Progress | None = None,
    ) -> Picture:
        """Denoise one picture; a large one on the CPU by bands, which take less memory.

        Parameters
        ----------
        noisy : ndarray of float32, shape (Y, X, C)
            Full scale 1.0.
        sigma : float or ndarray, shape (Y, X)
            Noise level, fraction of full scale.
        for_each : callable
            Runs a function over jobs, in parallel.
        tell : callable, optional
            Told what share of the picture is done.

        Returns
        -------
        ndarray of float32, shape (Y, X, C)
        """
        given = self.given(noisy, sigma, for_each)
        if self.on_cpu and (step := rows_for(noisy.shape, self.config)):
            return self.by_bands(given, step // 2, for_each, tell)
        run = Whole(self.ops, self.window, for_each)
        denoised = self.end(noisy, self.noise_of(given.unshuffled(self.ops), run))
        if tell is not None:
            tell(1.0)
        return denoised

    def given(self, noisy: Picture, sigma: float | Picture, for_each: ForEach) -> Inputs:
        """What enters the first layer."""
        guides = estimates(noisy, sigma, self.config, for_each, self.kernels.nlm)
        return Inputs(noisy, guides, sigma, self.config.multiple)

    def by_bands(
        self, given: Inputs, step: int, for_each: ForEach, tell: Progress | None
    ) -> Picture:
        """The same in bands of so many rows of the first map."""
        run = Banded(self.config, given.rows, given.columns, step, for_each)
        denoised = np.empty(given.noisy.shape, np.float32)
        while True:
            band = run.next_band(self.config.inputs)
            if band.rows:
                band.set(given.unshuffled(self.ops, band.rows))
            noise = self.noise_of(band, run)
            if noise.rows:
                here = slice(2 * noise.rows.start, 2 * noise.rows.stop)
                denoised[here] = self.end(given.noisy[here], noise.view(noise.rows))
                if tell is not None:
                    tell(noise.rows.stop / given.rows)
            if noise.rows.stop == given.rows:
                return denoised

    @property
    def only_block(self) -> int | None:
        """The level of the network's non-local block, if there is one that is passed once."""
        return self.config.only_block

    def to_block(self, noisy: Picture, sigma: float | Picture, for_each: ForEach) -> Halfway:
        """Do the first half of `denoise`, up to the only block."""
        block, run = self.the_block(), Whole(self.ops, self.window, for_each)
        given = self.given(noisy, sigma, for_each)
        first = run.convolve(given.unshuffled(self.ops), self.layers["stem"])
        maps = self.descend(first, run)
        self.climb(maps, range(len(maps) - 1, block, -1), run)
        self.arrive(maps, block, run)
        projected = self.window.project(maps[-1], self.non_local[block], for_each)
        return Halfway(noisy, maps, projected.queries, projected.keys)

    def from_block(self, half: Halfway, seen: Sequence[Any], for_each: ForEach) -> Picture:
        """Do the rest of `denoise`, with the keys of these pictures. Uses `half` up."""
        block, run = self.the_block(), Whole(self.ops, self.window, for_each)
        maps, layer = half.maps, self.non_local[block]
        maps[-1] = self.window.attend(maps[-1], layer, half.queries, seen, for_each)
        self.leave(maps, block, run)
        self.climb(maps, range(block - 1, -1, -1), run)
        return self.end(half.noisy, run.convolve(maps[0], self.layers["head"]))

    def the_block(self) -> int:
        """The level of the only block, which there must be."""
        level = self.only_block
        if level is None:
            raise ValueError("the network has no non-local block, or passes through several")
        return level

    def noise_of(self, h: Any, run: Any) -> Any:
        """What the network takes for noise, (4 C, Y/2, X/2), in what enters the first layer.

        From here on `h` is a map, and `run` applies layers to maps, or `h` is a band of one, and
        `run` applies them to bands: see `whole.Whole` and `bands.Banded`.
        """
        h = run.convolve(h, self.layers["stem"])  # (widths[0], Y/2, X/2)
        again = [run.keep(h) for _ in range(self.config.repeats - 1)]
        h = self.body(run.copy(h) if again else h, run)
        for first in again:
            h = self.body(run.add(h, first), run)
        return run.convolve(h, self.layers["head"])

    def end(self, noisy: Picture, noise: FeatureMap) -> Picture:
        """The picture without the noise that the last layer finds."""
        rows, columns, _ = noisy.shape
        return np.asarray(noisy - self.ops.shuffle(noise)[:rows, :columns])

    def body(self, h: Any, run: Any) -> Any:
        """Run the U, in which each level's way down is added to its way up."""
        maps = self.descend(h, run)
        self.climb(maps, range(len(maps) - 1, -1, -1), run)
        return maps[0]

    def descend(self, h: Any, run: Any) -> list[Any]:
        """Run the way down; gives what is kept of each level, finest first, and the bottom."""
        kept = []
        for i in range(len(self.config.widths) - 1):
            h = self.residual_blocks(h, f"encoder.{i}", self.config.blocks[i], run)
            kept.append(run.keep(h))
            h = run.convolve(h, self.layers[f"down.{i}"])  # (widths[i + 1], Y/2, X/2)
        return [*kept, h]

    def climb(self, maps: list[Any], levels: Iterable[int], run: Any) -> None:
        """Run some levels of the way up, the bottom being the first; the last map is the way's."""
        for level in levels:
            self.arrive(maps, level, run)
            if level in self.non_local:
                maps[-1] = run.attend(maps[-1], self.non_local[level])
            self.leave(maps, level, run)

    def arrive(self, maps: list[Any], level: int, run: Any) -> None:
        """Add what comes from below to what was kept of a level; at the bottom, nothing does."""
        if level < len(self.config.widths) - 1:
            below, kept = maps.pop(), maps.pop()
            layers = [self.layers[f"up.{level}.{k}"] for k in range(4)]
            maps.append(run.widen(below, kept, layers))  # (widths[level], 2 Y, 2 X)

    def leave(self, maps: list[Any], level: int, run: Any) -> None:
        """Run the residual blocks of a level's way up."""
        if level == len(self.config.widths) - 1:
            name, count = "bottom", self.config.blocks[-1]
        else:
            name, count = f"decoder.{level}", self.config.blocks_up[level]
        maps[-1] = self.residual_blocks(maps[-1], name, count, run)

    def residual_blocks(self, h: Any, name: str, count: int, run: Any) -> Any:
        """Add conv2(leaky ReLU(conv1(h))) to h, so many times."""
        for k in range(count):
            convolutions = (self.layers[f"{name}.{k}.conv{i}"] for i in (1, 2))
            h = run.block(h, *convolutions, self.config.leak)
        return h


def network_for(channels: int, path: str | None = None, small: bool = False) -> NlNet:
    """The network for pictures of so many channels.

    Parameters
    ----------
    channels : int
    path : str, optional
        A file of weights; left out, those that come with nlm.
    small : bool
        Of these, the small ones.

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
    return network_of(str(_file_for(channels, small)))


def config_for(channels: int, small: bool = False) -> ModelConfig:
    """What the network that comes with nlm for so many channels is made of."""
    return weights.config_of(_file_for(channels, small))


def _file_for(channels: int, small: bool) -> Path:
    for found in (weights.shipped(channels, small), weights.shipped(1, small)):
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
