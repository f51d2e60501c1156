"""Directories of tags, as in TIFF files and EXIF blocks: read raw, packed, byte order changed."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

__all__ = [
    "Directory",
    "Layout",
    "Tag",
    "pack",
    "pack_block",
    "read_block",
    "read_chain",
    "read_layout",
]

EXIF, GPS, INTEROPERABILITY = 34665, 34853, 40965
_POINTERS = (EXIF, GPS, INTEROPERABILITY)
# bytes per value and size of the unit whose bytes are swapped, by kind
_KINDS = {
    1: (1, 1), 2: (1, 1), 3: (2, 2), 4: (4, 4), 5: (8, 4), 6: (1, 1), 7: (1, 1), 8: (2, 2),
    9: (4, 4), 10: (8, 4), 11: (4, 4), 12: (8, 8), 13: (4, 4), 16: (8, 8), 17: (8, 8), 18: (8, 8),
}  # fmt: skip
_LONG = 4


@dataclass(frozen=True)
class Layout:
    """Byte order ('<' or '>') and whether offsets have 8 bytes (BigTIFF)."""

    order: Literal["<", ">"]
    big: bool = False

    @property
    def offset(self) -> str:
        """Format of an offset."""
        return self.order + ("Q" if self.big else "I")

    @property
    def entry_size(self) -> int:
        """Bytes of a directory entry."""
        return 20 if self.big else 12


@dataclass(frozen=True)
class Tag:
    """One entry, its values as raw bytes in the file's order."""

    code: int
    kind: int
    data: bytes

    @property
    def count(self) -> int:
        """Number of values."""
        return len(self.data) // _KINDS[self.kind][0]

    def numbers(self, order: str) -> tuple[int, ...]:
        """Values of a tag of integers."""
        letter = {1: "B", 3: "H", 4: "I", 5: "I", 13: "I", 16: "Q", 18: "Q"}.get(self.kind)
        if letter is None:
            return ()
        return struct.unpack(
            f"{order}{len(self.data) // struct.calcsize(letter)}{letter}", self.data
        )

    def reordered(self, swap: bool) -> Tag:
        """The same values in the other byte order."""
        unit = _KINDS[self.kind][1]
        if not swap or unit == 1:
            return self
        parts = (self.data[at : at + unit][::-1] for at in range(0, len(self.data), unit))
        return Tag(self.code, self.kind, b"".join(parts))


@dataclass
class Directory:
    """The tags of a page.

    Attributes
    ----------
    at : int
        Where it stands in the file.
    tags : dict of Tag
        By code; of tags that occur more than once the first, which is the one that readers heed.
    nested : dict of Directory
        Those that tags point to, by the code of the tag.
    repeated : list of Tag
        What occurred again, in the order of the file.
    """

    at: int = 0
    tags: dict[int, Tag] = field(default_factory=dict)
    nested: dict[int, Directory] = field(default_factory=dict)
    repeated: list[Tag] = field(default_factory=list)

    def every(self, code: int) -> list[Tag]:
        """All tags of a code."""
        first = [self.tags[code]] if code in self.tags else []
        return first + [tag for tag in self.repeated if tag.code == code]

    def codes(self) -> list[int]:
        """The codes of all entries in the order of the file."""
        return sorted([*self.tags, *(tag.code for tag in self.repeated)])

    def number(self, code: int, layout: Layout, default: int) -> int:
        """First value of a tag of integers."""
        tag = self.tags.get(code)
        values = tag.numbers(layout.order) if tag is not None else ()
        return values[0] if values else default

    def reordered(self, swap: bool) -> Directory:
        """The same directory in the other byte order."""
        tags = {code: tag.reordered(swap) for code, tag in self.tags.items()}
        nested = {code: one.reordered(swap) for code, one in self.nested.items()}
        return Directory(self.at, tags, nested, [tag.reordered(swap) for tag in self.repeated])


def read_layout(file: BinaryIO) -> tuple[Layout, int]:
    """Byte order and width of offsets, and the place of the first directory."""
    file.seek(0)
    head = file.read(16)
    if head[:2] not in (b"II", b"MM") or len(head) < 8:
        raise ValueError("there is no TIFF header")
    order: Literal["<", ">"] = "<" if head[:2] == b"II" else ">"
    layout = Layout(order, struct.unpack(order + "H", head[2:4])[0] == 43)
    at = 8 if layout.big else 4
    return layout, struct.unpack_from(layout.offset, head, at)[0]


def read_chain(file: BinaryIO) -> tuple[Layout, list[Directory]]:
    """All directories of a file in order.

    Raises
    ------
    ValueError
        If the chain is broken: the file is damaged or cut short.
    """
    layout, at = read_layout(file)
    chain: list[Directory] = []
    seen: set[int] = set()
    while at:
        if at in seen:
            raise ValueError("its pages form a circle")
        seen.add(at)
        directory, at = _read_directory(file, layout, at, strict=False)
        chain.append(directory)
    return layout, chain


def read_block(block: bytes) -> tuple[Layout, Directory]:
    """The first directory of an EXIF block, nested ones included."""
    file = io.BytesIO(block)
    layout, at = read_layout(file)
    return layout, _read_directory(file, layout, at, strict=True)[0]


def pack(directory: Directory, layout: Layout, start: int) -> bytes:
    """Bytes of a directory that is to stand at `start`, with its data and nested ones behind."""
    entries = dict(directory.tags)
    for code in directory.nested:
        entries[code] = Tag(code, _LONG, b"\0\0\0\0")
    width = struct.calcsize(layout.offset)
    head = struct.pack(layout.order + ("Q" if layout.big else "H"), len(entries))
    after = start + len(head) + layout.entry_size * len(entries) + width
    rows, heap = [], b""
    for code in sorted(entries):
        tag = entries[code]
        data = tag.data
        if code in directory.nested:
            data = struct.pack(layout.order + "I", after + len(heap))
            heap += pack(directory.nested[code], layout, after + len(heap))
        elif len(data) > width:
            place = struct.pack(layout.offset, after + len(heap))
            heap += data + b"\0" * (len(data) % 2)
            data = place
        row = struct.pack(layout.order + "HH", code, tag.kind)
        rows.append(row + struct.pack(layout.offset, tag.count) + data.ljust(width, b"\0"))
    return head + b"".join(rows) + b"\0" * width + heap


def pack_block(directory: Directory, order: Literal["<", ">"]) -> bytes:
    """A free-standing EXIF block."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return head + pack(directory, Layout(order), 8)


def _read_directory(
    file: BinaryIO, layout: Layout, at: int, strict: bool, depth: int = 0
) -> tuple[Directory, int]:
    file.seek(at)
    (count,) = _take(file, layout.order + ("Q" if layout.big else "H"))
    if count > 65535:
        raise ValueError("a directory of an absurd size")
    width = struct.calcsize(layout.offset)
    rows = file.read(count * layout.entry_size)
    (following,) = (0,) if strict else _take(file, layout.offset)
    if len(rows) < count * layout.entry_size:
        raise ValueError("the file ends inside a directory")
    directory = Directory(at)
    for row in range(0, len(rows), layout.entry_size):
        code, kind = struct.unpack_from(layout.order + "HH", rows, row)
        (number,) = struct.unpack_from(layout.offset, rows, row + 4)
        if kind not in _KINDS:
            continue
        size = number * _KINDS[kind][0]
        data = rows[row + 4 + width : row + 4 + 2 * width]
        if size > width:
            file.seek(struct.unpack(layout.offset, data)[0])
            data = file.read(size)
            if len(data) < size:
                raise ValueError("the file ends inside a tag")
        tag = Tag(code, kind, data[:size])
        if code in directory.tags:
            directory.repeated.append(tag)
        else:
            directory.tags[code] = tag
    for code in _POINTERS:
        if code in directory.tags and depth < 3:
            place = directory.number(code, layout, 0)
            del directory.tags[code]
            try:
                nested, _ = _read_directory(file, layout, place, True, depth + 1)
                directory.nested[code] = nested
            except (ValueError, struct.error):
                continue  # a damaged EXIF block is no reason to refuse the picture
    return directory, following


def _take(file: BinaryIO, format: str) -> tuple[int, ...]:
    data = file.read(struct.calcsize(format))
    if len(data) < struct.calcsize(format):
        raise ValueError("the file ends inside a directory")
    return struct.unpack(format, data)
