"""Labels that only some containers hold: chapters, tags, time codes, languages and titles."""

from __future__ import annotations

from av.stream import Stream

from nlm.io.video.movie import Movie
from nlm.io.video.passengers import COMMON_TAGS, file_tags, needs_free_tags

__all__ = ["lost_labels"]

_BY_STREAMS_ALONE = {"mpegts", "vob", "yuv4mpegpipe"}
"""Muxers that write nothing about the file as a whole."""

_WITHOUT_LANGUAGES = {"avi", "vob"}

_WITHOUT_TITLES = {"mpegts", "vob"}

_OF_RIFF = {
    "album", "artist", "comment", "copyright", "date", "encoded_by", "genre", "language",
    "software", "timecode", "title", "track",
}  # fmt: skip
"""Tags that AVI has names for."""


def lost_labels(movie: Movie, muxer: str, kept: list[Stream]) -> list[str]:
    """What a muxer leaves out of them, in words.

    Parameters
    ----------
    movie : Movie
    muxer : str
    kept : list of Stream
        The streams beside the pictures that it takes.
    """
    lost = []
    if movie.container.chapters() and muxer in {*_BY_STREAMS_ALONE, "avi"}:
        lost.append("chapters")
    if tags := _lost_tags(movie, muxer, kept):
        lost.append(f"tags ({', '.join(tags)})")
    code = movie.stream.metadata.get("timecode")
    if code and muxer in {*_BY_STREAMS_ALONE, "avi"}:
        lost.append(f"the time code ({code})")
    heard = [one for one in kept if one.type in ("audio", "subtitle")]
    for key, muxers in (("language", _WITHOUT_LANGUAGES), ("title", _WITHOUT_TITLES)):
        told = dict.fromkeys(one.metadata.get(key, "") for one in heard)
        values = [value for value in told if value not in ("", "und")]
        if muxer in muxers and values:
            lost.append(f"{key}s of streams ({', '.join(values)})")
    return lost


def _lost_tags(movie: Movie, muxer: str, kept: list[Stream]) -> list[str]:
    keys = [key.lower() for key in file_tags(movie)]
    if muxer in _BY_STREAMS_ALONE:
        return keys
    if muxer == "avi":
        return [key for key in keys if key not in _OF_RIFF]
    if muxer in ("mp4", "mov") and not needs_free_tags(movie, kept):
        return [key for key in keys if key not in COMMON_TAGS]
    return []
