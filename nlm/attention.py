"""The generic non-local operation: what classical non-local means and its learned kin share."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nlm import backends
from nlm.checks import number, plain, whole_number
from nlm.errors import UsageError

__all__ = ["non_local"]

PAIRWISE = ("gaussian", "embedded_gaussian", "dot_product", "concatenation", "distance")

LARGEST = float(np.finfo(np.float32).max)

Array = NDArray[np.float32]
Window = int | Sequence[int | None] | None


def non_local(
    x: ArrayLike,
    theta: ArrayLike | None = None,
    phi: ArrayLike | None = None,
    g: ArrayLike | None = None,
    pairwise: str = "gaussian",
    w_f: ArrayLike | None = None,
    scale: float | None = None,
    window: Window = None,
    subsample: int = 1,
    backend: str = "auto",
) -> Array:
    """Respond at every position with a weighted mean over all positions.

    ``y_i = 1 / C(x) * sum_j f(x_i, x_j) g(x_j)`` [1]_, computed exactly and without ever holding
    all the weights f: memory grows with the number of positions, not with its square.

    Parameters
    ----------
    x : array_like, shape (X, C), (Y, X, C) or (T, Y, X, C)
        A sequence, a picture or a clip (a volume), channels last. Integers are taken as the
        numbers they are; everything is computed in float32.
    theta, phi : array_like, shape (C, d), optional
        1x1 convolutions that make the queries ``theta_i = x_i @ theta`` and the keys ``phi_j``.
        Left out, they are the identity.
    g : array_like, shape (C, Cg), optional
        The same for the values.
    pairwise : str
        The function f and its normaliser C:

        - "gaussian", "embedded_gaussian": exp(scale * theta_i . phi_j), sum of f. The two differ
          only in that the former is usually given no theta and phi.
        - "distance": exp(-scale * |theta_i - phi_j|^2), sum of f; with patches as queries and
          keys and scale = 1 / h^2 this is classical non-local means.
        - "dot_product": scale * theta_i . phi_j, the number of keys that i sees. Without a window
          it takes time linear in the number of positions.
        - "concatenation": scale * ReLU(w_f . [theta_i, phi_j]), the number of keys that i sees.
    w_f : array_like, shape (2 * d,), optional
        Of "concatenation", and needed there.
    scale : float, optional
        Multiplies the scores; None = 1, the published form. 1 / sqrt(d) is usual too.
    window : int or sequence of int, optional
        How far a position sees along every axis, or along each of them; None = to the end.
        Positions outside the picture do not exist: windows are cut off at its edges.
    subsample : int, 1 or more
        Max-pool keys and values over cells of so many positions along each axis of space (the
        first of three axes is time and is left alone), after theta, phi and g as in mmcv; the
        authors' own code pools before them. What is left over beyond the last whole cell is
        dropped. With a window, a key is seen where any position of its cell is in the window.
    backend : {"auto", "cpu", "gpu"}
        Where it is computed.

    Returns
    -------
    ndarray of float32, shape (positions..., Cg)

    Raises
    ------
    UsageError
        If an argument is not allowed or does not fit the others.

    References
    ----------
    .. [1] Wang, Girshick, Gupta and He, "Non-local Neural Networks", CVPR 2018,
       doi:10.1109/CVPR.2018.00813

    Examples
    --------
    >>> y = non_local([[0.0], [0.1], [9.0]], pairwise="distance", scale=4)
    >>> [f"{number:.3f}" for number in y[:, 0]]
    ['0.049', '0.051', '9.000']
    """
    x = as_positions(x)
    return respond(
        project(x, "theta", theta),
        project(x, "phi", phi),
        project(x, "g", g),
        pairwise=pairwise,
        w_f=w_f,
        scale=scale,
        window=window,
        subsample=subsample,
        backend=backend,
    )


def respond(
    queries: Array,
    keys: Array,
    values: Array,
    *,
    pairwise: str,
    w_f: ArrayLike | None = None,
    scale: float | None = None,
    window: Window = None,
    subsample: int = 1,
    backend: str = "auto",
) -> Array:
    """Do what `non_local` does, from queries, keys (positions..., d), values (positions..., Cg)."""
    positions, depth = queries.shape[:-1], queries.shape[-1]
    if keys.shape[-1] != depth:
        raise UsageError(
            f"queries have {depth} channels and keys have {keys.shape[-1]}; "
            "give theta and phi matrices with the same number of columns"
        )
    place = backends.choose(backend)
    y = place.attention.non_local(
        *(in_time_and_space(one) for one in (queries, keys, values)),
        pairwise=check_pairwise(pairwise),
        w_f=check_w_f(w_f, pairwise, depth),
        scale=check_scale(scale),
        radius=radius_of(window, positions),
        cell=cell_of(subsample, positions),
        for_each=place.for_each,
    )
    if not np.isfinite(y).all():
        raise UsageError(
            "the products of queries and keys are too large for single precision; give smaller "
            "numbers, or a smaller scale"
        )
    return np.asarray(y.reshape(*positions, -1))


def as_numbers(name: str, given: ArrayLike) -> Array:
    """Any array of finite real numbers as float32."""
    array = np.asarray(given)
    if array.dtype.kind not in "buif":
        raise UsageError(f"{name} is of type {array.dtype}; give integers or floats")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        raise UsageError(f"{name} holds NaN, infinite or huge values; replace them first")
    return array


def as_positions(given: ArrayLike) -> Array:
    """An array of positions and channels, checked."""
    x = as_numbers("x", given)
    if not 2 <= x.ndim <= 4:
        raise UsageError(
            f"x has {x.ndim} axes; give 1, 2 or 3 axes of positions and a last axis of channels"
            + (" (x[..., None] adds one)" if x.ndim == 1 else "")
        )
    if x.size == 0:
        raise UsageError(f"x of shape {x.shape} is empty; every axis needs a size of 1 or more")
    return x


def project(x: Array, name: str, matrix: ArrayLike | None) -> Array:
    """A 1x1 convolution; None = the identity."""
    if matrix is None:
        return x
    weights = as_numbers(name, matrix)
    if weights.ndim != 2 or weights.shape[0] != x.shape[-1] or weights.shape[1] == 0:
        raise UsageError(
            f"{name} has shape {weights.shape}; x has {x.shape[-1]} channels, so give a matrix of "
            f"{x.shape[-1]} rows and one or more columns"
        )
    return np.asarray(x @ weights)


def in_time_and_space(x: Array) -> Array:
    """(positions..., C) as (T, Y, X, C)."""
    return x.reshape(*(1,) * (4 - x.ndim), *x.shape)


def check_pairwise(pairwise: str) -> str:
    """Refuse an unknown pairwise function."""
    if pairwise not in PAIRWISE:
        raise UsageError(
            f"unknown pairwise function {pairwise!r}; available: {', '.join(PAIRWISE)}"
        )
    return pairwise


def check_w_f(given: ArrayLike | None, pairwise: str, depth: int) -> Array | None:
    """The vector of "concatenation", which nothing else has."""
    if given is None:
        if pairwise == "concatenation":
            raise UsageError(f"concatenation needs w_f; give a vector of {2 * depth} numbers")
        return None
    if pairwise != "concatenation":
        raise UsageError(f'w_f is of no use for {pairwise}; leave it out, or say "concatenation"')
    w_f = as_numbers("w_f", given)
    if w_f.shape != (2 * depth,):
        raise UsageError(
            f"w_f has shape {w_f.shape}; queries and keys have {depth} channels each, so give a "
            f"vector of {2 * depth} numbers"
        )
    return w_f


def check_scale(scale: float | None) -> float:
    """The factor of the scores; None = 1."""
    factor = 1.0 if scale is None else number(scale)
    if not abs(factor) <= LARGEST:
        raise UsageError(f"scale {scale!r} is not allowed; give a finite number, or None for 1")
    return factor


def check_window(window: Window, axes: int) -> list[int | None] | None:
    """One radius for each axis of positions (None = to the end); None = no window."""
    if window is None:
        return None
    window = plain(window)
    several = isinstance(window, Iterable) and not isinstance(window, str | bytes)
    given: list[Any] = list(window) if several else [window] * axes  # type: ignore[arg-type]
    if len(given) != axes:
        raise UsageError(
            f"window {window!r} is for {len(given)} axes and there are {axes} axes of positions; "
            "give one radius, or one for each of them"
        )
    return [None if one is None else whole_number("window", one, 0) for one in given]


def radius_of(window: Window, positions: tuple[int, ...]) -> tuple[int, int, int] | None:
    """The window's reach in time, rows and columns; None where all positions see all."""
    given = check_window(window, len(positions)) or [None] * len(positions)
    reach = [
        size if one is None else min(one, size) for one, size in zip(given, positions, strict=True)
    ]
    if all(radius >= size - 1 for radius, size in zip(reach, positions, strict=True)):
        return None
    t, y, x = [0] * (3 - len(reach)) + reach
    return t, y, x


def cell_of(subsample: int, positions: tuple[int, ...]) -> tuple[int, int, int]:
    """The cells of sub-sampling in time, rows and columns."""
    side = whole_number("subsample", subsample, 1)
    space = positions[-2:]
    if side > min(space):
        raise UsageError(
            f"subsample {side} is not allowed for {' x '.join(map(str, space))} positions: "
            f"no cell would be whole; give {min(space)} or less"
        )
    return 1, side if len(space) == 2 else 1, side
