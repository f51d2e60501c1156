"""The box structure of AVIF files: items, their properties and places, read and written."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["Item", "Property", "Still", "boxes", "pack_box"]

_PROPERTY_LIMIT = 127  # what one byte of an association can count


@dataclass(frozen=True)
class Property:
    """A box of the shared property list."""

    kind: bytes
    body: bytes


@dataclass
class Item:
    """A coded picture, an alpha plane, EXIF or XMP.

    Attributes
    ----------
    number : int
    kind : bytes
        ``av01``, ``grid``, ``Exif`` or ``mime``.
    label : bytes
        Name and content type as stored after the kind.
    data : bytes
    properties : list of (Property, bool)
        The bool says that a reader must understand it.
    """

    number: int
    kind: bytes
    label: bytes = b"\0"
    data: bytes = b""
    properties: list[tuple[Property, bool]] = field(default_factory=list)

    def find(self, kind: bytes) -> bytes | None:
        """Body of the first property of a kind."""
        return next((one.body for one, _ in self.properties if one.kind == kind), None)


@dataclass
class Still:
    """The model of a file with one picture."""

    brands: bytes
    primary: int
    items: dict[int, Item]
    links: list[tuple[bytes, int, tuple[int, ...]]]
    has_tracks: bool = False

    @property
    def picture(self) -> Item:
        """The item that is shown."""
        return self.items[self.primary]

    def add(self, item: Item, link: bytes = b"cdsc") -> None:
        """Append an item that describes the picture."""
        self.items[item.number] = item
        self.links.append((link, item.number, (self.primary,)))

    def next_number(self) -> int:
        """A free item number."""
        return max(self.items) + 1

    @classmethod
    def parse(cls, data: bytes) -> Still:
        """Read a whole file.

        Raises
        ------
        ValueError
            If boxes are missing, damaged or cut short.
        """
        top = {kind: data[start:end] for kind, start, end in boxes(data)}
        if b"meta" not in top or b"ftyp" not in top:
            raise ValueError("there is no picture in it")
        try:
            still = _parse(data, top[b"ftyp"], top[b"meta"][4:])
        except (struct.error, KeyError, IndexError) as error:
            raise ValueError("its boxes are damaged") from error
        still.has_tracks = b"moov" in top or still.brands[:4] == b"avis"
        return still

    def pack(self) -> bytes:
        """The whole file: type, description, then all data."""
        head = pack_box(b"ftyp", self.brands)
        start = len(head) + len(self._meta(0)) + 8
        body = b"".join(item.data for item in self.items.values())
        return head + self._meta(start) + pack_box(b"mdat", body)

    def _meta(self, start: int) -> bytes:
        handler = _full(b"hdlr", b"\0\0\0\0pict" + b"\0" * 13)
        primary = _full(b"pitm", struct.pack(">H", self.primary))
        entries = [
            _full(b"infe", struct.pack(">HH", item.number, 0) + item.kind + item.label, 2)
            for item in self.items.values()
        ]
        listing = _full(b"iinf", struct.pack(">H", len(entries)) + b"".join(entries))
        parts = [handler, primary, self._places(start), listing]
        if self.links:
            parts.append(_full(b"iref", b"".join(_pack_link(*link) for link in self.links)))
        return _full(b"meta", b"".join([*parts, self._properties()]))

    def _places(self, start: int) -> bytes:
        rows = []
        for item in self.items.values():
            rows.append(struct.pack(">HHHII", item.number, 0, 1, start, len(item.data)))
            start += len(item.data)
        return _full(b"iloc", b"\x44\0" + struct.pack(">H", len(rows)) + b"".join(rows))

    def _properties(self) -> bytes:
        shared: list[Property] = []
        rows = []
        for item in self.items.values():
            if not item.properties:
                continue
            marks = b""
            for one, essential in item.properties:
                if one not in shared:
                    shared.append(one)
                marks += bytes((shared.index(one) + 1 | essential << 7,))
            rows.append(struct.pack(">HB", item.number, len(item.properties)) + marks)
        if len(shared) > _PROPERTY_LIMIT:
            raise ValueError("too many properties")
        table = pack_box(b"ipco", b"".join(pack_box(one.kind, one.body) for one in shared))
        marks = _full(b"ipma", struct.pack(">I", len(rows)) + b"".join(rows))
        return pack_box(b"iprp", table + marks)


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the body of each box; a cut last one ends with the data."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1 and start + 16 <= end:
            (size,) = struct.unpack_from(">Q", data, start + 8)
            head = 16
        stop = end if size == 0 else start + size
        if size != 0 and size < head:
            raise ValueError("a box of an impossible size")
        yield kind, start + head, min(stop, end)
        start = stop


def pack_box(kind: bytes, body: bytes) -> bytes:
    """Size, kind, body."""
    return struct.pack(">I", len(body) + 8) + kind + body


def _full(kind: bytes, body: bytes, version: int = 0) -> bytes:
    return pack_box(kind, bytes((version, 0, 0, 0)) + body)


def _pack_link(kind: bytes, source: int, targets: tuple[int, ...]) -> bytes:
    return pack_box(kind, struct.pack(f">HH{len(targets)}H", source, len(targets), *targets))


def _parse(data: bytes, brands: bytes, meta: bytes) -> Still:
    parts = {kind: meta[start:end] for kind, start, end in boxes(meta)}
    wide = parts[b"pitm"][0] > 0
    (primary,) = struct.unpack_from(">I" if wide else ">H", parts[b"pitm"], 4)
    items = _parse_items(parts[b"iinf"])
    for number, places in _parse_places(parts[b"iloc"]).items():
        if number in items:
            method, extents = places
            source = parts.get(b"idat", b"") if method == 1 else data
            items[number].data = b"".join(source[at : at + size] for at, size in extents)
    _attach_properties(items, parts[b"iprp"])
    if primary not in items:
        raise ValueError("the picture is missing")
    return Still(brands, primary, items, list(_parse_links(parts.get(b"iref", b""))))


def _parse_items(body: bytes) -> dict[int, Item]:
    items = {}
    start = 6 if body[0] == 0 else 8
    for kind, at, end in boxes(body, start):
        if kind != b"infe" or body[at] < 2:
            continue
        step = 2 if body[at] == 2 else 4
        number = int.from_bytes(body[at + 4 : at + 4 + step], "big")
        at += 6 + step
        items[number] = Item(number, body[at : at + 4], body[at + 4 : end])
    return items


def _parse_places(body: bytes) -> dict[int, tuple[int, list[tuple[int, int]]]]:
    version = body[0]
    sizes = (body[4] >> 4, body[4] & 15, body[5] >> 4, body[5] & 15 if version else 0)
    offset_size, length_size, base_size, index_size = sizes
    at = 6

    def number(size: int) -> int:
        nonlocal at
        if at + size > len(body):
            raise ValueError("its table of places is cut short")
        at += size
        return int.from_bytes(body[at - size : at], "big")

    wide = 4 if version == 2 else 2
    places = {}
    for _ in range(number(wide)):
        item = number(wide)
        method = number(2) & 15 if version else 0
        number(2)
        base = number(base_size)
        extents = []
        for _ in range(number(2)):
            number(index_size)
            extents.append((base + number(offset_size), number(length_size)))
        places[item] = (method, extents)
    return places


def _parse_links(body: bytes) -> Iterator[tuple[bytes, int, tuple[int, ...]]]:
    if not body:
        return
    letter, step = ("I", 4) if body[0] else ("H", 2)
    for kind, at, _ in boxes(body, 4):
        source, count = struct.unpack_from(f">{letter}H", body, at)
        yield kind, source, struct.unpack_from(f">{count}{letter}", body, at + step + 2)


def _attach_properties(items: dict[int, Item], body: bytes) -> None:
    shared: list[Property] = []
    for kind, start, end in boxes(body):
        if kind == b"ipco":
            shared = [Property(one, body[at:stop]) for one, at, stop in boxes(body, start, end)]
        elif kind == b"ipma":
            _attach(items, shared, body[start:end])


def _attach(items: dict[int, Item], shared: list[Property], body: bytes) -> None:
    number_size = 4 if body[0] else 2
    mark_size = 2 if body[3] & 1 else 1
    at = 8
    for _ in range(struct.unpack_from(">I", body, 4)[0]):
        number = int.from_bytes(body[at : at + number_size], "big")
        at += number_size
        count = body[at]
        at += 1
        for _ in range(count):
            mark = int.from_bytes(body[at : at + mark_size], "big")
            at += mark_size
            top = 1 << (8 * mark_size - 1)
            if number in items and mark & (top - 1):
                items[number].properties.append((shared[(mark & (top - 1)) - 1], bool(mark & top)))
