"""PNG and animated PNG, 8 and 16 bit, with every chunk of the source carried over.

Pixels are coded by imagecodecs one still at a time; chunks are taken apart and put together here,
so that frames stream and metadata survives.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import BinaryIO

import numpy as np

from nlm.io import png_text
from nlm.io.apng import KEEP, Control, animation, uncovers
from nlm.io.base import Frame, Info, Metadata, Options
from nlm.io.behind import dropped_behind
from nlm.io.exif import orientation, with_orientation
from nlm.io.png_chunks import SIGNATURE, chunks, decode, pack_chunk, split_chunks
from nlm.io.samples import join, split

_PIXELS = {b"IDAT", b"fdAT"}
_STRUCTURE = _PIXELS | {b"IHDR", b"PLTE", b"tRNS", b"IEND", b"acTL", b"fcTL"}
_OF_PALETTE = {b"hIST", b"sBIT", b"bKGD"}  # mean something else once colours are spelled out
_LEVEL = 4  # zlib: a third of the time of the usual 6 for a few percent in size


@dataclass(frozen=True)
class Native:
    """A PNG's own chunks: those before the pixels, those after, and a hidden still picture."""

    before: tuple[tuple[bytes, bytes], ...]
    after: tuple[tuple[bytes, bytes], ...]
    hidden: tuple[bytes, tuple[bytes, ...]] | None
    whole: bool


def probe(file: BinaryIO) -> Info:
    parts = chunks(file, skip=_PIXELS)
    kind, header = next(parts)
    if kind != b"IHDR" or len(header) != 13:
        raise ValueError("the first chunk is not a header")
    width, height, depth, colour = struct.unpack(">IIBB", header[:10])
    before: list[tuple[bytes, bytes]] = []
    after: list[tuple[bytes, bytes]] = []
    count, loop, alpha, hidden, whole = None, None, colour in (4, 6), False, False
    controls: list[Control] = []
    in_pixels = False
    try:
        for kind, data in parts:
            if kind == b"tRNS":
                alpha = True
            elif kind == b"acTL" and len(data) == 8:
                count, loop = struct.unpack(">II", data)
            elif kind == b"fcTL":
                controls.append(Control.parse(data))
            elif kind == b"IDAT" and not in_pixels:
                in_pixels, hidden = True, not controls
            elif kind == b"IEND":
                whole = True
            elif kind not in _STRUCTURE:
                (after if in_pixels else before).append((kind, data))
    except EOFError:
        pass  # the pixel limit is judged first, then frames() says so
    end = file.tell()
    if colour == 3 or depth < 8:
        before = [(kind, data) for kind, data in before if kind not in _OF_PALETTE]
    clip = count is not None
    if clip:
        alpha = alpha or uncovers(controls, width, height)
    still = _hidden_still(file, header) if clip and hidden else None
    native = Native(tuple(before), tuple(after), still, whole)
    bits = 16 if depth == 16 else 8
    dropped = dropped_behind(file, end) if whole else ()
    return Info(
        format="png",
        width=width,
        height=height,
        channels=1 if colour in (0, 4) else 3,
        alpha=alpha,
        dtype=np.dtype(f"u{bits // 8}"),
        bits=bits,
        frames=count if clip else 1,
        clip=clip,
        metadata=replace(_metadata(native, loop), dropped=dropped),
        bilevel=colour == 0 and depth == 1,
    )


def frames(file: BinaryIO, info: Info) -> Iterator[Frame]:
    if not info.metadata.native.whole:
        raise ValueError("the file ends before its end mark")
    if info.clip:
        yield from animation(file, info)
        return
    parts = list(chunks(file))
    kept = [part for part in parts if part[0] in {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}]
    yield split(decode(kept), info.channels, info.alpha)


def encoder(file: BinaryIO, info: Info, options: Options) -> PngEncoder:
    return PngEncoder(file, info)


class PngEncoder:
    """Writes chunks as frames come; the number of frames is filled in at the end."""

    def __init__(self, file: BinaryIO, info: Info) -> None:
        self._file = file
        self._info = info
        self._native: Native = info.metadata.native or _from_metadata(info.metadata)
        self._written = 0
        self._sequence = 0
        self._count_at = 0

    def write(self, frame: Frame) -> None:
        import imagecodecs

        still = bytes(imagecodecs.png_encode(join(frame), level=_LEVEL))
        parts = split_chunks(still)
        if not self._written:
            self._start(parts[0][1])
        data = [payload for kind, payload in parts if kind == b"IDAT"]
        if not self._info.clip:
            for payload in data:
                self._put(b"IDAT", payload)
        else:
            self._put_control(frame)
            plain = self._written == 0 and self._native.hidden is None
            for payload in data:
                if plain:
                    self._put(b"IDAT", payload)
                else:
                    self._put(b"fdAT", self._next() + payload)
        self._written += 1

    def finish(self) -> None:
        for kind, data in self._native.after:
            self._put(kind, data)
        self._put(b"IEND", b"")
        if self._info.clip:
            self._file.seek(self._count_at)
            loop = self._info.metadata.loop
            self._put(b"acTL", struct.pack(">II", self._written, 1 if loop is None else loop))

    def _start(self, header: bytes) -> None:
        hidden = self._native.hidden if self._info.clip else None
        if hidden is not None and hidden[0][8:] != header[8:]:
            hidden = None
            self._native = Native(self._native.before, self._native.after, None, True)
        self._file.write(SIGNATURE)
        self._put(b"IHDR", header)
        for kind, data in self._native.before:
            self._put(kind, data)
        if self._info.clip:
            self._count_at = self._file.tell()
            self._put(b"acTL", struct.pack(">II", 1, 0))
        for data in hidden[1] if hidden else ():
            self._put(b"IDAT", data)

    def _put_control(self, frame: Frame) -> None:
        rows, columns = frame.planes[0].shape[:2]
        seconds = Fraction(frame.duration or 0).limit_denominator(1000)
        if seconds.numerator > 65535:
            seconds = Fraction(min(round(seconds), 65535))
        place = struct.pack(">IIII", columns, rows, 0, 0)
        time = struct.pack(">HHBB", seconds.numerator, seconds.denominator, KEEP, 0)
        self._put(b"fcTL", self._next() + place + time)

    def _next(self) -> bytes:
        self._sequence += 1
        return struct.pack(">I", self._sequence - 1)

    def _put(self, kind: bytes, data: bytes) -> None:
        self._file.write(pack_chunk(kind, data))


def _metadata(native: Native, loop: int | None) -> Metadata:
    own = native.before + native.after
    text = png_text.entries(own)
    by_kind = dict(reversed(own))
    exif = by_kind.get(b"eXIf", b"")
    dpi = None
    if len(size := by_kind.get(b"pHYs", b"")) == 9 and size[8] == 1:
        across, down = struct.unpack(">II", size[:8])
        dpi = (across * 0.0254, down * 0.0254)
    private = [kind.decode("latin-1") for kind in (b"gAMA", b"cHRM", b"cICP") if kind in by_kind]
    return Metadata(
        exif=exif,
        icc=png_text.profile(by_kind.get(b"iCCP", b"")),
        xmp=dict(text).get(png_text.XMP, "").encode(),
        text=tuple((key, value) for key, value in text if key != png_text.XMP),
        dpi=dpi,
        orientation=orientation(exif),
        loop=loop,
        private=tuple(f"the PNG chunk {name}" for name in private),
        native=native,
    )


def _from_metadata(meta: Metadata) -> Native:
    """Chunks for what another format's file said."""
    before: list[tuple[bytes, bytes]] = []
    if meta.icc:
        before.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(meta.icc)))
    if meta.dpi:
        across, down = (round(dots / 0.0254) for dots in meta.dpi)
        before.append((b"pHYs", struct.pack(">IIB", across, down, 1)))
    if meta.xmp:
        before.append((b"iTXt", png_text.pack(png_text.XMP, meta.xmp.decode("utf-8", "replace"))))
    before += [(b"iTXt", png_text.pack(key, value)) for key, value in meta.text]
    if exif := with_orientation(meta.exif, meta.orientation):
        before.append((b"eXIf", exif))
    return Native(tuple(before), (), None, True)


def _hidden_still(file: BinaryIO, header: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """The still picture of an animation of which it is no frame."""
    try:
        return header, tuple(data for kind, data in chunks(file) if kind == b"IDAT")
    except EOFError:
        return header, ()
