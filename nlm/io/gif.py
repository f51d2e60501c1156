"""GIF: frames as a viewer shows them, each written whole with its own palette."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from nlm.io.base import Frame, Info, Metadata, Options
from nlm.io.behind import dropped_behind
from nlm.io.pil import to_pil
from nlm.io.samples import split

if TYPE_CHECKING:
    from PIL import Image
    from PIL.GifImagePlugin import GifImageFile

_EXTENSION, _PICTURE, _END = 0x21, 0x2C, 0x3B
_CONTROL, _COMMENT = 0xF9, 0xFE


def probe(file: BinaryIO) -> Info:
    file.seek(0)
    width, height = struct.unpack("<HH", file.read(10)[6:])
    count, transparent, end = _survey(file, (width, height))
    whole = end is not None
    picture = _open(file)
    loop = picture.info.get("loop")
    clip = count > 1
    transparent = transparent and whole and _shows_through(file, count)
    gray = not clip and not transparent and _is_gray(picture)
    comment = picture.info.get("comment", b"")
    return Info(
        format="gif",
        width=width,
        height=height,
        channels=1 if gray else 3,
        alpha=transparent,
        dtype=np.dtype(np.uint8),
        bits=8,
        frames=count,
        clip=clip,
        metadata=Metadata(
            text=(("Comment", comment.decode("utf-8", "replace")),) if comment else (),
            loop=loop if clip else None,
            dropped=() if end is None else dropped_behind(file, end),
            native=(whole, comment),
        ),
    )


def frames(file: BinaryIO, info: Info) -> Iterator[Frame]:
    if not info.metadata.native[0]:
        raise ValueError("the file ends before its end mark")
    mode = "RGBA" if info.alpha else "L" if info.channels == 1 else "RGB"
    picture = _open(file)
    for index in range(info.frames or 1):
        picture.seek(index)
        seconds = picture.info.get("duration", 0) / 1000 if info.clip else None
        yield split(np.asarray(picture.convert(mode)), info.channels, info.alpha, seconds)


def encoder(file: BinaryIO, info: Info, options: Options) -> GifEncoder:
    return GifEncoder(file, info)


class GifEncoder:
    """Pillow codes each frame as a still; blocks are put together here, so no frame is merged."""

    def __init__(self, file: BinaryIO, info: Info) -> None:
        self._file = file
        self._info = info
        self._started = False

    def write(self, frame: Frame) -> None:
        coded = io.BytesIO()
        picture, transparent = _to_palette(frame)
        picture.save(coded, "GIF", optimize=False)
        data = coded.getvalue()
        palette_size = 3 * 2 ** ((data[10] & 7) + 1)
        palette, body = data[13 : 13 + palette_size], data[13 + palette_size :]
        if not self._started:
            self._start(*struct.unpack("<HH", data[6:10]))
        if self._info.clip or transparent is not None:
            hundredths = min(round((frame.duration or 0) * 100), 65535)
            dispose = 2 if self._info.alpha else 1  # 2 = clear, 1 = leave and draw over it
            flags = dispose << 2 | (transparent is not None)
            control = struct.pack("<BHB", flags, hundredths, transparent or 0)
            self._file.write(bytes((_EXTENSION, _CONTROL, 4)) + control + b"\0")
        at = _skip_extensions(body)
        descriptor = bytearray(body[at : at + 10])
        descriptor[9] |= 0x80 | (data[10] & 7)  # a palette of its own
        end = body.rindex(bytes((_END,)))
        self._file.write(descriptor + palette + body[at + 10 : end])

    def finish(self) -> None:
        self._file.write(bytes((_END,)))

    def _start(self, width: int, height: int) -> None:
        self._started = True
        self._file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0x70, 0, 0))
        meta = self._info.metadata
        if self._info.clip and meta.loop is not None:
            loop = struct.pack("<BHB", 1, min(meta.loop, 65535), 0)
            self._file.write(b"\x21\xff\x0bNETSCAPE2.0\x03" + loop)
        comment = meta.native[1] if meta.native else b""
        if comment:
            blocks = (comment[at : at + 255] for at in range(0, len(comment), 255))
            body = b"".join(bytes((len(block),)) + block for block in blocks)
            self._file.write(bytes((_EXTENSION, _COMMENT)) + body + b"\0")


def _open(file: BinaryIO) -> GifImageFile:
    from PIL.GifImagePlugin import GifImageFile

    file.seek(0)
    return GifImageFile(file)


def _shows_through(file: BinaryIO, count: int) -> bool:
    """Whether a frame as shown has transparent pixels: most use them only to leave others be."""
    picture = _open(file)
    for index in range(count):
        picture.seek(index)
        if picture.convert("RGBA").getchannel("A").tobytes().strip(b"\xff"):
            return True
    return False


def _is_gray(picture: GifImageFile) -> bool:
    table = picture.getpalette() or []
    return picture.mode == "L" or (bool(table) and table[::3] == table[1::3] == table[2::3])


def _survey(file: BinaryIO, size: tuple[int, int]) -> tuple[int, bool, int | None]:
    """Number of frames, whether any uses transparency, where the file ends by its end mark."""
    file.seek(0)
    data = file.read()
    at = 13 + (3 * 2 ** ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    count, transparent = 0, False
    while at < len(data):
        kind = data[at]
        if kind == _END:
            return count, transparent, at + 1
        if kind == _EXTENSION and at + 3 < len(data):
            if data[at + 1] == _CONTROL:
                flags = data[at + 3]
                transparent |= bool(flags & 1) or flags >> 2 & 7 == 2
            at = _skip_blocks(data, at + 2)
        elif kind == _PICTURE and at + 10 < len(data):
            left, top, width, height, flags = struct.unpack_from("<HHHHB", data, at + 1)
            if not count:
                transparent |= (left, top, width, height) != (0, 0, *size)
            count += 1
            at += 11 + (3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0)
            at = _skip_blocks(data, at)
        else:
            break
    return count, transparent, None


def _skip_blocks(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += data[at] + 1
    return at + 1


def _skip_extensions(body: bytes) -> int:
    at = 0
    while body[at] == _EXTENSION:
        at = _skip_blocks(body, at + 2)
    return at


def _to_palette(frame: Frame) -> tuple[Image.Image, int | None]:
    """At most 256 colours, exact where there are no more; the index that is transparent."""
    from PIL import Image

    hidden = None if frame.alpha is None else frame.alpha < 128
    if frame.planes[0].shape[2] == 1 and hidden is None:
        return to_pil(frame), None
    plane = np.broadcast_to(frame.planes[0], (*frame.planes[0].shape[:2], 3))
    seen = plane if hidden is None else plane[~hidden]
    codes = seen.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    colours, indices = np.unique(codes, return_inverse=True)
    room = 256 if hidden is None else 255
    if colours.size <= room:
        table = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], 1).astype(np.uint8)
    else:
        row = Image.fromarray(np.ascontiguousarray(seen.reshape(1, -1, 3)))
        chosen = row.quantize(room, Image.Quantize.MEDIANCUT, kmeans=2, dither=Image.Dither.NONE)
        table = np.array(chosen.getpalette(), np.uint8).reshape(-1, 3)
        indices = np.asarray(chosen)
    if hidden is None:
        index_map = indices.reshape(plane.shape[:2]).astype(np.uint8)
    else:
        index_map = np.full(plane.shape[:2], len(table), np.uint8)
        index_map[~hidden] = indices.reshape(-1)
        table = np.concatenate([table, np.zeros((1, 3), np.uint8)])
    picture = Image.fromarray(index_map)
    picture.putpalette(table.tobytes())
    return picture, None if hidden is None else len(table) - 1
