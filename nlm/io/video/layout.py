"""How the samples of a video frame lie in memory, and how nlm sees them: one plane per component.

Packed and swapped layouts (RGB24, NV12, P010, YUYV, big-endian) are rearranged, never converted:
luma stays luma, limited range stays limited, every value is kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

__all__ = ["Layout", "alpha_of", "planar", "planes_of", "put_planes", "reformatted"]

_NAMES = {(1, 1): "420", (1, 0): "422", (0, 0): "444", (2, 0): "411", (2, 2): "410", (0, 1): "440"}
_FLOAT = re.compile(r"f(16|32)(le|be)?$")
_TO_RGB = (2, 0, 1)  # planes of GBR


@dataclass(frozen=True)
class Layout:
    """What a pixel format holds, whatever the order in memory.

    Attributes
    ----------
    kind : {"gray", "rgb", "yuv"}
    bits : int
        Per sample.
    chroma : (int, int)
        Subsampling of the chroma planes, log2, across and down.
    alpha : bool
    full : bool
        The format's very name says full range (yuvj420p).
    """

    kind: str
    bits: int
    chroma: tuple[int, int] = (0, 0)
    alpha: bool = False
    full: bool = False

    @classmethod
    def of(cls, name: str) -> Layout | None:
        """The layout behind a pixel format's name; None = nothing that nlm can hold."""
        pixels = av.VideoFormat(name, 64, 64)
        if pixels.has_palette:
            return cls("rgb", 8)
        if pixels.is_bit_stream or pixels.is_bayer or name.startswith("xyz") or _FLOAT.search(name):
            return None
        colours = [one for one in pixels.components if not one.is_alpha]
        if not colours:
            return None
        kind = "rgb" if pixels.is_rgb else "gray" if len(colours) == 1 else "yuv"
        across, down = pixels.chroma_width(), pixels.chroma_height()
        chroma = (64 // across, 64 // down) if kind == "yuv" else (1, 1)
        return cls(
            kind,
            max(8, *(one.bits for one in colours)) if len(colours) > 1 else max(8, colours[0].bits),
            (chroma[0].bit_length() - 1, chroma[1].bit_length() - 1),
            len(colours) < len(pixels.components),
            name.startswith("yuvj"),
        )

    @property
    def planar(self) -> str:
        """Name of the pixel format with one plane per component in which nlm works."""
        deep = "" if self.bits == 8 else f"{self.bits}le"
        if self.kind == "gray" and not self.alpha:
            return f"gray{deep}"
        letter = "a" if self.alpha else ""
        if self.kind != "yuv":
            return f"gbr{letter}p{deep}"
        return f"yuv{'j' if self.full else letter}{_NAMES[self.chroma]}p{deep}"

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the stored samples."""
        return np.dtype(np.uint8 if self.bits == 8 else np.uint16)

    @property
    def channels(self) -> int:
        """Colours without alpha."""
        return 1 if self.kind == "gray" and not self.alpha else 3

    def __str__(self) -> str:
        alpha = " with alpha" if self.alpha else ""
        if self.kind == "yuv":
            parts = ":".join(_NAMES[self.chroma])
            return f"{self.bits}-bit {parts}{alpha}"
        return f"{self.bits}-bit {'RGB' if self.kind == 'rgb' else 'gray'}{alpha}"

    def shortfall(self, other: Layout) -> list[str]:
        """What is lost when this layout's samples are stored in another one, in words."""
        lost = []
        if self.kind not in ("gray", other.kind):
            lost.append(f"exact colours ({self} becomes {other})")
        elif self.kind != "gray" and any(
            a > b for a, b in zip(other.chroma, self.chroma, strict=True)
        ):
            lost.append(f"chroma resolution ({self} becomes {other})")
        if other.bits < self.bits:
            lost.append(f"depth ({self.bits} bits become {other.bits})")
        if self.alpha and not other.alpha:
            lost.append("transparency")
        return lost

    def excess(self, other: Layout) -> tuple[int, ...]:
        """How much more than needed another layout stores; to be as small as possible."""
        kinds = ("gray", "yuv", "rgb")
        finer = sum(a - b for a, b in zip(self.chroma, other.chroma, strict=True))
        return (
            abs(kinds.index(other.kind) - kinds.index(self.kind)),
            other.bits - self.bits,
            finer,
            other.alpha - self.alpha,
            other.full != self.full,
        )


def planar(frame: av.VideoFrame) -> tuple[av.VideoFrame, Layout]:
    """A frame of its own memory with one plane per component, and its layout.

    Raises
    ------
    NotImplementedError
        If its pixel format is none that nlm can hold.
    """
    name = frame.format.name
    layout = Layout.of(name)
    if layout is None:
        raise NotImplementedError(f"has pixels of the kind {name}, which nlm does not know")
    if name != layout.planar:
        if layout.kind == "gray" and layout.alpha:
            layout = replace(layout, kind="rgb")
        return reformatted(frame, format=layout.planar), layout
    frame.make_writable()
    return frame, layout


def reformatted(frame: av.VideoFrame, **how: Any) -> av.VideoFrame:
    """`frame.reformat(**how)`, in one thread: several now and then get some samples wrong."""
    return frame.reformat(threads=1, **how)


def planes_of(frame: av.VideoFrame, layout: Layout) -> tuple[NDArray[Any], ...]:
    """Views of a planar frame: gray (Y, X, 1); RGB (Y, X, 3); luma and chroma (y, x, 1) each."""
    if layout.kind == "rgb":
        return (np.stack([_view(frame, index, layout) for index in _TO_RGB], axis=2),)
    count = 1 if layout.kind == "gray" else 3
    return tuple(_view(frame, index, layout)[:, :, None] for index in range(count))


def alpha_of(frame: av.VideoFrame, layout: Layout) -> NDArray[Any] | None:
    """A view of the alpha plane, shape (Y, X)."""
    return _view(frame, len(frame.planes) - 1, layout) if layout.alpha else None


def put_planes(
    frame: av.VideoFrame, layout: Layout, planes: tuple[NDArray[Any], ...], alpha: Any = None
) -> None:
    """Overwrite a planar frame's samples."""
    if layout.kind == "rgb":
        (colours,) = planes
        for channel, index in enumerate(_TO_RGB):
            _view(frame, index, layout)[...] = colours[:, :, channel]
    else:
        for index, plane in enumerate(planes):
            _view(frame, index, layout)[...] = plane[:, :, 0]
    if layout.alpha and alpha is not None:
        _view(frame, len(frame.planes) - 1, layout)[...] = alpha


def _view(frame: av.VideoFrame, index: int, layout: Layout) -> NDArray[Any]:
    plane = frame.planes[index]
    lines = np.frombuffer(plane, layout.dtype).reshape(plane.height, -1)  # type: ignore[call-overload]
    view: NDArray[Any] = lines[:, : plane.width]
    return view
