"""An open video file: its streams, what travels beside the pictures, and what is wrong with it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Stream
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from nlm.io.span import Span
from nlm.io.video.layout import Layout

__all__ = ["Damage", "Movie", "seconds_of"]


@dataclass
class Damage:
    """What was noticed while a video was read.

    Attributes
    ----------
    frames : int
        Frames that came out of the decoder.
    corrupt : int
        Those of them that the decoder had to patch.
    lost : int
        Packets that could not be decoded at all.
    gaps : int
        Packets of which the container says that something is missing.
    errors : int
        What else the decoder complained of.
    expected : int or None
        Frames that the file announces or its time stamps have room for.
    cut_short : bool
        The file ends before it should.
    """

    frames: int = 0
    corrupt: int = 0
    lost: int = 0
    gaps: int = 0
    errors: int = 0
    expected: int | None = None
    cut_short: bool = False

    def __str__(self) -> str:
        """In words; empty = all is well."""
        if not (self.corrupt or self.lost or self.gaps or self.errors or self.cut_short):
            return ""
        parts = []
        if self.cut_short:
            parts.append("it is cut short")
        of = f" of {self.expected}" if self.expected and self.expected > self.frames else ""
        parts.append(f"{self.frames}{of} frames could be read")
        if self.corrupt:
            parts.append(f"{self.corrupt} of them are damaged")
        if self.lost:
            parts.append(f"{self.lost} packets could not be decoded")
        if self.gaps:
            parts.append(f"something is missing at {self.gaps} places")
        if self.errors and not self.corrupt:
            parts.append(f"{self.errors} errors were met in them")
        return ", ".join(parts)


@dataclass
class Movie:
    """An open video file.

    Attributes
    ----------
    container : InputContainer
    stream : VideoStream
        The pictures that are denoised.
    decoder : VideoCodecContext
        What decodes them: the stream's own or one that sees more.
    layout : Layout
        Of its frames.
    span : Span or None
        The part that is wanted.
    passengers : deque of Packet
        Packets of the other streams in the order of the file, put there as it is read.
    carried : set of int
        Indices of the streams whose packets somebody wants.
    origin : Fraction
        Time that becomes 0 in what is written: of the first frame where only a part is wanted.
    step : int
        How long the last packet of the pictures lasts, in their unit; 0 = not known.
    end : Fraction or None
        Time at which the last wanted frame has been shown, known when reading ends.
    damage : Damage
    """

    container: InputContainer
    stream: VideoStream
    decoder: VideoCodecContext
    layout: Layout
    span: Span | None = None
    passengers: deque[Packet[Stream]] = field(default_factory=deque)
    carried: set[int] = field(default_factory=set)
    origin: Fraction = Fraction(0)
    step: int = 0
    end: Fraction | None = None
    damage: Damage = field(default_factory=Damage)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def codec(self) -> str:
        """Of the pictures."""
        return self.stream.codec_context.codec.canonical_name

    @property
    def rate(self) -> Fraction:
        """Frames per second, on average."""
        return self.stream.average_rate or self.stream.guessed_rate or Fraction(25)

    @property
    def finest_rate(self) -> Fraction | None:
        """The lowest rate that all time stamps fit into, where it is known."""
        rate = self.stream.base_rate
        return Fraction(rate) if rate else None

    @property
    def time_base(self) -> Fraction:
        """The unit of the pictures' time stamps, in seconds."""
        return self.stream.time_base or 1 / self.rate

    @property
    def aspect(self) -> Fraction | None:
        """Width of a pixel over its height, where it is known."""
        return self.stream.sample_aspect_ratio or None

    @property
    def beginning(self) -> Fraction:
        """Time of the first frame, by the headers."""
        return (self.stream.start_time or 0) * self.time_base

    @staticmethod
    def beginning_of(stream: Stream) -> Fraction | None:
        """Time of a stream's first packet, by the headers."""
        if stream.start_time is None or stream.time_base is None:
            return None
        return stream.start_time * stream.time_base

    @property
    def earliest(self) -> Fraction:
        """Time at which the first of the wanted streams begins, by the headers."""
        begins = [self.beginning_of(one) for one in self.others if one.index in self.carried]
        return min([self.beginning, *(one for one in begins if one is not None)])

    @property
    def earliest_frame(self) -> Fraction:
        """The same, a whole number of frames before the first one."""
        return self.beginning - int((self.beginning - self.earliest) * self.rate) / self.rate

    @property
    def closing(self) -> Fraction | None:
        """When the wanted part ends, once its first frame is known: exactly or about."""
        span = self.span
        if span is None:
            return None
        if self.end is not None:
            return self.end
        if span.end is not None:
            return self.beginning + Fraction(span.end)
        if span.last is not None:
            return self.origin + (span.last - (span.first or 0)) / self.rate
        return None

    @property
    def seconds(self) -> Fraction | None:
        """How long the pictures last, by the headers."""
        if self.stream.duration:
            return self.stream.duration * self.time_base
        if self.container.duration:
            return Fraction(self.container.duration, av.time_base)
        return None

    def last_step(self, stamp: int) -> Fraction:
        """How long a frame is shown if it is the last one, in seconds.

        That is what the packet says that is read last: where frames are read in another order than
        they are shown, files tell durations between readings.
        """
        step = self.step * self.time_base if self.step else 1 / self.rate
        if self.stream.duration or not self.container.duration:
            return step
        end = Fraction((self.container.start_time or 0) + self.container.duration, av.time_base)
        left = end - stamp * self.time_base  # Matroska tells no other duration
        return min(step, left) if left > 0 else step

    @property
    def others(self) -> list[Stream]:
        """The streams that can be copied; MP4's tracks of chapters and time codes are made anew."""
        return [
            one
            for one in self.container.streams
            if one.index != self.stream.index
            and one.discard != Discard.all
            and not (one.type == "data" and "timecode" in one.metadata)
        ]

    def picture(self, index: int) -> bytes | None:
        """The cover picture of a stream, taken from what has been read: it comes first."""
        with self.lock:
            for packet in self.passengers:
                if packet.stream.index == index:
                    self.passengers.remove(packet)
                    return bytes(packet)
        return None

    def board(self, packet: Packet[Stream]) -> None:
        """Take a packet of another stream along, if somebody wants it."""
        if packet.size and packet.stream.index in self.carried:
            with self.lock:
                self.passengers.append(packet)

    def leave(self, until: Fraction | None, mux: Callable[[Packet[Stream]], None]) -> None:
        """Hand on the packets that are due before a time, all for None."""
        while True:
            with self.lock:
                if not self.passengers:
                    return
                due = seconds_of(self.passengers[0])
                if until is not None and due is not None and due >= until:
                    return
                packet = self.passengers.popleft()
            mux(packet)


def seconds_of(packet: Packet[Stream]) -> Fraction | None:
    """When a packet is due."""
    stamp = packet.dts if packet.pts is None else packet.pts
    return None if stamp is None else stamp * Fraction(packet.time_base)
