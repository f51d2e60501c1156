"""Small video files made for tests, with all that videos may have, and ways to look at them."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np

from tests.conftest import checkers

RATE = 25


def texture(
    rows: int, cols: int, count: int, channels: int = 1, step: float = 1.5, period: int = 9
) -> np.ndarray:
    """A pattern that moves by `step` columns per frame: float32 (T, Y, X, C)."""
    wide = checkers(rows, cols + math.ceil(step * count) + 1, channels, period)
    starts = [round(step * index) for index in range(count)]
    return np.stack([wide[:, start : start + cols] for start in starts])


def make_video(
    path,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    size: tuple[int, int] = (64, 48),
    count: int = 12,
    clip: np.ndarray | None = None,
    stamps: list[int] | None = None,
    unit: Fraction | None = None,
    last: int | None = None,
    options: dict[str, str] | None = None,
    audio: str | None = None,
    subtitles: bool = False,
    font: bool = False,
    chapters: bool = False,
    rotation: int | None = None,
    aspect: Fraction | None = None,
    tag: str | None = None,
    colours: tuple[int, int, int, int] | None = None,
    tags: dict[str, str] | None = None,
    format: str | None = None,
) -> None:
    """Write a video; `clip` is its luma, float (T, Y, X, 1), else a moving texture.

    `last` is how long the last frame is shown, in units.
    """
    columns, rows = size
    if clip is None:
        clip = texture(rows, columns, count)
    unit = unit or Fraction(1, RATE)
    stamps = stamps or [round(index / RATE / unit) for index in range(len(clip))]
    with av.open(str(path), "w", format=format) as out:
        out.metadata.update(tags or {})
        video = out.add_stream(codec, RATE, options={"g": "4", **(options or {})})
        video.width, video.height, video.pix_fmt = columns, rows, pixels
        video.codec_context.time_base = video.time_base = unit
        video.metadata["language"] = "fra"
        context = video.codec_context
        if tag:
            context.codec_tag = tag
        if aspect:
            context.sample_aspect_ratio = aspect
        if colours:
            context.color_range, context.color_primaries = colours[:2]
            context.color_trc, context.colorspace = colours[2:]
        if rotation is not None:
            video.set_display_rotation(rotation)
        sound = _sound_stream(out, audio) if audio else None
        if subtitles:
            text = out.add_mux_stream("subrip")
            text.metadata["language"] = "deu"
        if font:
            out.add_attachment("font.ttf", "application/x-truetype-font", b"not a font" * 20)
        if chapters:
            second = Fraction(1, 1000)
            out.set_chapters(
                [
                    {"id": 1, "start": 0, "end": 200, "time_base": second,
                     "metadata": {"title": "One"}},
                    {"id": 2, "start": 200, "end": 480, "time_base": second,
                     "metadata": {"title": "Two"}},
                ]
            )  # fmt: skip
        packets = []
        for luma, stamp in zip(clip, stamps, strict=True):
            frame = frame_of(luma, pixels)
            frame.pts, frame.time_base = stamp, unit
            packets += video.encode(frame)
        packets += video.encode(None)
        if last:
            ends = dict(pairwise([*stamps, stamps[-1] + last]))
            for packet in packets:
                packet.duration = ends[packet.pts] - packet.pts
            packets[-1].duration = last
        out.mux(packets)
        if sound is not None:
            seconds = (stamps[-1] + 1) * unit
            _write_sound(out, sound, float(seconds))
        if subtitles:
            packet = av.Packet(b"Hello")
            packet.stream, packet.time_base = text, Fraction(1, 1000)
            packet.pts = packet.dts = 40
            packet.duration = 200
            out.mux(packet)


def frame_of(luma: np.ndarray, pixels: str) -> av.VideoFrame:
    """A frame with that luma (or gray), float (Y, X, 1), and a slope of colours."""
    rows, columns = luma.shape[:2]
    kind = av.VideoFormat(pixels, columns, rows)
    bits = max(one.bits for one in kind.components)
    frame = av.VideoFrame(columns, rows, pixels)
    dtype = np.uint8 if bits == 8 else np.uint16
    for index, plane in enumerate(frame.planes):
        lines = np.frombuffer(plane, dtype).reshape(plane.height, -1)
        lines[:] = 0
        if index == 0 or kind.is_rgb:
            values = luma[:, :, 0] * (1 - 0.1 * index)
        else:
            across = np.linspace(0.4, 0.6, plane.width) if index < 3 else np.ones(plane.width)
            values = np.broadcast_to(across, (plane.height, plane.width))
        lines[:, : plane.width] = np.rint(values.clip(0, 1) * (2**bits - 1)).astype(dtype)
    return frame


def _sound_stream(out, codec):
    sound = out.add_stream(codec, 48000)
    sound.metadata.update({"language": "ita", "title": "Commentary"})
    sound.layout = "mono"
    sound.disposition = av.stream.Disposition.comment
    return sound


def _write_sound(out, sound, seconds):
    size, written = sound.codec_context.frame_size or 1024, 0
    while written < seconds * 48000:
        samples = np.sin(np.arange(written, written + size) / 20)[None].astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, written, Fraction(1, 48000)
        out.mux(sound.encode(frame))
        written += size
    out.mux(sound.encode(None))


def make_transparent(path, codec: str, count: int = 6, size: tuple[int, int] = (64, 48)) -> None:
    """A WebM or Matroska video whose transparency, a slope, lies beside its pictures."""
    columns, rows = size
    told = {"auto-alt-ref": "0"} if codec == "libvpx" else {}
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, RATE, options={"b": "4M", **told})
        video.width, video.height, video.pix_fmt = columns, rows, "yuva420p"
        for index, luma in enumerate(texture(rows, columns, count)):
            frame = frame_of(luma, "yuva420p")
            alpha = np.frombuffer(frame.planes[3], np.uint8).reshape(rows, -1)
            alpha[:, :columns] = np.linspace(0, 255, columns)
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))


def transparency_of(path) -> np.ndarray:
    """Alpha of all frames, (T, Y, X), of a video with VP8 or VP9, where it lies beside."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}[stream.codec_context.codec.canonical_name]
        decoder = av.CodecContext.create(name, "r")
        packets = [packet for packet in container.demux(stream) if packet.size]
        return np.stack([planes_of(frame)[3] for one in packets for frame in decoder.decode(one)])


def read_video(path) -> tuple[list[Fraction], list[list[np.ndarray]], str]:
    """Times, planes and pixel format of all frames."""
    times, frames = [], []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for frame in container.decode(stream):
            times.append(frame.pts * frame.time_base)
            frames.append(planes_of(frame))
            pixels = frame.format.name
    return times, frames, pixels


def planes_of(frame: av.VideoFrame) -> list[np.ndarray]:
    """Copies of the planes, without the padding of lines."""
    deep = max(one.bits for one in frame.format.components) > 8
    planes = []
    for plane in frame.planes:
        lines = np.frombuffer(plane, np.uint16 if deep else np.uint8).reshape(plane.height, -1)
        samples = lines.shape[1] * plane.width * (2 if deep else 1) // plane.line_size
        planes.append(lines[:, : max(plane.width, min(samples, lines.shape[1]))].copy())
    return planes


def packets_of(path, kind: str) -> list[tuple]:
    """Times and contents of the packets of all streams of a kind."""
    with av.open(str(path)) as container:
        streams = [one for one in container.streams if one.type == kind]
        return [
            (packet.stream.index, packet.pts * packet.time_base, bytes(packet))
            for packet in container.demux()
            if packet.size and packet.stream in streams
        ]


def about(path) -> dict:
    """Everything that a video file says of itself, apart from its pictures."""
    with av.open(str(path)) as container:
        first = next(container.decode(container.streams.video[0]))
        video = container.streams.video[0]
        own = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration"}
        return {
            "tags": {k: v for k, v in container.metadata.items() if k.lower() not in own},
            "chapters": [
                (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"])
                for c in container.chapters()
            ],
            "streams": [
                (
                    one.type,
                    one.codec_context.codec.canonical_name if one.codec_context else None,
                    int(one.disposition),
                    {k: v for k, v in one.metadata.items() if k.lower() not in own},
                )
                for one in container.streams
            ],
            "attachments": [one.data for one in container.streams if one.type == "attachment"],
            "colours": (
                int(first.color_range),
                int(first.color_primaries),
                int(first.color_trc),
                int(first.colorspace),
            ),
            "aspect": video.sample_aspect_ratio or None,
            "rotation": first.rotation,
            "size": (video.width, video.height),
            "pixels": video.pix_fmt,
            "rate": video.average_rate,
        }
