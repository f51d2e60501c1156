"""Mastering display and light level of HDR video, told to encoders that store them.

SMPTE ST 2086 (primaries in 1/50000, luminance in 1/10000 cd/m2) and CTA-861.3.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction

import av
from av.sidedata.sidedata import Type

__all__ = ["hdr_losses", "hdr_options"]

_STORING = {"libx264", "libx265", "libsvtav1"}


def hdr_options(encoder: str, frame: av.VideoFrame) -> dict[str, str]:
    """An encoder's options that carry over a frame's HDR10 metadata; {} where there is none."""
    display, light = _display(frame), _light(frame)
    if encoder == "libx265":
        told = []
        if display:
            told.append(f"master-display={_in_x265_words(display)}")
        if light:
            told.append(f"max-cll={light[0]},{light[1]}")
        return {"x265-params": ":".join(["hdr10=1", *told])} if told else {}
    if encoder == "libsvtav1":
        told = []
        if display:
            told.append(f"mastering-display={_in_svt_words(display)}")
        if light:
            told.append(f"content-light={light[0]},{light[1]}")
        return {"svtav1-params": ":".join(told)} if told else {}
    if encoder == "libx264":
        told = []
        if display:
            told.append(f"mastering-display={_in_x265_words(display)}")
        if light:
            told.append(f"cll={light[0]},{light[1]}")
        return {"x264-params": ":".join(told)} if told else {}
    return {}


def hdr_losses(encoder: str, frame: av.VideoFrame) -> list[str]:
    """What of a frame's HDR10 metadata an encoder does not store, in words."""
    kinds = {"mastering display": _display(frame), "content light level": _light(frame)}
    found = [name for name, value in kinds.items() if value and any(value)]  # 0 = unknown
    if encoder in _STORING or not found:
        return []
    return [f"{' and '.join(found)} of HDR10 (h264, hevc and av1 keep them)"]


def _bytes(frame: av.VideoFrame, kind: Type) -> bytes | None:
    found = frame.side_data.get(kind)  # type: ignore[call-overload]
    return None if found is None else bytes(found)


def _light(frame: av.VideoFrame) -> tuple[int, int] | None:
    """Maximum of content and of frame averages, cd/m2."""
    data = _bytes(frame, Type.CONTENT_LIGHT_LEVEL)
    if data is None:
        return None
    content, average = struct.unpack_from("=II", data)
    return content, average


def _display(frame: av.VideoFrame) -> list[Fraction] | None:
    """Red, green, blue and white (x, y), then least and greatest luminance."""
    data = _bytes(frame, Type.MASTERING_DISPLAY_METADATA)
    if data is None:
        return None
    numbers = struct.unpack_from("=20i2i", data)
    if not (numbers[20] and numbers[21]):  # has primaries, has luminance
        return None
    return [Fraction(numbers[at], numbers[at + 1] or 1) for at in range(0, 20, 2)]


def _in_x265_words(values: Sequence[Fraction]) -> str:
    points = [round(value * 50000) for value in values[:8]]
    low, high = (round(value * 10000) for value in values[8:])
    red, green, blue, white = (f"({points[at]},{points[at + 1]})" for at in range(0, 8, 2))
    return f"G{green}B{blue}R{red}WP{white}L({high},{low})"


def _in_svt_words(values: Sequence[Fraction]) -> str:
    red, green, blue, white = (
        f"({float(values[at]):.5f},{float(values[at + 1]):.5f})" for at in range(0, 8, 2)
    )
    return f"G{green}B{blue}R{red}WP{white}L({float(values[9]):.4f},{float(values[8]):.4f})"
