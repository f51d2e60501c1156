"""Videos through the whole pipeline: what comes in goes out."""

import io
import struct
import subprocess
import sys
import threading
import time
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type
from PIL import Image

import nlm
from nlm.io import Options, Span, open_reader
from nlm.io.video.codecs import Source, choose
from nlm.io.video.containers import CONTAINERS
from nlm.io.video.layout import Layout
from nlm.pipeline import denoise_file
from nlm.settings import Settings
from tests.clips import (
    about,
    frame_of,
    make_transparent,
    make_video,
    packets_of,
    planes_of,
    read_video,
    texture,
    transparency_of,
)
from tests.conftest import noisy

OFF = Settings(sigma=0.0)
EXACT = Settings(sigma=0.0, options=Options(lossless=True))


def lumas(path):
    """Luma of all frames, (T, Y, X)."""
    return np.stack([planes[0] for planes in read_video(path)[1]])


KINDS = [  # name, codec, pixels, lossless codec
    ("h264.mp4", "libx264", "yuv420p", False),
    ("h264_10.mkv", "libx264", "yuv422p10le", False),
    ("h264_gray.mkv", "libx264", "gray", False),
    ("hevc10.mp4", "libx265", "yuv420p10le", False),
    ("hevc12.mkv", "libx265", "yuv444p12le", False),
    ("vp9.webm", "libvpx-vp9", "yuv420p", False),
    ("vp9_444.mkv", "libvpx-vp9", "yuv444p", False),
    ("av1.mkv", "libsvtav1", "yuv420p10le", False),
    ("ffv1.mkv", "ffv1", "yuv422p12le", True),
    ("ffv1_rgb.mkv", "ffv1", "gbrp10le", True),
    ("ffv1_gray.mkv", "ffv1", "gray16le", True),
    ("ffv1_alpha.mkv", "ffv1", "yuva420p10le", True),
    ("prores.mov", "prores_ks", "yuv422p10le", False),
    ("mjpeg.avi", "mjpeg", "yuvj422p", False),
    ("mpeg4.avi", "mpeg4", "yuv420p", False),
    ("mpeg2.mpg", "mpeg2video", "yuv420p", False),
    ("h264.ts", "libx264", "yuv420p", False),
    ("raw.y4m", "rawvideo", "yuv422p", True),
    ("packed.avi", "rawvideo", "yuyv422", True),
]


@pytest.mark.parametrize(("name", "codec", "pixels", "exact"), KINDS, ids=[k[0] for k in KINDS])
def test_codec_depth_size_and_times_stay(tmp_path, name, codec, pixels, exact):
    size = (272, 128) if codec == "libsvtav1" else (64, 48)
    options = {"strict": "-1"} if name.endswith("y4m") else {}
    if codec == "libx265":
        options["x265-params"] = "log-level=error"
    if pixels == "yuyv422":  # made from planar frames
        make_packed(tmp_path / name)
    else:
        make_video(tmp_path / name, codec=codec, pixels=pixels, size=size, options=options, count=8)
    result = denoise_file(tmp_path / name, tmp_path / f"out_{name}", OFF)
    assert (result.status, result.frames, result.losses) == ("ok", 8, ())
    before, after = about(tmp_path / name), about(tmp_path / f"out_{name}")
    for key in ("size", "pixels", "rate", "colours", "aspect", "streams"):
        assert before[key] == after[key], key
    times, frames, _ = read_video(tmp_path / name)
    new_times, new_frames, _ = read_video(tmp_path / f"out_{name}")
    assert times == new_times
    for old, new in zip(frames, new_frames, strict=True):
        for a, b in zip(old, new, strict=True):
            peak = 255 if a.dtype == np.uint8 else max(float(a.max()), 1023)
            off = np.abs(a.astype(float) - b).mean() / peak
            assert off == 0 if exact else off < 0.008


def make_packed(path):
    with av.open(str(path), "w") as out:
        stream = out.add_stream("rawvideo", 25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuyv422"
        for index, luma in enumerate(texture(48, 64, 8)):
            frame = frame_of(luma, "yuv422p").reformat(format="yuyv422")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p10le", "yuv444p"])
def test_samples_pass_bit_for_bit(tmp_path, pixels):
    """The way through nlm without coding loss: no RGB, no change of range, no padding."""
    make_video(tmp_path / "a.mkv", codec="ffv1", pixels=pixels, size=(66, 34))
    denoise_file(tmp_path / "a.mkv", tmp_path / "b.mkv", OFF)
    make_video(tmp_path / "c.mp4", pixels=pixels, size=(66, 34), colours=(1, 9, 16, 9))
    denoise_file(tmp_path / "c.mp4", tmp_path / "d.mp4", EXACT)
    for one, other in (("a.mkv", "b.mkv"), ("c.mp4", "d.mp4")):
        _, frames, _ = read_video(tmp_path / one)
        _, copies, _ = read_video(tmp_path / other)
        assert len(frames) == len(copies) == 12
        for a, b in zip(frames, copies, strict=True):
            assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov"])
def test_everything_else_is_kept(tmp_path, suffix):
    rich = suffix == "mkv"
    make_video(
        tmp_path / f"a.{suffix}", audio="flac" if rich else "aac", subtitles=rich, font=rich,
        chapters=True, aspect=Fraction(4, 3), colours=(1, 9, 16, 9), rotation=90,
        tags={"title": "Holiday", "comment": "by the sea"}, pixels="yuv420p10le",
    )  # fmt: skip
    denoise_file(tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}", OFF)
    before, after = about(tmp_path / f"a.{suffix}"), about(tmp_path / f"b.{suffix}")
    assert before == after
    assert before["rotation"] == 90
    assert before["chapters"]
    assert [one[0] for one in before["streams"]][:2] == ["video", "audio"]
    for kind in ("audio", "subtitle"):
        packets = packets_of(tmp_path / f"a.{suffix}", kind)
        assert packets == packets_of(tmp_path / f"b.{suffix}", kind)
        assert packets or (kind == "subtitle" and not rich)


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_cover_picture(tmp_path, suffix):
    picture = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(picture, "PNG")
    make_video(tmp_path / "a.mp4", audio="aac")
    with_cover(tmp_path / "a.mp4", picture.getvalue())
    denoise_file(tmp_path / "a.mp4", tmp_path / f"b.{suffix}", OFF)
    denoise_file(tmp_path / f"b.{suffix}", tmp_path / f"c.{suffix}", OFF)
    for name in ("a.mp4", f"b.{suffix}", f"c.{suffix}"):
        with av.open(str(tmp_path / name)) as container:
            covers = [one for one in container.streams if int(one.disposition) & 1024]
            assert len(covers) == 1
            packets = [bytes(one) for one in container.demux(covers[0]) if one.size]
        assert packets == [picture.getvalue()]
        assert len(read_video(tmp_path / name)[0]) == 12


def with_cover(path, data):
    whole = path.with_name("plain.mp4")
    path.rename(whole)
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        copies = [target.add_stream_from_template(one, opaque=True) for one in source.streams]
        cover = target.add_stream("png", 1)
        cover.width = cover.height = 8
        cover.pix_fmt = "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        packet = av.Packet(data)
        packet.stream, packet.time_base = cover, Fraction(1, 90000)
        packet.pts = packet.dts = 0
        target.mux(packet)
        for packet in source.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                target.mux(packet)


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov", "ts"])
@pytest.mark.parametrize("bframes", ["0", "1", "3"])
def test_a_second_video_whose_frames_are_decoded_out_of_order(tmp_path, bframes, suffix):
    make_video(tmp_path / "a.mp4", count=12)
    make_video(
        tmp_path / "b.mp4", clip=noisy(texture(48, 64, 24), 0.02),
        options={"bf": bframes, "x264-params": "b-adapt=0", "g": "12"},
    )  # fmt: skip
    side_by_side(tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "both.mkv")
    result = denoise_file(tmp_path / "both.mkv", tmp_path / f"c.{suffix}", OFF)
    assert (result.status, result.losses) == ("ok", ())
    with av.open(str(tmp_path / "both.mkv")) as source, av.open(result.output) as copy:
        (times, lines), (new_times, new_lines) = (
            zip(
                *[(one.pts * one.time_base, planes_of(one)[0]) for one in file.decode(video=1)],
                strict=True,
            )
            for file in (source, copy)
        )
        assert copy.streams.video[1].average_rate == 25
    early = new_times[0] if suffix == "ts" else 0  # which has no time before 0
    assert [one - early for one in new_times] == list(times)
    assert np.array_equal(lines, new_lines)


def side_by_side(first, second, target):
    with av.open(str(first)) as one, av.open(str(second)) as two, av.open(str(target), "w") as out:
        sources = [one, two]
        copies = [
            out.add_stream_from_template(file.streams.video[0], opaque=True) for file in sources
        ]
        for file, copy in zip(sources, copies, strict=True):
            for packet in file.demux(video=0):
                if packet.size:
                    packet.stream = copy
                    out.mux(packet)


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
def test_pictures_that_come_behind_the_sound(tmp_path, suffix):
    make_video(tmp_path / "a.mkv", audio="aac")
    sound_first(tmp_path / "a.mkv", tmp_path / "b.mkv")
    result = denoise_file(tmp_path / "b.mkv", tmp_path / f"c.{suffix}", OFF)
    assert (result.status, result.frames, result.losses) == ("ok", 12, ())
    assert [one[0] for one in about(result.output)["streams"]] == ["audio", "video"]
    sounds = [packets_of(path, "audio") for path in (tmp_path / "a.mkv", result.output)]
    assert len(sounds[0]) == len(sounds[1])
    early = read_video(result.output)[0][0] if suffix == "ts" else 0
    assert [one - early for one in read_video(result.output)[0]] == read_video(tmp_path / "a.mkv")[
        0
    ]


@pytest.mark.parametrize("options", [{}, {"bf": "0"}])
@pytest.mark.parametrize("suffix", ["mkv", "ts"])
def test_a_second_h264_video_in_avi(tmp_path, suffix, options):
    make_video(tmp_path / "a.mp4", count=12)
    make_video(tmp_path / "b.mp4", clip=noisy(texture(48, 64, 12), 0.02), options=options)
    side_by_side(tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / f"c.{suffix}")
    result = denoise_file(tmp_path / f"c.{suffix}", tmp_path / "d.avi", OFF)
    assert (result.status, result.frames, result.losses) == ("ok", 12, ())
    with av.open(str(tmp_path / "b.mp4")) as source, av.open(result.output) as copy:
        wanted = [planes_of(one)[0] for one in source.decode(video=0)]
        frames = [planes_of(one)[0] for one in copy.decode(video=1)]
        assert copy.streams.video[1].average_rate == 25
    assert np.array_equal(frames, wanted)


@pytest.mark.parametrize(("late", "delay", "told"), [(0, 0, False), (0, 10, False), (20, 0, True)])
def test_sound_and_pictures_that_begin_late_in_avi(tmp_path, late, delay, told):
    """AVI counts from 0 in every stream: it begins where the file does."""
    make_video(tmp_path / "a.mkv", count=30, audio="mp2", codec="mpeg4", options={"bf": "0"})
    shifted(tmp_path / "a.mkv", tmp_path / "b.mkv", {"video": 75 + delay, "audio": 75 + late})
    result = denoise_file(tmp_path / "b.mkv", tmp_path / "c.avi", OFF)
    assert (result.status, result.frames) == ("ok", 30)
    assert any("begins" in loss for loss in result.losses) == told
    times = read_video(tmp_path / "c.avi")[0]
    first, *rest = [time - Fraction(delay, 25) for time in times]
    assert rest == [Fraction(index, 25) for index in range(1, 30)]
    assert first in (0, Fraction(-delay, 25))  # the first picture is shown meanwhile
    sounds = [packets_of(tmp_path / name, "audio") for name in ("a.mkv", "c.avi")]
    assert [one[2] for one in sounds[0]] == [one[2] for one in sounds[1]]


@pytest.mark.parametrize("start", [0, 40000])
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm", "ts", "mpg"])
def test_a_transmission_begins_at_0_elsewhere(tmp_path, suffix, start):
    make_video(tmp_path / "a.mp4", count=30, audio="mp2")
    shifted(tmp_path / "a.mp4", tmp_path / "b.ts", {"video": 25 * start, "audio": 25 * start})
    denoise_file(tmp_path / "b.ts", tmp_path / f"c.{suffix}", OFF)
    before, after = (read_video(tmp_path / name)[0] for name in ("b.ts", f"c.{suffix}"))
    assert before[0] >= start
    step = 0.0011 if suffix in ("mkv", "webm") else 1e-4
    assert [float(one - after[0]) for one in after] == pytest.approx(
        [float(one - before[0]) for one in before], abs=step
    )
    begins = start if suffix in ("ts", "mpg") else 0
    assert begins <= after[0] < begins + (2 if suffix in ("ts", "mpg") else 0.1)
    if suffix != "webm":  # which takes no such sound
        sounds = [packets_of(tmp_path / name, "audio")[0][1] for name in ("b.ts", f"c.{suffix}")]
        early, late = float(sounds[0] - before[0]), float(sounds[1] - after[0])
        assert early == pytest.approx(late, abs=max(step, 0.0011))


@pytest.mark.parametrize("suffix", ["mkv", "ts", "avi", "mp4"])
def test_what_an_edit_list_hides_stays_hidden(tmp_path, suffix):
    make_video(tmp_path / "a.mp4", count=50, audio="aac", options={"bf": "0"})
    shifted(tmp_path / "a.mp4", tmp_path / "b.mp4", {"video": -20, "audio": -20})
    before, sound = (times_of(tmp_path / "b.mp4", kind) for kind in ("video", "audio"))
    assert len(before) == 30
    assert sound[0] < before[0] + Fraction(1, 20)
    denoise_file(tmp_path / "b.mp4", tmp_path / f"c.{suffix}", OFF)
    after, heard = (times_of(tmp_path / f"c.{suffix}", kind) for kind in ("video", "audio"))
    assert len(after) == 30
    assert after[0] - heard[0] < 0.15
    assert heard[-1] - after[0] == pytest.approx(float(sound[-1] - before[0]), abs=0.03)


def shifted(source, target, frames):
    with av.open(str(source)) as one, av.open(str(target), "w") as out:
        copies = [out.add_stream_from_template(stream, opaque=True) for stream in one.streams]
        for packet in one.demux():
            if packet.size:
                shift = round(frames[packet.stream.type] * Fraction(1, 25) / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                packet.stream = copies[packet.stream.index]
                out.mux(packet)


def test_mpeg_program_streams_take_what_is_no_mpeg(tmp_path):
    make_video(tmp_path / "a.mp4", count=6)
    result = denoise_file(tmp_path / "a.mp4", tmp_path / "b.mpg", OFF)
    assert (result.status, result.frames, result.losses) == ("ok", 6, ())


def sound_first(source, target):
    with av.open(str(source)) as one, av.open(str(target), "w") as out:
        order = [one.streams.audio[0], one.streams.video[0]]
        copies = {
            stream.index: out.add_stream_from_template(stream, opaque=True) for stream in order
        }
        for packet in one.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                out.mux(packet)


def test_interlaced_video_with_a_time_code(tmp_path):
    with av.open(str(tmp_path / "a.mov"), "w") as out:
        stream = out.add_stream("libx264", 25, options={"flags": "+ildct+ilme"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.metadata["timecode"] = "01:00:00:00"
        for index, luma in enumerate(texture(48, 64, 5)):
            frame = frame_of(luma, "yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    denoise_file(tmp_path / "a.mov", tmp_path / "b.mov", OFF)
    for name in ("a.mov", "b.mov"):
        with av.open(str(tmp_path / name)) as container:
            assert next(container.decode(video=0)).interlaced_frame
            assert container.streams.video[0].metadata["timecode"] == "01:00:00:00"
            assert [one.type for one in container.streams] == ["video", "data"]


@pytest.mark.parametrize("aspect", [Fraction(4, 3), Fraction(8, 9), Fraction(16, 15)])
@pytest.mark.parametrize("title", [None, "The pictures", "Odd"])
@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("mkv", "ffv1"), ("mkv", "libvpx-vp9"), ("avi", "ffv1"), ("avi", "mpeg2video"),
     ("mkv", "mpeg2video"), ("webm", "libvpx-vp9")],
)  # fmt: skip
def test_shape_of_pixels_where_only_the_container_holds_it(tmp_path, suffix, codec, title, aspect):
    sound = "aac" if suffix == "mkv" else None
    make_video(tmp_path / "a.mp4", aspect=aspect, size=(72, 48), audio=sound, count=3)
    if title:
        retitle(tmp_path / "a.mp4", title)
    told = Settings(sigma=0.0, options=Options(codec=codec))
    first, second = (tmp_path / f"{name}.{suffix}" for name in "bc")
    for source, target in ((tmp_path / "a.mp4", first), (first, second)):
        assert denoise_file(source, target, told).losses == ()
        seen = about(target)
        assert seen["aspect"] == aspect
        assert seen["streams"][0][3].get("title") == title
        assert len(read_video(target)[0]) == 3
        assert len(packets_of(target, "audio")) > 3 or not sound


@pytest.mark.parametrize("title", [None, "Odd", "The pictures"])
@pytest.mark.parametrize("fields", [1, 2])
def test_avi_says_how_many_fields_a_picture_has(tmp_path, fields, title):
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        flags = {"flags": "+ildct+ilme"} if fields == 2 else {}
        stream = out.add_stream("libx264", 25, options=flags)
        stream.width, stream.height, stream.pix_fmt = 72, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(16, 15)
        for index, luma in enumerate(texture(48, 72, 5)):
            frame = frame_of(luma, "yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    if title:
        retitle(tmp_path / "a.mp4", title)
    denoise_file(tmp_path / "a.mp4", tmp_path / "b.avi", OFF)
    data = (tmp_path / "b.avi").read_bytes()
    numbers = struct.unpack_from("<9I", data, data.index(b"vprp") + 8)
    assert numbers[3:5] == (72, 48)
    assert numbers[8] == fields
    heights = struct.unpack_from(f"<{8 * fields}I", data, data.index(b"vprp") + 44)[::8]
    assert heights == (48 // fields,) * fields
    assert about(tmp_path / "b.avi")["aspect"] == Fraction(16, 15)
    assert len(read_video(tmp_path / "b.avi")[0]) == 5


@pytest.mark.parametrize("aspect", [None, Fraction(16, 15)])
@pytest.mark.parametrize(("format", "codec"), [("mkv", "ffv1"), ("webm", "vp9"), ("mp4", "h264")])
def test_shape_of_pixels_through_a_pipe(tmp_path, format, codec, aspect):
    make_video(tmp_path / "a.mkv", aspect=aspect, audio="libopus", font=True, count=30)
    through_a_pipe(tmp_path / "a.mkv", tmp_path / "b", format, codec)
    after = about(tmp_path / "b")
    assert (after["aspect"] or 1) == (aspect or 1)
    assert "title" not in after["streams"][0][3]
    assert len(read_video(tmp_path / "b")[0]) == 30
    assert len(packets_of(tmp_path / "b", "audio")) == len(packets_of(tmp_path / "a.mkv", "audio"))


@pytest.mark.parametrize("format", ["mp4", "mov"])
def test_times_through_a_pipe(tmp_path, format):
    """Pictures and sound begin together, though the first picture is decoded before time 0."""
    make_video(tmp_path / "a.mp4", audio="aac", options={"bf": "3"}, count=30)
    through_a_pipe(tmp_path / "a.mp4", tmp_path / "b", format)
    for kind in ("video", "audio"):
        before, after = (times_of(tmp_path / name, kind) for name in ("a.mp4", "b"))
        assert before == after


def times_of(path, kind):
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(**{kind: 0})]


def through_a_pipe(source, target, format, codec=None):
    pipe = io.BytesIO()
    pipe.name = "pipe"
    told = Settings(sigma=0.0, options=Options(codec=codec), format=format)
    denoise_file(source, pipe, told)
    target.write_bytes(pipe.getvalue())


@pytest.mark.parametrize(
    ("name", "size", "told"),
    [("b.mpg", (72, 48), True), ("b.ts", (72, 48), True), ("b.mpg", (80, 64), False),
     ("b.mkv", (72, 48), False)],
)  # fmt: skip
def test_shapes_of_pixels_that_mpeg2_does_not_know_are_told(tmp_path, name, size, told):
    make_video(tmp_path / "a.mp4", aspect=Fraction(16, 15), size=size, count=3)
    options = Options(codec="mpeg2video")
    result = denoise_file(tmp_path / "a.mp4", tmp_path / name, Settings(sigma=0.0, options=options))
    assert result.losses == (("pixels of the shape 16:15",) if told else ())
    assert (about(tmp_path / name)["aspect"] == Fraction(16, 15)) is not told


def retitle(path, title):
    whole = path.with_name("untitled.mp4")
    path.rename(whole)
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        copies = []
        for stream in source.streams:
            copies.append(target.add_stream_from_template(stream, opaque=True))
        copies[0].metadata["title"] = title
        for packet in source.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                target.mux(packet)


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
@pytest.mark.parametrize(
    ("source", "before", "after"),
    [("a.mp4", "hvc1", "hvc1"), ("a.mp4", "hev1", "hev1"), ("a.mkv", None, "hvc1"),
     ("a.ts", None, "hvc1")],
)  # fmt: skip
def test_hevc_is_called_what_players_know(tmp_path, source, before, after, suffix):
    quiet = {"x265-params": "log-level=error"}
    make_video(tmp_path / source, codec="libx265", tag=before, options=quiet, count=4)
    make_video(tmp_path / "h264.mp4", count=4)
    side_by_side(tmp_path / "h264.mp4", tmp_path / source, tmp_path / "both.mkv")
    denoise_file(tmp_path / source, tmp_path / f"b.{suffix}", OFF)
    denoise_file(tmp_path / "both.mkv", tmp_path / f"c.{suffix}", OFF)
    told = Settings(sigma=0.0, options=Options(codec="hevc"))
    denoise_file(tmp_path / "h264.mp4", tmp_path / f"d.{suffix}", told)
    names = [codec_tags(tmp_path / f"{name}.{suffix}") for name in "bcd"]
    assert names == [[after], ["avc1", "hvc1"], ["hvc1"]]
    assert len(read_video(tmp_path / f"b.{suffix}")[0]) == 4


def codec_tags(path):
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert context.extradata  # where players of hvc1 look for the parameters
        return [one.codec_context.codec_tag for one in container.streams.video]


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
def test_variable_frame_rate(tmp_path, suffix):
    unit = Fraction(1, 90000)
    stamps = [0, 3600, 5400, 18000, 18090, 27000, 90000, 99000]
    make_video(tmp_path / f"a.{suffix}", count=8, stamps=stamps, unit=unit)
    denoise_file(tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}", OFF)
    before, _, _ = read_video(tmp_path / f"a.{suffix}")
    after, _, _ = read_video(tmp_path / f"b.{suffix}")
    assert before == after
    assert len(set(np.diff([float(one) for one in before]).round(3))) > 3


@pytest.mark.parametrize(
    ("suffix", "rate", "exact", "told"),
    [("avi", 50, True, False), ("avi", 1000, False, True), ("y4m", 50, False, True),
     ("mpg", 50, False, True)],
)  # fmt: skip
def test_variable_frame_rate_where_rates_are_fixed(tmp_path, suffix, rate, exact, told):
    counts = [0, 2, 4, 7, 9, 10, 14, 16, 18, 19, 25, 27]
    stamps = [count * 20 + (index % 7 if rate == 1000 else 0) for index, count in enumerate(counts)]
    unit = Fraction(1, 1000)
    make_video(tmp_path / "a.mp4", stamps=stamps, unit=unit, count=12)
    codec = "mpeg4" if suffix == "avi" else None  # whose frames are decoded in order
    told_so = Settings(sigma=0.0, options=Options(codec=codec))
    result = denoise_file(tmp_path / "a.mp4", tmp_path / f"b.{suffix}", told_so)
    assert (result.status, result.frames) == ("ok", 12)
    assert any("the times of frames" in loss for loss in result.losses) == told
    before, after = (read_video(tmp_path / name)[0] for name in ("a.mp4", f"b.{suffix}"))
    assert len(after) == 12
    off = max(abs(one - other - after[0]) for one, other in zip(after, before, strict=True))
    assert (off < 1e-4) == exact


@pytest.mark.parametrize("suffix", ["avi", "y4m", "mpg"])
def test_usual_rates_are_no_variable_ones(tmp_path, suffix):
    for rate in (Fraction(24000, 1001), Fraction(25), Fraction(10), Fraction(30), Fraction(60)):
        unit = 1 / rate
        make_video(tmp_path / "a.mkv", codec="mpeg4", stamps=list(range(10)), unit=unit, count=10)
        result = denoise_file(tmp_path / "a.mkv", tmp_path / f"b.{suffix}", OFF, force=True)
        assert (result.status, result.losses) == ("ok", ())


@pytest.mark.parametrize("last", [10, 40, 700])
@pytest.mark.parametrize(
    ("suffix", "codec", "pixels"),
    [("mp4", "libx264", "yuv420p"), ("mp4", "mpeg4", "yuv420p"), ("mov", "libx264", "yuv420p"),
     ("mov", "prores_ks", "yuv422p10le"), ("mkv", "libx264", "yuv420p"), ("mkv", "ffv1", "gray")],
)  # fmt: skip
def test_the_last_frame_is_shown_as_long_as_before(tmp_path, suffix, codec, pixels, last):
    milliseconds = [0, 40, 120, 240, 360, 400, 520, 640]
    source, target, part = (tmp_path / f"{name}.{suffix}" for name in "abc")
    unit = Fraction(1, 1000)
    make_video(
        source, codec=codec, pixels=pixels, stamps=milliseconds, unit=unit, last=last, count=8,
    )  # fmt: skip
    denoise_file(source, target, OFF)
    assert seconds(source) == seconds(target) == pytest.approx(0.64 + last / 1000)
    denoise_file(source, part, Settings(sigma=0.0, span=Span(first=2, last=6)))
    assert seconds(part) == pytest.approx(0.52 - 0.12)


def seconds(path):
    """How long a file says it is; libav makes MP4 longer or shorter by its order of decoding."""
    if path.suffix in (".mp4", ".mov"):
        _, _, head = path.read_bytes().partition(b"mvhd")
        unit, length = struct.unpack_from(">2I", head, 12)
        return length / unit
    with av.open(str(path)) as container:
        return container.duration / av.time_base


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_the_last_picture_of_an_animation_is_shown_as_long_as_before(tmp_path, suffix):
    pages = [Image.fromarray(np.full((32, 32), level, np.uint8)) for level in (0, 99, 200)]
    pages[0].save(
        tmp_path / "a.gif", save_all=True, append_images=pages[1:], duration=[100, 60, 500]
    )
    denoise_file(tmp_path / "a.gif", tmp_path / f"b.{suffix}", OFF)
    assert seconds(tmp_path / f"b.{suffix}") == pytest.approx(0.66)


def test_hdr_metadata_reaches_the_new_file(tmp_path):
    display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    told = f"log-level=error:hdr10=1:master-display={display}:max-cll=1000,400"
    make_video(
        tmp_path / "a.mkv", codec="libx265", pixels="yuv420p10le", colours=(1, 9, 16, 9),
        options={"x265-params": told},
    )  # fmt: skip
    denoise_file(tmp_path / "a.mkv", tmp_path / "b.mkv", OFF)
    denoise_file(
        tmp_path / "a.mkv", tmp_path / "c.mkv", Settings(sigma=0.0, options=Options(codec="h264"))
    )
    wanted = hdr(tmp_path / "a.mkv")
    assert None not in wanted
    assert wanted == hdr(tmp_path / "b.mkv") == hdr(tmp_path / "c.mkv")


@pytest.mark.parametrize(
    ("codec", "name"), [("ffv1", "b.mkv"), ("prores", "b.mov"), ("vp9", "b.webm")]
)
def test_hdr_metadata_that_is_lost_is_told(tmp_path, codec, name):
    for light, words in (("", "mastering display of"), (":max-cll=1000,400", "and content light")):
        display = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
        told = f"log-level=error:hdr10=1:master-display={display}{light}"
        make_video(
            tmp_path / "a.mkv", codec="libx265", pixels="yuv420p10le", count=2,
            options={"x265-params": told},
        )  # fmt: skip
        settings = Settings(sigma=0.0, options=Options(codec=codec))
        result = denoise_file(tmp_path / "a.mkv", tmp_path / name, settings, force=True)
        assert hdr(tmp_path / name) == [None, None]
        assert [words in loss for loss in result.losses if "HDR10" in loss] == [True]


def hdr(path):
    with av.open(str(path)) as container:
        data = next(container.decode(video=0)).side_data
        kinds = (Type.MASTERING_DISPLAY_METADATA, Type.CONTENT_LIGHT_LEVEL)
        return [
            None if data.get(kind) is None else fractions(bytes(data.get(kind))) for kind in kinds
        ]


def fractions(data):
    numbers = np.frombuffer(data, np.int32).tolist()
    if len(numbers) < 20:
        return numbers
    return [a / b for a, b in zip(numbers[:20:2], numbers[1:20:2], strict=True)]


@pytest.mark.parametrize("size", [(65, 49), (64, 49), (65, 48)])
@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "ffv1"), ("a.webm", "libvpx-vp9")])
def test_odd_sizes_stay(tmp_path, size, name, codec):
    make_video(tmp_path / name, codec=codec, size=size, count=3)
    denoise_file(tmp_path / name, tmp_path / f"b_{name}", OFF)
    assert about(tmp_path / f"b_{name}")["size"] == size
    result = denoise_file(
        tmp_path / name, tmp_path / "c.mp4", Settings(sigma=0.0, options=Options(codec="h264"))
    )
    assert about(tmp_path / "c.mp4")["size"] == size
    assert result.losses == ()  # 4:4:4 holds the same chroma
    _, frames, _ = read_video(tmp_path / name)
    _, copies, _ = read_video(tmp_path / "c.mp4")
    full = copies[0][1]  # of the same size as luma along odd axes, at least
    rows, columns = (round(size[1] / full.shape[0]), round(size[0] / full.shape[1]))
    chroma = full[:: 2 // rows, :: 2 // columns].astype(int)
    assert np.abs(chroma - frames[0][1]).mean() < 2


class TestTransparencyBesideThePictures:
    """That of VP8 and VP9, which the usual decoders pass over."""

    @pytest.mark.parametrize("suffix", ["webm", "mkv"])
    @pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
    def test_it_stays(self, tmp_path, codec, suffix):
        source, target = tmp_path / "a.webm", tmp_path / f"b.{suffix}"
        make_transparent(source, codec)
        result = denoise_file(source, target, OFF)
        assert (result.status, result.frames, result.losses) == ("ok", 6, ())
        before, after = transparency_of(source), transparency_of(target)
        assert before.shape == after.shape == (6, 48, 64)
        assert np.abs(before.astype(int) - after).mean() < 1
        assert about(source)["streams"][0][1] == about(target)["streams"][0][1]

    def test_of_a_part(self, tmp_path):
        make_transparent(tmp_path / "a.webm", "libvpx-vp9")
        with open_reader(tmp_path / "a.webm", span=Span(start=0.08, end=0.16)) as reader:
            assert reader.info.alpha
            assert [frame.alpha.shape for frame in reader] == [(48, 64)] * 2

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("b.mov", Options(codec="h264")),
            ("b.mp4", Options(codec="vp9")),
            ("b.mkv", Options(codec="h264")),
        ],
    )
    def test_where_it_cannot_stay_that_is_told(self, tmp_path, name, options):
        make_transparent(tmp_path / "a.webm", "libvpx-vp9")
        told = Settings(sigma=0.0, options=options)
        result = denoise_file(tmp_path / "a.webm", tmp_path / name, told)
        assert "transparency" in result.losses
        assert "alpha_mode" not in {key.lower() for key in about(tmp_path / name)["streams"][0][3]}

    @pytest.mark.parametrize("codec", [None, "prores"])
    @pytest.mark.parametrize("size", [(64, 48), (65, 49)])
    def test_quicktime_takes_it(self, tmp_path, codec, size):
        make_transparent(tmp_path / "a.webm", "libvpx-vp9", size=size)
        told = Settings(sigma=0.0, options=Options(codec=codec))
        result = denoise_file(tmp_path / "a.webm", tmp_path / "b.mov", told)
        assert result.losses == ()
        (_, frames, pixels), before = (
            read_video(tmp_path / "b.mov"),
            transparency_of(tmp_path / "a.webm"),
        )
        full = 2 ** max(one.bits for one in av.VideoFormat(pixels, 64, 64).components) - 1
        after = np.stack([planes[3] for planes in frames])[:, :, : size[0]] * (255 / full)
        assert np.abs(before - after).mean() < 1

    @pytest.mark.parametrize(
        ("name", "told"), [("b.mp4", True), ("b.mkv", False), ("b.avi", False)]
    )
    def test_a_codec_that_few_know_is_told(self, tmp_path, name, told):
        make_transparent(tmp_path / "a.webm", "libvpx-vp9")
        result = denoise_file(tmp_path / "a.webm", tmp_path / name, OFF)
        assert any("ffv1" in loss and ".mov" in loss for loss in result.losses) == told
        assert denoise_file(tmp_path / name, tmp_path / f"c{name}", OFF).losses == ()

    def test_where_no_decoder_reads_it_that_is_told(self, tmp_path, monkeypatch):
        from nlm.io.video import reader

        make_transparent(tmp_path / "a.webm", "libvpx-vp9")
        monkeypatch.setattr(reader, "decoder_with_alpha", lambda stream: None)
        result = denoise_file(tmp_path / "a.webm", tmp_path / "b.webm", OFF)
        assert any("transparency" in loss for loss in result.losses)
        assert "alpha_mode" not in about(tmp_path / "b.webm")["streams"][0][3]

    @pytest.mark.parametrize("pixels", ["yuva444p", "yuva422p", "yuva420p", "gbrap10le"])
    @pytest.mark.parametrize("suffix", ["webm", "mp4"])
    def test_from_another_codec(self, tmp_path, suffix, pixels):
        make_video(tmp_path / "a.mkv", codec="ffv1", pixels=pixels, count=3)
        result = denoise_file(tmp_path / "a.mkv", tmp_path / f"b.{suffix}", OFF)
        assert result.status == "ok"
        if suffix == "webm" and "transparency" not in result.losses:
            assert transparency_of(tmp_path / "b.webm").shape == (3, 48, 64)

    def test_frames_without_it_are_opaque(self, tmp_path):
        make_transparent(tmp_path / "a.webm", "libvpx-vp9")
        with (
            av.open(str(tmp_path / "a.webm")) as source,
            av.open(str(tmp_path / "b.webm"), "w") as out,
        ):
            copy = out.add_stream("libvpx-vp9", 25)
            copy.width, copy.height, copy.pix_fmt = 64, 48, "yuva420p"
            for packet in source.demux(video=0):
                if packet.size:
                    bare = av.Packet(bytes(packet))
                    bare.pts, bare.dts, bare.time_base = packet.pts, packet.dts, packet.time_base
                    bare.stream, bare.is_keyframe = copy, packet.is_keyframe
                    out.mux(bare)
        assert about(tmp_path / "b.webm")["streams"][0][3]["alpha_mode"] == "1"
        with open_reader(tmp_path / "b.webm") as reader:
            assert reader.info.alpha
            assert all((frame.alpha == 255).all() for frame in reader)


class TestNoise:
    @pytest.mark.parametrize("pixels", ["yuv420p", "gray10le", "gbrp10le"])
    def test_noise_is_found_and_taken_away(self, tmp_path, pixels):
        clean = texture(96, 128, 6, step=0)
        clip = noisy(clean, 15 / 255)
        make_video(tmp_path / "a.mkv", codec="ffv1", pixels=pixels, clip=clip, size=(128, 96))
        result = denoise_file(tmp_path / "a.mkv", tmp_path / "b.mkv")
        assert result.sigma == pytest.approx(15, rel=0.25)
        assert (result.status, result.frames, result.height) == ("ok", 6, 96)
        if pixels == "yuv420p":  # chroma has no noise
            assert result.sigma_channels[1] < 3
        before, after = (read_video(tmp_path / name)[1] for name in ("a.mkv", "b.mkv"))
        full = 255 if "10" not in pixels else 1023
        wanted = clean[3, :, :, 0] * full
        noise, rest = (np.std(frames[3][0] - wanted) for frames in (before, after))
        assert rest < 0.6 * noise

    def test_sigma_counts_code_values_of_8_bits_whatever_the_depth(self, tmp_path):
        clip = noisy(texture(64, 64, 2, step=0), 20 / 255)
        make_video(tmp_path / "a.mkv", codec="ffv1", pixels="gray", clip=clip, size=(64, 64))
        make_video(tmp_path / "b.mkv", codec="ffv1", pixels="gray12le", clip=clip, size=(64, 64))
        done = []
        for name, full in (("a", 255), ("b", 4095)):
            target = tmp_path / f"{name}_out.mkv"
            denoise_file(tmp_path / f"{name}.mkv", target, Settings(sigma=20 / 255))
            done.append(read_video(target)[1][0][0] / full)
        assert np.abs(done[0] - done[1]).mean() < 1 / 255

    def test_one_level_for_each_scene(self, tmp_path):
        quiet = noisy(texture(64, 96, 8), 5 / 255)
        loud = noisy(np.swapaxes(texture(96, 64, 8), 1, 2)[:, ::-1] ** 3, 25 / 255)
        clip = np.concatenate([quiet, loud])
        make_video(tmp_path / "a.mkv", codec="ffv1", pixels="gray", clip=clip, size=(96, 64))
        result = denoise_file(tmp_path / "a.mkv", tmp_path / "b.mkv")
        assert result.sigma == pytest.approx(15, rel=0.25)  # the mean of the two

    def test_transparent_and_opaque_alpha(self, tmp_path):
        make_video(tmp_path / "a.mkv", codec="ffv1", pixels="yuva420p", count=2)
        denoise_file(tmp_path / "a.mkv", tmp_path / "b.mkv", Settings(sigma=20 / 255))
        before, after = (read_video(tmp_path / name)[1] for name in ("a.mkv", "b.mkv"))
        assert np.array_equal(before[0][3], after[0][3])
        assert not np.array_equal(before[0][0], after[0][0])

    def test_growing_noise_is_refused_for_yuv(self, tmp_path):
        make_video(tmp_path / "a.mkv", count=2)
        with pytest.raises(nlm.FileError, match="Gaussian"):
            denoise_file(
                tmp_path / "a.mkv", tmp_path / "b.mkv", Settings(noise_model="poisson-gaussian")
            )
        assert not (tmp_path / "b.mkv").exists()


class TestDamage:
    def cut(self, source, target, share):
        data = source.read_bytes()
        target.write_bytes(data[: int(len(data) * share)])

    def test_truncated_mp4_with_its_index_at_the_end(self, tmp_path):
        make_video(tmp_path / "a.mp4")
        self.cut(tmp_path / "a.mp4", tmp_path / "b.mp4", 0.6)
        with pytest.raises(nlm.FileError, match=r"b\.mp4.*cut short.*get a fresh copy"):
            denoise_file(tmp_path / "b.mp4", tmp_path / "c.mp4", OFF)
        assert not (tmp_path / "c.mp4").exists()

    @pytest.mark.parametrize(
        ("name", "options"), [("a.mkv", {}), ("a.mp4", {"movflags": "faststart"}), ("a.avi", {})]
    )
    def test_truncated_files_give_what_they_have(self, tmp_path, name, options):
        noise = noisy(texture(48, 64, 40), 0.1)
        with_index = tmp_path / name
        make_video(with_index, clip=noise, codec="mpeg4" if name == "a.avi" else "libx264")
        if options:
            remux(with_index, options)
        self.cut(with_index, tmp_path / f"cut_{name}", 0.6)
        result = denoise_file(tmp_path / f"cut_{name}", tmp_path / f"out_{name}", OFF)
        times, _, _ = read_video(tmp_path / f"out_{name}")
        assert result.status == "failed"
        assert 5 < len(times) == result.frames < 40
        assert f"{result.frames} of 40 frames" in result.error
        assert "cut short" in result.error

    @pytest.mark.parametrize("codec", ["libx264", "flv"])
    @pytest.mark.parametrize("audio", [None, "aac"])
    def test_truncated_flv_gives_all_whole_frames(self, tmp_path, codec, audio):
        clip = noisy(texture(48, 64, 40), 0.1)
        make_video(tmp_path / "a.flv", codec=codec, clip=clip, audio=audio)
        with open_reader(tmp_path / "a.flv") as reader:
            assert sum(1 for _ in reader) == 40
            assert reader.damage == ""
        with av.open(str(tmp_path / "a.flv")) as container:
            starts = [one.pos for one in container.demux(video=0) if one.size]
        data = (tmp_path / "a.flv").read_bytes()
        for whole in (24, 30):
            (tmp_path / "b.flv").write_bytes(data[: starts[whole] + 40])
            with av.open(str(tmp_path / "b.flv")) as container:
                container.streams.video[0].thread_count = 1
                packets = [one for one in container.demux(video=0) if one.size][:whole]
                decoder = container.streams.video[0].codec_context
                wanted = sum(len(decoder.decode(one)) for one in [*packets, None])
            with open_reader(tmp_path / "b.flv") as reader:
                assert sum(1 for _ in reader) == wanted >= whole - 1
                assert "it is cut short" in reader.damage

    def test_of_damaged_hevc_all_is_read_that_can_be(self, tmp_path):
        quiet = {"x265-params": "log-level=error", "g": "250"}
        clip = noisy(texture(96, 128, 40), 0.1)
        make_video(tmp_path / "a.mkv", codec="libx265", clip=clip, size=(128, 96), options=quiet)
        data = bytearray((tmp_path / "a.mkv").read_bytes())
        with av.open(str(tmp_path / "a.mkv")) as container:
            packet = [bytes(one) for one in container.demux(video=0) if one.size][12]
        at = data.index(packet)
        data[at : at + 16] = bytes(16)
        (tmp_path / "b.mkv").write_bytes(data)
        with open_reader(tmp_path / "b.mkv") as reader:
            assert sum(1 for _ in reader) >= 38
            assert "are damaged" in reader.damage

    @pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video"])
    def test_what_is_missing_in_a_transport_stream_is_told(self, tmp_path, codec):
        clip = noisy(texture(48, 64, 60), 0.1)
        options = {"x265-params": "log-level=error"} if codec == "libx265" else {}
        make_video(tmp_path / "a.ts", codec=codec, clip=clip, options={**options, "g": "6"})
        data = (tmp_path / "a.ts").read_bytes()
        packets, told = len(data) // 188, []
        for lost in (packets // 4, packets // 4 + 1):  # one in 16 numbers goes on by chance
            at = packets // 3 * 188
            (tmp_path / "b.ts").write_bytes(data[:at] + data[at + lost * 188 :])
            with open_reader(tmp_path / "b.ts") as reader:
                assert 20 < sum(1 for _ in reader) < 60
                told.append(reader.damage)
        assert all(told)
        assert any("something is missing" in one for one in told)

    def test_corrupt_transport_stream(self, tmp_path):
        make_video(tmp_path / "a.ts", clip=noisy(texture(48, 64, 40), 0.1), audio="mp2")
        data = bytearray((tmp_path / "a.ts").read_bytes())
        rng = np.random.default_rng(0)
        for at in rng.integers(len(data) // 4, len(data) * 3 // 4, 40):
            data[at : at + 30] = rng.integers(0, 256, 30, np.uint8).tobytes()
        (tmp_path / "b.ts").write_bytes(data)
        result = denoise_file(tmp_path / "b.ts", tmp_path / "c.ts", OFF)
        assert result.status == "failed"
        assert "damaged" in result.error
        assert len(read_video(tmp_path / "c.ts")[0]) == result.frames > 20

    @pytest.mark.parametrize(
        ("name", "codec", "options"),
        [
            ("a.mkv", "ffv1", {"level": "3", "slicecrc": "1", "slices": "4"}),
            ("a.avi", "mjpeg", {}),
            ("a.mp4", "libx264", {}),
        ],
        ids=["ffv1", "mjpeg", "h264"],
    )
    def test_damage_that_the_decoder_patches_over_is_told(self, tmp_path, name, codec, options):
        pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        clip = noisy(texture(96, 128, 20), 0.1)
        make_video(
            tmp_path / name, codec=codec, options=options, clip=clip, pixels=pixels, size=(128, 96)
        )
        (tmp_path / f"b_{name}").write_bytes(with_flaws((tmp_path / name).read_bytes()))
        result = denoise_file(tmp_path / f"b_{name}", tmp_path / f"c_{name}", OFF)
        assert result.status == "failed"
        assert "is damaged" in result.error
        assert len(read_video(tmp_path / f"c_{name}")[0]) == result.frames > 15

    def test_of_damaged_av1_all_is_read_that_can_be(self, tmp_path):
        clip = noisy(texture(128, 128, 25), 0.1)
        make_video(tmp_path / "a.mkv", codec="libsvtav1", clip=clip, size=(128, 128))
        data = bytearray((tmp_path / "a.mkv").read_bytes())
        with av.open(str(tmp_path / "a.mkv")) as container:
            packets = [one for one in container.demux(video=0) if one.size]
        for packet in packets[5::6]:
            at = data.index(bytes(packet))
            data[at + 2 : at + packet.size] = bytes(packet.size - 2)
        (tmp_path / "b.mkv").write_bytes(data)
        readable = lost = 0
        with av.open(str(tmp_path / "b.mkv")) as container:
            container.streams.video[0].codec_context.thread_count = 1
            for packet in container.demux(video=0):
                try:
                    readable += len(packet.decode())
                except av.FFmpegError:
                    lost += 1
        result = denoise_file(tmp_path / "b.mkv", tmp_path / "c.mkv", OFF)
        assert lost > 0
        assert result.frames == readable > 0
        assert f"{lost} packets could not be decoded" in result.error

    @pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video"])
    def test_a_recording_that_begins_anywhere_is_whole(self, tmp_path, codec):
        clip = noisy(texture(48, 64, 40), 0.1)
        options = {"x265-params": "log-level=error"} if codec == "libx265" else {}
        make_video(tmp_path / "a.ts", codec=codec, clip=clip, options={**options, "g": "12"})
        data = (tmp_path / "a.ts").read_bytes()
        (tmp_path / "b.ts").write_bytes(data[len(data) // 188 // 3 * 188 :])
        with open_reader(tmp_path / "b.ts") as reader:
            assert 5 < sum(1 for _ in reader) < 40
            assert reader.damage == ""

    def test_damaged_files_can_be_left_at_any_time(self, tmp_path):
        """Threads that complain of damage hold up nobody."""
        make_video(tmp_path / "a.mkv", clip=noisy(texture(96, 128, 40), 0.1), size=(128, 96))
        (tmp_path / "b.mkv").write_bytes(with_flaws((tmp_path / "a.mkv").read_bytes(), 20))
        code = f"""
import gc
from nlm.io import Span, open_reader
for last in range(1, 31):
    with open_reader({str(tmp_path / "b.mkv")!r}, span=Span(last=last)) as reader:
        for _ in reader: pass
    with open_reader({str(tmp_path / "b.mkv")!r}) as reader:
        for count, _ in enumerate(reader):
            if count == last: break
    del reader
    gc.collect()
"""
        subprocess.run([sys.executable, "-c", code], check=True, timeout=100)

    @pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p", "gray"])
    @pytest.mark.parametrize("piped", [False, True])
    def test_y4m_that_ends_within_a_frame(self, tmp_path, pixels, piped):
        make_video(tmp_path / "a.y4m", codec="rawvideo", pixels=pixels, count=4)
        data = (tmp_path / "a.y4m").read_bytes()
        starts = [at for at in range(len(data)) if data.startswith(b"FRAME\n", at)]
        starts.append(len(data))
        for whole in range(1, 5):
            for more in (0, 1, 5, 6, 7, 500):
                part = data[: starts[whole] + more]
                if more and whole == 4:
                    part = data + bytes(more)
                source = Piped(part) if piped else io.BytesIO(part)
                with open_reader(source) as reader:
                    assert sum(1 for _ in reader) == whole
                    assert ("cut short" in reader.damage) == (more > 0)

    def test_y4m_whose_frames_tell_more(self, tmp_path):
        make_video(tmp_path / "a.y4m", codec="rawvideo", count=4)
        data = (tmp_path / "a.y4m").read_bytes().replace(b"FRAME\n", b"FRAME Ip\n")
        with open_reader(io.BytesIO(data)) as reader:
            assert sum(1 for _ in reader) == 4
            assert reader.damage == ""

    def test_whole_files_are_not_called_damaged(self, tmp_path):
        for name in ("a.mkv", "a.mp4", "a.ts", "a.webm", "a.mov"):
            codec = "libvpx-vp9" if name == "a.webm" else "libx264"
            make_video(tmp_path / name, codec=codec, audio="libopus" if name != "a.mov" else "aac")
            with open_reader(tmp_path / name) as reader:
                assert sum(1 for _ in reader) == 12
                assert reader.damage == ""

    def test_sound_only(self, tmp_path):
        with av.open(str(tmp_path / "a.mp4"), "w") as out:
            sound = out.add_stream("aac", 48000)
            sound.layout = "mono"
            out.mux(sound.encode(silence()))
            out.mux(sound.encode(None))
        with pytest.raises(nlm.FileError, match="has no pictures, only audio"):
            denoise_file(tmp_path / "a.mp4", tmp_path / "b.mp4", OFF)

    def test_nothing_and_nonsense(self, tmp_path):
        (tmp_path / "empty.mp4").write_bytes(b"")
        (tmp_path / "text.mkv").write_bytes(b"once upon a time " * 50)
        for name, words in (
            ("empty.mp4", "is empty.* copy of the file"),
            ("text.mkv", "cannot be read as Matroska"),
        ):
            with pytest.raises(nlm.FileError, match=words):
                denoise_file(tmp_path / name, tmp_path / "out.mkv", OFF)

    @pytest.mark.parametrize("suffix", ["nut", "mxf", "ogv", "dv"])
    def test_containers_that_are_not_read_have_named_others(self, tmp_path, suffix):
        (tmp_path / f"a.{suffix}").write_bytes(b"\x06\x0e\x2b\x34 no picture" * 20)
        with pytest.raises(nlm.FileError, match="MP4, QuickTime, Matroska"):
            denoise_file(tmp_path / f"a.{suffix}", tmp_path / "b.mkv", OFF)

    def test_wrong_suffix(self, tmp_path):
        make_video(tmp_path / "a.mkv")
        (tmp_path / "a.mkv").rename(tmp_path / "b.mp4")
        result = denoise_file(tmp_path / "b.mp4", tmp_path / "c.mp4", OFF)
        assert (result.status, result.frames) == ("ok", 12)
        with av.open(str(tmp_path / "c.mp4")) as container:
            assert "mp4" in container.format.name

    def test_one_single_frame(self, tmp_path):
        make_video(tmp_path / "a.mp4", count=1, audio="aac")
        result = denoise_file(tmp_path / "a.mp4", tmp_path / "b.mp4")
        assert (result.status, result.frames) == ("ok", 1)

    def test_change_of_resolution(self, tmp_path):
        make_video(tmp_path / "a.ts", size=(64, 48), count=10)
        make_video(tmp_path / "b.ts", size=(96, 64), count=10)
        both = (tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes()
        (tmp_path / "c.ts").write_bytes(both)
        with pytest.raises(nlm.FileError, match=r"64 x 48 to 96 x 64 at frame 10.*--frames :10"):
            denoise_file(tmp_path / "c.ts", tmp_path / "d.ts", OFF)
        assert not (tmp_path / "d.ts").exists()
        result = denoise_file(
            tmp_path / "c.ts", tmp_path / "d.ts", Settings(sigma=0.0, span=Span(last=10))
        )
        assert result.frames == 10


def with_flaws(data, count=40):
    """Some stretches in the middle made others."""
    changed = bytearray(data)
    rng = np.random.default_rng(0)
    for at in rng.integers(len(data) // 3, len(data) * 2 // 3, count):
        changed[at : at + 20] = rng.integers(0, 256, 20, np.uint8).tobytes()
    return bytes(changed)


class Piped(io.BytesIO):
    """Bytes that come one after the other."""

    def seekable(self):
        return False


def silence():
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
    frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
    return frame


def remux(path, options):
    whole = path.with_name("whole" + path.suffix)
    path.rename(whole)
    with (
        av.open(str(whole)) as source,
        av.open(str(path), "w", container_options=options) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)


class TestThreads:
    """Reading, filtering, the way back and writing go on side by side."""

    @pytest.fixture
    def source(self, tmp_path):
        make_video(tmp_path / "a.mkv", codec="ffv1", count=24)
        return tmp_path / "a.mkv"

    @pytest.mark.parametrize("number", [1, 13, 24])
    @pytest.mark.parametrize("step", ["visible_pixels", "thumbnail", "restored", "write"])
    def test_an_error_in_any_comes_out_and_nothing_stays(self, source, monkeypatch, step, number):
        from nlm import clip_files
        from nlm.io.video import writer

        owner = writer.VideoWriter if step == "write" else clip_files
        real, calls = getattr(owner, step), 0

        def fail_once(*given):
            nonlocal calls
            calls += 1
            if calls == number:
                raise ValueError(f"{step} is broken")
            return real(*given)

        monkeypatch.setattr(owner, step, fail_once)
        before = sys.getswitchinterval()
        with pytest.raises(ValueError, match=f"{step} is broken"):
            denoise_file(source, source.with_name("b.mkv"), Settings(sigma=10.0))
        assert [path.name for path in source.parent.iterdir()] == ["a.mkv"]
        assert not [one for one in threading.enumerate() if one.name.startswith("nlm-")]
        assert sys.getswitchinterval() == before

    def test_frames_come_in_order_however_slow_writing_is(self, source, monkeypatch):
        from nlm.io.video import writer

        usual = Settings(sigma=10.0, options=Options(codec="ffv1"))
        denoise_file(source, source.with_name("b.mkv"), usual)
        real = writer.VideoWriter.write

        def slowly(*given):
            time.sleep(0.02)
            real(*given)

        monkeypatch.setattr(writer.VideoWriter, "write", slowly)
        denoise_file(source, source.with_name("c.mkv"), usual)
        fast, slow = (lumas(source.with_name(name)) for name in ("b.mkv", "c.mkv"))
        assert np.array_equal(fast, slow)


class TestParts:
    @pytest.fixture
    def clip(self, tmp_path):
        make_video(
            tmp_path / "a.mkv", count=100, size=(32, 32), audio="flac", chapters=True,
            codec="ffv1", pixels="gray",
        )  # fmt: skip
        return tmp_path / "a.mkv"

    @pytest.mark.parametrize(
        ("span", "first", "count"),
        [
            (Span(first=10, last=20), 10, 10),
            (Span(first=90), 90, 10),
            (Span(last=7), 0, 7),
            (Span(start=1.0, end=2.0), 25, 25),
            (Span(start=3.2), 80, 20),
        ],
    )
    def test_frames_and_sound_of_a_part(self, clip, tmp_path, span, first, count):
        result = denoise_file(clip, tmp_path / "b.mkv", Settings(sigma=0.0, span=span))
        assert (result.status, result.frames) == ("ok", count)
        with open_reader(clip, span=span) as reader:
            assert reader.info.frames == pytest.approx(count, abs=2)  # an estimate
        times, frames, _ = read_video(tmp_path / "b.mkv")
        _, all_frames, _ = read_video(clip)
        assert times[0] == 0
        assert len(frames) == count
        for new, old in zip(frames, all_frames[first : first + count], strict=True):
            assert np.array_equal(new[0], old[0])
        sound = packets_of(tmp_path / "b.mkv", "audio")
        assert -0.1 < sound[0][1] < 0.1
        assert sound[-1][1] == pytest.approx(count / 25, abs=0.15)

    @pytest.mark.parametrize("suffix", ["mkv", "mp4"])
    @pytest.mark.parametrize(
        ("span", "chapters", "subtitle"),
        [
            (Span(first=1, last=4), [(0, 120)], (0, 120)),
            (Span(last=5), [(0, 200)], (40, 160)),
            (Span(first=3, last=8), [(0, 80), (80, 200)], (0, 120)),
            (Span(first=7), [(0, 200)], None),
            (Span(start=0.08, end=0.2), [(0, 120)], (0, 120)),
            (Span(start=0.08, end=9), [(0, 120), (120, 400)], (0, 160)),
        ],
    )
    def test_chapters_and_subtitles_end_with_the_part(
        self, tmp_path, span, chapters, subtitle, suffix
    ):
        make_video(tmp_path / "a.mkv", chapters=True, subtitles=True, audio="aac")
        target = tmp_path / f"b.{suffix}"
        denoise_file(tmp_path / "a.mkv", target, Settings(sigma=0.0, span=span))
        seen = [(1000 * start, 1000 * end) for start, end, _ in about(target)["chapters"]]
        assert seen == chapters
        length = (chapters[-1][1] - chapters[0][0]) / 1000
        with av.open(str(target)) as container:
            assert length <= container.duration / av.time_base < length + 0.05
            texts = [
                (packet.pts, packet.duration)
                for packet in container.demux()
                if packet.stream.type == "subtitle" and packet.size
            ]
        if suffix == "mkv":  # the other takes no such subtitles
            assert texts == ([subtitle] if subtitle else [])

    @pytest.mark.parametrize("suffix", ["mkv", "mp4"])
    @pytest.mark.parametrize("span", [Span(first=10, last=40), Span(start=0.4, end=1.6)])
    def test_a_second_video_begins_with_a_key_frame(self, tmp_path, span, suffix):
        make_video(tmp_path / "a.mp4", count=50)
        clip = noisy(texture(48, 64, 50), 0.02)
        make_video(tmp_path / "b.mp4", clip=clip, options={"g": "15", "bf": "2"})
        side_by_side(tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "both.mkv")
        target = tmp_path / f"c.{suffix}"
        result = denoise_file(tmp_path / "both.mkv", target, Settings(sigma=0.0, span=span))
        assert (result.status, result.losses) == ("ok", ())
        with av.open(str(tmp_path / "b.mp4")) as source, av.open(str(target)) as copy:
            whole = [planes_of(one)[0] for one in source.decode(video=0)]
            frames = list(copy.decode(video=1))
        assert len(frames) >= 20
        for number, frame in enumerate(frames):
            assert frame.pts * frame.time_base == Fraction(5 + number, 25)
            assert np.array_equal(planes_of(frame)[0], whole[15 + number])

    def test_a_second_video_without_a_key_frame_is_told(self, tmp_path):
        make_video(tmp_path / "a.mp4", count=30)
        make_video(tmp_path / "b.mp4", count=30, options={"g": "15"})
        side_by_side(tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "both.mkv")
        told = Settings(sigma=0.0, span=Span(first=4, last=9))
        result = denoise_file(tmp_path / "both.mkv", tmp_path / "c.mkv", told)
        assert result.frames == 5
        assert ["video stream 1" in loss for loss in result.losses] == [True]

    @pytest.mark.parametrize(
        ("span", "words"),
        [
            (Span(first=500), "a.mkv: has 100 frames, counted from 0"),
            (Span(first=100, last=200), "a.mkv: has 100 frames, .*100:200"),
            (Span(start=4.0), "a.mkv: lasts 4 seconds, .*4 or later"),
            (Span(start=99.0, end=100.0), "a.mkv: lasts 4 seconds"),
            (Span(start=0.01, end=0.02), "no frame that begins in such a short part"),
        ],
    )
    @pytest.mark.parametrize("suffix", ["mkv", "gif", "y4m"])
    def test_a_part_that_is_none(self, clip, tmp_path, span, words, suffix):
        if suffix != "mkv":
            denoise_file(clip, tmp_path / f"a.{suffix}", OFF)
        told = Settings(sigma=0.0, span=span)
        with pytest.raises(nlm.FileError, match=words.replace("mkv", suffix)):
            denoise_file(tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}", told)
        assert not (tmp_path / f"b.{suffix}").exists()

    def test_a_part_that_is_no_part_of_a_sequence(self, tmp_path):
        for number in range(3):
            Image.new("L", (8, 8)).save(tmp_path / f"f_{number}.png")
        told = Settings(sigma=0.0, span=Span(first=3))
        with pytest.raises(nlm.FileError, match=r"f_%d.png: has 3 frames"):
            denoise_file(tmp_path / "f_%d.png", tmp_path / "b.mkv", told)


class TestCodecs:
    @pytest.mark.parametrize(
        ("name", "options", "codec"),
        [
            ("b.mkv", Options(codec="hevc", crf=30, encoder_preset="ultrafast"), "hevc"),
            ("b.webm", Options(), "vp9"),
            ("b.mkv", Options(codec="ffv1"), "ffv1"),
            ("b.mov", Options(codec="prores"), "prores"),
            ("b.avi", Options(codec="mjpeg"), "mjpeg"),
        ],
    )
    def test_by_hand_and_by_container(self, tmp_path, name, options, codec):
        make_video(tmp_path / "a.mp4", count=3)
        denoise_file(tmp_path / "a.mp4", tmp_path / name, Settings(sigma=0.0, options=options))
        assert about(tmp_path / name)["streams"][0][1] == codec

    @pytest.mark.parametrize("codec", ["h264", "hevc"])
    def test_what_is_coded_is_hard_to_tell_from_what_was_given(self, tmp_path, codec):
        clip = texture(96, 128, 12, period=23)
        make_video(tmp_path / "a.mkv", codec="ffv1", clip=clip, size=(128, 96))
        settings = Settings(sigma=0.0, options=Options(codec=codec))
        denoise_file(tmp_path / "a.mkv", tmp_path / "b.mkv", settings)
        before, after = (lumas(tmp_path / name) for name in ("a.mkv", "b.mkv"))
        assert nlm.psnr(after, before) > 45

    def test_codecs_whose_encoder_does_not_work_go_by_another(self):
        source, layout = Source("dirac", None, "yuv420p"), Layout("yuv", 8, (1, 1))
        box = replace(CONTAINERS["mkv"], encoders=frozenset({"vc2", "dirac", "libx264", "ffv1"}))
        assert choose(source, layout, (64, 48), box, Options()).encoder == "libx264"

    def test_crf_matters(self, tmp_path):
        make_video(tmp_path / "a.mp4", clip=noisy(texture(96, 128, 10), 0.1), size=(128, 96))
        sizes = []
        for crf in (10, 40):
            target = tmp_path / f"{crf}.mp4"
            denoise_file(tmp_path / "a.mp4", target, Settings(sigma=0.0, options=Options(crf=crf)))
            sizes.append(target.stat().st_size)
        assert sizes[0] > 3 * sizes[1]

    @pytest.mark.parametrize(
        ("name", "pixels", "size", "stored", "bits"),
        [
            ("b.webm", "gray", (64, 48), "yuv420p", 8),
            ("b.webm", "gray", (65, 49), "yuv420p", 8),
            ("b.webm", "gray10le", (272, 128), "yuv420p10le", 10),
            ("b.webm", "gray12le", (272, 128), "yuv420p10le", 10),
            ("b.webm", "gray12le", (65, 49), "yuv420p", 8),
            ("b.mov", "gray16le", (66, 48), "gray12le", 12),
        ],
    )
    @pytest.mark.parametrize("full", [False, True])
    def test_gray_where_there_is_none_of_its_depth(
        self, tmp_path, name, pixels, size, stored, bits, full
    ):
        had = Layout.of(pixels).bits
        colours = (2, 1, 1, 1) if full else (1, 1, 1, 1)
        make_video(
            tmp_path / "a.mkv", codec="ffv1", pixels=pixels, size=size, count=3, colours=colours
        )
        result = denoise_file(tmp_path / "a.mkv", tmp_path / name, OFF)
        lost = [loss for loss in result.losses if "depth" in loss]
        assert lost == ([f"depth ({had} bits become {bits})"] if bits < had else [])
        _, frames, pixels = read_video(tmp_path / name)
        assert pixels == stored
        before = read_video(tmp_path / "a.mkv")[1][1][0] / (2**had - 1 if full else 2**had)
        after = frames[1][0][:, : size[0]] / (2**bits - 1 if full else 2**bits)
        assert np.abs(before - after).mean() < 0.006
        assert abs(np.mean(before - after)) < 0.001
        for chroma in frames[1][1:]:
            assert np.abs(chroma.astype(int) - (1 << bits - 1)).max() <= 1

    def test_gray_hevc_stays_gray(self, tmp_path):
        quiet = {"x265-params": "log-level=error"}
        make_video(tmp_path / "a.mkv", codec="libx265", pixels="gray10le", options=quiet, count=3)
        denoise_file(tmp_path / "a.mkv", tmp_path / "b.mkv", OFF)
        assert about(tmp_path / "b.mkv")["pixels"] == "gray10le"

    @pytest.mark.parametrize(
        ("name", "options", "error", "words"),
        [
            ("b.mkv", Options(codec="h265000"), nlm.UsageError, "not known.*h264"),
            ("b.avi", Options(codec="mjpeg", crf=3), nlm.UsageError, "has no --crf"),
            ("b.webm", Options(codec="ffv1"), nlm.FileError, "does not take.*mkv"),
        ],
    )
    def test_refusals(self, tmp_path, name, options, error, words):
        make_video(tmp_path / "a.mp4", count=2)
        with pytest.raises(error, match=words):
            denoise_file(tmp_path / "a.mp4", tmp_path / name, Settings(sigma=0.0, options=options))
        assert not (tmp_path / name).exists()

    def test_a_rate_for_what_has_its_own_is_told(self, tmp_path):
        make_video(tmp_path / "a.mp4", count=3)
        told = Settings(sigma=0.0, options=Options(fps=50.0))
        result = denoise_file(tmp_path / "a.mp4", tmp_path / "b.mp4", told)
        assert any(loss.startswith("--fps") for loss in result.losses)
        assert read_video(tmp_path / "a.mp4")[0] == read_video(tmp_path / "b.mp4")[0]

    @pytest.mark.parametrize(
        ("suffix", "words"),
        [
            ("mkv", []),
            ("mp4", ["subtitle stream 2", "attachment stream 3"]),
            ("ts", ["subtitle stream 2", "attachment stream 3", "chapters", "tags (place)",
                    "titles of streams (Commentary)"]),
            ("mpg", ["subtitle stream 2", "attachment stream 3", "chapters", "tags (place)",
                     "languages of streams (ita)", "titles of streams (Commentary)"]),
            ("avi", ["subtitle stream 2", "attachment stream 3", "chapters", "tags (place)",
                     "languages of streams (ita)"]),
            ("webm", ["audio stream 1", "subtitle stream 2", "attachment stream 3"]),
            ("y4m", ["audio stream 1", "subtitle stream 2", "attachment stream 3", "chapters",
                     "tags (place)"]),
        ],
    )  # fmt: skip
    def test_all_that_a_container_cannot_hold_is_told(self, tmp_path, suffix, words):
        make_video(
            tmp_path / "a.mkv", audio="mp2", subtitles=True, font=True, chapters=True, count=10,
            tags={"PLACE": "by the sea"},
        )  # fmt: skip
        result = denoise_file(tmp_path / "a.mkv", tmp_path / f"b.{suffix}", OFF)
        assert [loss.split(" (subrip")[0].split(" (font")[0].split(" (mp2")[0]
                for loss in result.losses] == words  # fmt: skip
        before, after = (
            [one[0] for one in about(tmp_path / name)["streams"]]
            for name in ("a.mkv", f"b.{suffix}")
        )
        left = [int(word.split()[-1]) for word in words if " stream " in word]
        kept = [kind for index, kind in enumerate(before) if index not in left]
        assert [kind for kind in after if kind != "data"] == kept  # MP4 has chapters as a stream

    @pytest.mark.parametrize(
        ("suffix", "told"),
        [("mp4", False), ("mkv", False), ("mov", True), ("ts", True), ("avi", True), ("mpg", True)],
    )
    def test_a_cover_is_one_or_told(self, tmp_path, suffix, told):
        picture = io.BytesIO()
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(picture, "PNG")
        make_video(tmp_path / "a.mp4", count=5, tags={"place": "by the sea"})
        with_cover(tmp_path / "a.mp4", picture.getvalue())
        result = denoise_file(tmp_path / "a.mp4", tmp_path / f"b.{suffix}", OFF)
        assert any("cover" in loss for loss in result.losses) == told
        with av.open(result.output) as container:
            covers = [one for one in container.streams.video if int(one.disposition) & 1024]
            assert len(container.streams.video) - 1 == len(covers) == (not told)

    @pytest.mark.parametrize("suffix", ["avi", "ts", "mpg", "y4m", "mkv", "mov"])
    def test_rotation_is_kept_or_told(self, tmp_path, suffix):
        make_video(tmp_path / "a.mp4", rotation=90, count=4)
        result = denoise_file(tmp_path / "a.mp4", tmp_path / f"b.{suffix}", OFF)
        turned = about(tmp_path / f"b.{suffix}")["rotation"]
        assert (turned, "the rotation by 90 degrees" in result.losses) in ((90, False), (0, True))
        assert (turned == 90) == (suffix in ("mkv", "mov"))

    @pytest.mark.parametrize("mode", ["left_right", "top_bottom", "mono"])
    def test_shape_of_pixels_of_stereo(self, tmp_path, mode):
        make_video(tmp_path / "a.mkv", aspect=Fraction(4, 3), size=(72, 48), count=3)
        with (
            av.open(str(tmp_path / "a.mkv")) as source,
            av.open(str(tmp_path / "b.mkv"), "w") as out,
        ):
            copy = out.add_stream_from_template(source.streams.video[0], opaque=True)
            copy.metadata["stereo_mode"] = mode
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = copy
                    out.mux(packet)
        denoise_file(tmp_path / "b.mkv", tmp_path / "c.mkv", OFF)
        seen = [about(tmp_path / name) for name in ("b.mkv", "c.mkv")]
        assert seen[0]["aspect"] == seen[1]["aspect"]
        assert seen[1]["streams"][0][3].get("stereo_mode", "mono") == mode

    def test_streams_that_the_container_does_not_take_are_named(self, tmp_path):
        make_video(tmp_path / "a.mkv", audio="flac", font=True, count=3)
        result = denoise_file(tmp_path / "a.mkv", tmp_path / "b.webm", OFF)
        assert any("audio stream 1 (flac)" in loss for loss in result.losses)
        assert about(tmp_path / "b.webm")["streams"][0][1] == "vp9"
