"""What cannot be read or written is one line that names the file and the next step."""

from __future__ import annotations

import errno
import io
import os
import stat
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from nlm.errors import FileError, NlmError, UsageError
from nlm.io import Frame, Info, check_target, open_reader, open_writer

SAMPLES = np.random.default_rng(5).integers(0, 256, (40, 50, 3), "u1")
INFO = Info("png", 50, 40, 3, False, np.dtype("u1"), 8)


def coded(format: str) -> bytes:
    file = io.BytesIO()
    if format == "tiff":
        tifffile.imwrite(file, np.stack([SAMPLES] * 3), photometric="rgb", compression="zlib")
    elif format == "ppm":
        return b"P6 50 40 255\n" + SAMPLES.tobytes()
    elif format == "jxl":
        return bytes(imagecodecs.jpegxl_encode(SAMPLES, lossless=True))
    elif format == "gif":
        shots = [Image.fromarray(SAMPLES), Image.fromarray(255 - SAMPLES)]
        shots[0].save(file, "GIF", save_all=True, append_images=shots[1:])
    else:
        Image.fromarray(SAMPLES).save(file, format)
    return file.getvalue()


FORMATS = ("png", "jpeg", "tiff", "webp", "avif", "jxl", "gif", "bmp", "ppm")
CODED = {format: coded(format) for format in FORMATS}


def read(source) -> list[Frame]:
    with open_reader(source) as reader:
        return list(reader)


def refused(source, *words: str, **how) -> str:
    with pytest.raises(FileError) as caught, open_reader(source, **how) as reader:
        list(reader)
    message = str(caught.value)
    assert "\n" not in message
    assert ";" in message  # what is wrong; what to do
    for word in words:
        assert word in message, message
    return message


def test_missing_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.png", "none.png", "does not exist")


def test_folder(tmp_path: Path) -> None:
    refused(tmp_path, tmp_path.name, "is a folder", "nlm batch")


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(CODED["png"])
    path.chmod(0)
    refused(path, "secret.png", "permission")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".xyz", ""])
def test_empty_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"empty{suffix}"
    path.write_bytes(b"")
    refused(path, path.name, "empty")


@pytest.mark.parametrize("suffix", [".png", ".jpeg", ".gif", ".avif", ".bmp", ".ppm", ".txt", ""])
def test_text_under_another_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"letter{suffix}"
    path.write_text("Dear Sir or Madam,\n" * 50)
    refused(path, path.name)


def test_content_decides_not_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "really_a_png.jpg"
    path.write_bytes(CODED["png"])
    with open_reader(path) as reader:
        assert reader.info.format == "png"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.95])
def test_cut_files_are_refused(tmp_path: Path, format: str, part: float) -> None:
    path = tmp_path / f"cut.{format}"
    path.write_bytes(CODED[format][: int(len(CODED[format]) * part)])
    refused(path, path.name, "get a fresh copy")


@pytest.mark.parametrize("format", ["png", "jpeg", "tiff", "ppm", "webp"])
def test_a_few_bytes_missing_at_the_end(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"short.{format}"
    path.write_bytes(CODED[format][:-40])
    refused(path, path.name)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_damage_never_escapes_as_another_error(data) -> None:
    format = data.draw(st.sampled_from(FORMATS))
    broken = bytearray(CODED[format])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, min(len(broken), 400) - 1))
        broken[at] = data.draw(st.integers(0, 255))
    message = ""
    try:
        with open_reader(io.BytesIO(bytes(broken)), max_pixels=10**6) as reader:
            for frame in reader:
                assert frame.planes[0].size
    except NlmError as error:
        message = str(error)
    assert "\n" not in message


def huge_png(side: int = 60_000) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + header
        + struct.pack(">I", zlib.crc32(header))
    )


def test_pixel_limit_is_judged_by_the_header(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(huge_png())
    refused(path, "huge.png", "60000 x 60000", "--max-pixels 3600000000")
    ppm = tmp_path / "huge.ppm"
    ppm.write_bytes(b"P6 60000 60000 255\n")
    refused(ppm, "--max-pixels")


def test_pixel_limit_can_be_set(tmp_path: Path) -> None:
    for format in FORMATS:
        path = tmp_path / f"picture.{format}"
        path.write_bytes(CODED[format])
        refused(path, "50 x 40", max_pixels=1999)
        with open_reader(path, max_pixels=2000) as reader:
            assert reader.info.width * reader.info.height == 2000


def test_png_of_a_hundred_million_pixels_gives_no_warning() -> None:
    side = 10_000
    row = zlib.compressobj(1)
    body = b"".join(row.compress(bytes(1 + side // 8)) for _ in range(side)) + row.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for kind, part in ((b"IHDR", header), (b"IDAT", body), (b"IEND", b"")):
        data += struct.pack(">I", len(part)) + kind + part
        data += struct.pack(">I", zlib.crc32(kind + part))
    (frame,) = read(io.BytesIO(data))
    assert frame.planes[0].shape == (side, side, 1)


@pytest.mark.parametrize(
    ("photometric", "word"), [(10, "ITULab"), (34892, "raw"), (777, "unknown")]
)
def test_tiff_of_colours_that_cannot_be_kept(tmp_path: Path, photometric: int, word: str) -> None:
    path = tmp_path / "colours.tif"
    tifffile.imwrite(path, SAMPLES, photometric="rgb")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags[262].overwrite(photometric)
    refused(path, path.name, word)


@pytest.mark.parametrize("size", [(0, 4, 1), (4, -4, 1), (4, 4, 0), (4, 4, -1)])
def test_netpbm_without_size(tmp_path: Path, size: tuple[int, int, int]) -> None:
    path = tmp_path / "none.pam"
    head = "P7\nWIDTH {}\nHEIGHT {}\nDEPTH {}\nMAXVAL 255\nENDHDR\n".format(*size)
    path.write_bytes(head.encode() * 2)
    refused(path, path.name, "size of zero")


def test_unknown_format_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="use one of: png"):
        open_reader(io.BytesIO(b"x"), format="docx")
    with pytest.raises(UsageError):
        open_writer(tmp_path / "x.png", INFO, format="docx")


REFUSALS = [
    ({"dtype": "u2", "bits": 16}, "x.jpg", "16 bits", "PNG"),
    ({"dtype": "u2", "bits": 16}, "x.webp", "16 bits", "TIFF"),
    ({"dtype": "u2", "bits": 16}, "x.avif", "at most 12 bits", "JPEG XL"),
    ({"dtype": "u2", "bits": 12}, "x.gif", "12 bits", "AVIF"),
    ({"dtype": "f4", "bits": 32}, "x.png", "float", "TIFF"),
    ({"dtype": "f8", "bits": 64}, "x.jxl", "64-bit float", "TIFF"),
    ({"dtype": "i2", "bits": 16}, "x.png", "signed", "TIFF"),
    ({"alpha": True}, "x.jpg", "alpha", "WebP"),
    ({"alpha": True}, "x.bmp", "alpha", "PNG"),
    ({"alpha": True}, "x.ppm", "alpha", "PAM"),
    ({"frames": 5}, "x.png", "5 pages", "TIFF"),
    ({"frames": 5, "clip": True}, "x.jpg", "animation", "GIF"),
    ({"frames": 5, "clip": True}, "x.avif", "animation", "WebP"),
    ({"channels": 4}, "x.png", "4 channels", "JPEG"),
    ({"lab": True}, "x.png", "L*a*b*", "TIFF"),
    ({"lab": True}, "x.jpg", "L*a*b*", "TIFF"),
    ({"channels": 7}, "x.jpg", "7 channels", "TIFF"),
    ({}, "x.pgm", "3 channels", "PPM"),
    ({}, "x.docx", ".docx", ".png"),
]


@pytest.mark.parametrize(("change", "target", "reason", "instead"), REFUSALS)
def test_targets_that_cannot_hold_the_source(tmp_path, change, target, reason, instead) -> None:
    from dataclasses import replace

    if "dtype" in change:
        change = {**change, "dtype": np.dtype(change["dtype"])}
    info = replace(INFO, **change)
    with pytest.raises(FileError) as caught:
        check_target(info, tmp_path / target)
    assert target in str(caught.value)
    refusal, step = str(caught.value).split(";")
    assert reason in refusal
    assert instead in step
    with pytest.raises(FileError):
        open_writer(tmp_path / target, info)
    assert list(tmp_path.iterdir()) == []


def broken_off(target: Path, error: type[BaseException]) -> None:
    with open_writer(target, INFO) as writer:
        writer.write(Frame((SAMPLES,)))
        assert target.read_bytes() == b"old"
        raise error


def test_output_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "out.png"
    target.write_bytes(b"old")
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error):
            broken_off(target, error)
        assert target.read_bytes() == b"old"
        assert [path.name for path in tmp_path.iterdir()] == ["out.png"]
    with open_writer(target, INFO) as writer:
        writer.write(Frame((SAMPLES,)))
    np.testing.assert_array_equal(read(target)[0].planes[0], SAMPLES)
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


def test_no_frame_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no frame"), open_writer(tmp_path / "x.png", INFO):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="no umask there")
def test_mode_follows_the_umask(tmp_path: Path) -> None:
    for mask in (0o022, 0o077, 0o002):
        before = os.umask(mask)
        try:
            with open_writer(tmp_path / f"{mask}.png", INFO) as writer:
                writer.write(Frame((SAMPLES,)))
        finally:
            os.umask(before)
        mode = stat.S_IMODE((tmp_path / f"{mask}.png").stat().st_mode)
        assert mode == 0o666 & ~mask


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_symbolic_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    real = tmp_path / "far" / "real.png"
    real.write_bytes(CODED["png"])
    link = tmp_path / "link.png"
    link.symlink_to(real)
    with open_writer(link, INFO) as writer:
        writer.write(Frame((255 - SAMPLES,)))
    assert link.is_symlink()
    np.testing.assert_array_equal(read(real)[0].planes[0], 255 - SAMPLES)


@pytest.mark.parametrize("format", ["png", "tiff", "gif"])
def test_output_may_be_the_input(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"same.{format}"
    path.write_bytes(CODED[format])
    before = read(path)
    with open_reader(path) as reader, open_writer(path, reader.info) as writer:
        for frame in reader:
            writer.write(frame)
    for one, other in zip(before, read(path), strict=True):
        np.testing.assert_array_equal(one.planes[0], other.planes[0])


def unwritable(target, *words: str) -> None:
    with pytest.raises(FileError) as caught, open_writer(target, INFO) as writer:
        writer.write(Frame((SAMPLES,)))
    message = str(caught.value)
    assert "\n" not in message
    for word in (*words, ";"):
        assert word in message, message


def test_missing_target_folder(tmp_path: Path) -> None:
    unwritable(tmp_path / "none" / "out.png", "out.png", "folder does not exist")


def test_target_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "out.png").mkdir()
    unwritable(tmp_path / "out.png", "out.png", "this is a folder")


def test_target_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    unwritable(tmp_path / "file" / "out.png", "out.png", "folder")


def test_folder_without_permission(tmp_path: Path, monkeypatch) -> None:
    def no(*_, **__):
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr("builtins.open", no)
    unwritable(tmp_path / "out.png", "out.png", "permission", "another folder")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device")
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_full_disk(tmp_path: Path, suffix: str) -> None:
    link = tmp_path / f"out{suffix}"
    link.symlink_to("/dev/full")
    unwritable(link, link.name, "disk is full", "free some space")


@pytest.mark.skipif(os.name == "nt", reason="no such limit there")
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".ppm"])
def test_disk_that_fills_up_on_the_way(tmp_path: Path, suffix: str) -> None:
    code = f"""
import resource, signal, numpy as np
from nlm.errors import FileError
from nlm.io import Frame, Info, open_writer
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
samples = np.random.default_rng(0).integers(0, 256, (200, 200, 3), "u1")
try:
    with open_writer({str(tmp_path / "out")!r} + {suffix!r},
                     Info("x", 200, 200, 3, False, np.dtype("u1"), 8)) as writer:
        writer.write(Frame((samples,)))
except FileError as error:
    assert "larger than allowed" in str(error), error
else:
    raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
    assert list(tmp_path.iterdir()) == []


class Pipe(io.RawIOBase):
    """A stream that cannot seek."""

    def __init__(self, data: bytes = b"") -> None:
        self._source = io.BytesIO(data)
        self.sunk = b""

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def readinto(self, buffer) -> int:
        return self._source.readinto(buffer)

    def write(self, data) -> int:
        self.sunk += bytes(data)
        return len(data)


@pytest.mark.parametrize("format", FORMATS)
def test_pipes(format: str) -> None:
    pipe = Pipe(CODED[format])
    with open_reader(pipe, format=format) as reader, open_writer(pipe, reader.info) as writer:
        for frame in reader:
            writer.write(frame)
        assert pipe.sunk == b""
    assert len(read(io.BytesIO(pipe.sunk))) == len(read(io.BytesIO(CODED[format])))


@pytest.fixture
def piped(tmp_path: Path):
    """Makes a named pipe that gives bytes once."""
    threads = []

    def make(data: bytes) -> Path:
        path = tmp_path / "pipe"
        os.mkfifo(path)
        threads.append(threading.Thread(target=path.write_bytes, args=(data,)))
        threads[0].start()
        return path

    yield make
    for thread in threads:
        thread.join()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes there")
@pytest.mark.parametrize("format", FORMATS)
def test_named_pipes(piped, format: str) -> None:
    frames = read(piped(CODED[format]))
    for one, other in zip(frames, read(io.BytesIO(CODED[format])), strict=True):
        np.testing.assert_array_equal(one.planes[0], other.planes[0])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes there")
@pytest.mark.parametrize(("data", "word"), [(b"", "empty"), (b"Dear Sir", "no picture")])
def test_named_pipes_without_a_picture(piped, data: bytes, word: str) -> None:
    refused(piped(data), "pipe", word)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes there")
def test_video_flows_from_a_named_pipe(piped) -> None:
    frame = b"FRAME\n" + bytes(range(96))
    video = b"YUV4MPEG2 W8 H8 F25:1 Ip A1:1 C420jpeg\n" + frame * 3
    assert len(read(piped(video))) == 3


def test_importing_costs_no_codec() -> None:
    heavy = ("PIL", "tifffile", "imagecodecs", "imageio", "numba", "av")
    code = f"import nlm.io, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("format", "never"), [("png", "tifffile"), ("jpeg", "imagecodecs")])
def test_a_picture_loads_only_its_codec(tmp_path: Path, format: str, never: str) -> None:
    path = tmp_path / f"x.{format}"
    path.write_bytes(CODED[format])
    code = f"""
import sys
from nlm.io import open_reader, open_writer
with open_reader({str(path)!r}) as reader, open_writer({str(path)!r}, reader.info) as writer:
    for frame in reader: writer.write(frame)
assert {never!r} not in sys.modules and "imageio" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_interrupted_while_a_file_is_opened_nothing_stays(tmp_path: Path, monkeypatch) -> None:
    def open_and_stop(path, mode):
        open(path, mode).close()
        raise KeyboardInterrupt

    monkeypatch.setattr("nlm.io.output.open", open_and_stop, raising=False)
    with pytest.raises(KeyboardInterrupt):
        open_writer(tmp_path / "a.png", INFO)
    assert list(tmp_path.iterdir()) == []
