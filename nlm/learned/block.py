"""The non-local block: a learned non-local operation whose result is added to its input."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nlm.attention import (
    Array,
    Window,
    as_positions,
    check_pairwise,
    check_scale,
    check_window,
    project,
    respond,
)
from nlm.checks import whole_number
from nlm.errors import FileError, UsageError

__all__ = ["NonLocalBlock"]

FORMAT_VERSION = 1


class NonLocalBlock:
    """``z = y @ w_z + x``, with y the non-local operation on x [1]_.

    ``w_z`` begins as zero, so a new block returns its input, and can be put anywhere into a
    trained network without changing what that does.

    Parameters
    ----------
    channels : int
        Channels of x.
    ndim : {1, 2, 3}
        Axes of positions: a sequence, a picture, a clip or volume.
    pairwise : str
        As in `nlm.non_local`. "gaussian" has no theta and phi: it compares the input itself.
    inner : int, optional
        Channels of queries, keys and values; None = half of `channels`.
    window, subsample, scale
        As in `nlm.non_local`.
    rng : numpy.random.Generator or int, optional
        Where the initial weights come from, or its seed; None = seed 0.

    Attributes
    ----------
    weights : dict of ndarray
        By name: `theta`, `phi`, `g` (channels, inner), `w_z` (inner, channels), for each of
        these a `..._bias`, and for "concatenation" `w_f` (2 * inner,). Values may be replaced.

    Raises
    ------
    UsageError
        If a value is not allowed.

    References
    ----------
    .. [1] Wang, Girshick, Gupta and He, "Non-local Neural Networks", CVPR 2018,
       doi:10.1109/CVPR.2018.00813
    """

    def __init__(
        self,
        channels: int,
        ndim: int = 2,
        pairwise: str = "embedded_gaussian",
        inner: int | None = None,
        window: Window = None,
        subsample: int = 1,
        scale: float | None = None,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        self.channels = whole_number("channels", channels, 1)
        self.ndim = whole_number("ndim", ndim, 1)
        if self.ndim > 3:
            raise UsageError(f"ndim {ndim} is not allowed; give 1, 2 or 3")
        self.pairwise = check_pairwise(pairwise)
        half = max(1, self.channels // 2)
        self.inner = half if inner is None else whole_number("inner", inner, 1)
        self.window = check_window(window, self.ndim)
        self.subsample = whole_number("subsample", subsample, 1)
        self.scale = check_scale(scale)
        self.weights = self._initial_weights(_generator(rng))

    def __call__(self, x: ArrayLike, backend: str = "auto") -> Array:
        """Apply the block.

        Parameters
        ----------
        x : array_like, shape (positions..., channels)
            With `ndim` axes of positions.
        backend : {"auto", "cpu", "gpu"}
            Where it is computed.

        Returns
        -------
        ndarray of float32, shape of `x`

        Raises
        ------
        UsageError
            If `x`, or weights that were replaced, do not fit the block.
        """
        self._check_weights()
        x = as_positions(x)
        if x.ndim != self.ndim + 1 or x.shape[-1] != self.channels:
            raise UsageError(
                f"x has shape {x.shape}; this block takes {self.ndim} axes of positions and "
                f"{self.channels} channels: give such an array, or make a block that fits"
            )
        y = respond(
            self._convolve(x, "theta"),
            self._convolve(x, "phi"),
            self._convolve(x, "g"),
            pairwise=self.pairwise,
            w_f=self.weights.get("w_f"),
            scale=self.scale,
            window=self.window,
            subsample=self.subsample,
            backend=backend,
        )
        return np.asarray(self._convolve(y, "w_z") + x)

    def save(self, path: str | Path) -> None:
        """Write settings and weights to an .npz file.

        Raises
        ------
        FileError
            If it cannot be written.
        """
        arrays: dict[str, Any] = {**self.weights, "settings": np.array(json.dumps(self.settings))}
        try:
            with open(path, "wb") as stream:
                np.savez(stream, **arrays)
        except OSError as error:
            raise FileError(f"{path}: cannot write the block: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: str | Path) -> NonLocalBlock:
        """Read a block that `save` wrote.

        Raises
        ------
        FileError
            If the file cannot be read or holds no sound block.
        """
        stored = read_arrays(path)
        try:
            settings = json.loads(str(stored.pop("settings")))
            version = settings.pop("format")
            if version != FORMAT_VERSION:
                raise UsageError(f"format {version} is not {FORMAT_VERSION}; another nlm wrote it")
            block = cls(**settings)
            block.weights = checked_weights(stored, block.weights)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else error
            raise FileError(
                f"{path}: not a sound block of nlm ({reason}); save it again"
            ) from error
        return block

    @property
    def settings(self) -> dict[str, Any]:
        """What makes the same block again, but for its weights."""
        names = ("channels", "ndim", "pairwise", "inner", "window", "subsample", "scale")
        return {"format": FORMAT_VERSION, **{name: getattr(self, name) for name in names}}

    def __repr__(self) -> str:
        own = ((name, value) for name, value in self.settings.items() if name != "format")
        return f"NonLocalBlock({', '.join(f'{name}={value!r}' for name, value in own)})"

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Of all weights."""
        shapes: dict[str, tuple[int, ...]] = {}
        for name in ("g",) if self.pairwise == "gaussian" else ("theta", "phi", "g"):
            shapes |= {name: (self.channels, self.inner), f"{name}_bias": (self.inner,)}
        if self.pairwise == "concatenation":
            shapes["w_f"] = (2 * self.inner,)
        return shapes | {"w_z": (self.inner, self.channels), "w_z_bias": (self.channels,)}

    def _check_weights(self) -> None:
        shapes = self._shapes()
        if set(self.weights) != set(shapes):
            raise UsageError(
                f"the block has weights {', '.join(self.weights)}; give {', '.join(shapes)}"
            )
        for name, shape in shapes.items():
            if np.shape(self.weights[name]) != shape:
                raise UsageError(
                    f"weights {name} of shape {np.shape(self.weights[name])} do not fit the block; "
                    f"give {shape}"
                )

    def _initial_weights(self, rng: np.random.Generator) -> dict[str, Array]:
        """Normal numbers that keep the variance of what they are applied to; `w_z` is zero."""
        layers = ("g",) if self.pairwise == "gaussian" else ("theta", "phi", "g")
        weights = {}
        for name in layers:
            normal = rng.normal(size=(self.channels, self.inner)) / np.sqrt(self.channels)
            weights[name] = normal.astype(np.float32)
            weights[f"{name}_bias"] = np.zeros(self.inner, np.float32)
        if self.pairwise == "concatenation":
            normal = rng.normal(size=2 * self.inner) / np.sqrt(2 * self.inner)
            weights["w_f"] = normal.astype(np.float32)
        weights["w_z"] = np.zeros((self.inner, self.channels), np.float32)
        weights["w_z_bias"] = np.zeros(self.channels, np.float32)
        return weights

    def _convolve(self, x: Array, name: str) -> Array:
        """The 1x1 convolution of that name; the identity where the block has none."""
        if name not in self.weights:
            return x
        return np.asarray(project(x, name, self.weights[name]) + self.weights[f"{name}_bias"])


def _generator(rng: Any) -> np.random.Generator:
    try:
        return np.random.default_rng(0 if rng is None else rng)
    except (TypeError, ValueError):
        raise UsageError(
            f"rng {rng!r} is not allowed; give a numpy.random.Generator, a seed of 0 or more, or "
            "None for seed 0"
        ) from None


def read_arrays(path: str | Path) -> dict[str, Any]:
    """All arrays of an .npz file, without pickles."""
    damage = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, NotImplementedError)
    try:
        with open(path, "rb") as stream:
            stored = np.load(stream, allow_pickle=False)
            if not isinstance(stored, np.lib.npyio.NpzFile):
                raise ValueError("it is no .npz file")
            with stored:
                return {name: stored[name] for name in stored.files}
    except damage as error:
        raise FileError(f"{path}: not a sound block of nlm ({error}); save it again") from error
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror or error}") from error


def checked_weights(given: dict[str, Any], expected: dict[str, Array]) -> dict[str, Array]:
    """`given` as float32, if names and shapes are those expected and all values are finite."""
    if set(given) != set(expected):
        raise ValueError(f"it has {sorted(given)} in place of {sorted(expected)}")
    for name, weights in expected.items():
        if given[name].shape != weights.shape or given[name].dtype.kind != "f":
            raise ValueError(f"{name} is {given[name].dtype}{given[name].shape}")
        if not np.isfinite(given[name]).all():
            raise ValueError(f"{name} holds NaN or infinite values")
    return {name: given[name].astype(np.float32) for name in expected}
