"""The one table of file formats: suffixes, first bytes, abilities, and the module that does it."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import cast

from nlm.errors import UsageError
from nlm.io.base import Plugin

__all__ = ["FALLBACK", "FORMATS", "Format", "by_name", "by_suffix", "load", "sniff"]

ALL_METADATA = frozenset({"exif", "icc", "xmp", "dpi", "text"})


@dataclass(frozen=True)
class Format:
    """One row: how a format is recognised and what it can hold when nlm writes it.

    Attributes
    ----------
    name, title : str
        Name for ``--format``, and for people.
    suffixes : tuple of str
        Lower case, with the dot.
    module : str
        Module of :mod:`nlm.io` that reads and writes it.
    magic : tuple of (offset, bytes) tuples
        Alternatives; all pairs of one must match. A file's content decides, not its suffix.
    ints, floats : tuple of int
        Bits per sample it can hold; integers of fewer bits are scaled up, reversibly.
    signed : bool
        Holds signed integers.
    channels : tuple of int
        Colour channels it can hold; () = any.
    lab : bool
        Its three channels may be L*, a* and b*.
    alpha, pages, clip : bool
        Holds an alpha plane; several independent pages; an animation.
    carries : frozenset of str
        Kinds of metadata it can hold.
    turns : bool
        Viewers obey an orientation tag in it; otherwise pixels are turned when written.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    module: str
    magic: tuple[tuple[tuple[int, bytes], ...], ...]
    ints: tuple[int, ...] = (8,)
    floats: tuple[int, ...] = ()
    signed: bool = False
    channels: tuple[int, ...] = (1, 3)
    lab: bool = False
    alpha: bool = False
    pages: bool = False
    clip: bool = False
    carries: frozenset[str] = frozenset()
    turns: bool = False

    @property
    def is_video(self) -> bool:
        """Read and written by libav, see `nlm.io.video`."""
        return self.module == "video"

    @property
    def instead(self) -> str:
        """The format to try when this one fails."""
        return "Matroska (.mkv)" if self.is_video else "TIFF"


def _starts(*prefixes: bytes) -> tuple[tuple[tuple[int, bytes], ...], ...]:
    return tuple(((0, prefix),) for prefix in prefixes)


def _netpbm(*digits: str) -> tuple[tuple[tuple[int, bytes], ...], ...]:
    return _starts(*(f"P{digit}{blank}".encode() for digit in digits for blank in "\n\r\t #"))


def _brands(*names: bytes) -> tuple[tuple[tuple[int, bytes], ...], ...]:
    """Kinds of ISO base media files."""
    return tuple(((4, b"ftyp" + name),) for name in names)


def _video(
    name: str,
    title: str,
    suffixes: tuple[str, ...],
    magic: tuple[tuple[tuple[int, bytes], ...], ...],
) -> Format:
    return Format(
        name, title, suffixes, "video", magic,
        ints=tuple(range(8, 17)), alpha=True, clip=True, turns=True,
    )  # fmt: skip


FORMATS: tuple[Format, ...] = (
    Format(
        "png", "PNG", (".png", ".apng"), "png", _starts(b"\x89PNG\r\n\x1a\n"),
        ints=(8, 16), alpha=True, clip=True, carries=ALL_METADATA, turns=True,
    ),
    Format(
        "jpeg", "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), "jpeg", _starts(b"\xff\xd8\xff"),
        channels=(1, 3, 4), carries=ALL_METADATA - {"text"}, turns=True,
    ),
    Format(
        "tiff", "TIFF", (".tif", ".tiff", ".btf", ".tf8"), "stacks",
        _starts(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        ints=(8, 16, 32, 64), floats=(16, 32, 64), signed=True, channels=(), lab=True,
        alpha=True, pages=True, carries=ALL_METADATA - {"text"}, turns=True,
    ),
    Format(
        "webp", "WebP", (".webp",), "webp", (((0, b"RIFF"), (8, b"WEBP")),),
        alpha=True, clip=True, carries=frozenset({"exif", "icc", "xmp"}), turns=True,
    ),
    Format(
        "avif", "AVIF", (".avif",), "avif", (((4, b"ftypavif"),), ((4, b"ftypavis"),)),
        ints=(8, 10, 12), alpha=True, carries=frozenset({"exif", "icc", "xmp"}), turns=True,
    ),
    Format(
        "jxl", "JPEG XL", (".jxl",), "jxl", _starts(b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"),
        ints=(8, 10, 12, 14, 16), floats=(16, 32), alpha=True, carries=frozenset({"exif", "xmp"}),
    ),
    Format("gif", "GIF", (".gif",), "gif", _starts(b"GIF87a", b"GIF89a"), alpha=True, clip=True),
    Format("bmp", "BMP", (".bmp", ".dib"), "bmp", _starts(b"BM"), carries=frozenset({"dpi"})),
    Format(
        "pbm", "PBM", (".pbm",), "netpbm", _netpbm("1", "4"), ints=(1,), channels=(1,), pages=True,
    ),
    Format(
        "pgm", "PGM", (".pgm",), "netpbm", _netpbm("2", "5"),
        ints=tuple(range(2, 17)), channels=(1,), pages=True,
    ),
    Format(
        "ppm", "PPM", (".ppm", ".pnm"), "netpbm", _netpbm("3", "6"), ints=tuple(range(2, 17)),
        pages=True,
    ),
    Format(
        "pam", "PAM", (".pam",), "netpbm", _netpbm("7"), ints=tuple(range(2, 17)), alpha=True,
        pages=True,
    ),
    Format(
        "pfm", "PFM", (".pfm",), "netpbm", _starts(b"Pf\n", b"PF\n"), ints=(), floats=(32,),
    ),
    _video("mp4", "MP4", (".mp4", ".m4v"), _brands(
        b"iso", b"mp4", b"avc1", b"M4V", b"3g", b"dash", b"MSNV", b"f4v", b"mmp4", b"hvc1", b"av01",
    )),
    _video("mov", "QuickTime", (".mov", ".qt"), (
        *_brands(b"qt"),
        *(((4, kind),) for kind in (b"moov", b"mdat", b"wide", b"free", b"skip")),
    )),
    _video("mkv", "Matroska", (".mkv",), _starts(b"\x1a\x45\xdf\xa3")),
    _video("webm", "WebM", (".webm",), ()),
    _video("avi", "AVI", (".avi",), (((0, b"RIFF"), (8, b"AVI ")),)),
    _video("ts", "MPEG-TS", (".ts", ".m2ts", ".mts"), (
        ((0, b"G"), (188, b"G")), ((4, b"G"), (196, b"G")),
    )),
    _video("mpg", "MPEG-PS", (".mpg", ".mpeg", ".vob"), _starts(b"\0\0\1\xba")),
    _video("y4m", "YUV4MPEG2", (".y4m",), _starts(b"YUV4MPEG2 ")),
    _video("flv", "FLV", (".flv",), _starts(b"FLV\1")),
    _video("wmv", "ASF", (".wmv", ".asf"), _starts(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11")),
)  # fmt: skip

FALLBACK = Format(
    "imageio", "imageio's", (), "fallback", (), alpha=True, channels=(1, 3),
)  # fmt: skip


def by_name(name: str) -> Format:
    """The row of a name, a suffix without dot being one too.

    Raises
    ------
    UsageError
        For an unknown name.
    """
    for row in FORMATS:
        if name == row.name or f".{name}" in row.suffixes:
            return row
    known = ", ".join(row.name for row in FORMATS)
    raise UsageError(f"format '{name}' is not known; use one of: {known}")


def by_suffix(path: str | PurePath) -> Format:
    """The row that a file name's suffix asks for; the fallback for suffixes outside the table."""
    suffix = PurePath(path).suffix.lower()
    return next((row for row in FORMATS if suffix in row.suffixes), FALLBACK)


def sniff(head: bytes) -> Format | None:
    """The row whose magic the first bytes (256 are enough) match."""
    for row in FORMATS:
        for alternative in row.magic:
            if all(head[at : at + len(mark)] == mark for at, mark in alternative):
                return row
    return None


def load(row: Format) -> Plugin:
    """Import the module behind a row."""
    return cast(Plugin, importlib.import_module(f"nlm.io.{row.module}"))


def titles(rows: Iterable[Format]) -> str:
    """Names for a message: 'PNG, TIFF or JPEG XL'."""
    names = [row.title for row in rows]
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
