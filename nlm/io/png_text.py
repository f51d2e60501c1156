"""Text and profile chunks of PNG."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

__all__ = ["XMP", "entries", "pack", "profile"]

XMP = "XML:com.adobe.xmp"
_LIMIT = 64 * 2**20  # bytes; no honest text or profile is larger unpacked


def entries(chunks: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Keys and values of tEXt, zTXt and iTXt chunks; damaged ones are left out."""
    found = []
    for kind, data in chunks:
        if kind not in (b"tEXt", b"zTXt", b"iTXt"):
            continue
        key, _, rest = data.partition(b"\0")
        try:
            found.append((key.decode("latin-1"), _value(kind, rest)))
        except (zlib.error, ValueError, IndexError):
            continue
    return found


def pack(key: str, value: str) -> bytes:
    """Data of an uncompressed iTXt chunk; a key has 1..79 Latin letters."""
    name = key.encode("latin-1", "replace")[:79] or b"Comment"
    return name + b"\0\0\0\0\0" + value.encode()


def profile(data: bytes) -> bytes:
    """The colour profile of an iCCP chunk, empty if damaged."""
    _, _, rest = data.partition(b"\0")
    try:
        return _unpack(rest[1:]) if rest else b""
    except (zlib.error, ValueError):
        return b""


def _value(kind: bytes, rest: bytes) -> str:
    if kind == b"tEXt":
        return rest.decode("latin-1")
    if kind == b"zTXt":
        return _unpack(rest[1:]).decode("latin-1")
    packed, rest = rest[0] == 1, rest[2:]
    _, _, rest = rest.partition(b"\0")  # language
    _, _, rest = rest.partition(b"\0")  # translated key
    return (_unpack(rest) if packed else rest).decode("utf-8", "replace")


def _unpack(data: bytes) -> bytes:
    worker = zlib.decompressobj()
    plain = worker.decompress(data, _LIMIT)
    if worker.unconsumed_tail:
        raise ValueError("text chunk of an absurd size")
    return plain
