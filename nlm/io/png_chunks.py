"""PNG taken apart into chunks and put together again."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator
from typing import Any, BinaryIO

from numpy.typing import NDArray

__all__ = ["SIGNATURE", "chunks", "decode", "pack_chunk", "split_chunks"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def pack_chunk(kind: bytes, data: bytes) -> bytes:
    """Length, kind, data, checksum."""
    checksum = zlib.crc32(data, zlib.crc32(kind))
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def chunks(file: BinaryIO, skip: Collection[bytes] = ()) -> Iterator[tuple[bytes, bytes]]:
    """Kinds and data up to the end mark; the data of `skip` stays unread and comes empty."""
    file.seek(0, 2)
    size = file.tell()
    file.seek(len(SIGNATURE))
    kind = b""
    while kind != b"IEND":
        head = file.read(8)
        if len(head) < 8:
            raise EOFError("the file ends inside a picture")
        length, kind = struct.unpack(">I4s", head)
        if file.tell() + length + 4 > size:
            raise EOFError("the file ends inside a chunk")
        if kind in skip:
            file.seek(length + 4, 1)
            yield kind, b""
            continue
        data = file.read(length)
        (checksum,) = struct.unpack(">I", file.read(4))
        if checksum != zlib.crc32(data, zlib.crc32(kind)):
            raise ValueError(f"wrong checksum of chunk {kind!r}")
        yield kind, data


def split_chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    """Chunks of a PNG made here, checksums trusted."""
    parts = []
    at = len(SIGNATURE)
    while at < len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        parts.append((kind, png[at + 8 : at + 8 + length]))
        at += length + 12
    return parts


def decode(parts: list[tuple[bytes, bytes]]) -> NDArray[Any]:
    import imagecodecs

    still = SIGNATURE + b"".join(pack_chunk(kind, data) for kind, data in parts)
    samples: NDArray[Any] = imagecodecs.png_decode(still)
    return samples
