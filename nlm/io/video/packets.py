"""Coded pictures on their way into a file: each is told how long it is shown."""

from __future__ import annotations

from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

__all__ = ["PacketQueue"]


class PacketQueue:
    """Packets of one stream; the latest waits, for the next frame tells how long it lasts.

    Parameters
    ----------
    output : OutputContainer
    """

    def __init__(self, output: OutputContainer) -> None:
        self._output = output
        self._durations: dict[int, int] = {}
        self._shown: int | None = None
        self._duration = 0
        self._held: Packet[VideoStream] | None = None

    def show(self, stamp: int) -> None:
        """Note that from a time on another frame is shown, or none."""
        if self._shown is not None:
            self._duration = self._durations[self._shown] = stamp - self._shown
        self._shown = stamp

    def put(self, packet: Packet[VideoStream]) -> None:
        """Write a packet, soon."""
        self._write()
        self._held = packet

    def close(self) -> None:
        """Write the rest."""
        if self._held is not None and self._output.format.name in ("mp4", "mov"):
            # They end with what is decoded last, though another frame may be shown last.
            self._durations[self._held.pts or 0] = self._duration
        self._write()

    def _write(self) -> None:
        if self._held is not None:
            self._held.duration = self._durations.pop(self._held.pts or 0, 0)
            self._output.mux_one(self._held)
            self._held = None
