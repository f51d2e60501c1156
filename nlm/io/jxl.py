"""JPEG XL, 8 to 16 bits and float: coded by imagecodecs, metadata boxes handled here."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nlm.io import jxl_header
from nlm.io.base import Frame, Info, Metadata, Options
from nlm.io.exif import with_orientation
from nlm.io.heif import boxes, pack_box
from nlm.io.jxl_header import LINEAR, SRGB
from nlm.io.samples import join, split

_SIGNATURE = b"\0\0\0\x0cJXL \r\n\x87\n"
_DISTANCE = 0.5  # visual distance where the source was stored with loss
_MOST_EFFORT = 9
_ALPHA = 0


def probe(file: BinaryIO) -> Info:
    parts = _parts(file)
    header = jxl_header.parse(parts[b"jxlc"])
    width, height = header.width, header.height
    if header.orientation >= 5:  # the decoder turns the picture upright
        width, height = height, width
    if header.is_float:
        dtype = np.dtype(np.float16 if header.bits == 16 else np.float32)
    else:
        dtype = np.dtype(np.uint8 if header.bits <= 8 else np.uint16)
    dropped = []
    if any(kind != _ALPHA for kind in header.extra):
        dropped.append("channels that are neither colour nor alpha")
    curve = header.curve
    writable = header.standard_primaries and curve is not None and 2 <= curve <= 17
    if not writable or (header.bits <= 8 and curve != SRGB):
        dropped.append("the colour space (the JPEG XL encoder has no way to say it)")
    clip = header.seconds_per_tick is not None
    if clip:
        dropped.append("the times of the frames (the JPEG XL decoder does not tell them)")
    exif = parts.get(b"Exif", b"")
    exif = exif[4 + int.from_bytes(exif[:4], "big") :]
    return Info(
        format="jxl",
        width=width,
        height=height,
        channels=1 if header.gray else 3,
        alpha=_ALPHA in header.extra,
        dtype=dtype,
        bits=8 * dtype.itemsize if header.is_float else header.bits,
        frames=None if clip else 1,
        clip=clip,
        metadata=Metadata(
            exif=with_orientation(exif, 1),
            xmp=parts.get(b"xml ", b""),
            loop=header.loops if clip else None,
            lossless=not header.lossy,
            private=("the code of the colour space",) if writable and curve != SRGB else (),
            dropped=tuple(dropped),
            native=curve if writable else None,
        ),
    )


def frames(file: BinaryIO, info: Info) -> Iterator[Frame]:
    import imagecodecs

    file.seek(0)
    samples: NDArray[Any] = imagecodecs.jpegxl_decode(file.read())
    single = 2 if info.channels + info.alpha == 1 else 3
    shots = samples if samples.ndim == single + 1 else samples[None]
    for shot in shots:
        kept = shot if shot.ndim == 2 else shot[:, :, : info.channels + info.alpha]
        yield split(kept, info.channels, info.alpha)


def encoder(file: BinaryIO, info: Info, options: Options) -> JxlEncoder:
    return JxlEncoder(file, info, options)


class JxlEncoder:
    """One picture per file.

    The encoder library declares 8-bit samples to be sRGB and all others to be linear light, and
    converts on that ground when it loses something. So deeper samples are stored without loss,
    and their header is set right afterwards.
    """

    def __init__(self, file: BinaryIO, info: Info, options: Options) -> None:
        self._file = file
        self._info = info
        self._curve = info.metadata.native or (SRGB if info.dtype.kind == "u" else LINEAR)
        self._declared = SRGB if info.bits <= 8 else LINEAR
        self._lossless = options.wants_lossless(info) or self._curve != self._declared
        self._distance = _DISTANCE
        if options.quality is not None:  # the scale of libjxl's own tools
            self._distance = max(0.1, 0.1 + (100 - options.quality) * 0.09)

    def write(self, frame: Frame) -> None:
        import imagecodecs

        info, meta = self._info, self._info.metadata
        samples = join(frame)
        bits = info.bits if info.dtype.kind == "u" else None
        distance = None if self._lossless else self._distance
        try:
            coded = imagecodecs.jpegxl_encode(
                samples, lossless=self._lossless, distance=distance, bitspersample=bits
            )
        except imagecodecs.JpegxlError:  # libjxl 0.12 on some pictures with values below 0
            coded = imagecodecs.jpegxl_encode(
                samples, lossless=True, effort=_MOST_EFFORT, bitspersample=bits
            )
        parts = _split(bytes(coded))
        if self._declared == LINEAR and self._curve != LINEAR:
            parts = [(kind, self._relabel(body)) for kind, body in parts]
        if exif := with_orientation(meta.exif, 1):
            parts.append((b"Exif", b"\0\0\0\0" + exif))
        if meta.xmp:
            parts.append((b"xml ", meta.xmp))
        if len(parts) == 1:
            self._file.write(parts[0][1])
            return
        if parts[0][0] != b"ftyp":
            parts.insert(0, (b"ftyp", b"jxl \0\0\0\0jxl "))
        self._file.write(_SIGNATURE + b"".join(pack_box(*part) for part in parts))

    def _relabel(self, body: bytes) -> bytes:
        if body[:2] != b"\xff\x0a":
            return body
        return jxl_header.with_curve(body, jxl_header.parse(body), self._curve)

    def finish(self) -> None:
        pass


def _split(coded: bytes) -> list[tuple[bytes, bytes]]:
    """Boxes after the signature; a bare code stream as the one box it would be."""
    if coded[:2] == b"\xff\x0a":
        return [(b"jxlc", coded)]
    found = boxes(coded, len(_SIGNATURE))
    return [(kind, coded[start:end]) for kind, start, end in found]


def _parts(file: BinaryIO) -> dict[bytes, bytes]:
    """The code stream under ``jxlc``, and metadata boxes unpacked."""
    file.seek(0)
    data = file.read()
    if data[:2] == b"\xff\x0a":
        return {b"jxlc": data}
    parts: dict[bytes, bytes] = {b"jxlc": b""}
    for kind, start, end in boxes(data):
        body = data[start:end]
        if kind == b"jxlp":
            kind, body = b"jxlc", body[struct.calcsize(">I") :]
        if kind == b"jxlc":
            parts[kind] += body
        elif kind == b"brob":
            import imagecodecs

            parts[body[:4]] = bytes(imagecodecs.brotli_decode(body[4:]))
        elif kind in (b"Exif", b"xml "):
            parts[kind] = body
    return parts
