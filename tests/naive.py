"""Slow, obvious twins of the fast kernels, in float64."""

from itertools import product

import numpy as np
from scipy.ndimage import uniform_filter


def _patch_mean(x: np.ndarray, patch: tuple[int, ...]) -> np.ndarray:
    """Mean over the patch round every pixel of (Y, X) or (Z, Y, X)."""
    return uniform_filter(x, patch, mode="constant")


def nlm(
    features: np.ndarray,
    values: np.ndarray,
    sigma: float,
    strength: float,
    patch: tuple[int, ...],
    radius: tuple[int, ...],
    aggregate: bool,
    self_floor: float = 1e-2,
) -> np.ndarray:
    """Non-local means of (..., Y, X, C) arrays, continued by reflection beyond their edges."""
    axes = tuple(range(len(patch)))
    margin = [2 * (r + side // 2) for r, side in zip(radius, patch, strict=True)]
    pad = [*((m, m) for m in margin), (0, 0)]
    f = np.pad(features.astype(np.float64), pad, mode="reflect")
    v = np.pad(values.astype(np.float64), pad, mode="reflect")
    offsets = [o for o in product(*(range(-r, r + 1) for r in radius)) if any(o)]

    def shifted(x: np.ndarray, offset: tuple[int, ...]) -> np.ndarray:
        return np.roll(x, [-step for step in offset], axis=axes)

    def weight(offset: tuple[int, ...]) -> np.ndarray:
        distance = _patch_mean(np.mean((f - shifted(f, offset)) ** 2, axis=-1), patch)
        return np.exp(-np.maximum(distance - 2 * sigma**2, 0) / (strength * sigma) ** 2)

    own = np.ones(v.shape[:-1])
    worth = np.ones(v.shape[:-1])
    if aggregate:
        own, mass = np.full(v.shape[:-1], self_floor), np.zeros(v.shape[:-1])
        for offset in offsets:
            mass += weight(offset)
            own = np.maximum(own, weight(offset))
        worth = 1 / np.sqrt(mass + own)

    def covering(weights: np.ndarray) -> np.ndarray:
        return _patch_mean(weights, patch) if aggregate else weights

    numerator = covering(own * worth**2)[..., None] * v
    denominator = covering(own * worth**2)
    for offset in offsets:
        w = covering(weight(offset) * worth * shifted(worth, offset))
        numerator += w[..., None] * shifted(v, offset)
        denominator += w
    result = numerator / denominator[..., None]
    return result[tuple(slice(m, -m or None) for m in margin)]


def convolve(
    source: np.ndarray, weights: np.ndarray, bias: np.ndarray, step: int = 1
) -> np.ndarray:
    """Convolution of (C, Y, X) by (outputs, C, taps, taps), zeros beyond the edges."""
    taps = weights.shape[2]
    border = taps // 2 if step == 1 else 0
    padded = np.pad(source.astype(np.float64), ((0, 0), (border, border), (border, border)))
    rows, columns = (size // step for size in source.shape[1:])
    result = np.zeros((len(weights), rows, columns)) + bias[:, None, None]
    for y in range(taps):
        for x in range(taps):
            part = padded[:, y : y + rows * step : step, x : x + columns * step : step]
            result += np.einsum("oc,cyx->oyx", weights[:, :, y, x].astype(np.float64), part)
    return result


def non_local(
    x: np.ndarray,
    theta: np.ndarray | None = None,
    phi: np.ndarray | None = None,
    g: np.ndarray | None = None,
    pairwise: str = "gaussian",
    w_f: np.ndarray | None = None,
    scale: float = 1.0,
    window: tuple[int, ...] | None = None,
    subsample: int = 1,
    bias: np.ndarray | None = None,
) -> np.ndarray:
    """The generic non-local operation on (positions..., C), every query and key in turn.

    `bias`, one for each key, is added to the scores of the softmax forms.
    """
    x = np.asarray(x, np.float64)
    queries, keys, values = (x if m is None else x @ np.float64(m) for m in (theta, phi, g))
    grid = x.shape[:-1]
    cell = [1 if len(grid) == 3 and axis == 0 else subsample for axis in range(len(grid))]
    cells = list(np.ndindex(*(n // size for n, size in zip(grid, cell, strict=True))))

    def largest(picture: np.ndarray, corner: tuple[int, ...]) -> np.ndarray:
        part = tuple(slice(c * s, c * s + s) for c, s in zip(corner, cell, strict=True))
        return picture[part].max(axis=tuple(range(len(grid))))

    keys = np.stack([largest(keys, corner) for corner in cells])
    values = np.stack([largest(values, corner) for corner in cells])
    bias = np.zeros(len(keys)) if bias is None else bias
    result = np.zeros((*grid, values.shape[-1]))
    for i in np.ndindex(*grid):
        seen = [k for k, corner in enumerate(cells) if _sees(i, corner, window, cell, grid)]
        scores = np.array([_score(queries[i], keys[k], pairwise, w_f) * scale for k in seen])
        if pairwise in ("dot_product", "concatenation"):
            weights = scores / len(seen)
        else:
            weights = np.exp(scores + bias[seen] - np.max(scores + bias[seen]))
            weights /= weights.sum()
        result[i] = weights @ values[seen]
    return result


def non_local_block(
    maps: np.ndarray, weights: dict[str, np.ndarray], window: tuple[int, ...], pairwise: str
) -> np.ndarray:
    """The block x + w_z(y) on maps (T, C, Y, X); `window` is the reach in time, rows, columns."""
    x = np.moveaxis(np.asarray(maps, np.float64), 1, -1)
    with_one = np.concatenate([x, np.ones((*x.shape[:-1], 1))], axis=-1)
    theta, phi, g, w_z = (
        np.concatenate([weights[f"{name}.weight"][:, :, 0, 0].T, weights[f"{name}.bias"][None]])
        for name in ("theta", "phi", "g", "w_z")
    )
    y = non_local(with_one, theta, phi, g, pairwise=pairwise, window=window)
    y = np.concatenate([y, np.ones((*y.shape[:-1], 1))], axis=-1)
    return np.moveaxis(x + y @ np.float64(w_z), -1, 1)


def _sees(
    position: tuple[int, ...],
    corner: tuple[int, ...],
    window: tuple[int, ...] | None,
    cell: list[int],
    grid: tuple[int, ...],
) -> bool:
    """Whether any position of a cell is in the window; the last cell takes what is left over."""
    if window is None:
        return True
    axes = zip(position, corner, window, cell, grid, strict=True)
    for here, index, radius, size, length in axes:
        first = index * size
        end = first + size if index + 1 < length // size else length
        if end <= here - radius or first > here + radius:
            return False
    return True


def _score(query: np.ndarray, key: np.ndarray, pairwise: str, w_f: np.ndarray | None) -> float:
    if pairwise == "concatenation":
        return max(0.0, np.concatenate([query, key]) @ w_f)
    return -np.sum((query - key) ** 2) if pairwise == "distance" else query @ key


def collaborate(
    noisy: np.ndarray,
    pilot: np.ndarray,
    sigma: float,
    groups: object,
    matched: int = 1,
    from_pilot: bool = True,
) -> np.ndarray:
    """Groups of similar patches, group by group."""
    p, step, radius, members = groups.patch, groups.step, groups.radius, groups.members
    margin = radius + p
    border = ((margin, margin), (margin, margin), (0, 0))
    noisy_around, pilot_around = (
        np.pad(np.float64(one) / sigma, border, "reflect") for one in (noisy, pilot)
    )
    total, mass = np.zeros_like(noisy_around), np.zeros_like(noisy_around)
    share = 1 if from_pilot else 1e-3

    def patches(picture: np.ndarray, corners: list) -> np.ndarray:
        return np.array([picture[y : y + p, x : x + p].ravel() for y, x in corners])

    window = [(v, u) for v in range(-radius, radius + 1) for u in range(-radius, radius + 1)]
    compared = pilot_around[..., :matched]
    for y in range(margin, margin + noisy.shape[0], step):
        for x in range(margin, margin + noisy.shape[1], step):
            reference = compared[y : y + p, x : x + p]
            corners = [(y + v, x + u) for v, u in window]
            far = [((compared[v : v + p, u : u + p] - reference) ** 2).sum() for v, u in corners]
            corners = [corners[k] for k in np.argsort(far, kind="stable")[:members]]
            for c in range(noisy.shape[2]):
                values = patches(noisy_around[..., c], corners)
                told = patches((pilot_around if from_pilot else noisy_around)[..., c], corners)
                if groups.by_pixels:
                    estimate, weights = _wiener(values, told, share)
                else:
                    estimate, weights = _ridge(values, told, share)
                for (v, u), one, weight in zip(corners, estimate, weights, strict=True):
                    total[v : v + p, u : u + p, c] += weight * one.reshape(p, p)
                    mass[v : v + p, u : u + p, c] += weight
    inner = slice(margin, -margin)
    return sigma * total[inner, inner] / mass[inner, inner]


def _wiener(values: np.ndarray, told: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows are patches; the noise is 1."""
    count, pixels = values.shape
    covariance = _less_singular(np.atleast_2d(np.cov(told.T, bias=True)))
    gain = np.eye(pixels) - np.linalg.inv(covariance + share * np.eye(pixels))
    mean = values.mean(axis=0)
    weight = 1 / ((gain**2).sum() / pixels + 1 / count)
    return mean + (values - mean) @ gain, np.full(count, weight)


def _less_singular(matrix: np.ndarray) -> np.ndarray:
    """With a diagonal that is larger by 2^-17 of itself."""
    return matrix + np.diag(np.diag(matrix)) / 2**17


def _ridge(values: np.ndarray, told: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    count, pixels = values.shape
    mean = told.mean() - 10
    gram = _less_singular((told - mean) @ (told - mean).T)
    gain = np.eye(count) - pixels * np.linalg.inv(gram + share * pixels * np.eye(count))
    mean = values.mean() - 10
    weights = 1 / np.clip((gain**2).sum(axis=1), 1 / count, 1)
    return mean + gain @ (values - mean), weights


def clip(
    frames: list[np.ndarray],
    moves: list[tuple[int, int]],
    values: int,
    strength: float,
    patch: int,
    cell: int,
    radius: int,
    self_floor: float = 1e-2,
) -> np.ndarray:
    """Non-local means in spacetime of the first of some frames (Y, X, C) of noise level 1.

    Patches of the first frame that begin at multiples of `cell` are averaged with all patches of
    every frame within `radius` of their place there, which has moved; of the last channels.
    """
    margin = 2 * patch + radius + max(abs(m) for move in moves for m in move)
    f = [
        np.pad(
            frame.astype(np.float64), [(margin + patch, margin + patch)] * 2 + [(0, 0)], "reflect"
        )
        for frame in frames
    ]
    rows, columns = f[0].shape[:2]
    begins = np.zeros((rows, columns))
    begins[(margin + patch) % cell :: cell, (margin + patch) % cell :: cell] = 1
    offsets = [
        (k, move[0] + dy, move[1] + dx)
        for k, move in enumerate(moves)
        for dy in range(-radius, radius + 1)
        for dx in range(-radius, radius + 1)
        if (k, dy, dx) != (0, 0, 0)
    ]

    def there(k: int, dy: int, dx: int) -> np.ndarray:
        return np.roll(f[k], (-dy, -dx), axis=(0, 1))

    def over_patch(x: np.ndarray, sign: int) -> np.ndarray:
        for axis in (0, 1):
            x = sum(np.roll(x, sign * q, axis=axis) for q in range(patch))
        return x

    def weight(offset: tuple[int, int, int]) -> np.ndarray:
        distance = over_patch(np.mean((f[0] - there(*offset)) ** 2, axis=2), -1) / patch**2
        return begins * np.exp(-np.maximum(distance - 2, 0) / strength**2)

    largest, mass = np.full((rows, columns), self_floor), np.zeros((rows, columns))
    for offset in offsets:
        mass += weight(offset)
        largest = np.maximum(largest, weight(offset))
    share = begins / (mass + largest)
    denominator = over_patch(largest * share, 1)
    numerator = denominator[..., None] * f[0][..., -values:]
    for offset in offsets:
        w = over_patch(weight(offset) * share, 1)
        numerator += w[..., None] * there(*offset)[..., -values:]
        denominator += w
    inner = slice(margin + patch, -margin - patch)
    return (numerator / denominator[..., None])[inner, inner]
