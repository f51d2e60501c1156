"""TIFF in all its shapes: pages, stacks, hyperstacks, tiles, planes, BigTIFF; page by page."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nlm.io import tiff_page
from nlm.io.base import Frame, Info, Options
from nlm.io.ifd import read_chain
from nlm.io.samples import expand_bits, split
from nlm.io.tiff_page import (
    BLACK_IS_ZERO,
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
from nlm.io.tiff_writer import TiffEncoder

if TYPE_CHECKING:
    import tifffile

Samples = NDArray[Any]
_READ = {WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, CMYK, YCBCR, CIE_LAB, ICC_LAB}
_CFA, _LINEAR_RAW = 32803, 34892
_OTHERS = {10: "ITULab", 32844: "LogL", 32845: "LogLuv", 51177: "depth map"}
_JPEG, _NONE = 7, 1
_ALPHA = (1, 2)  # kinds of extra samples


def probe(file: BinaryIO) -> Info:
    layout, directories = read_chain(file)
    if not directories:
        raise ValueError("there is no page in it")
    page = Page.of(layout, directories[0])
    width, height = (directories[0].number(code, layout, 0) for code in (256, 257))
    bits, dtype, channels, alpha = _samples(page)
    frames, clip = len(directories), False
    if frames == 1:
        frames = _hidden_frames(file)
    return Info(
        format="tiff",
        width=width,
        height=height,
        channels=channels,
        alpha=alpha,
        dtype=dtype,
        bits=bits,
        frames=frames,
        clip=clip,
        metadata=tiff_page.metadata(page),
        bilevel=channels == 1 and directories[0].number(258, layout, 1) == 1,
        lab=page.photometric in (CIE_LAB, ICC_LAB) and channels == 3,
    )


def frames(file: BinaryIO, info: Info) -> Iterator[Frame]:
    layout, directories = read_chain(file)
    with _open(file) as tiff:
        if len(tiff.pages) != len(directories):
            raise ValueError("some of its pages cannot be read")
        if len(directories) == 1 and info.frames is not None and info.frames > 1:
            page = Page.of(layout, directories[0])
            for samples in _hidden(tiff, info.frames):
                yield _frame(samples, tiff.pages[0], page)
            return
        for index, directory in enumerate(directories):
            stored: Any = tiff.pages[index]
            yield _frame(_read(stored), stored, Page.of(layout, directory))


def encoder(file: BinaryIO, info: Info, options: Options) -> TiffEncoder:
    return TiffEncoder(file, info)


def _open(file: BinaryIO) -> tifffile.TiffFile:
    import tifffile

    log = logging.getLogger("tifffile")
    if not log.handlers:  # else its remarks on odd tags reach people's terminals
        log.addHandler(logging.NullHandler())
    file.seek(0)
    return tifffile.TiffFile(file)


def _samples(page: Page) -> tuple[int, np.dtype[Any], int, bool]:
    """Bits, dtype, colour channels and alpha of a page as it is going to be read."""
    if page.photometric == _CFA:
        raise NotImplementedError(
            "is a raw sensor picture (colour filter array); develop it first, for example to "
            "a 16-bit TIFF"
        )
    if page.photometric == _LINEAR_RAW:
        raise NotImplementedError(
            "is a raw picture (linear DNG); develop it first, for example to a 16-bit TIFF"
        )
    if page.photometric not in _READ:
        name = _OTHERS.get(page.photometric, "unknown")
        raise NotImplementedError(
            f"is a TIFF of a kind that nlm does not read ({name}, photometric interpretation "
            f"{page.photometric}); save it as gray, RGB, CMYK or CIELab first"
        )
    directory, layout = page.tags, page.layout
    bits = directory.number(258, layout, 1)
    kind = directory.number(339, layout, 1)
    if (kinds := directory.tags.get(339)) and len(set(kinds.numbers(layout.order))) > 1:
        raise NotImplementedError(
            "has samples of several kinds (SampleFormat); save it with one kind for all channels"
        )
    samples = directory.number(277, layout, 1)
    extra = directory.tags.get(338)
    alpha = bool(extra and samples > 1 and extra.numbers(layout.order)[-1:] in ((1,), (2,)))
    if page.photometric == PALETTE:
        deep = _palette_is_deep(page)
        return (16, np.dtype(np.uint16), 3, alpha) if deep else (8, np.dtype(np.uint8), 3, alpha)
    letter = {1: "u", 2: "i", 3: "f", 4: "u"}.get(kind)
    if letter is None:
        raise NotImplementedError(
            "holds complex numbers; integers and floats are read, save its magnitude first"
        )
    if letter == "i" and page.photometric == CIE_LAB and samples - alpha == 3:
        letter = "u"  # L* goes from zero to full scale all the same
    size = next(step for step in (1, 2, 4, 8) if 8 * step >= bits)
    if letter == "f":
        size = {16: 2, 24: 4, 32: 4, 64: 8}[bits]
    dtype = np.dtype(f"{letter}{size}")
    significant = max(bits, 8) if letter == "u" else 8 * size
    return significant, dtype, samples - alpha, alpha


def _palette_is_deep(page: Page) -> bool:
    """Whether a palette's 16-bit colours are more than 8-bit ones widened."""
    table = page.tags.tags[320].numbers(page.layout.order)
    return any(value >> 8 != value & 255 and value & 255 for value in table)


def _frame(samples: Samples, stored: Any, page: Page) -> Frame:
    bits, dtype, channels, alpha = _samples(page)
    if page.photometric == PALETTE:
        samples = _look_up(samples, page, dtype)
    elif samples.dtype == bool or stored.bitspersample < 8:
        samples = expand_bits(samples, stored.bitspersample)
    if stored.planarconfig == 2 and samples.ndim == 3:
        samples = np.moveaxis(samples, 0, -1)
    if page.photometric == WHITE_IS_ZERO:
        samples = tiff_page.inverted(samples, bits)
    samples = samples.astype(dtype, copy=False)
    if page.photometric == CIE_LAB and channels == 3:
        samples = tiff_page.lab_flipped(samples)
    frame = split(samples, channels, alpha)
    frame.native, frame.mask = page, page.is_mask
    return frame


def _read(stored: Any) -> Samples:
    if stored.imagedepth > 1:
        raise NotImplementedError(
            "is a volume in one page (ImageDepth); save its slices as pages first"
        )
    if stored.photometric == YCBCR and stored.compression != _JPEG:
        raise NotImplementedError("is a YCbCr TIFF without JPEG compression; save it as RGB first")
    samples: Samples = stored.asarray(maxworkers=1)
    return samples


def _look_up(samples: Samples, page: Page, dtype: np.dtype[Any]) -> Samples:
    table = np.array(page.tags.tags[320].numbers(page.layout.order)).reshape(3, -1).T
    colours = (table if dtype.itemsize == 2 else table >> 8).astype(dtype)
    if samples.ndim == 3:  # alpha beside the index
        raise NotImplementedError("is a palette TIFF with alpha; save it as RGB first")
    return colours[samples.astype(np.intp)]


def _hidden_frames(file: BinaryIO) -> int:
    """Frames of a stack that has a directory for its first one only (large ImageJ files)."""
    with _open(file) as tiff:
        first: Any = tiff.pages[0]
        series = tiff.series[0]
        whole = int(np.prod(series.shape)) // max(1, int(np.prod(first.shape)))
        return whole if series.dataoffset is not None and first.compression == _NONE else 1


def _hidden(tiff: tifffile.TiffFile, count: int) -> Iterator[Samples]:
    first: Any = tiff.pages[0]
    dtype = np.dtype(first.dtype).newbyteorder(tiff.byteorder)
    size = int(np.prod(first.shape)) * dtype.itemsize
    handle = tiff.filehandle
    for index in range(count):
        handle.seek(first.dataoffsets[0] + index * size)
        data = handle.read(size)
        if len(data) < size:
            raise ValueError(f"the file ends in frame {index + 1} of {count}")
        yield np.frombuffer(data, dtype).reshape(first.shape).astype(first.dtype)
