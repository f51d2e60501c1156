"""What is kept of a TIFF page besides its samples, and how it is said in other words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.io.base import Metadata
from nlm.io.exif import with_orientation
from nlm.io.ifd import EXIF, GPS, Directory, Layout, Tag, pack_block, read_block

__all__ = ["Page", "foreign_page", "metadata"]

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, CMYK, YCBCR = range(7)
CIE_LAB, ICC_LAB = 8, 9
_DESCRIPTION, _ORIENTATION, _XRES, _YRES, _UNIT, _XMP, _ICC = 270, 274, 282, 283, 296, 700, 34675
_SUB_PAGES = 330
MASK_OF_ANOTHER = 4  # bit of NewSubfileType
_SOFTWARE, _DATE = 305, 306
_INCH, _CENTIMETRE = 2, 3
# Tags about how samples are stored: the writer sets its own.
_STRUCTURE = {
    *(254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284),
    *(288, 289, 290, 291, 292, 293, 317, 320, 322, 323, 324, 325, 326, 327, 328, 330, 332, 338),
    *(339, 340, 341, 342, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532),
    *(559, 32995, 32996, 32997, 32998, 33421, 33422, 50706, 50707),
}
# Vendors' tags that say where in the source's own file something stands.
_PLACES = {34412, 33628, 33629, 33630, 33631, 34118, 37724, 65420, 65421, 65426, 65449}
# What EXIF knows of a TIFF page's own tags.
_DESCRIPTIVE = {270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 33432}
_LOSSY = {7: "JPEG", 6: "JPEG", 34712: "JPEG 2000", 50001: "WebP", 34892: "lossy JPEG"}


@dataclass(frozen=True)
class Page:
    """How a page was stored.

    Attributes
    ----------
    layout : Layout
        Byte order and size of offsets of the file.
    tags : Directory
        All tags of the page in that byte order.
    photometric, compression, predictor, sub_type : int
        As in the file.
    tile : tuple of int or None
        Rows and columns.
    planar : bool
        Each channel stands for itself.
    """

    layout: Layout
    tags: Directory
    photometric: int = BLACK_IS_ZERO
    compression: int = 8
    predictor: int = 2
    sub_type: int = 0
    tile: tuple[int, int] | None = None
    planar: bool = False

    @classmethod
    def of(cls, layout: Layout, tags: Directory) -> Page:
        """Read the notes of a page from its tags."""

        def number(code: int, default: int) -> int:
            return tags.number(code, layout, default)

        tile = (number(323, 0), number(322, 0))
        return cls(
            layout=layout,
            tags=tags,
            photometric=number(262, BLACK_IS_ZERO),
            compression=number(259, 1),
            predictor=number(317, 1),
            sub_type=number(254, 0),
            tile=tile if all(side and side % 16 == 0 for side in tile) else None,
            planar=number(284, 1) == 2,
        )

    @property
    def is_mask(self) -> bool:
        """Whether it says which pixels of another page are seen."""
        return bool(self.sub_type & MASK_OF_ANOTHER)

    def carried(self) -> Iterable[Tag]:
        """Tags to be written again as they are."""
        left_out = _STRUCTURE | _PLACES | {_DESCRIPTION, _XRES, _YRES, _UNIT, _SOFTWARE, _DATE}
        return (tag for code, tag in self.tags.tags.items() if code not in left_out)

    def raw_text(self, code: int) -> bytes | None:
        """Bytes of a text tag without the final zero."""
        tag = self.tags.tags.get(code)
        return tag.data.rstrip(b"\0") if tag is not None and tag.kind in (1, 2, 7) else None

    def resolution(self) -> tuple[tuple[int, int], tuple[int, int], int] | None:
        """Pixels per unit across and down as fractions, and the unit."""
        order = self.layout.order
        across, down = (self.tags.tags.get(code) for code in (_XRES, _YRES))
        if across is None or down is None or {across.kind, down.kind} != {5}:
            return None
        x, y = across.numbers(order)[:2], down.numbers(order)[:2]
        if len(x) < 2 or len(y) < 2:
            return None
        return (x[0], x[1]), (y[0], y[1]), self.tags.number(_UNIT, self.layout, _INCH)


def metadata(page: Page) -> Metadata:
    """What the first page says, in the words that all formats share."""
    tags = page.tags.tags
    orientation = page.tags.number(_ORIENTATION, page.layout, 1)
    kept = {code: tag for code, tag in tags.items() if code in _DESCRIPTIVE}
    block = b""
    if page.tags.nested or len(kept.keys() - {_XRES, _YRES, _UNIT, _SOFTWARE, _DESCRIPTION}):
        nested = {code: one for code, one in page.tags.nested.items() if code in (EXIF, GPS)}
        block = pack_block(Directory(0, kept, nested), page.layout.order)
    others = {tag.code for tag in page.carried()} - _DESCRIPTIVE - {_XMP, _ICC}
    text = page.raw_text(_DESCRIPTION)
    dropped = []
    if _SUB_PAGES in tags:
        dropped.append("smaller copies of the pages (SubIFDs)")
    return Metadata(
        exif=block,
        icc=tags[_ICC].data if _ICC in tags else b"",
        xmp=tags[_XMP].data if _XMP in tags else b"",
        text=(("Description", text.decode("utf-8", "replace")),) if text else (),
        dpi=_dpi(page),
        orientation=orientation if 1 <= orientation <= 8 else 1,
        lossless=page.compression not in _LOSSY,
        private=tuple(f"the TIFF tag {code}" for code in sorted(others)),
        dropped=tuple(dropped),
        native=page,
    )


def foreign_page(meta: Metadata, layout: Layout) -> Page:
    """Notes for a page from what another format's file said."""
    directory = Directory()
    if exif := with_orientation(meta.exif, meta.orientation):
        try:
            source, found = read_block(exif)
        except ValueError:
            source, found = layout, directory
        found = found.reordered(source.order != layout.order)
        kept = _DESCRIPTIVE
        directory.tags = {code: tag for code, tag in found.tags.items() if code in kept}
        directory.nested = found.nested
    if meta.icc:
        directory.tags[_ICC] = Tag(_ICC, 7, meta.icc)
    if meta.xmp:
        directory.tags[_XMP] = Tag(_XMP, 1, meta.xmp)
    if meta.dpi:
        for code, dots in zip((_XRES, _YRES), meta.dpi, strict=True):
            pair = (round(dots * 1000), 1000)
            data = b"".join(number.to_bytes(4, "little") for number in pair)
            directory.tags[code] = Tag(code, 5, data).reordered(layout.order == ">")
        unit = Tag(_UNIT, 3, _INCH.to_bytes(2, "little"))
        directory.tags[_UNIT] = unit.reordered(layout.order == ">")
    return Page(layout, directory)


def _dpi(page: Page) -> tuple[float, float] | None:
    found = page.resolution()
    if found is None or found[2] not in (_INCH, _CENTIMETRE):
        return None
    if not all(up and down for up, down in found[:2]):
        return None
    unit = 1.0 if found[2] == _INCH else 2.54
    return found[0][0] / found[0][1] * unit, found[1][0] / found[1][1] * unit


def lab_flipped(samples: NDArray[Any]) -> NDArray[Any]:
    """CIELab samples with a* and b* in two's complement as if offset (as in ICCLab), and back."""
    if samples.dtype.kind != "u":
        return samples
    flipped = samples.copy()
    flipped[:, :, 1:3] ^= samples.dtype.type(1 << 8 * samples.dtype.itemsize - 1)
    return flipped


def inverted(samples: NDArray[Any], bits: int) -> NDArray[Any]:
    """Samples of a page where white is zero as if black were, and back."""
    if samples.dtype.kind == "u":
        top = 2 ** min(bits, 8 * samples.dtype.itemsize) - 1
        return np.asarray(np.array(top, samples.dtype) - samples)
    return samples
