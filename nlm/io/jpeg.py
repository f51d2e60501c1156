"""JPEG: re-encoded with the source's own quantisation tables, subsampling and segments."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from nlm.io.base import Frame, Info, Metadata, Options
from nlm.io.exif import orientation, with_orientation
from nlm.io.pil import to_pil
from nlm.io.samples import split

_JFIF, _EXIF = b"JFIF\0", b"Exif\0\0"
_XMP, _ICC = b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"
_APP0, _APP1, _APP2, _APP14, _COMMENT, _SCAN, _END = 0xE0, 0xE1, 0xE2, 0xEE, 0xFE, 0xDA, 0xD9
_ROOM = 65533  # bytes that a segment can hold
_QUALITY = 95  # where the source has no tables of its own
_BARE = {0x01, *range(0xD0, 0xD9)}  # markers without a length
_MARKER = re.compile(rb"\xff+([^\x00\x01\xd0-\xd7\xff])")  # neither bare nor a coded 255
_PADDING = b"\0\xff\r\n\t "
_HEADERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SAMPLING = {(1, 1): 0, (2, 1): 1, (2, 2): 2}  # of the first component, the others being 1 x 1


@dataclass(frozen=True)
class Native:
    """How the source was coded, and the segments that are not about coding."""

    segments: tuple[tuple[int, bytes], ...]
    tables: tuple[tuple[int, ...], ...]
    subsampling: int
    progressive: bool
    keep_rgb: bool


def probe(file: BinaryIO) -> Info:
    from PIL.JpegImagePlugin import JpegImageFile

    header, segments = _segments(file)
    more = _is_followed(file)
    marker, frame_header = header
    precision, height, width, components = struct.unpack(">BHHB", frame_header[:6])
    if marker not in (0xC0, 0xC1, 0xC2) or precision != 8:
        raise NotImplementedError(
            f"is a JPEG of a kind that nlm does not read ({precision} bits, marker {marker:#x}); "
            "8-bit baseline and progressive JPEG are, convert it to PNG or TIFF first"
        )
    factors = tuple((byte >> 4, byte & 15) for byte in frame_header[7 : 6 + 3 * components : 3])
    file.seek(0)
    picture = JpegImageFile(file)
    tables = picture.quantization
    usual = all(factor == (1, 1) for factor in factors[1:])
    subsampling = _SAMPLING.get(factors[0], -1) if usual else -1
    kept = tuple(part for part in segments if _is_carried(*part))
    native = Native(
        segments=kept,
        tables=tuple(tuple(tables[index]) for index in sorted(tables)),
        subsampling=subsampling,
        progressive=marker == 0xC2,
        keep_rgb=components == 3 and picture.info.get("adobe_transform") == 0,
    )
    dropped = []
    if subsampling < 0:
        dropped.append("the unusual chroma subsampling (4:4:4 is written)")
    if any(kind == _APP2 and data.startswith(b"MPF\0") for kind, data in segments):
        dropped.append("the further pictures inside the JPEG (gain map, depth, or large preview)")
    elif more:
        dropped.append("what stands behind the picture in the file (as of motion photos)")
    return Info(
        format="jpeg",
        width=width,
        height=height,
        channels=components,
        alpha=False,
        dtype=np.dtype(np.uint8),
        bits=8,
        metadata=_metadata(native, tuple(dropped)),
    )


def frames(file: BinaryIO, info: Info) -> Iterator[Frame]:
    from PIL.JpegImagePlugin import JpegImageFile

    file.seek(0)
    yield split(np.asarray(JpegImageFile(file)), info.channels, False)


def encoder(file: BinaryIO, info: Info, options: Options) -> JpegEncoder:
    return JpegEncoder(file, info, options)


class JpegEncoder:
    """Pillow codes the pixels; the source's segments are put back by hand."""

    def __init__(self, file: BinaryIO, info: Info, options: Options) -> None:
        self._file = file
        self._meta = info.metadata
        self._quality = options.quality

    def write(self, frame: Frame) -> None:
        native: Native | None = self._meta.native
        coded = io.BytesIO()
        dpi = tuple(round(dots) for dots in self._meta.dpi or (0, 0))
        picture = to_pil(frame)
        if native is None:
            picture.save(coded, "JPEG", quality=self._quality or _QUALITY, subsampling=0, dpi=dpi)
            segments = _from_metadata(self._meta)
        else:
            coding = {
                "subsampling": max(native.subsampling, 0),
                "progressive": native.progressive,
                "keep_rgb": native.keep_rgb,
            }
            if self._quality is None:
                tables = [list(table) for table in native.tables]
                picture.save(coded, "JPEG", qtables=tables, dpi=dpi, **coding)
            else:
                picture.save(coded, "JPEG", quality=self._quality, dpi=dpi, **coding)
            segments = list(native.segments)
        data = coded.getvalue()
        start = 2
        if data[2:4] == bytes((0xFF, _APP0)):
            start += 2 + struct.unpack(">H", data[4:6])[0]
        own_header = any(kind == _APP0 and part.startswith(_JFIF) for kind, part in segments)
        self._file.write(data[: 2 if own_header else start])
        for kind, part in segments:
            self._file.write(_pack(kind, part))
        self._file.write(data[start:])

    def finish(self) -> None:
        pass


def _segments(file: BinaryIO) -> tuple[tuple[int, bytes], list[tuple[int, bytes]]]:
    """The frame header, and all segments before the first scan."""
    file.seek(2)
    header: tuple[int, bytes] | None = None
    parts: list[tuple[int, bytes]] = []
    while True:
        byte = file.read(1)
        while byte == b"\xff":
            byte = file.read(1)
        if not byte:
            raise ValueError("the file ends before the picture")
        marker = byte[0]
        if marker in _BARE or marker == 0:
            continue
        if marker in (_SCAN, _END):
            break
        size = file.read(2)
        if len(size) < 2 or (length := struct.unpack(">H", size)[0] - 2) < 0:
            raise ValueError("a segment is cut short")
        data = file.read(length)
        if len(data) < length:
            raise ValueError("a segment is cut short")
        if marker in _HEADERS:
            header = (marker, data)
        else:
            parts.append((marker, data))
    if header is None or len(header[1]) < 6:
        raise ValueError("there is no picture in it")
    return header, parts


def _is_followed(file: BinaryIO) -> bool:
    """Whether anything but padding stands behind the picture; the file is at its first scan."""
    data = file.read()
    at = 0
    while found := _MARKER.search(data, at):
        if found[1][0] == _END:
            return bool(data[found.end() :].strip(_PADDING))
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return False


def _is_carried(kind: int, data: bytes) -> bool:
    if kind == _APP2 and data.startswith(b"MPF\0"):
        return False
    return kind == _COMMENT or (_APP0 <= kind <= 0xEF and kind != _APP14)


def _metadata(native: Native, dropped: tuple[str, ...]) -> Metadata:
    exif = xmp = b""
    dpi = None
    profile: dict[int, bytes] = {}
    text = []
    private = []
    for kind, data in native.segments:
        if kind == _APP1 and data.startswith(_EXIF):
            exif = exif or data[len(_EXIF) :]
        elif kind == _APP1 and data.startswith(_XMP):
            xmp = xmp or data[len(_XMP) :]
        elif kind == _APP2 and data.startswith(_ICC) and len(data) > 14:
            profile[data[12]] = data[14:]
        elif kind == _COMMENT:
            text.append(("Comment", data.decode("utf-8", "replace")))
        elif kind == _APP0 and data.startswith(_JFIF):
            dpi = _density(data)
        elif kind != _APP0:
            private.append(f"the JPEG segment APP{kind - _APP0}")
    return Metadata(
        exif=exif,
        icc=b"".join(profile[number] for number in sorted(profile)),
        xmp=xmp,
        text=tuple(text),
        dpi=dpi,
        orientation=orientation(exif),
        lossless=False,
        private=tuple(dict.fromkeys(private)),
        dropped=dropped,
        native=native,
    )


def _density(header: bytes) -> tuple[float, float] | None:
    """Dots per inch of a JFIF header, if it has a unit."""
    if len(header) < 12:
        return None
    unit, across, down = struct.unpack(">BHH", header[7:12])
    factor = {1: 1.0, 2: 2.54}.get(unit)
    return (across * factor, down * factor) if factor and across and down else None


def _from_metadata(meta: Metadata) -> list[tuple[int, bytes]]:
    """Segments for what another format's file said."""
    parts = []
    if exif := with_orientation(meta.exif, meta.orientation):
        parts.append((_APP1, _EXIF + exif))
    if meta.xmp:
        parts.append((_APP1, _XMP + meta.xmp))
    step = _ROOM - 14
    pieces = [meta.icc[at : at + step] for at in range(0, len(meta.icc), step)]
    for number, piece in enumerate(pieces, 1):
        parts.append((_APP2, _ICC + bytes((number, len(pieces))) + piece))
    return parts


def _pack(kind: int, data: bytes) -> bytes:
    if len(data) > _ROOM:
        raise ValueError(f"{len(data)} bytes of metadata where a JPEG segment holds {_ROOM}")
    return struct.pack(">BBH", 0xFF, kind, len(data) + 2) + data
