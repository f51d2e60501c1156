"""Videos in: frames one by one as they are stored, packets of all other streams beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any, BinaryIO

import av
from av.codec.context import Flags
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from nlm.errors import FileError
from nlm.io.base import Frame, Info, Metadata
from nlm.io.formats import Format
from nlm.io.pipes import heed_interruption
from nlm.io.span import Span
from nlm.io.video.codecs import is_lossless
from nlm.io.video.complaints import complaints_of
from nlm.io.video.containers import CONTAINERS
from nlm.io.video.ends import FrameTrail, is_cut_short
from nlm.io.video.layout import Layout, alpha_of, planar, planes_of
from nlm.io.video.movie import Movie
from nlm.io.video.transparency import decoder_with_alpha

__all__ = ["VideoReader"]

DECODER_THREADS = 4
"""At most: each holds a frame."""

ANY_TEXT: dict[str, Any] = {}
if int(av.__version__.split(".")[0]) < 19:  # later ones keep what is no UTF-8 as it is
    ANY_TEXT["metadata_errors"] = "replace"

WITHHOLDING = {"hevc"}
"""Decoders that keep back all frames after a lost one, up to the next that stands for itself.

They give them if asked to, and are asked once the first frame is there: what comes before it, where
a recording begins anywhere, is no damage.
"""

AFTER = 1
"""Seconds that are read on after the last wanted frame, for sound that the file holds late."""


class VideoReader:
    """An open video file: `info` at once, frames one by one when iterated, once.

    Attributes
    ----------
    name : str
        For messages.
    info : Info
        Its metadata's `native` is the `Movie`.
    damage : str
        After reading: what was wrong with the file, in words; empty = nothing.
    """

    def __init__(
        self, name: str, file: BinaryIO, owned: bool, row: Format, span: Span | None = None
    ) -> None:
        self.name = name
        self._file, self._owned, self._row = file, owned, row
        demuxer = CONTAINERS[row.name].demuxer
        self._trail = FrameTrail() if demuxer == "yuv4mpegpipe" else None
        self._cut_short = file.seekable() and is_cut_short(file, demuxer)
        try:
            container = av.open(file, "r", format=demuxer, **ANY_TEXT)
        except (av.FFmpegError, OSError) as error:
            heed_interruption(file)
            raise FileError(self._unreadable(error)) from error
        heed_interruption(file)
        self._movie = self._open(container, span)
        self.info = _info(self._movie, row)

    def _open(self, container: InputContainer, span: Span | None) -> Movie:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream):
            kinds = sorted({one.type for one in container.streams})
            raise FileError(
                f"{self.name}: has no pictures, only {' and '.join(kinds) or 'an empty container'};"
                " give a video file"
            )
        context = stream.codec_context
        if context is None or not context.pix_fmt:
            what = context.codec.canonical_name if context else "unknown"
            raise FileError(
                f"{self.name}: its pictures (codec {what}) cannot be decoded; "
                "convert it first, or get a fresh copy of the file"
            )
        layout = Layout.of(context.pix_fmt)
        if layout is None:
            raise FileError(
                f"{self.name}: has pixels of the kind {context.pix_fmt}, which nlm does not know; "
                "convert it first, to yuv420p say"
            )
        decoder = decoder_with_alpha(stream)
        if decoder is not None:
            layout = replace(layout, alpha=True)
        decoder = decoder or context
        decoder.thread_type = "AUTO"
        decoder.thread_count = DECODER_THREADS
        if decoder.name == "libdav1d":  # one frame at a time: else an error takes others along
            decoder.flags |= Flags.low_delay
        return Movie(container, stream, decoder, layout, span)

    def _unreadable(self, error: Exception) -> str:
        detail = " ".join(str(getattr(error, "strerror", None) or error).split())
        what = "it is cut short" if self._cut_short else "it is damaged or cut short"
        return (
            f"{self.name}: cannot be read as {self._row.title}, {what} ({detail}); "
            "get a fresh copy of the file"
        )

    def __iter__(self) -> Iterator[Frame]:
        movie, span = self._movie, self._movie.span
        if span is not None and span.start:
            self._seek(span.start)
        count, shown, lasting, number = 0, Fraction(0), Fraction(0), -1
        before: int | None = None
        for number, frame in enumerate(self._watched()):
            stamp = _stamp(frame, before, movie)
            before = frame.pts = stamp
            frame.time_base = movie.time_base
            seconds = stamp * movie.time_base - movie.beginning
            step = frame.duration * movie.time_base if frame.duration else 1 / movie.rate
            lasting = seconds + step
            if span is not None and not span.has_begun(number, float(seconds)):
                continue
            if span is not None and span.has_ended(number, float(seconds)):
                shown = stamp * movie.time_base
                self._read_on(shown)
                break
            if not count and span is not None:
                movie.origin = stamp * movie.time_base
            shown = stamp * movie.time_base + movie.last_step(stamp)
            yield self._frame(frame, count, float(seconds))
            count += 1
        else:
            self._check_end(count, shown)
        if not count and span is not None:
            lasting = lasting or movie.seconds or lasting
            raise FileError(f"{self.name}: {span.absence(number + 1, float(lasting))}")
        movie.end = shown

    def _seek(self, start: float) -> None:
        movie = self._movie
        if self._file.seekable():
            stamp = int((start + movie.beginning) / movie.time_base)
            movie.container.seek(stamp, stream=movie.stream)

    def _watched(self) -> Iterator[av.VideoFrame]:
        """The decoded frames; what the decoder complains of meanwhile is damage."""
        movie = self._movie
        with complaints_of(movie.decoder) as complaints:
            for frame in self._decoded():
                if movie.decoder.name in WITHHOLDING:
                    movie.decoder.flags |= Flags.output_corrupt
                movie.damage.errors = complaints.count
                yield frame
            movie.damage.errors = complaints.count

    def _decoded(self) -> Iterator[av.VideoFrame]:
        movie = self._movie
        packets = movie.container.demux()
        doubtful: Packet[Stream] | None = None
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                movie.damage.cut_short = True
                packet = None
            if packet is None:
                heed_interruption(self._file)
                self._check_trail()
                if doubtful is not None:  # decoders with several threads lose others over it
                    movie.damage.cut_short = True
                yield from self._decode(None)
                return
            if packet.stream.index != movie.stream.index:
                movie.board(packet)
            elif packet.size:
                movie.step = packet.duration or 0
                if self._trail is not None and packet.pos is not None:
                    self._trail.follow(packet.pos, packet.size)
                if doubtful is not None:
                    movie.damage.gaps += 1
                    yield from self._decode(doubtful)
                doubtful = packet if packet.is_corrupt else None
                if doubtful is None:
                    yield from self._decode(packet)

    def _check_trail(self) -> None:
        if self._trail is not None and self._trail.ends_within_frame(self._file.tell()):
            self._movie.damage.cut_short = True

    def _decode(self, packet: Packet[Stream] | None) -> Iterator[av.VideoFrame]:
        movie = self._movie
        try:
            frames = movie.decoder.decode(packet)  # type: ignore[arg-type]
        except av.FFmpegError:
            movie.damage.lost += 1
            return
        yield from frames

    def _frame(self, frame: av.VideoFrame, count: int, seconds: float) -> Frame:
        info, movie = self.info, self._movie
        if (frame.width, frame.height) != (info.width, info.height):
            raise FileError(
                f"{self.name}: the picture changes from {info.width} x {info.height} to "
                f"{frame.width} x {frame.height} at frame {count}; denoise the parts one by one, "
                f"the first with --frames :{count}"
            )
        held, layout = planar(frame)
        if movie.layout == replace(layout, alpha=True):  # opaque here, in a clip with transparency
            held, layout = planar(frame.reformat(format=movie.layout.planar))
        if layout != movie.layout:
            raise FileError(
                f"{self.name}: the pixels change from {movie.layout} to {layout} at frame {count}; "
                f"denoise the parts one by one, the first with --frames :{count}"
            )
        movie.damage.corrupt += frame.is_corrupt
        movie.damage.frames = count + 1
        duration = float(frame.duration * movie.time_base) if frame.duration else None
        return Frame(planes_of(held, layout), alpha_of(held, layout), duration, seconds, held)

    def _read_on(self, end: Fraction) -> None:
        """Collect what belongs to the last frames but comes later in the file."""
        movie = self._movie
        for packet in movie.container.demux():
            if packet.stream.index != movie.stream.index:
                movie.board(packet)
            elif packet.dts is not None and packet.dts * movie.time_base > end + AFTER:
                return

    def _check_end(self, count: int, shown: Fraction) -> None:
        movie, damage = self._movie, self._movie.damage
        damage.frames = count
        damage.cut_short |= self._cut_short
        if movie.stream.frames:
            damage.expected = movie.stream.frames
        elif movie.seconds is not None and movie.span is None:
            damage.expected = round(movie.seconds * movie.rate)
        if not count and str(damage):
            raise FileError(f"{self.name}: {damage}; get a fresh copy of the file")

    @property
    def damage(self) -> str:
        """What was wrong with the file, in words."""
        return str(self._movie.damage)

    def close(self) -> None:
        """Close the file if it was opened here."""
        self._movie.container.close()
        if self._owned:
            self._file.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _stamp(frame: av.VideoFrame, before: int | None, movie: Movie) -> int:
    """A frame's time stamp; where there is none or it does not rise, the next one possible."""
    step = max(1, round(1 / movie.rate / movie.time_base))
    stamp = frame.pts if frame.pts is not None else frame.dts
    if before is None:
        return 0 if stamp is None else stamp
    if stamp is None:
        return before + step
    return max(stamp, before + 1)


def _info(movie: Movie, row: Format) -> Info:
    layout, stream = movie.layout, movie.stream
    if layout.kind == "gray" and layout.alpha:
        layout = movie.layout = replace(layout, kind="rgb")
    count: int | None = stream.frames or None
    if count is None and movie.seconds is not None:
        count = max(1, round(movie.seconds * movie.rate))
    if movie.span is not None:
        count = movie.span.count(count, float(movie.rate))
    return Info(
        format=row.name,
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        channels=layout.channels,
        alpha=layout.alpha,
        dtype=layout.dtype,
        bits=layout.bits,
        frames=count,
        clip=True,
        chroma=layout.chroma if layout.kind == "yuv" else None,
        metadata=Metadata(lossless=is_lossless(movie.codec), native=movie),
    )
