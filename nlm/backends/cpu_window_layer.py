"""The windowed non-local block as a layer of a network on the CPU."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nlm.backends.compiled import kernel, simd_width
from nlm.backends.cpu_layers import BAND, Convolution, FeatureMap, Layer, convolve
from nlm.backends.cpu_tiles import FEWEST, ForEach, aligned_areas

TOGETHER = 4
"""Offsets, or channels, that the kernel takes together."""
LINE = 16
"""Numbers in a cache line."""
HIDDEN = -1e30
"""Bias of keys beyond the map."""


@dataclass(frozen=True)
class NonLocalLayer:
    """Weights of a block ``x + w_z(y)``, y the softmax-weighted mean of g(x_j) near x_i.

    Attributes
    ----------
    parts : Layer
        theta, phi and g in one layer, each filled up to `inner` channels.
    w_z : Layer
    inner, radius : int
    distance : bool
        Scores are -|theta_i - phi_j|^2; otherwise theta_i . phi_j.
    """

    parts: Layer
    w_z: Layer
    inner: int
    radius: int
    distance: bool

    @classmethod
    def of(
        cls, weights: Mapping[str, NDArray[np.floating]], radius: int, distance: bool
    ) -> "NonLocalLayer":
        """From weights of 1 x 1 convolutions by name: "theta.weight", "theta.bias", ..."""
        inner = -(-len(weights["theta.weight"]) // TOGETHER) * TOGETHER
        kernels, biases = [], []
        for name in ("theta", "phi", "g"):
            missing = inner - len(weights[f"{name}.weight"])
            kernels.append(np.pad(weights[f"{name}.weight"], ((0, missing), *[(0, 0)] * 3)))
            biases.append(np.pad(weights[f"{name}.bias"], (0, missing)))
        parts = Convolution.of(np.concatenate(kernels), np.concatenate(biases))
        w_z = Convolution.of(weights["w_z.weight"], weights["w_z.bias"])
        return cls(parts, w_z, inner, radius, distance)


@dataclass
class Keys:
    """What queries may be compared with: phi, g and a bias at every position of a map.

    Attributes
    ----------
    lines : ndarray of float32, shape (rows, 2 inner + 1, columns)
        Phi, g and the bias, with a margin round the map; queries have lines of the same length.
    """

    lines: NDArray[np.float32]


@dataclass
class Projected:
    """A map's theta, phi and g, each at every position.

    Attributes
    ----------
    queries : ndarray of float32, shape (rows, inner, columns)
        Theta, in the units of scores.
    keys : Keys
    """

    queries: NDArray[np.float32]
    keys: Keys

    def below(self, rows: int) -> "Projected":
        """The same without the map's first rows."""
        return Projected(self.queries[rows:], Keys(self.keys.lines[rows:]))


def project(source: FeatureMap, layer: NonLocalLayer, for_each: ForEach) -> Projected:
    """The queries and keys of a map.

    Parameters
    ----------
    source : FeatureMap
    layer : NonLocalLayer
    for_each : callable
        Runs a function over jobs, in parallel.
    """
    parts = convolve(source, layer.parts, for_each)
    rows, columns, radius, inner = source.rows, source.columns, layer.radius, layer.inner
    height, length = rows + 2 * radius + lines_together(), line_length(columns + 2 * radius)
    sizes = [height * channels * length // simd_width() for channels in (inner, 2 * inner + 1)]
    queries, keys = (area.reshape(height, -1, length) for area in aligned_areas(sizes))
    queries[:] = keys[:] = 0
    keys[:, -1] = HIDDEN
    to_lines = kernel("cpu_window", "spread", distance=int(layer.distance))

    def spread(first: int) -> None:
        to_lines(
            *(parts.address(0, 1, 1), queries.ctypes.data, keys.ctypes.data),
            *(keys[:, -1].ctypes.data, parts.block, parts.row),
            *(length, inner * length, (2 * inner + 1) * length, radius),
            *(first, min(first + band, rows), columns, inner),
        )

    band = min(BAND, -(-rows // FEWEST))
    for_each(spread, range(0, rows, band))
    return Projected(queries, Keys(keys))


def attend(
    source: FeatureMap,
    layer: NonLocalLayer,
    queries: NDArray[np.float32],
    seen: Sequence[Keys],
    for_each: ForEach,
    out: FeatureMap | None = None,
) -> FeatureMap:
    """Apply a windowed non-local block, in place if not said otherwise.

    Parameters
    ----------
    source : FeatureMap
    layer : NonLocalLayer
    queries : ndarray
        Of this map.
    seen : sequence of Keys
        The maps whose windows the queries see, all of this map's size.
    for_each : callable
        Runs a function over jobs, in parallel.
    out : FeatureMap, optional
        Where the result goes, with as many numbers from row to row; `source` if left out.

    Returns
    -------
    FeatureMap
        `out`.
    """
    rows, columns, radius, inner = source.rows, source.columns, layer.radius, layer.inner
    lines, width, length = lines_together(), filled(columns), queries.shape[2]
    band = lines * min(5, -(-rows // (FEWEST * lines)))
    y = FeatureMap.zeros(inner, rows, columns)
    side = 2 * radius + 1
    key_row = (2 * inner + 1) * length
    offsets = offsets_of(radius, lines, key_row)
    first_map = seen[0].lines
    starts = np.array([keys.lines.ctypes.data for keys in seen], np.int64)
    maps = (starts - starts[0]) // first_map.itemsize
    run = kernel("cpu_window", "attend", lines=lines, together=TOGETHER)

    def average(first: int) -> None:
        count = min(band, rows - first)
        out = np.empty((inner, band, width), np.float32)
        scores, state = aligned_areas([len(offsets) * lines, 3 * lines])
        phi, g, biases = (first_map[first:, channel:] for channel in (0, inner, 2 * inner))
        inputs = (queries[first:], phi, g, biases)
        run(
            *(array.ctypes.data for array in (*inputs, out, scores, state, offsets, maps)),
            *(length, inner * length, key_row, band * width, width, radius),
            *(count, columns, inner, (2 * radius + lines) * side, side, len(maps)),
        )
        for c in range(inner):
            y.get(c)[first : first + count] = out[c, :count, :columns]

    for_each(average, range(0, rows, band))
    out = source if out is None else out
    return convolve(y, layer.w_z, for_each, residual=source, out=out)


def filled(columns: int) -> int:
    """So many columns, filled up to whole vectors."""
    return -(-columns // simd_width()) * simd_width()


def line_length(columns: int) -> int:
    """Numbers in a line of so many columns: whole vectors and an odd number of cache lines."""
    return (-(-filled(columns) // LINE) | 1) * LINE


def lines_together() -> int:
    """Lines of queries that the kernel takes together: as many as registers hold sums for."""
    return 4 if simd_width() == 16 else 3


def offsets_of(radius: int, lines: int, row: int) -> NDArray[np.int64]:
    """Where the keys that some lines of queries see lie, relative to the first line's query.

    The list is filled up to a multiple of `TOGETHER`; what is more is computed, not used.
    """
    down = np.arange(-radius, radius + lines, dtype=np.int64)
    across = np.arange(-radius, radius + 1, dtype=np.int64)
    offsets = (down[:, None] * row + across).ravel()
    return np.pad(offsets, (0, -len(offsets) % TOGETHER))
