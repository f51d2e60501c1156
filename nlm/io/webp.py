"""WebP, still and animated, with and without loss; frames are coded one by one by Pillow."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from nlm.io.base import Frame, Info, Metadata, Options
from nlm.io.behind import dropped_behind
from nlm.io.exif import orientation, with_orientation
from nlm.io.pil import to_pil
from nlm.io.samples import split

_QUALITY = 92  # where loss is wanted and nothing said how much
_ANIMATED, _XMP, _EXIF, _ALPHA, _ICC = 2, 4, 8, 16, 32  # flags of VP8X
_PIXELS = {b"VP8 ", b"VP8L", b"ALPH"}


def probe(file: BinaryIO) -> Info:
    chunks, whole = _chunks(file)
    kinds = dict(reversed(chunks))
    clip = b"ANMF" in kinds
    coded = [data[16:20] for kind, data in chunks if kind == b"ANMF"] or list(kinds)
    width, height, alpha = _size(kinds)
    exif = kinds.get(b"EXIF", b"").removeprefix(b"Exif\0\0")
    file.seek(4)
    end = 8 + struct.unpack("<I", file.read(4))[0]
    return Info(
        format="webp",
        width=width,
        height=height,
        channels=3,
        alpha=alpha,
        dtype=np.dtype(np.uint8),
        bits=8,
        frames=sum(kind == b"ANMF" for kind, _ in chunks) or 1,
        clip=clip,
        metadata=Metadata(
            exif=exif,
            icc=kinds.get(b"ICCP", b""),
            xmp=kinds.get(b"XMP ", b""),
            orientation=orientation(exif),
            loop=struct.unpack("<H", kinds[b"ANIM"][4:6])[0] if clip else None,
            lossless=b"VP8L" in coded and b"VP8 " not in coded and b"ALPH" not in coded,
            dropped=dropped_behind(file, end),
            native=whole,
        ),
    )


def frames(file: BinaryIO, info: Info) -> Iterator[Frame]:
    from PIL.WebPImagePlugin import WebPImageFile

    if not info.metadata.native:
        raise ValueError("the file ends inside the picture")
    file.seek(0)
    picture = WebPImageFile(file)
    for index in range(info.frames or 1):
        picture.seek(index)
        picture.load()
        seconds = picture.info.get("duration", 0) / 1000 if info.clip else None
        mode = "RGBA" if info.alpha else "RGB"
        yield split(np.asarray(picture.convert(mode)), 3, info.alpha, seconds)


def encoder(file: BinaryIO, info: Info, options: Options) -> WebpEncoder:
    return WebpEncoder(file, info, options)


class WebpEncoder:
    """Puts coded frames and metadata into one RIFF file; sizes are filled in at the end."""

    def __init__(self, file: BinaryIO, info: Info, options: Options) -> None:
        self._file = file
        self._info = info
        self._lossless = options.wants_lossless(info)
        self._quality = 75 if self._lossless else options.quality or _QUALITY
        self._started = False

    def write(self, frame: Frame) -> None:
        coded = io.BytesIO()
        to_pil(frame, gray_to_rgb=True).save(
            coded, "WEBP", lossless=self._lossless, quality=self._quality, method=4, exact=True
        )
        chunks, _ = _chunks(coded)
        pixels = b"".join(_pack(kind, data) for kind, data in chunks if kind in _PIXELS)
        rows, columns = frame.planes[0].shape[:2]
        if not self._started:
            self._start(columns, rows)
            self._started = True
        if not self._info.clip:
            self._file.write(pixels)
            return
        milliseconds = min(round((frame.duration or 0) * 1000), 2**24 - 1)
        place = b"\0" * 6 + _three(columns - 1) + _three(rows - 1)
        flags = 2  # 2 = do not blend with the frame before
        head = place + _three(milliseconds) + bytes((flags,))
        self._file.write(_pack(b"ANMF", head + pixels))

    def finish(self) -> None:
        meta = self._info.metadata
        exif = with_orientation(meta.exif, meta.orientation)
        for kind, data in ((b"EXIF", exif), (b"XMP ", meta.xmp)):
            if data:
                self._file.write(_pack(kind, data))
        size = self._file.tell() - 8
        self._file.seek(4)
        self._file.write(struct.pack("<I", size))

    def _start(self, columns: int, rows: int) -> None:
        info, meta = self._info, self._info.metadata
        exif = with_orientation(meta.exif, meta.orientation)
        flags = (
            _ANIMATED * info.clip
            | _XMP * bool(meta.xmp)
            | _EXIF * bool(exif)
            | _ALPHA * info.alpha
            | _ICC * bool(meta.icc)
        )
        self._file.write(b"RIFF\0\0\0\0WEBP")
        size = _three(columns - 1) + _three(rows - 1)
        self._file.write(_pack(b"VP8X", bytes((flags, 0, 0, 0)) + size))
        if meta.icc:
            self._file.write(_pack(b"ICCP", meta.icc))
        if info.clip:
            loop = 1 if meta.loop is None else min(meta.loop, 65535)
            self._file.write(_pack(b"ANIM", struct.pack("<IH", 0, loop)))


def _chunks(file: BinaryIO) -> tuple[list[tuple[bytes, bytes]], bool]:
    """Kinds and data, and whether the file is as long as it says."""
    file.seek(0)
    data = file.read()
    end = struct.unpack("<I", data[4:8])[0] + 8
    parts = []
    at = 12
    while at + 8 <= min(end, len(data)):
        kind, size = struct.unpack_from("<4sI", data, at)
        parts.append((kind, data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return parts, len(data) >= end - 1 and bool(parts)


def _size(kinds: dict[bytes, bytes]) -> tuple[int, int, bool]:
    """Width, height and alpha from whichever header is there."""
    if len(head := kinds.get(b"VP8X", b"")) >= 10:
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (4, 7))
        return width, height, bool(head[0] & _ALPHA)
    if len(head := kinds.get(b"VP8L", b"")) >= 5:
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    if len(head := kinds.get(b"VP8 ", b"")) >= 10:
        width, height = struct.unpack("<HH", head[6:10])
        return width & 0x3FFF, height & 0x3FFF, False
    raise ValueError("there is no picture in it")


def _three(number: int) -> bytes:
    return number.to_bytes(3, "little")


def _pack(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
