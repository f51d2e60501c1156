"""What a video is going to be coded with, and what will be lost, before any work."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
from av.stream import Stream

from nlm.io.base import Info, Options
from nlm.io.formats import Format
from nlm.io.video.codecs import Choice, Source, choose
from nlm.io.video.containers import CONTAINERS
from nlm.io.video.foreign import foreign_layout
from nlm.io.video.labels import lost_labels
from nlm.io.video.movie import Movie
from nlm.io.video.passengers import describe, refused
from nlm.io.video.rates import even_rate, varies
from nlm.io.video.transparency import says_transparent

__all__ = ["plan"]

PICTURE_SHAPES: dict[str, set[Fraction]] = {
    "mpeg2video": {Fraction(4, 3), Fraction(16, 9), Fraction(221, 100)},
    "mpeg1video": set(),
}
"""Encoders that know few shapes of pictures whose pixels are no squares."""

HEARD = 0.05
"""Seconds by which sound may come too early without being noticed."""


def plan(info: Info, row: Format, options: Options) -> tuple[Choice, list[str]]:
    """The encoder for a source's frames in a container, and what will be lost, in words.

    Raises
    ------
    FileError
        If the container cannot hold the frames.
    UsageError
        If the options do not fit the encoder.
    """
    box = CONTAINERS[row.name]
    movie = info.metadata.native if isinstance(info.metadata.native, Movie) else None
    layout = movie.layout if movie else foreign_layout(info)
    muxer = box.muxer or ""
    box = replace(box, encoders=(box.encoders or _encoders(muxer)) - box.misfits)
    source = Source()
    if movie:
        source = Source(movie.codec, movie.stream.profile, movie.stream.codec_context.pix_fmt)
    choice = choose(source, layout, (info.width, info.height), box, options)
    losses = list(choice.losses)
    if movie and says_transparent(movie.stream) and not layout.alpha:
        losses.append("transparency (no decoder here reads it)")
    if options.quality is not None:
        losses.append("--quality (video has --crf)")
    if movie and options.fps is not None:
        losses.append("--fps (a video keeps its own time stamps)")
    if movie:
        left = refused(movie, muxer)
        kept = [one for one in movie.others if one not in left]
        losses += [describe(stream) for stream in left]
        losses += lost_labels(movie, muxer, kept)
        finest = movie.finest_rate
        even = even_rate(movie.rate, finest) if muxer == "avi" else movie.rate
        if (box.constant_rate or muxer == "vob") and varies(even, finest):
            losses.append("the times of frames (all are shown equally long; .mkv keeps them)")
        if muxer == "avi":
            losses += _lost_delays(movie, kept)
        losses += _lost_shape(movie, choice.encoder, muxer)
    return choice, losses


def _lost_delays(movie: Movie, kept: list[Stream]) -> list[str]:
    """Sound that begins after the pictures, in AVI, which plays all streams from its beginning."""
    told = []
    for stream in kept:
        begins = movie.beginning_of(stream)
        delay = 0 if begins is None or movie.span else float(begins - movie.beginning)
        if stream.type == "audio" and delay > HEARD:
            told.append(f"{delay:.2f} s before {describe(stream)} begins (.mkv keeps them)")
    return told


def _lost_shape(movie: Movie, encoder: str, muxer: str) -> list[str]:
    """The shape of pixels where only the pictures could tell it, and theirs is one of a few."""
    context, aspect = movie.stream.codec_context, movie.aspect
    if aspect in (None, 1) or muxer not in ("vob", "mpegts"):
        return []
    shapes = PICTURE_SHAPES.get(encoder)
    if shapes is None or Fraction(context.width, context.height) * aspect in shapes:
        return []
    return [f"pixels of the shape {aspect.numerator}:{aspect.denominator}"]


def _encoders(muxer: str) -> frozenset[str]:
    with av.open("/dev/null", "w", format=muxer) as trial:
        return frozenset(trial.supported_codecs)
