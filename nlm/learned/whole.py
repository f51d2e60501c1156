"""How a network's layers are applied to a picture as a whole; `bands.Banded` does it by bands."""

from collections.abc import Sequence
from typing import Any

from nlm.backends.cpu_layers import FeatureMap
from nlm.backends.cpu_tiles import ForEach


class Whole:
    """Layers applied to maps of a whole picture, which they may change.

    Parameters
    ----------
    ops, window : module
        A backend's layers.
    for_each : callable
        Runs a function over jobs, in parallel.
    """

    def __init__(self, ops: Any, window: Any, for_each: ForEach) -> None:
        self.ops, self.window, self.for_each = ops, window, for_each
        self.spare: FeatureMap | None = None

    def convolve(self, h: FeatureMap, layer: Any) -> FeatureMap:
        """A layer's map."""
        done: FeatureMap = self.ops.convolve(h, layer, self.for_each)
        return done

    def block(self, h: FeatureMap, conv1: Any, conv2: Any, slope: float) -> FeatureMap:
        """Add conv2(leaky ReLU(conv1(h))) to h."""
        out = self.spare
        if out is not None and (out.channels, out.rows) != (h.channels, h.rows):
            out = self.spare = None
        self.spare = inner = self.ops.convolve(h, conv1, self.for_each, slope=slope, out=out)
        done: FeatureMap = self.ops.convolve(inner, conv2, self.for_each, residual=h, out=h)
        return done

    def keep(self, h: FeatureMap) -> FeatureMap:
        """What `widen` or `add` is given later, with the map of the same picture."""
        return h

    def copy(self, h: FeatureMap) -> FeatureMap:
        """A map of its own with the same numbers."""
        return h.copy()

    def add(self, h: FeatureMap, kept: FeatureMap) -> FeatureMap:
        """Add a map that was kept."""
        h.data += kept.data
        return h

    def widen(self, below: FeatureMap, kept: FeatureMap, layers: Sequence[Any]) -> FeatureMap:
        """Add a map of the level below to what was kept, by a layer for each of 2 x 2 pixels."""
        for k, layer in enumerate(layers):
            how = {"residual": kept, "out": kept, "place": divmod(k, 2)}
            self.ops.convolve(below, layer, self.for_each, **how)
        return kept

    def attend(self, h: FeatureMap, layer: Any) -> FeatureMap:
        """Pass through a non-local block."""
        projected = self.window.project(h, layer, self.for_each)
        seen = [projected.keys]
        done: FeatureMap = self.window.attend(h, layer, projected.queries, seen, self.for_each)
        return done
