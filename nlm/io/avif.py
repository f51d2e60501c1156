"""AVIF of 8, 10 and 12 bits: coded by imagecodecs, metadata boxes handled here."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nlm.io.base import Frame, Info, Metadata, Options
from nlm.io.exif import with_orientation
from nlm.io.heif import Item, Property, Still
from nlm.io.samples import join, split

if TYPE_CHECKING:
    from PIL.AvifImagePlugin import AvifImageFile

_QUALITY = 92  # where loss is wanted and nothing said how much
_LOSSLESS = 100
_XMP_LABEL = b"\0application/rdf+xml\0"
_CARRIED = {b"clli", b"mdcv", b"pasp", b"cclv", b"amve"}  # light levels and pixel shape
# EXIF orientation as a turn (quarters against the clock) and a mirror (0 = up/down), in this order
_TURNS: dict[int, tuple[int, int | None]] = {
    1: (0, None), 2: (0, 1), 3: (2, None), 4: (0, 0), 5: (1, 0), 6: (3, None), 7: (3, 0),
    8: (1, None),
}  # fmt: skip


def probe(file: BinaryIO) -> Info:
    file.seek(0)
    still = Still.parse(file.read())
    picture = still.picture
    width, height = struct.unpack(">II", (picture.find(b"ispe") or b"")[4:12])
    configs = (item.find(b"av1C") for item in [picture, *still.items.values()])
    config = next((body for body in configs if body is not None), None)
    if config is None or len(config) < 3:
        raise ValueError("there is no coded picture in it")
    high, twelve, gray = (bool(config[2] >> bit & 1) for bit in (6, 5, 4))
    bits = (12 if twelve else 10) if high else 8
    count = 1
    meta = _metadata(still, gray)
    if still.has_tracks:
        if bits > 8:
            raise NotImplementedError(
                f"is an AVIF sequence of {bits} bits, only those of 8 bits are read; "
                "convert it to a video or to single pictures first"
            )
        count = getattr(_open(file), "n_frames", 1)
        meta = replace(meta, native=None)
    return Info(
        format="avif",
        width=width,
        height=height,
        channels=1 if gray else 3,
        alpha=any(b"alpha" in (item.find(b"auxC") or b"") for item in still.items.values()),
        dtype=np.dtype(np.uint8 if bits == 8 else np.uint16),
        bits=bits,
        frames=count,
        clip=count > 1,
        metadata=meta,
    )


def frames(file: BinaryIO, info: Info) -> Iterator[Frame]:
    if info.metadata.native is None:
        yield from _sequence(file, info)
        return
    import imagecodecs

    file.seek(0)
    samples: NDArray[Any] = imagecodecs.avif_decode(file.read())
    if info.channels == 1 and samples.ndim == 3 and samples.shape[2] > 2:
        samples = samples[:, :, [0, 3] if info.alpha else [0]]
    yield split(samples, info.channels, info.alpha)


def encoder(file: BinaryIO, info: Info, options: Options) -> AvifEncoder:
    return AvifEncoder(file, info, options)


class AvifEncoder:
    """One picture per file."""

    def __init__(self, file: BinaryIO, info: Info, options: Options) -> None:
        self._file = file
        self._info = info
        lossless = options.wants_lossless(info)
        self._quality = _LOSSLESS if lossless else options.quality or _QUALITY

    def write(self, frame: Frame) -> None:
        import imagecodecs

        samples = join(frame)
        if samples.ndim == 3 and samples.shape[2] == 2:  # gray with alpha: AVIF has RGB for it
            samples = join(frame, gray_to_rgb=True)
        native: tuple[Property, ...] = self._info.metadata.native or ()
        primaries, transfer, matrix = _cicp(native)
        coded = imagecodecs.avif_encode(
            samples,
            self._quality,
            bitspersample=self._info.bits,
            primaries=primaries,
            transfer=transfer,
            matrix=None if self._quality == _LOSSLESS else matrix,
        )
        still = Still.parse(bytes(coded))
        self._describe(still, native)
        self._file.write(still.pack())

    def finish(self) -> None:
        pass

    def _describe(self, still: Still, native: tuple[Property, ...]) -> None:
        meta = self._info.metadata
        properties = still.picture.properties
        properties += [(one, False) for one in native if one.kind in _CARRIED]
        if meta.icc:
            properties.append((Property(b"colr", b"prof" + meta.icc), False))
        quarters, mirror = _TURNS[meta.orientation]
        if quarters:
            properties.append((Property(b"irot", bytes((quarters,))), True))
        if mirror is not None:
            properties.append((Property(b"imir", bytes((mirror,))), True))
        if exif := with_orientation(meta.exif, 1):  # the boxes turn; EXIF would turn again
            still.add(Item(still.next_number(), b"Exif", b"\0", b"\0\0\0\0" + exif))
        if meta.xmp:
            still.add(Item(still.next_number(), b"mime", _XMP_LABEL, meta.xmp))


def _metadata(still: Still, gray: bool) -> Metadata:
    properties = tuple(one for one, _ in still.picture.properties)
    exif = xmp = b""
    for item in still.items.values():
        if item.kind == b"Exif" and len(item.data) > 4:
            exif = item.data[4 + int.from_bytes(item.data[:4], "big") :]
        elif item.kind == b"mime" and b"rdf+xml" in item.label:
            xmp = item.data
    profiles = (one.body for one in properties if one.kind == b"colr")
    icc = next((body[4:] for body in profiles if body[:4] in (b"prof", b"rICC")), b"")
    turn = still.picture.find(b"irot") or b"\0"
    mirror = still.picture.find(b"imir")
    wanted = (turn[0] & 3, None if mirror is None else mirror[0] & 1)
    orientation = next((number for number, how in _TURNS.items() if how == wanted), 1)
    primaries, transfer, matrix = _cicp(properties)
    unusual = primaries not in (None, 1, 2) or transfer not in (None, 1, 2, 13)
    return Metadata(
        exif=exif and with_orientation(exif, orientation),
        icc=icc,
        xmp=xmp,
        orientation=orientation,
        lossless=matrix == 0 or gray,  # of gray the boxes do not tell
        private=("the colour space code (CICP)",) if unusual and not icc else (),
        native=properties,
    )


def _cicp(properties: tuple[Property, ...]) -> tuple[int | None, int | None, int | None]:
    """Colour primaries, transfer and matrix by number."""
    for one in properties:
        if one.kind == b"colr" and one.body[:4] == b"nclx" and len(one.body) >= 10:
            primaries, transfer, matrix = struct.unpack(">HHH", one.body[4:10])
            return primaries, transfer, matrix
    return None, None, None


def _sequence(file: BinaryIO, info: Info) -> Iterator[Frame]:
    """Frames of a sequence, by Pillow: imagecodecs 2026.3 corrupts memory on them."""
    picture = _open(file)
    mode = "RGBA" if info.alpha else "RGB" if info.channels == 3 else "L"
    for index in range(info.frames or 1):
        picture.seek(index)
        picture.load()
        seconds = picture.info.get("duration", 0) / 1000 if info.clip else None
        yield split(np.asarray(picture.convert(mode)), info.channels, info.alpha, seconds)


def _open(file: BinaryIO) -> AvifImageFile:
    from PIL.AvifImagePlugin import AvifImageFile

    file.seek(0)
    return AvifImageFile(file)
