"""From pictures to video frames and back, where one kind of file becomes the other.

Only here are colours converted: RGB to BT.709 limited range, and YUV to RGB by its own tags.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from nlm.errors import FileError
from nlm.io.base import Frame, Info
from nlm.io.video.layout import Layout, alpha_of, planes_of, put_planes, reformatted

__all__ = ["TICKS", "foreign_frame", "foreign_layout", "rate_of", "rearranged", "rgb_frame"]

TICKS = Fraction(1, 90000)
"""The unit of time for frames that have none of their own."""

HD_ROWS = 720
"""Untagged video of at least as many rows is taken for BT.709, smaller for BT.601."""

_GRAY, _RGB, _RGB_ALPHA = (8, 9, 10, 12, 14, 16), (8, 9, 10, 12, 14, 16), (8, 10, 12, 14, 16)


def foreign_layout(info: Info) -> Layout:
    """The layout of a video's frames that hold a picture's samples.

    Raises
    ------
    FileError
        If there is none.
    """
    if info.dtype.kind != "u" or info.channels not in (1, 3) or info.bits > 16:
        raise FileError(
            f"video cannot hold {info.channels} channels of {info.dtype}; "
            "write TIFF, or convert to 16 bits first"
        )
    gray = info.channels == 1 and not info.alpha
    steps = _GRAY if gray else _RGB_ALPHA if info.alpha else _RGB
    bits = next(step for step in steps if step >= info.bits)
    return Layout("gray" if gray else "rgb", bits, alpha=info.alpha)


def foreign_frame(frame: Frame, layout: Layout) -> av.VideoFrame:
    """A picture as a video frame, without its time."""
    (plane,) = frame.planes
    rows, columns, channels = plane.shape
    picture = av.VideoFrame(columns, rows, layout.planar)
    if layout.kind == "rgb" and channels == 1:
        plane = plane.repeat(3, axis=2)
    put_planes(picture, layout, (plane,), frame.alpha)
    return picture


def rate_of(fps: float | None) -> Fraction:
    """Frames per second as a fraction: 29.97 means 30000/1001; 25 where nothing is said."""
    broadcast = Fraction(round((fps or 25) * 1.001) * 1000, 1001)
    if fps and abs(fps - broadcast) < 0.005 and fps != round(fps):
        return broadcast
    return Fraction(fps or 25).limit_denominator(1001)


def rearranged(picture: av.VideoFrame, layout: Layout, pixels: str) -> av.VideoFrame:
    """A frame in another pixel format; samples are converted only where kinds differ."""
    other = Layout.of(pixels)
    assert other is not None
    stamp, unit, duration = picture.pts, picture.time_base, picture.duration
    if layout.kind == "gray" and other.kind == "yuv":
        moved = _with_neutral_chroma(picture, layout, other)
    elif layout.kind == "rgb" and other.kind == "yuv":
        moved = reformatted(
            picture,
            format=pixels,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
        moved.colorspace, moved.color_range = 1, 1
        moved.color_primaries = moved.color_trc = 1
    elif other.full and not layout.full:
        moved = reformatted(picture, format=pixels, dst_color_range=ColorRange.JPEG)
        moved.color_range = ColorRange.JPEG
    elif layout.chroma != other.chroma:
        moved = reformatted(picture, format=pixels, interpolation="POINT")
    else:
        moved = reformatted(picture, format=pixels)
    moved.pts, moved.time_base, moved.duration = stamp, unit, duration
    return moved


def _with_neutral_chroma(picture: av.VideoFrame, layout: Layout, other: Layout) -> av.VideoFrame:
    moved = av.VideoFrame(picture.width, picture.height, other.planar)
    (luma,) = planes_of(picture, layout)
    _, *chroma = planes_of(moved, other)
    neutral = [np.full_like(plane, 1 << (other.bits - 1)) for plane in chroma]
    put_planes(moved, other, (_of_depth(luma, layout, other, picture), *neutral))
    moved.color_range = picture.color_range
    moved.colorspace = picture.colorspace or 2  # unspecified; that of gray PNG means RGB
    moved.color_primaries, moved.color_trc = picture.color_primaries, picture.color_trc
    return moved


def _of_depth(
    luma: NDArray[Any], layout: Layout, other: Layout, picture: av.VideoFrame
) -> NDArray[Any]:
    """Samples at another depth; full range ends at all ones, limited range at multiples of 2."""
    if layout.bits == other.bits:
        return luma
    top = 2**other.bits - 1
    full = picture.color_range == ColorRange.JPEG
    factor = top / (2**layout.bits - 1) if full else 2.0 ** (other.bits - layout.bits)
    scaled: NDArray[Any] = np.rint(luma * factor).clip(0, top).astype(other.dtype)
    return scaled


def rgb_frame(frame: Frame, info: Info) -> Frame:
    """A YUV frame as RGB of the same depth, by the colour matrix and range of its tags."""
    layout = Layout("yuv", info.bits, info.chroma or (0, 0), info.alpha)
    picture: Any = frame.native
    put_planes(picture, info.metadata.native.layout, frame.planes, frame.alpha)
    matrix = {1: Colorspace.ITU709, 9: 9}.get(
        picture.colorspace,
        Colorspace.ITU709
        if picture.colorspace == 2 and picture.height >= HD_ROWS
        else Colorspace.ITU601,
    )
    colours = replace(layout, kind="rgb", chroma=(0, 0))
    converted = reformatted(picture, format=colours.planar, src_colorspace=matrix)
    planes = planes_of(converted, colours)
    return Frame(planes, alpha_of(converted, colours), frame.duration, frame.time)
