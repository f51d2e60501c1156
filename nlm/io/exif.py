"""The little of EXIF that must be understood: the orientation tag."""

from __future__ import annotations

import struct

from nlm.io import ifd

__all__ = ["orientation", "with_orientation"]

_ORIENTATION = 0x0112
_SHORT = 3


def orientation(exif: bytes) -> int:
    """EXIF orientation 1..8 of a TIFF-structured block; 1 where it is absent or damaged."""
    found = _find(exif)
    if found is None:
        return 1
    order, at = found
    (value,) = struct.unpack_from(order + "H", exif, at)
    return int(value) if 1 <= value <= 8 else 1


def with_orientation(exif: bytes, value: int) -> bytes:
    """The block with its orientation set; a block of its own if there was none and it is not 1."""
    found = _find(exif)
    if found is not None:
        order, at = found
        return exif[:at] + struct.pack(order + "H", value) + exif[at + 2 :]
    if value == 1:
        return exif
    try:
        layout, directory = ifd.read_block(exif)
    except (ValueError, struct.error):
        layout, directory = ifd.Layout("<"), ifd.Directory()
    number = struct.pack(layout.order + "H", value)
    directory.tags[_ORIENTATION] = ifd.Tag(_ORIENTATION, _SHORT, number)
    return ifd.pack_block(directory, layout.order)


def _find(exif: bytes) -> tuple[str, int] | None:
    """Byte order and place of the orientation's value."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return None
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", exif, at)
            if tag == _ORIENTATION and kind == _SHORT:
                struct.unpack_from(order + "H", exif, at + 8)
                return order, at + 8
    except struct.error:
        return None
    return None
