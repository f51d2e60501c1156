"""Videos whose samples are to come out as they went in, bit for bit."""

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

import nlm
from nlm.io import Options
from nlm.io.video.codecs import IN_PAIRS
from nlm.io.video.containers import CONTAINERS
from nlm.io.video.layout import Layout, reformatted
from nlm.io.video.rated import RATED
from nlm.pipeline import denoise_file
from nlm.settings import Settings

OFF = Settings(sigma=0.0)
EXACT = Settings(sigma=0.0, options=Options(lossless=True))
MUXERS = {name: box for name, box in CONTAINERS.items() if box.raw}


def make_noise(path, codec, pixels, size=(34, 18), count=3, muxer=None, full=False):
    """Write a video of all values that there are, without loss; gives its planes."""
    rng = np.random.default_rng(0)
    layout = Layout.of(pixels)
    strict = {"strict": "-1"} if str(path).endswith(".y4m") else {}
    frames = []
    with av.open(str(path), "w", format=muxer, container_options=strict) as out:
        stream = out.add_stream(codec, 25)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        if full:
            stream.codec_context.color_range = 2
        for index in range(count):
            frame = av.VideoFrame(*size, layout.planar)
            for plane in frame.planes:
                lines = np.frombuffer(plane, layout.dtype).reshape(plane.height, -1)
                lines[:] = rng.integers(0, 2**layout.bits, lines.shape)
            frames.append(planes_of(frame, pixels))
            frame = reformatted(frame, format=pixels)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return frames


def planes_of(frame, pixels):
    """The planes of a frame in the manner of a pixel format; finer chroma is thinned out."""
    layout, stored = Layout.of(pixels), Layout.of(frame.format.name)
    if layout.kind == "gray" and stored.kind == "yuv" and layout.bits == stored.bits:
        return [_lines(frame.planes[0], layout).copy()]
    same_kind = layout.kind == stored.kind == "yuv"
    held = replace(layout, chroma=stored.chroma) if same_kind else layout
    if frame.format.name != held.planar:
        frame = reformatted(frame, format=held.planar)
    across, down = (1 << a - b for a, b in zip(layout.chroma, held.chroma, strict=True))
    planes = []
    for index, plane in enumerate(frame.planes):
        lines = _lines(plane, layout)
        planes.append(lines[::down, ::across].copy() if index in (1, 2) else lines.copy())
    return planes


def _lines(plane, layout):
    return np.frombuffer(plane, layout.dtype).reshape(plane.height, -1)[:, : plane.width]


def read(path, pixels):
    """All planes as those of a pixel format, and the one they are stored with."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return [planes_of(frame, pixels) for frame in frames], frames[0].format.name


def coded(path):
    """The codec of the pictures."""
    with av.open(str(path)) as container:
        return container.streams.video[0].codec_context.name


def same(some, others):
    return len(some) == len(others) and all(
        np.array_equal(x, y)
        for a, b in zip(some, others, strict=True)
        for x, y in zip(a, b, strict=True)
    )


LABELS = [(name, pixels) for name, box in MUXERS.items() for pixels in box.raw]


@pytest.mark.parametrize("size", [(34, 18), (35, 17)])
@pytest.mark.parametrize(("name", "pixels"), LABELS)
def test_raw_pixels_are_read_back_as_what_they_are(tmp_path, name, pixels, size):
    if size[0] % 2 and pixels in IN_PAIRS:
        pytest.skip("never taken for such sizes")
    muxer = MUXERS[name].muxer
    before = make_noise(tmp_path / f"a.{name}", "rawvideo", pixels, size, muxer=muxer)
    after, stored = read(tmp_path / f"a.{name}", pixels)
    assert stored == pixels
    assert same(before, after)


SOURCES = [
    *(("ffv1", "mkv", pixels) for pixels in ("yuv440p", "gray10le", "gbrp12le", "yuva422p10le")),
    *(("rawvideo", "y4m", pixels) for pixels in (
        "yuv420p", "yuv422p", "yuv444p", "yuv411p", "yuv420p10le", "yuv422p10le", "yuv444p12le",
        "gray", "gray10le", "gray16le",
    )),
    *(("rawvideo", "avi", pixels) for pixels in ("yuv420p", "bgr24", "bgra", "nv12", "uyvy422")),
    *(("rawvideo", "mov", pixels) for pixels in ("rgb48be", "vyu444", "argb", "gray16be")),
    *(("huffyuv", "avi", pixels) for pixels in ("yuv422p", "rgb24")),
    ("ffvhuff", "avi", "yuv420p10le"),
    ("utvideo", "avi", "gbrap"),
    ("magicyuv", "mov", "yuv444p"),
    *(("png", "mov", pixels) for pixels in ("rgb24", "rgba64be", "gray")),
    ("qtrle", "mov", "argb"),
    ("r210", "mov", "gbrp10le"),
]  # fmt: skip


@pytest.mark.parametrize("target", ["mkv", "avi", "mov", "mp4", "y4m", "webm", "ts"])
@pytest.mark.parametrize(("codec", "name", "pixels"), SOURCES)
def test_what_is_not_kept_is_told(tmp_path, codec, name, pixels, target):
    """Of a source without loss every sample is there again, or it is said that it is not."""
    before = make_noise(tmp_path / f"a.{name}", codec, pixels)
    try:
        result = denoise_file(tmp_path / f"a.{name}", tmp_path / f"b.{target}", OFF)
    except nlm.FileError:
        assert target not in ("mkv", "avi", "mov")
        return
    if target in ("mkv", "avi"):
        assert result.losses == ()
    if not result.losses:
        assert same(before, read(tmp_path / f"b.{target}", pixels)[0])


@pytest.mark.parametrize(("codec", "name", "pixels"), SOURCES)
@pytest.mark.parametrize("target", ["mkv", "mov", "webm"])
def test_lossless_is_exact_or_refused(tmp_path, codec, name, pixels, target):
    before = make_noise(tmp_path / f"a.{name}", codec, pixels)
    try:
        result = denoise_file(tmp_path / f"a.{name}", tmp_path / f"b.{target}", EXACT)
    except nlm.FileError:
        assert target != "mkv"
        return
    assert result.losses == ()
    assert same(before, read(tmp_path / f"b.{target}", pixels)[0])


HELD = {
    "libx264": ("yuv420p", "yuv422p10le", "gray"),
    "libx264rgb": ("bgr0",),
    "libx265": ("yuv420p", "yuv420p10le", "yuv444p12le", "bgr0"),
    "libvpx-vp9": ("yuv420p", "yuv444p", "bgr0"),
    "libsvtav1": ("yuv420p", "yuv420p10le"),
}


@pytest.mark.parametrize("size", [(64, 160), (98, 66)])
@pytest.mark.parametrize(
    ("encoder", "pixels"), [(name, pixels) for name in HELD for pixels in HELD[name]]
)
def test_lossless_of_encoders_with_a_rate_factor(tmp_path, encoder, pixels, size):
    before = make_noise(tmp_path / "a.mkv", "ffv1", pixels, size, count=6)
    told = Settings(sigma=0.0, options=Options(lossless=True, codec=encoder))
    denoise_file(tmp_path / "a.mkv", tmp_path / "b.mkv", told)
    assert same(before, read(tmp_path / "b.mkv", pixels)[0])


def test_all_encoders_that_can_are_tried():
    assert set(HELD) == {name for name, rated in RATED.items() if rated.lossless}


@pytest.mark.parametrize(
    ("codec", "name", "words"),
    [
        ("vp8", "b.mkv", "always loses"),
        ("mjpeg", "b.avi", "cannot hold"),
        ("prores", "b.mov", "always loses"),
        ("mpeg4", "b.mp4", "always loses"),
        ("v210", "b.mov", "always loses"),
        ("libx264rgb", "b.mkv", "libx264rgb cannot hold 8-bit 4:2:0 video without loss"),
    ],
)
def test_lossless_by_codecs_that_cannot(tmp_path, codec, name, words):
    make_noise(tmp_path / "a.mkv", "ffv1", "yuv420p")
    told = Settings(sigma=0.0, options=Options(lossless=True, codec=codec))
    with pytest.raises(nlm.NlmError, match=words):
        denoise_file(tmp_path / "a.mkv", tmp_path / name, told)
    assert not (tmp_path / name).exists()


def test_yuv_as_rgb_is_told(tmp_path):
    make_noise(tmp_path / "a.mkv", "ffv1", "yuv420p")
    told = Settings(sigma=0.0, options=Options(codec="libx264rgb"))
    result = denoise_file(tmp_path / "a.mkv", tmp_path / "b.mkv", told)
    assert result.losses == ("exact colours (8-bit 4:2:0 becomes 8-bit RGB)",)


@pytest.mark.parametrize("codec", ["huffyuv", "rawvideo", "png"])
def test_lossless_sources_stay_lossless_in_matroska(tmp_path, codec):
    pixels = "rgb24" if codec == "png" else "yuv422p"
    make_noise(tmp_path / "a.avi", codec, pixels)
    denoise_file(tmp_path / "a.avi", tmp_path / "b.mkv", OFF)
    assert coded(tmp_path / "b.mkv") == ("rawvideo" if codec == "rawvideo" else "ffv1")


@pytest.mark.parametrize("pixels", ["yuyv422", "v30xle"])
def test_rearranging_is_exact_every_time(pixels):
    layout = Layout.of(pixels)
    rng = np.random.default_rng(0)
    frame = av.VideoFrame(34, 18, layout.planar)
    for plane in frame.planes:
        lines = _lines(plane, layout)
        lines[:] = rng.integers(0, 2**layout.bits, lines.shape)
    wanted = [planes_of(frame, pixels)]
    for _ in range(1000):
        packed = reformatted(frame, format=pixels)
        assert same(wanted, [planes_of(packed, pixels)])
