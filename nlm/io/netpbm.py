"""PBM, PGM, PPM, PAM and PFM: a short text header and plain samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nlm.io.base import Frame, Info, Metadata, Options
from nlm.io.samples import join, split

_NAMES = {"1": "pbm", "2": "pgm", "3": "ppm", "4": "pbm", "5": "pgm", "6": "ppm", "7": "pam"}


@dataclass(frozen=True)
class Header:
    """What stands before the samples; `top` is maxval, or PFM's scale (its sign = byte order)."""

    kind: str
    width: int
    height: int
    depth: int
    top: float
    start: int


def probe(file: BinaryIO) -> Info:
    file.seek(0)
    header = _pam_header(file) if file.read(2) == b"P7" else _header(file)
    if min(header.width, header.height, header.depth) < 1:
        raise ValueError("a size of zero in the header")
    is_float = header.kind in "Ff"
    top = int(header.top)
    if not is_float and not 1 <= top <= 65535:
        raise ValueError(f"maxval {top}, allowed are 1 to 65535")
    bits = 32 if is_float else max(8 if top == 1 else 2, top.bit_length())
    if header.depth > 4:
        raise ValueError(f"{header.depth} channels, allowed are 1 to 4")
    alpha = header.depth in (2, 4)
    return Info(
        format="pfm" if is_float else _NAMES[header.kind],
        width=header.width,
        height=header.height,
        channels=header.depth - alpha,
        alpha=alpha,
        dtype=np.dtype(np.float32 if is_float else np.uint8 if bits <= 8 else np.uint16),
        bits=bits,
        metadata=Metadata(native=header),
    )


def frames(file: BinaryIO, info: Info) -> Iterator[Frame]:
    header: Header = info.metadata.native
    file.seek(header.start)
    body = file.read()
    shape = (header.height, header.width, header.depth)
    if header.kind in "Ff":
        order = "<" if header.top < 0 else ">"
        samples = _samples(body, np.dtype(f"{order}f4"), shape)[::-1]  # bottom row first
    elif header.kind in "123":
        samples = _text_samples(body, header.kind, shape)
    elif header.kind == "4":
        packed = _samples(body, np.dtype(np.uint8), (header.height, (header.width + 7) // 8, 1))
        samples = np.unpackbits(packed[:, :, 0], axis=1, count=header.width)[:, :, None]
    else:
        samples = _samples(body, np.dtype(np.uint8 if header.top < 256 else ">u2"), shape)
    if info.format == "pbm":
        samples = 1 - samples  # there 1 is black
    if header.kind not in "Ff":
        samples = _scale(samples, int(header.top), 2**info.bits - 1)
    yield split(np.ascontiguousarray(samples, info.dtype), info.channels, info.alpha)


def encoder(file: BinaryIO, info: Info, options: Options) -> NetpbmEncoder:
    return NetpbmEncoder(file, info)


class NetpbmEncoder:
    """One picture per file, binary samples."""

    def __init__(self, file: BinaryIO, info: Info) -> None:
        self._file = file
        self._info = info

    def write(self, frame: Frame) -> None:
        samples = join(frame)
        samples = samples[:, :, None] if samples.ndim == 2 else samples
        if self._info.format == "pfm":
            kind = "PF" if self._info.channels == 3 else "Pf"
            head, body = self._head(kind, samples, "-1.0"), samples[::-1].astype("<f4")
        else:
            top = self._top()
            samples = _scale(samples, 2**self._info.bits - 1, top)
            if self._info.format == "pam":
                head = self._pam_head(samples, top)
            else:
                head = self._head("P5" if samples.shape[2] == 1 else "P6", samples, str(top))
            body = samples.astype(np.uint8 if top < 256 else ">u2")
        self._file.write(head)
        self._file.write(body.tobytes())

    def finish(self) -> None:
        pass

    def _top(self) -> int:
        """The source's own maxval, which may be an odd one such as 1000."""
        header: Header | None = self._info.metadata.native
        if header is not None and header.top > 1:
            return int(header.top)
        return int(2**self._info.bits - 1)

    @staticmethod
    def _head(kind: str, samples: NDArray[Any], top: str) -> bytes:
        return f"{kind}\n{samples.shape[1]} {samples.shape[0]}\n{top}\n".encode()

    @staticmethod
    def _pam_head(samples: NDArray[Any], top: int) -> bytes:
        rows, columns, depth = samples.shape
        kind = ("GRAYSCALE", "GRAYSCALE_ALPHA", "RGB", "RGB_ALPHA")[depth - 1]
        lines = f"WIDTH {columns}\nHEIGHT {rows}\nDEPTH {depth}\nMAXVAL {top}\nTUPLTYPE {kind}"
        return f"P7\n{lines}\nENDHDR\n".encode()


def _header(file: BinaryIO) -> Header:
    file.seek(1)
    kind = file.read(1).decode("latin-1")
    width, height = int(_word(file)), int(_word(file))
    top = 1.0 if kind in "14" else float(_word(file))
    return Header(kind, width, height, 3 if kind in "36F" else 1, top, file.tell())


def _word(file: BinaryIO) -> bytes:
    """The next word of a header, comments skipped; the one blank after it is consumed."""
    word = b""
    while True:
        letter = file.read(1)
        if not letter or len(word) > 20:
            raise ValueError("the header is cut short")
        if letter == b"#":
            file.readline()
            letter = b"\n"
        if not letter.isspace():
            word += letter
        elif word:
            return word


def _pam_header(file: BinaryIO) -> Header:
    fields: dict[bytes, bytes] = {}
    for _ in range(1000):
        words = file.readline(1000).split(None, 1)
        if words and words[0] == b"ENDHDR":
            size = (int(fields[key]) for key in (b"WIDTH", b"HEIGHT", b"DEPTH"))
            width, height, depth = size
            return Header("7", width, height, depth, float(fields[b"MAXVAL"]), file.tell())
        if len(words) == 2 and not words[0].startswith(b"#"):
            fields[words[0]] = words[1].strip()
    raise ValueError("the header has no end")


def _samples(body: bytes, dtype: np.dtype[Any], shape: tuple[int, int, int]) -> NDArray[Any]:
    count = shape[0] * shape[1] * shape[2]
    if len(body) < count * dtype.itemsize:
        raise ValueError(f"{len(body)} bytes of samples where {count * dtype.itemsize} belong")
    return np.frombuffer(body, dtype, count).reshape(shape)


def _scale(samples: NDArray[Any], top: int, new_top: int) -> NDArray[Any]:
    """Another full scale; from a maxval such as 1000 to 1023 and back nothing changes."""
    if top == new_top:
        return samples
    scaled = np.rint(samples.astype(np.float32) * np.float32(new_top / top))
    return np.asarray(np.minimum(scaled, new_top), np.uint16)


def _text_samples(body: bytes, kind: str, shape: tuple[int, int, int]) -> NDArray[Any]:
    words = list(body) if kind == "1" else body.split()
    if kind == "1":  # digits need no blanks between them
        words = [word - 48 for word in body if word in b"01"]
    count = shape[0] * shape[1] * shape[2]
    if len(words) < count:
        raise ValueError(f"{len(words)} samples where {count} belong")
    return np.array([int(word) for word in words[:count]], np.uint16).reshape(shape)
