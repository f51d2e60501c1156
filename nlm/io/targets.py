"""What a target format can and cannot hold, decided before any work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath

from nlm.errors import FileError
from nlm.io.base import Info, Options
from nlm.io.fallback import can_write
from nlm.io.formats import FALLBACK, FORMATS, Format, by_name, by_suffix, titles
from nlm.io.video.containers import CONTAINERS

__all__ = ["check_target", "container_bits", "target_format"]


def target_format(target: str | PurePath, format: str | None = None) -> Format:
    """The format of an output: the one named, else the one its suffix asks for.

    Raises
    ------
    UsageError
        For an unknown name.
    """
    return by_name(format) if format is not None else by_suffix(target)


def check_target(
    info: Info, target: str | PurePath, format: str | None = None, options: Options | None = None
) -> list[str]:
    """Refuse a target that cannot hold a source's samples; list what else it cannot carry.

    Parameters
    ----------
    info : Info
        The source.
    target : path
        Name of the output, for its suffix and for messages.
    format : str, optional
        Name of the output's format; wins over the suffix.
    options : Options, optional
        Which codec a video is to have.

    Returns
    -------
    list of str
        Losses in words ("EXIF", "a GIF frame holds 256 colours ..."), to be told to people.

    Raises
    ------
    FileError
        If the format cannot hold the source's depth, channels, alpha or frames; the message
        names formats that can.
    UsageError
        If `format` is not known.
    """
    row = target_format(target, format)
    if row is FALLBACK and not can_write(PurePath(target).suffix):
        raise FileError(
            f"{target}: its suffix belongs to no format that nlm writes; "
            f"use one of {', '.join(one.suffixes[0] for one in FORMATS)}"
        )
    problem = _misfit(info, row)
    if problem is not None:
        able = [other for other in FORMATS if _misfit(info, other) is None]
        step = f"write {titles(able)} instead" if able else "no format that nlm writes can"
        raise FileError(f"{target}: {problem}; {step}")
    return _losses(info, row) + _video_losses(info, target, row, options or Options())


def container_bits(info: Info, row: Format) -> int | None:
    """Bits per sample that the format stores `info`'s samples with; None = it cannot."""
    if info.dtype.kind == "f":
        bits = 8 * info.dtype.itemsize
        return bits if bits in row.floats else None
    if info.dtype.kind == "i" and not row.signed:
        return None
    if info.bilevel and 1 in row.ints:
        return info.bits  # the encoder decides between black and white
    return next((bits for bits in row.ints if bits >= info.bits), None)


def _video_losses(info: Info, target: str | PurePath, row: Format, options: Options) -> list[str]:
    if row.is_video:
        from nlm.io.video.planning import plan

        try:
            return plan(info, row, options)[1]
        except FileError as error:
            raise FileError(f"{target}: {error}") from error
    if any(one.name == info.format and one.is_video for one in FORMATS):
        exact = ["the exact colours (YUV becomes RGB)"] if info.chroma is not None else []
        return [*exact, "sound, subtitles and tags of the video"]
    return []


def _misfit(info: Info, row: Format) -> str | None:
    if row.is_video and not info.clip:
        return "a picture is no video"
    if row.is_video and CONTAINERS[row.name].muxer is None:
        return f"{row.title} is read, not written"
    if info.chroma is not None and not row.is_video:
        info = replace(info, channels=3)
    if container_bits(info, row) is None:
        if info.dtype.kind == "f":
            return f"{row.title} cannot hold {8 * info.dtype.itemsize}-bit float samples"
        if info.dtype.kind == "i" and not row.signed:
            return f"{row.title} cannot hold signed samples"
        most = f"at most {max(row.ints)} bits" if row.ints else "no integers"
        return f"the source has {info.bits} bits per sample, {row.title} holds {most}"
    if row.channels and info.channels not in row.channels:
        return f"{row.title} cannot hold {info.channels} channels"
    if info.lab and not row.lab:
        return f"{row.title} cannot hold L*a*b* colours"
    if info.alpha and not row.alpha:
        return f"{row.title} cannot hold an alpha channel (transparency)"
    if info.frames != 1 and info.clip and not row.clip:
        return f"{row.title} as nlm writes it cannot hold an animation"
    if info.frames != 1 and not info.clip and not row.pages:
        count = f"{info.frames} pages" if info.frames else "several pages"
        return f"{row.title} cannot hold {count}"
    return None


def _losses(info: Info, row: Format) -> list[str]:
    meta = info.metadata
    losses = list(meta.dropped)
    if row.name != info.format:
        losses += meta.private
        held = {
            "exif": (meta.exif, "EXIF"),
            "icc": (meta.icc, "the colour profile (ICC)"),
            "xmp": (meta.xmp, "XMP"),
            "dpi": (meta.dpi, "the resolution (DPI)"),
            "text": (meta.text, "text entries"),
        }
        losses += [
            title for kind, (value, title) in held.items() if value and kind not in row.carries
        ]
    if row.name == "gif" and (info.channels == 3 or info.alpha):
        losses.append("colours beyond 256 per frame and partial transparency (GIF has neither)")
    if row.name == "pbm":
        losses.append("gray levels between black and white (PBM has none)")
    if row is FALLBACK and (meta.exif or meta.icc or meta.xmp):
        losses = [*dict.fromkeys([*losses, "all metadata"])]
    return losses
