"""Videos out: denoised frames coded anew, everything else copied."""

from __future__ import annotations

import os
from collections import deque
from fractions import Fraction
from functools import partial
from types import TracebackType
from typing import Any, BinaryIO

import av
import numpy as np
from av.container import OutputContainer
from av.sidedata.sidedata import Type
from av.video.stream import VideoStream

from nlm.errors import FileError
from nlm.io.base import Frame, Info, Options
from nlm.io.formats import Format
from nlm.io.output import Output, PathOrStream, writing
from nlm.io.video import avi, matroska
from nlm.io.video.containers import CONTAINERS, name_codec
from nlm.io.video.foreign import TICKS, foreign_frame, foreign_layout, rate_of, rearranged
from nlm.io.video.hdr import hdr_losses, hdr_options
from nlm.io.video.layout import put_planes
from nlm.io.video.movie import Movie
from nlm.io.video.packets import PacketQueue
from nlm.io.video.passengers import Passengers, coded_tags, file_tags, needs_free_tags, refused
from nlm.io.video.planning import plan
from nlm.io.video.rates import even_rate, nominal_rate
from nlm.io.video.shape import HOLD, ShapedPipe, Shaper, shape_file

__all__ = ["VideoWriter"]

COUNTING = {"mpeg4", "mpeg2video", "mpeg1video"}
"""Encoders whose unit of time is the frame: they are given numbers, time stamps come afterwards."""

SHAPERS = {"matroska": matroska.shaped, "webm": matroska.shaped, "avi": avi.shaped}
"""By libav's name of a muxer that takes the shape of pixels from a place PyAV cannot reach."""

CLOCKED = {"mpegts", "mpeg", "vob"}
"""Containers whose time is that of a transmission, which may have begun hours before."""

TURNING = {"mp4", "mov", "matroska", "webm"}
"""Muxers that write how pictures are to be turned."""

PROGRESSIVE = 1
"""Of libav's orders of fields; greater ones are interlaced, 0 is not known."""


class VideoWriter:
    """A video file being written; it appears whole when the context ends without an error.

    Attributes
    ----------
    name : str
        For messages.
    losses : list of str
        What the file cannot carry over from the source, in words; frames may add to it.
    """

    def __init__(
        self, target: PathOrStream, name: str, info: Info, row: Format, options: Options
    ) -> None:
        self.name = name
        self._info, self._row, self._options = info, row, options
        self._box = CONTAINERS[row.name]
        self._choice, self.losses = plan(info, row, options)
        self._muxer = self._box.muxer or ""
        native = info.metadata.native
        self._movie = native if isinstance(native, Movie) else None
        self._layout = self._movie.layout if self._movie else foreign_layout(info)
        if self._movie:
            left = {stream.index for stream in refused(self._movie, self._muxer)}
            self._movie.carried = {one.index for one in self._movie.others} - left
        self._container: OutputContainer | None = None
        self._passengers: Passengers | None = None
        self._stamps: deque[int] = deque()
        self._stamp, self._end, self._clock = -1, 0, 0.0
        self._shaper = self._find_shaper()
        self._written = 0
        self._output = Output(
            target, direct=True
        )  # last: whoever interrupts finds nothing to remove
        if self._output.path is None and not self._box.pours:
            self._output.discard()
            raise FileError(f"{name}: {row.title} cannot be written to a pipe; use: --format mkv")

    def write(self, frame: Frame) -> None:
        """Append a frame: its samples, with the time stamp and side data of the source's.

        Raises
        ------
        FileError
            If it cannot be written.
        """
        with writing(self.name, self._row):
            picture = self._picture(frame)
            if picture.format.name != self._choice.pixels:
                picture = rearranged(picture, self._layout, self._choice.pixels)
            if self._container is None:
                self._container = self._start(picture)
            stamp, unit = picture.pts or 0, picture.time_base or TICKS
            if self._passengers:
                self._passengers.write(stamp * unit)
            self._encode(picture, stamp, unit)
            self._written += 1

    def _picture(self, frame: Frame) -> av.VideoFrame:
        if self._movie is None:
            return self._foreign_picture(frame)
        picture: av.VideoFrame = frame.native
        put_planes(picture, self._layout, frame.planes, frame.alpha)
        picture.pict_type = 0
        return picture

    def _foreign_picture(self, frame: Frame) -> av.VideoFrame:
        """A picture with the time at which it is shown."""
        picture = foreign_frame(frame, self._layout)
        if frame.duration is None or self._options.fps:
            picture.pts, picture.time_base = self._written, 1 / rate_of(self._options.fps)
        else:
            picture.pts, picture.time_base = round(self._clock / TICKS), TICKS
            self._clock += max(frame.duration, 0.001)
            picture.duration = round(self._clock / TICKS) - picture.pts
        return picture

    def _start(self, first: av.VideoFrame) -> OutputContainer:
        path = self._output.path
        os.environ.setdefault("SVT_LOG", "1")  # errors only
        container = av.open(
            f"file:{path}" if path else self._pipe(),
            "w",
            format=self._muxer,
            container_options=self._container_options(),
        )
        self._packets = PacketQueue(container)
        if self._movie is None:
            self._stream = self._add_pictures(container, first)
            return container
        if self._movie.span is None:
            self._movie.origin = self._zero(self._movie)
        container.metadata.update(file_tags(self._movie))
        self._passengers = Passengers(self._movie, container)
        for stream in self._movie.container.streams:
            if stream.index == self._movie.stream.index:
                self._stream = self._add_pictures(container, first)
            elif stream.index in self._movie.carried:
                self._passengers.add(stream)
        container.set_chapters(_chapters(self._movie))
        return container

    def _zero(self, movie: Movie) -> Fraction:
        """The time of the source that becomes 0."""
        if self._box.constant_rate:
            return movie.earliest_frame
        clocked = movie.container.format.name in CLOCKED
        return movie.earliest if clocked and self._muxer not in CLOCKED else Fraction(0)

    def _find_shaper(self) -> Shaper | None:
        aspect = self._movie.aspect if self._movie else None
        if aspect in (None, 1) or self._muxer not in SHAPERS:
            return None
        how: dict[str, Any] = {"size": (self._info.width, self._info.height), "aspect": aspect}
        if self._movie and self._muxer == "avi":
            how["fields"] = 2 if self._movie.stream.codec_context.field_order > PROGRESSIVE else 1
        return partial(SHAPERS[self._muxer], **how)

    def _pipe(self) -> BinaryIO | ShapedPipe:
        file = self._output.file
        return ShapedPipe(file, self._shaper) if self._shaper else file

    def _container_options(self) -> dict[str, str]:
        if self._muxer == "yuv4mpegpipe":
            return {"strict": "-1"}  # more than 8 bits
        if self._muxer not in ("mp4", "mov"):
            return {}
        if self._output.path is None:
            return {"movflags": "frag_keyframe+delay_moov+default_base_moof"}
        flags = "+faststart"
        movie = self._movie
        kept = [one for one in movie.others if one.index in movie.carried] if movie else []
        if movie and needs_free_tags(movie, kept):
            flags += "+use_metadata_tags"
        return {"movflags": flags}

    def _add_pictures(self, container: OutputContainer, first: av.VideoFrame) -> VideoStream:
        movie, choice = self._movie, self._choice
        rate = movie.rate if movie else rate_of(self._options.fps)
        if movie and self._muxer == "avi":
            rate = even_rate(rate, movie.finest_rate)
        coded = nominal_rate(choice.encoder, rate)
        self.losses += hdr_losses(choice.encoder, first)
        options = dict(choice.options)
        for key, value in hdr_options(choice.encoder, first).items():
            options[key] = f"{options[key]}:{value}" if key in options else value
        stream = container.add_stream(choice.encoder, coded, options)  # type: ignore[call-overload]
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = first.width, first.height, choice.pixels
        self._unit = first.time_base or TICKS
        if self._box.constant_rate:
            self._unit = 1 / rate
        self._counts = choice.encoder in COUNTING
        context.time_base = 1 / coded if self._counts else self._unit
        stream.time_base = self._unit
        if self._options.threads:
            context.thread_count = self._options.threads
        _copy_colours(first, context)
        name_codec(context, self._muxer, movie.stream.codec_context if movie else None)
        if movie is None:
            return stream
        stream.metadata.update(coded_tags(movie.stream))
        stream.disposition = movie.stream.disposition
        if movie.aspect:
            context.sample_aspect_ratio = movie.aspect
        if self._shaper:
            stream.metadata["title"] = stream.metadata.get("title", "") + HOLD
        context.field_order = movie.stream.codec_context.field_order
        if first.interlaced_frame:
            context.flags |= av.codec.context.Flags.interlaced_dct
            context.flags |= av.codec.context.Flags.interlaced_me
        matrix = first.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]
        if matrix is not None and self._muxer not in TURNING:
            self.losses.append(f"the rotation by {abs(first.rotation)} degrees")
        elif matrix is not None:
            stream.set_display_matrix(np.frombuffer(bytes(matrix), np.int32).tolist())
        return stream

    def _encode(self, picture: av.VideoFrame, stamp: int, unit: Fraction) -> None:
        if self._movie:
            stamp -= round(self._movie.origin / unit)
        if unit != self._unit:
            stamp = max(round(stamp * unit / self._unit), self._stamp + 1)
        self._stamp = picture.pts = stamp
        self._end = stamp + round(picture.duration * unit / self._unit)
        picture.time_base = self._unit
        if self._counts:
            self._stamps.append(stamp)
            picture.pts, picture.time_base = self._written, self._stream.codec_context.time_base
        self._packets.show(stamp)
        self._mux(picture)

    def _mux(self, picture: av.VideoFrame | None) -> None:
        for packet in self._stream.encode_lazy(picture):
            packet.stream = self._stream  # else it goes to the first one
            if self._counts:
                packet.pts = packet.dts = self._stamps.popleft()
                packet.time_base = self._unit
            self._packets.put(packet)

    def _finish(self) -> None:
        """Write what the encoder still holds."""
        if self._movie and self._movie.end is not None:
            end = round((self._movie.end - self._movie.origin) / self._unit)
            self._end = max(end, self._stamp + 1)
        self._packets.show(self._end)
        self._mux(None)
        self._packets.close()

    def commit(self) -> None:
        """Complete the file and put it in its place."""
        if self._container is None:
            raise FileError(f"{self.name}: no frame to write; the source has none")
        with writing(self.name, self._row):
            self._finish()
            if self._passengers:
                self._passengers.write(None)
                self.losses += self._passengers.missed()
            self._container.close()
            if self._shaper and self._output.path:
                shape_file(self._output.path, self._shaper)
        self._output.commit()

    def discard(self) -> None:
        """Leave no trace."""
        self._output.discard()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        partial = self._options.keep_partial and self._written
        if kind is not None and not partial:
            self.discard()
            return
        try:
            self.commit()
        except BaseException:
            self.discard()
            raise


def _copy_colours(first: av.VideoFrame, context: Any) -> None:
    context.color_range = first.color_range
    context.color_primaries = first.color_primaries
    context.color_trc = first.color_trc
    context.colorspace = first.colorspace


def _chapters(movie: Movie) -> list[Any]:
    """The chapters, cut and moved where only a part is wanted."""
    kept = []
    for chapter in movie.container.chapters():
        unit = chapter["time_base"] or Fraction(1)
        shift, start, end = round(movie.origin / unit), chapter["start"], chapter["end"]
        if movie.closing is not None:
            end = min(end, round(movie.closing / unit))
        start = max(start, shift)
        if start < end:
            kept.append({**chapter, "start": start - shift, "end": end - shift})
    return kept
