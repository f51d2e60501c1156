"""PBM, PGM, PPM, PAM and PFM: a short text header and plain samples, several times in a row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nlm.io.base import Frame, Info, Metadata, Options
from nlm.io.samples import join, split

_MORE = "what stands behind the picture in the file"
_PADDING = b"\0\r\n\t "
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

    @property
    def is_text(self) -> bool:
        """Whether samples are written as words."""
        return self.kind in "123"

    @property
    def end(self) -> int:
        """Where binary samples end."""
        width = (self.width + 7) // 8 if self.kind == "4" else self.width
        size = 4 if self.kind in "Ff" else 1 if self.top < 256 else 2
        return self.start + width * self.height * self.depth * size

    def is_like(self, other: Header) -> bool:
        """Whether the samples are of the same kind."""
        return (self.kind, self.depth, self.top) == (other.kind, other.depth, other.top)


def probe(file: BinaryIO) -> Info:
    headers, more = _chain(file)
    header = headers[0]
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
        frames=len(headers),
        metadata=Metadata(native=headers, dropped=(_MORE,) if more else ()),
        bilevel=top == 1 and header.depth == 1 and not is_float,
    )


def frames(file: BinaryIO, info: Info) -> Iterator[Frame]:
    headers: tuple[Header, ...] = info.metadata.native
    for header in headers:
        file.seek(header.start)
        body = file.read() if header.is_text else file.read(header.end - header.start)
        yield _frame(body, header, info)


def _frame(body: bytes, header: Header, info: Info) -> Frame:
    shape = (header.height, header.width, header.depth)
    if header.kind in "Ff":
        order = "<" if header.top < 0 else ">"
        samples = _samples(body, np.dtype(f"{order}f4"), shape)[::-1]  # bottom row first
    elif header.is_text:
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
    return split(np.ascontiguousarray(samples, info.dtype), info.channels, info.alpha)


def encoder(file: BinaryIO, info: Info, options: Options) -> NetpbmEncoder:
    return NetpbmEncoder(file, info)


class NetpbmEncoder:
    """Pictures one behind the other, binary samples."""

    def __init__(self, file: BinaryIO, info: Info) -> None:
        self._file = file
        self._info = info

    def write(self, frame: Frame) -> None:
        samples = join(frame)
        samples = samples[:, :, None] if samples.ndim == 2 else samples
        info = self._info
        if (samples.shape[2], samples.dtype) != (info.channels + info.alpha, info.dtype):
            raise ValueError("its pages are of several kinds")
        if info.format == "pbm":
            head, body = self._head("P4", samples, ""), _packed(samples[:, :, 0])
        elif info.format == "pfm":
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
        headers: tuple[Header, ...] | None = self._info.metadata.native
        if headers is not None and headers[0].top > 1:
            return int(headers[0].top)
        return int(2**self._info.bits - 1)

    @staticmethod
    def _head(kind: str, samples: NDArray[Any], top: str) -> bytes:
        size = f"{samples.shape[1]} {samples.shape[0]}"
        return "".join(f"{line}\n" for line in (kind, size, top) if line).encode()

    @staticmethod
    def _pam_head(samples: NDArray[Any], top: int) -> bytes:
        rows, columns, depth = samples.shape
        kind = ("GRAYSCALE", "GRAYSCALE_ALPHA", "RGB", "RGB_ALPHA")[depth - 1]
        lines = f"WIDTH {columns}\nHEIGHT {rows}\nDEPTH {depth}\nMAXVAL {top}\nTUPLTYPE {kind}"
        return f"P7\n{lines}\nENDHDR\n".encode()


def _chain(file: BinaryIO) -> tuple[tuple[Header, ...], bool]:
    """All pictures of a file, and whether anything stands behind that is no more of them."""
    file.seek(0)
    headers = [_header(file)]
    if headers[0].is_text:
        return (headers[0],), b"P" in file.read()
    while file.seek(headers[-1].end):
        try:
            header = _header(file)
        except (ValueError, KeyError):
            break
        if not header.is_like(headers[0]):
            break
        headers.append(header)
    file.seek(headers[-1].end)
    return tuple(headers), bool(file.read().strip(_PADDING))


def _header(file: BinaryIO) -> Header:
    """The header that begins here."""
    mark = file.read(2).decode("latin-1")
    if mark[:1] != "P" or mark[1:] not in tuple("1234567Ff"):
        raise ValueError("there is no header")
    kind = mark[1]
    header = _pam_header(file) if kind == "7" else _short_header(file, kind)
    if min(header.width, header.height, header.depth) < 1:
        raise ValueError("a size of zero in the header")
    return header


def _short_header(file: BinaryIO, kind: str) -> Header:
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


def _packed(samples: NDArray[Any]) -> NDArray[np.uint8]:
    """Rows of bits, dark ones being 1."""
    return np.packbits(samples < 128, axis=1)


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
