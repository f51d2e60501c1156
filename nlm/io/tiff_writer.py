"""Writes TIFF pages the way the source's pages were stored."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

import numpy as np

from nlm.io import tiff_page
from nlm.io.base import Frame, Info
from nlm.io.ifd import EXIF, GPS, Directory, Layout, pack, read_chain
from nlm.io.tiff_page import (
    CIE_LAB,
    CMYK,
    ICC_LAB,
    MASK,
    PALETTE,
    RGB,
    WHITE_IS_ZERO,
    YCBCR,
    Page,
)

_NONE, _DEFLATE = 1, 8
_LOSSLESS = {1, 5, 8, 32946, 32773, 34925, 50000}  # what is written as it came
_PREDICTABLE = {5, 8, 32946, 34925, 50000}
_HORIZONTAL, _FLOATING = 2, 3
_STAND_IN = {EXIF: EXIF - 1, GPS: GPS - 1}  # the library refuses to write the real ones
_COLOURS = {RGB: 3, CIE_LAB: 3, ICC_LAB: 3, CMYK: 4}  # channels that are no extra samples
_CLASSIC_LIMIT = 2**32 - 2**25  # bytes that a file with 4-byte offsets can address


class TiffEncoder:
    """Appends pages; directories inside directories (EXIF, GPS) are added at the end."""

    def __init__(self, file: BinaryIO, info: Info) -> None:
        import tifffile

        source: Page | None = info.metadata.native
        samples = info.width * info.height * (info.channels + info.alpha) * (info.frames or 1)
        large = samples * info.dtype.itemsize > _CLASSIC_LIMIT
        order = source.layout.order if source else "<"
        self._layout = Layout(order, large or (source is not None and source.layout.big))
        self._same_format = source is not None
        self._page = source or tiff_page.foreign_page(info.metadata, self._layout)
        if source is None and info.dtype.kind == "f":
            self._page = Page(self._layout, self._page.tags, predictor=_FLOATING)
        self._file = file
        self._nested: list[dict[int, Directory]] = []
        self._writer = tifffile.TiffWriter(
            file, bigtiff=self._layout.big, byteorder=order, ome=False, shaped=False
        )

    def write(self, frame: Frame) -> None:
        page = frame.native if isinstance(frame.native, Page) and self._same_format else self._page
        (samples,) = frame.planes
        colours = samples.shape[2]
        photometric = _photometric(page, colours)
        if photometric == WHITE_IS_ZERO:
            samples = tiff_page.inverted(samples, 8 * samples.dtype.itemsize)
        if photometric == CIE_LAB:
            samples = tiff_page.lab_flipped(samples)
        signed = photometric == CIE_LAB and page.tags.number(339, page.layout, 1) == 2
        extra = [0] * max(0, colours - _COLOURS.get(photometric, 1))
        if frame.alpha is not None:
            samples = np.concatenate([samples, frame.alpha[:, :, None]], axis=2)
            extra.append(_alpha_kind(page))
        if signed:
            samples = samples.view(f"i{samples.dtype.itemsize}")
        if samples.shape[2] == 1:
            samples = samples[:, :, 0]
        bilevel = frame.mask and page.tags.number(258, page.layout, 1) == 1
        if bilevel:
            samples = samples > 127
        planar = page.planar and samples.ndim == 3
        if planar:
            samples = np.moveaxis(samples, -1, 0)
        compression = page.compression if page.compression in _LOSSLESS else _DEFLATE
        resolution = page.resolution()
        nested = {code: one for code, one in page.tags.nested.items() if code in _STAND_IN}
        self._writer.write(
            np.ascontiguousarray(samples),
            photometric=photometric,
            planarconfig="separate" if planar else "contig" if samples.ndim == 3 else None,
            extrasamples=extra,
            tile=page.tile,
            compression=compression if compression != _NONE else None,
            predictor=_predictor(page, compression, samples.dtype),
            software=page.raw_text(305) or False,
            datetime=None,
            resolution=resolution[:2] if resolution else None,
            resolutionunit=resolution[2] if resolution else None,
            subfiletype=page.sub_type if bilevel else page.sub_type & ~tiff_page.MASK_OF_ANOTHER,
            metadata=None,
            maxworkers=1,
            extratags=[*_extra_tags(page), *((_STAND_IN[code], 4, 1, 0, False) for code in nested)],
        )
        self._nested.append(nested)

    def finish(self) -> None:
        self._writer.close()
        if any(self._nested):
            self._add_nested()

    def _add_nested(self) -> None:
        layout, directories = read_chain(self._file)
        head = 8 if layout.big else 2
        for directory, nested in zip(directories, self._nested, strict=True):
            codes = directory.codes()
            for code, one in nested.items():
                start = self._file.seek(0, 2)
                if start % 2:
                    start += self._file.write(b"\0")
                self._file.write(pack(one, layout, start))
                row = codes.index(_STAND_IN[code])
                self._file.seek(directory.at + head + row * layout.entry_size)
                entry = struct.pack(layout.order + "HH", code, 4)
                self._file.write(entry + struct.pack(layout.offset, 1))
                self._file.write(struct.pack(layout.order + "I", start))


def _photometric(page: Page, colours: int) -> int:
    if page.photometric in (PALETTE, YCBCR):
        return RGB
    if page.photometric in (*_COLOURS, WHITE_IS_ZERO) and colours > 1:
        return page.photometric
    if page.photometric in (WHITE_IS_ZERO, MASK):
        return page.photometric
    if page.tags.tags.get(262) is not None:
        return tiff_page.BLACK_IS_ZERO
    return {3: RGB, 4: CMYK}.get(colours, tiff_page.BLACK_IS_ZERO)


def _alpha_kind(page: Page) -> int:
    """1 = colours are multiplied with it, 2 = they are not."""
    tag = page.tags.tags.get(338)
    kinds = tag.numbers(page.layout.order) if tag else ()
    return kinds[-1] if kinds and kinds[-1] in (1, 2) else 2


def _predictor(page: Page, compression: int, dtype: np.dtype[Any]) -> int | None:
    if compression not in _PREDICTABLE or page.predictor == 1 or dtype.kind == "b":
        return None
    if dtype.kind == "f":
        return _FLOATING
    return _HORIZONTAL


def _extra_tags(page: Page) -> list[tuple[int, int, int, bytes, bool]]:
    tags = [(tag.code, tag.kind, tag.count, tag.data, False) for tag in page.carried()]
    for code in (270, 306):
        tags += [(code, tag.kind, tag.count, tag.data, False) for tag in page.tags.every(code)]
    return tags
