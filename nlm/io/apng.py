"""Animated PNG: frames as a viewer shows them, from the patches that the file holds."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nlm.io.base import Frame, Info
from nlm.io.png_chunks import chunks, decode
from nlm.io.samples import split

__all__ = ["KEEP", "Control", "animation", "uncovers"]

KEEP, _CLEAR, _PREVIOUS = 0, 1, 2  # what happens to a frame's area when its time is over


@dataclass(frozen=True)
class Control:
    """An fcTL chunk: where and how long a frame shows."""

    width: int
    height: int
    left: int
    top: int
    seconds: Fraction
    dispose: int
    blend_over: bool

    @classmethod
    def parse(cls, data: bytes) -> Control:
        _, width, height, left, top, up, down, dispose, blend = struct.unpack(">IIIIIHHBB", data)
        return cls(width, height, left, top, Fraction(up, down or 100), dispose, blend == 1)


def uncovers(controls: list[Control], width: int, height: int) -> bool:
    """Whether an animation without transparent pixels ever shows its empty ground."""
    first = controls[0] if controls else None
    partial = first is None or (first.width, first.height) != (width, height)
    cleared = any(c.dispose == _CLEAR for c in controls[:-1])
    restored = first is not None and first.dispose == _PREVIOUS
    return partial or cleared or restored


def animation(file: BinaryIO, info: Info) -> Iterator[Frame]:
    header = b""
    shared: list[tuple[bytes, bytes]] = []
    control: Control | None = None
    data: list[bytes] = []
    canvas = np.zeros((info.height, info.width, info.channels + info.alpha), info.dtype)
    count = 0
    for kind, payload in chunks(file):
        if kind == b"IHDR":
            header = payload
        elif kind in (b"PLTE", b"tRNS"):
            shared.append((kind, payload))
        elif kind == b"IDAT" and control is not None:
            data.append(payload)
        elif kind == b"fdAT":
            data.append(payload[4:])
        if kind in (b"fcTL", b"IEND"):
            if control is not None:
                size = struct.pack(">II", control.width, control.height) + header[8:]
                parts = [(b"IHDR", size), *shared, *((b"IDAT", part) for part in data)]
                patch = decode([*parts, (b"IEND", b"")])
                shown, canvas = _compose(canvas, patch, control, info)
                yield split(shown, info.channels, info.alpha, float(control.seconds))
                count += 1
            control = Control.parse(payload) if kind == b"fcTL" else None
            data = []
    if count != info.frames:
        raise ValueError(f"{count} frames where {info.frames} were announced")


def _compose(
    canvas: NDArray[Any], patch: NDArray[Any], control: Control, info: Info
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The frame as shown, and the canvas that the next one is laid upon."""
    patch = patch[:, :, None] if patch.ndim == 2 else patch
    if info.alpha and patch.shape[2] == info.channels:
        opaque = np.full((*patch.shape[:2], 1), np.iinfo(info.dtype).max, info.dtype)
        patch = np.concatenate([patch, opaque], axis=2)
    area = np.s_[
        control.top : control.top + control.height, control.left : control.left + control.width
    ]
    shown = canvas.copy()
    shown[area] = _over(patch, canvas[area]) if control.blend_over and info.alpha else patch
    if control.dispose == _PREVIOUS:
        return shown, canvas
    ground = shown.copy() if control.dispose == _CLEAR else shown
    if control.dispose == _CLEAR:
        ground[area] = 0
    return shown, ground


def _over(patch: NDArray[Any], below: NDArray[Any]) -> NDArray[Any]:
    """Alpha compositing of unmultiplied samples, alpha last."""
    top = float(np.iinfo(patch.dtype).max)
    cover = patch[..., -1:] / top
    rest = below[..., -1:] / top * (1 - cover)
    total = cover + rest
    colour = (patch[..., :-1] * cover + below[..., :-1] * rest) / np.maximum(total, 1e-12)
    mixed = np.rint(np.concatenate([colour, total * top], axis=2)).astype(patch.dtype)
    mixed = np.where(patch[..., -1:] == 0, below, mixed)
    return np.where(patch[..., -1:] == np.iinfo(patch.dtype).max, patch, mixed)
