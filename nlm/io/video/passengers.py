"""Streams that are copied as they are: sound, subtitles, cover pictures, fonts, time codes."""

from __future__ import annotations

import io
from fractions import Fraction

import av
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from nlm.io.video.containers import name_codec
from nlm.io.video.movie import Movie, seconds_of

__all__ = [
    "COMMON_TAGS",
    "Passengers",
    "coded_tags",
    "describe",
    "file_tags",
    "needs_free_tags",
    "refused",
]

_STALE = ("bps", "number_of_", "_statistics", "duration", "encoder", "vendor_id", "alpha_mode")
"""Beginnings of tags that describe coded data and would be wrong of a stream coded anew."""

COMMON_TAGS = {
    "title", "artist", "album_artist", "composer", "album", "date", "comment", "genre", "copyright",
    "lyrics", "description", "synopsis", "show", "episode_id", "network", "keywords", "grouping",
    "creation_time", "location",
}  # fmt: skip
"""Tags that MP4 has atoms of its own for."""

_OWN = {"major_brand", "minor_version", "compatible_brands", "encoder"}
"""Tags of a file that its muxer writes itself."""


_WITH_COVERS = ("mp4", "matroska")
"""Muxers that write a cover as one: Matroska as an attachment."""

_HELD = {
    "mpegts": {
        "mpeg1video", "mpeg2video", "mpeg4", "h264", "hevc", "vvc", "cavs", "dirac", "vc1",
        "mp1", "mp2", "mp3", "aac", "aac_latm", "ac3", "eac3", "dts", "truehd", "opus", "s302m",
        "pcm_bluray", "dvb_subtitle", "dvb_teletext", "hdmv_pgs_subtitle",
    },
    "vob": {
        "mpeg1video", "mpeg2video", "h264",
        "mp1", "mp2", "mp3", "ac3", "dts", "pcm_dvd", "pcm_s16be", "dvd_subtitle",
    },
}  # fmt: skip
"""The codecs that a container has names for; libav takes others, and no player knows them."""


PREROLL = Fraction(1, 10)
"""Seconds of sound that decoders may need before what is heard."""


def refused(movie: Movie, muxer: str) -> list[Stream]:
    """Streams beside the pictures that a container does not take: it is asked, one by one."""
    alike = movie.container.format.name == muxer
    return [stream for stream in movie.others if not _is_taken(stream, muxer, alike)]


def _is_taken(stream: Stream, muxer: str, alike: bool) -> bool:
    if stream.type == "unknown" or (stream.type == "attachment" and muxer != "matroska"):
        return False
    if _is_cover(stream):
        return muxer in _WITH_COVERS
    if (
        muxer in _HELD
        and not (stream.type == "data" and alike)
        and _codec(stream) not in _HELD[muxer]
    ):
        return False
    try:
        with av.open(io.BytesIO(), "w", format=muxer) as trial:
            copied = trial.add_stream_from_template(stream, opaque=True)
            copied.metadata.update(copied_tags(stream))
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


def _is_cover(stream: Stream) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def _codec(stream: Stream) -> str | None:
    return stream.codec_context.codec.canonical_name if stream.codec_context else stream.name


def describe(stream: Stream) -> str:
    """In words: "audio stream 1 (aac)"."""
    if _is_cover(stream):
        return f"the cover picture (stream {stream.index})"
    return f"{stream.type} stream {stream.index} ({_codec(stream) or 'unknown'})"


def file_tags(movie: Movie) -> dict[str, str]:
    """The tags of a file that its copy is to have."""
    tags = movie.container.metadata
    return {key: value for key, value in tags.items() if key.lower() not in _OWN}


def needs_free_tags(movie: Movie, kept: list[Stream]) -> bool:
    """Whether MP4 and MOV must hold tags beyond their own, which leaves no room for a cover."""
    known = {key.lower() for key in file_tags(movie)} <= COMMON_TAGS
    return not known and not any(_is_cover(stream) for stream in kept)


def copied_tags(stream: Stream) -> dict[str, str]:
    """The tags of a stream that its copy is to have: MP4 calls a title it reads "name"."""
    names = {"name": "title"} if "title" not in stream.metadata else {}
    return {names.get(key, key): value for key, value in stream.metadata.items()}


def coded_tags(stream: Stream) -> dict[str, str]:
    """The tags of a stream that its denoised version is to have."""
    tags = copied_tags(stream)
    return {key: value for key, value in tags.items() if not key.lower().startswith(_STALE)}


class Passengers:
    """The copied streams of one output.

    Parameters
    ----------
    movie : Movie
        The source.
    output : OutputContainer
    """

    def __init__(self, movie: Movie, output: OutputContainer) -> None:
        self._movie, self._output = movie, output
        self._streams: dict[int, Stream] = {}
        self._last: dict[int, int] = {}
        self._begun: set[int] = set()
        self._filters: dict[int, BitStreamFilterContext] = {}

    def add(self, stream: Stream) -> None:
        """Add a stream of the source to the output."""
        if _is_cover(stream) and self._output.format.name == "matroska":
            self._attach(stream)
            return
        copied = self._output.add_stream_from_template(stream, opaque=True)
        copied.metadata.update(copied_tags(stream))
        copied.disposition = stream.disposition
        if isinstance(stream, VideoStream) and isinstance(copied, VideoStream):
            name_codec(copied.codec_context, self._output.format.name, stream.codec_context)
            if self._output.format.name == "avi":
                self._fit_avi(stream, copied)
        self._streams[stream.index] = copied

    def _fit_avi(self, stream: VideoStream, copied: VideoStream) -> None:
        """AVI counts frames, and has no place for h264's parameters but in the pictures."""
        if stream.base_rate:
            copied.time_base = 1 / stream.base_rate
        if stream.codec_context.codec.canonical_name == "h264":
            made = BitStreamFilterContext("h264_mp4toannexb", stream, copied)
            copied.codec_context.codec_tag = "\0\0\0\0"  # the source's means nothing here
            self._filters[stream.index] = made

    def _attach(self, stream: Stream) -> None:
        picture = self._movie.picture(stream.index)
        kind = "jpeg" if stream.codec_context.codec.canonical_name == "mjpeg" else "png"
        name = stream.metadata.get("filename", f"cover.{kind}")
        if picture is not None:
            self._output.add_attachment(
                name, stream.metadata.get("mimetype", f"image/{kind}"), picture
            )

    def missed(self) -> list[str]:
        """What of a part of a video has nothing to begin with, in words; known at the end."""
        if self._movie.span is None:
            return []
        return [
            f"{describe(stream)}, which has no key frame in this part"
            for stream in self._movie.others
            if stream.index in self._streams
            and stream.type == "video"
            and not _is_cover(stream)
            and stream.index not in self._begun
        ]

    def write(self, until: Fraction | None) -> None:
        """Write what is due before a time of the source, all for None."""
        self._movie.leave(until, self._mux)

    def _mux(self, packet: Packet[Stream]) -> None:
        copied = self._streams[packet.stream.index]
        if self._is_hidden(packet) or not self._order(packet):
            return
        if self._movie.span is not None and not self._cut(packet):
            return
        self._move(packet)
        made = self._filters.get(packet.stream.index)
        for one in [packet] if made is None else made.filter(packet):
            one.stream = copied
            self._output.mux_one(one)

    def _is_hidden(self, packet: Packet[Stream]) -> bool:
        """Whether it is sound that MP4's edit list hides, where it would be heard.

        What comes just before the pictures readies decoders.
        """
        muxer, begins = self._output.format.name, seconds_of(packet)
        if muxer in ("mp4", "mov") or packet.stream.type != "audio" or begins is None:
            return False
        ready = 0 if muxer == "avi" else PREROLL
        return packet.is_discard and begins < self._movie.beginning - ready

    def _order(self, packet: Packet[Stream]) -> bool:
        """Give a packet the time at which it is decoded; False where containers would refuse it."""
        index, kind = packet.stream.index, packet.stream.type
        last = self._last.get(index)
        if packet.dts is None:
            step = _frame_ticks(packet)
            early = _reordered(packet.stream) * step
            packet.dts = (packet.pts or 0) - early if last is None else last + step
            if packet.pts is None:
                packet.pts = packet.dts
            packet.dts = min(packet.dts, packet.pts)
        if last is not None and packet.dts <= last:  # time runs backwards in a damaged file
            if kind == "audio":
                return False
            if kind == "video":
                packet.dts = last + 1
                packet.pts = max(packet.pts or 0, packet.dts)
        self._last[index] = packet.dts
        return True

    def _cut(self, packet: Packet[Stream]) -> bool:
        """Shorten a packet to the wanted part; False for what lies outside it."""
        movie, unit = self._movie, Fraction(packet.time_base)
        if _is_cover(packet.stream):
            return True
        begins = seconds_of(packet) or Fraction(0)
        ends = begins + (packet.duration or 0) * unit
        if movie.end is not None and begins >= movie.end:
            return False
        if packet.stream.type == "video" and begins >= movie.origin and packet.is_keyframe:
            self._begun.add(packet.stream.index)
        if packet.stream.type == "video" and packet.stream.index not in self._begun:
            return False  # it could not be decoded
        shift = round(movie.origin / unit)
        if begins < movie.origin:  # sound begins a packet later, a subtitle is shortened
            if packet.stream.type != "subtitle" or ends <= movie.origin:
                return False
            packet.duration = round(ends / unit) - shift
            packet.pts = packet.dts = shift
        if packet.stream.type == "subtitle" and movie.closing is not None:
            left = round(movie.closing / unit) - (packet.pts or 0)
            if 0 < left < (packet.duration or 0):
                packet.duration = left
        return True

    def _move(self, packet: Packet[Stream]) -> None:
        """Count time from where the output begins."""
        if _is_cover(packet.stream):
            return
        movie = self._movie
        counted = packet.stream.type == "audio" and self._output.format.name == "avi"
        origin = movie.beginning_of(packet.stream) if counted and movie.span is None else None
        shift = round((movie.origin if origin is None else origin) / Fraction(packet.time_base))
        if packet.pts is not None:
            packet.pts -= shift
        if packet.dts is not None:
            packet.dts -= shift


def _frame_ticks(packet: Packet[Stream]) -> int:
    """How long a packet lasts, 1 at least, in the unit of its time stamps."""
    if packet.duration:
        return packet.duration
    rate = packet.stream.average_rate if isinstance(packet.stream, VideoStream) else None
    return max(1, round(1 / rate / Fraction(packet.time_base))) if rate else 1


def _reordered(stream: Stream) -> int:
    """How many frames a decoder of a stream holds back, to show them later than it reads them."""
    return stream.codec_context.reorder_depth if isinstance(stream, VideoStream) else 0
