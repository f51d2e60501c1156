"""A network runs through a large picture from top to bottom, in bands of rows.

No map is ever there as a whole, and nothing is computed twice. A convolution sees a row further
than it gives: the band that it gives lies `SHIFT` rows above the one that it takes, and the last
rows of every band are remembered, to stand above the next one. The network is told nothing of it:
layers are called for each band, in the same order, as for a whole picture. When the last rows have
been taken, bands without rows push out what is left.

Bands lie on the grid of the convolutions' squares, so results are those of the whole picture.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nlm.backends import cpu_layers, cpu_window_layer
from nlm.backends.cpu_layers import FeatureMap
from nlm.backends.cpu_tiles import ForEach
from nlm.learned.band_sizes import SHIFT, on_grid, rows_above
from nlm.learned.config import ModelConfig


@dataclass
class Band:
    """Some rows of a map, and rows above them.

    Attributes
    ----------
    base : FeatureMap
        Holds `above` rows more than the band has at most.
    level : int
    end : int
        The row below the band, on a map that goes on at both ends.
    above : int
        Rows that it can hold of the band before.
    height : int
        Rows of the whole map.
    home : list of FeatureMap
        Where `base` goes when the band is no longer needed: new memory is slow.
    """

    base: FeatureMap
    level: int
    end: int
    above: int
    height: int
    home: list[FeatureMap]

    def __del__(self) -> None:
        self.home.append(self.base)

    @property
    def rows(self) -> range:
        """Rows of the map that it holds, the remembered ones left out."""
        step = self.base.rows - self.above
        first, last = (min(max(row, 0), self.height) for row in (self.end - step, self.end))
        return range(first, last)

    def set(self, numbers: FeatureMap) -> None:
        """Fill its rows."""
        self.view(self.rows).data[:, 1:-1] = numbers.data[:, 1:-1]

    def view(self, rows: range) -> FeatureMap:
        """A map of some rows, bordered by their neighbours or, at the picture's ends, by zeros."""
        data, begin = self.base.data, self.end - self.base.rows
        part = data[:, rows.start - begin : rows.stop - begin + 2]
        if rows.start == 0:
            part[:, 0] = 0
        if rows.stop == self.height:
            part[:, -1] = 0
        return FeatureMap(part, self.base.channels, len(rows), self.base.columns)


class Banded:
    """Layers applied to the bands of a picture, as those of `whole.Whole` to whole maps.

    Parameters
    ----------
    config : ModelConfig
    rows, columns : int
        Of the first layer's map, multiples of what the network needs.
    step : int
        Rows of a band there.
    for_each : callable
        Runs a function over jobs, in parallel.
    """

    def __init__(
        self, config: ModelConfig, rows: int, columns: int, step: int, for_each: ForEach
    ) -> None:
        self.size, self.step, self.for_each = (rows, columns), step, for_each
        self.above = [rows_above(config, level) for level in range(len(config.widths))]
        self.spare: defaultdict[tuple[int, int], list[FeatureMap]] = defaultdict(list)
        self.memories: dict[int, Any] = {}
        self.end = self.calls = 0

    def next_band(self, channels: int) -> Band:
        """What enters the first layer next, to be filled; a turn of the network begins."""
        self.end += self.step
        self.calls = 0
        return self.new(channels, 0, self.end)

    def new(self, channels: int, level: int, end: int) -> Band:
        """A band of anything."""
        above, (height, columns) = self.above[level], (length >> level for length in self.size)
        home, rows = self.spare[channels, level], above + (self.step >> level)
        base = home.pop() if home else FeatureMap.empty(channels, rows, columns)
        return Band(base, level, end, above, height, home)

    def call(self) -> int:
        """The number of this call among the turn's: what is remembered goes by it."""
        self.calls += 1
        return self.calls

    def below_what_was(self, band: Band, count: int) -> Band:
        """Put so many rows of the band before above this one, and remember the last of this."""
        call, data = self.call(), band.base.data
        first, last = (data[:, end - count : end] for end in (1 + band.above, data.shape[1] - 1))
        known = call in self.memories
        if not known:
            self.memories[call] = np.empty_like(last)
        memory = self.memories[call]

        def exchange(block: int) -> None:
            if known:
                first[block] = memory[block]
            memory[block] = last[block]

        self.for_each(exchange, range(len(data)))
        return band

    def apply(self, band: Band, layer: Any, residual: Band | None = None, slope: float = 1) -> Band:
        """A layer's band; 3 x 3 taps see the rows around."""
        level, end = band.level, band.end - SHIFT
        if getattr(layer, "step", 1) == 2:
            level, end = band.level + 1, band.end // 2 // SHIFT * SHIFT
        done = self.new(layer.channels, level, end)
        rows, times = done.rows, 1 << (level - band.level)
        if rows:
            cpu_layers.convolve(
                band.view(range(times * rows.start, times * rows.stop)),
                layer,
                self.for_each,
                slope=slope,
                residual=None if residual is None else residual.view(rows),
                out=done.view(rows),
            )
        return done

    def convolve(self, h: Band, layer: Any) -> Band:
        """A layer's band."""
        return self.apply(self.below_what_was(h, 2 * SHIFT), layer)

    def block(self, h: Band, conv1: Any, conv2: Any, slope: float) -> Band:
        """Add conv2(leaky ReLU(conv1(h))) to h."""
        h = self.below_what_was(h, 2 * SHIFT)
        inner = self.below_what_was(self.apply(h, conv1, slope=slope), SHIFT + 1)
        return self.apply(inner, conv2, residual=h)

    def keep(self, h: Band) -> "deque[Band]":
        """What `widen` or `add` is given later, when such a band comes."""
        kept: deque[Band] = self.memories.setdefault(self.call(), deque())
        kept.append(h)
        return kept

    def copy(self, h: Band) -> Band:
        """The same band: none is changed."""
        return h

    def recall(self, kept: "deque[Band]", level: int, end: int) -> Band:
        """A band of the rows that were kept, up to this one."""
        done = self.new(kept[0].base.channels, level, end)
        rows = done.rows
        while kept:
            part = range(max(kept[0].rows.start, rows.start), min(kept[0].rows.stop, rows.stop))
            if part:
                done.view(part).data[:, 1:-1] = kept[0].view(part).data[:, 1:-1]
            if kept[0].rows.stop > rows.stop or len(kept) == 1:
                break
            kept.popleft()
        return done

    def add(self, h: Band, kept: "deque[Band]") -> Band:
        """Add what was kept."""
        done = self.recall(kept, h.level, h.end)
        if done.rows:
            done.view(done.rows).data[:, 1:-1] += h.view(h.rows).data[:, 1:-1]
        return done

    def widen(self, below: Band, kept: "deque[Band]", layers: Sequence[Any]) -> Band:
        """Add a band of the level below to what was kept, by a layer for each of 2 x 2 pixels."""
        done = self.recall(kept, below.level - 1, 2 * below.end)
        if below.rows:
            wide = done.view(done.rows)
            for k, layer in enumerate(layers):
                how: dict[str, Any] = {"residual": wide, "out": wide, "place": divmod(k, 2)}
                cpu_layers.convolve(below.view(below.rows), layer, self.for_each, **how)
        return done

    def attend(self, h: Band, layer: Any) -> Band:
        """Pass through a non-local block, which sees its radius around the band."""
        h = self.below_what_was(h, h.above)
        done = self.new(h.base.channels, h.level, h.end - on_grid(layer.radius))
        rows = done.rows
        if rows:
            around = range(
                max(rows.start - layer.radius, 0), min(rows.stop + layer.radius, h.height)
            )
            found = cpu_window_layer.project(h.view(around), layer, self.for_each)
            part = found.below(rows.start - around.start)
            source, out = h.view(rows), done.view(rows)
            cpu_window_layer.attend(
                source, layer, part.queries, [part.keys], self.for_each, out=out
            )
        return done
