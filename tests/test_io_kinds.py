"""Every kind of picture file goes through read -> write -> read with nothing lost.

The sources are made by other libraries or by hand, never by the writers under test.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from nlm.errors import FileError
from nlm.io import Frame, Info, Options, open_reader, open_writer

ROWS, COLUMNS = 21, 34


def noise(*shape: int, dtype: str = "u1", top: int | None = None, seed: int = 7) -> np.ndarray:
    generator = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return (generator.normal(0.5, 1, shape)).astype(dtype)
    limits = np.iinfo(dtype)
    return generator.integers(limits.min, (top or limits.max) + 1, shape, dtype)


def gray(**how) -> np.ndarray:
    return noise(ROWS, COLUMNS, **how)


def colour(channels: int = 3, **how) -> np.ndarray:
    return noise(ROWS, COLUMNS, channels, **how)


def smooth(channels: int = 3) -> np.ndarray:
    """A picture that lossy formats like."""
    y, x = np.mgrid[:64, :80]
    planes = [127 + 100 * np.sin(x / 11 + k) * np.cos(y / 9) for k in range(channels)]
    return np.stack(planes, -1).astype("u1")


def saved(picture: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def pillow(samples: np.ndarray, format: str, mode: str | None = None, **options) -> bytes:
    rows, columns = samples.shape[:2]
    mode = mode or {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[samples.size // (rows * columns)]
    return saved(Image.frombytes(mode, (columns, rows), samples.tobytes()), format, **options)


def tiff(samples: np.ndarray, writer: dict | None = None, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, samples, **(writer or {}), **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def small_gray_png(bits: int) -> bytes:
    values = noise(ROWS, COLUMNS, top=2**bits - 1)
    bit_rows = np.unpackbits(values[:, :, None], axis=2)[:, :, 8 - bits :].reshape(ROWS, -1)
    raw = b"".join(b"\0" + np.packbits(row).tobytes() for row in bit_rows)
    header = struct.pack(">IIBBBBB", COLUMNS, ROWS, bits, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def palette_png(**options) -> bytes:
    picture = Image.fromarray(gray(top=15)).convert("P")
    picture.putpalette(noise(48).tobytes())
    return saved(picture, "PNG", **options)


def keyed_png() -> bytes:
    """16-bit RGB whose first pixel's colour is declared transparent."""
    samples = colour(dtype="u2")
    coded = imagecodecs.png_encode(samples)
    key = chunk(b"tRNS", samples[0, 0].astype(">u2").tobytes())
    return coded[:33] + key + coded[33:]


def shots(count: int, channels: int = 3) -> list[Image.Image]:
    frames = [noise(ROWS, COLUMNS, channels, seed=k) // 64 * 64 for k in range(count)]
    if channels == 4:
        frames = [np.where([1, 1, 1, 0], f, np.where(f >= 128, 255, 0)) for f in frames]
    mode = "RGB" if channels == 3 else "RGBA"
    return [Image.frombytes(mode, (COLUMNS, ROWS), f.astype("u1").tobytes()) for f in frames]


def animation(format: str, channels: int = 3, **options) -> bytes:
    first, *rest = shots(4, channels)
    durations = [40, 70, 100, 250]
    return saved(
        first, format, save_all=True, append_images=rest, duration=durations, loop=3, **options
    )


def netpbm(kind: str, samples: np.ndarray, top: int) -> bytes:
    dtype = "u1" if top < 256 else ">u2"
    size = f"{samples.shape[1]} {samples.shape[0]}"
    head = f"{kind}\n# made by hand\n{size}\n{top}\n"
    return head.encode() + samples.astype(dtype).tobytes()


def pbm(light: np.ndarray) -> bytes:
    return f"P4 {light.shape[1]} {light.shape[0]}\n".encode() + np.packbits(~light, 1).tobytes()


def pam(samples: np.ndarray, top: int) -> bytes:
    rows, columns, depth = samples.shape
    head = f"P7\nWIDTH {columns}\nHEIGHT {rows}\nDEPTH {depth}\nMAXVAL {top}\nENDHDR\n"
    return head.encode() + samples.astype("u1" if top < 256 else ">u2").tobytes()


def pfm(samples: np.ndarray) -> bytes:
    kind = "PF" if samples.ndim == 3 else "Pf"
    head = f"{kind}\n{samples.shape[1]} {samples.shape[0]}\n1.0\n"
    return head.encode() + samples[::-1].astype(">f4").tobytes()


def avif(samples: np.ndarray, bits: int) -> bytes:
    return bytes(imagecodecs.avif_encode(samples, 100, bitspersample=bits))


def jxl(samples: np.ndarray, **options) -> bytes:
    effort = 9 if samples.dtype.kind == "f" else None  # with less, libjxl 0.12 fails at some
    return bytes(imagecodecs.jpegxl_encode(samples, lossless=True, effort=effort, **options))


PLAIN = {"photometric": "minisblack"}
COLOURS = {"photometric": "rgb"}

# name: (source, dtype, bits, colour channels, alpha, frames)
KINDS: dict[str, tuple[Callable[[], bytes], str, int, int, bool, int]] = {
    "png gray 8": (lambda: pillow(gray(), "PNG"), "u1", 8, 1, False, 1),
    "png gray 16": (lambda: imagecodecs.png_encode(gray(dtype="u2")), "u2", 16, 1, False, 1),
    "png la 8": (lambda: pillow(colour(2), "PNG"), "u1", 8, 1, True, 1),
    "png la 16": (lambda: imagecodecs.png_encode(colour(2, dtype="u2")), "u2", 16, 1, True, 1),
    "png rgb 8": (lambda: pillow(colour(), "PNG"), "u1", 8, 3, False, 1),
    "png rgb 16": (lambda: imagecodecs.png_encode(colour(dtype="u2")), "u2", 16, 3, False, 1),
    "png rgba 8": (lambda: pillow(colour(4), "PNG"), "u1", 8, 3, True, 1),
    "png rgba 16": (lambda: imagecodecs.png_encode(colour(4, dtype="u2")), "u2", 16, 3, True, 1),
    "png 1 bit": (lambda: small_gray_png(1), "u1", 8, 1, False, 1),
    "png 2 bit": (lambda: small_gray_png(2), "u1", 8, 1, False, 1),
    "png 4 bit": (lambda: small_gray_png(4), "u1", 8, 1, False, 1),
    "png palette": (lambda: palette_png(), "u1", 8, 3, False, 1),
    "png palette 4 bit": (lambda: palette_png(bits=4), "u1", 8, 3, False, 1),
    "png palette alpha": (lambda: palette_png(transparency=b"\0\x80\xff"), "u1", 8, 3, True, 1),
    "png colour key 16": (keyed_png, "u2", 16, 3, True, 1),
    "apng rgb": (lambda: animation("PNG"), "u1", 8, 3, False, 4),
    "apng rgba": (lambda: animation("PNG", 4), "u1", 8, 3, True, 4),
    "apng disposal": (lambda: animation("PNG", 4, disposal=2, blend=1), "u1", 8, 3, True, 4),
    "apng previous": (lambda: animation("PNG", 4, disposal=2, blend=0), "u1", 8, 3, True, 4),
    "gif rgb": (lambda: animation("GIF"), "u1", 8, 3, False, 4),
    "gif transparent": (lambda: animation("GIF", 4, disposal=2), "u1", 8, 3, True, 4),
    "gif gray still": (lambda: pillow(gray(), "GIF"), "u1", 8, 1, False, 1),
    "webp lossless": (lambda: pillow(colour(), "WEBP", lossless=True), "u1", 8, 3, False, 1),
    "webp alpha": (
        lambda: pillow(colour(4), "WEBP", lossless=True, exact=True), "u1", 8, 3, True, 1
    ),
    "webp animated": (lambda: animation("WEBP", 4, lossless=True), "u1", 8, 3, True, 4),
    "bmp gray": (lambda: pillow(gray(), "BMP"), "u1", 8, 1, False, 1),
    "bmp rgb": (lambda: pillow(colour(), "BMP"), "u1", 8, 3, False, 1),
    "pgm 8": (lambda: netpbm("P5", gray(), 255), "u1", 8, 1, False, 1),
    "pgm 12": (lambda: netpbm("P5", gray(dtype="u2", top=4095), 4095), "u2", 12, 1, False, 1),
    "pgm 1000": (lambda: netpbm("P5", gray(dtype="u2", top=1000), 1000), "u2", 10, 1, False, 1),
    "ppm 8": (lambda: netpbm("P6", colour(), 255), "u1", 8, 3, False, 1),
    "ppm 12": (lambda: netpbm("P6", colour(dtype="u2", top=4095), 4095), "u2", 12, 3, False, 1),
    "ppm 16": (lambda: netpbm("P6", colour(dtype="u2"), 65535), "u2", 16, 3, False, 1),
    "pam rgba 16": (lambda: pam(colour(4, dtype="u2"), 65535), "u2", 16, 3, True, 1),
    "pam la 8": (lambda: pam(colour(2), 255), "u1", 8, 1, True, 1),
    "pbm": (lambda: pbm(gray() > 99), "u1", 8, 1, False, 1),
    "pbm pages": (lambda: pbm(gray() > 99) + pbm(gray() > 9), "u1", 8, 1, False, 2),
    "pgm 1000 pages": (
        lambda: netpbm("P5", gray(dtype="u2", top=1000), 1000) * 3, "u2", 10, 1, False, 3
    ),
    "ppm pages": (
        lambda: netpbm("P6", colour(), 255) + netpbm("P6", colour(seed=8), 255),
        "u1", 8, 3, False, 2,
    ),
    "pam pages": (lambda: pam(colour(2), 255) * 2, "u1", 8, 1, True, 2),
    "pfm gray": (lambda: pfm(gray(dtype="f4")), "f4", 32, 1, False, 1),
    "pfm rgb": (lambda: pfm(colour(dtype="f4")), "f4", 32, 3, False, 1),
    "avif gray 8": (lambda: avif(gray(), 8), "u1", 8, 1, False, 1),
    "avif rgb 8": (lambda: avif(colour(), 8), "u1", 8, 3, False, 1),
    "avif rgba 8": (lambda: avif(colour(4), 8), "u1", 8, 3, True, 1),
    "avif rgb 10": (lambda: avif(colour(dtype="u2", top=1023), 10), "u2", 10, 3, False, 1),
    "avif rgb 12": (lambda: avif(colour(dtype="u2", top=4095), 12), "u2", 12, 3, False, 1),
    "avif rgba 12": (lambda: avif(colour(4, dtype="u2", top=4095), 12), "u2", 12, 3, True, 1),
    "jxl gray 8": (lambda: jxl(gray()), "u1", 8, 1, False, 1),
    "jxl rgb 8": (lambda: jxl(colour()), "u1", 8, 3, False, 1),
    "jxl rgb 12": (
        lambda: jxl(colour(dtype="u2", top=4095), bitspersample=12), "u2", 12, 3, False, 1
    ),
    "jxl rgba 16": (lambda: jxl(colour(4, dtype="u2")), "u2", 16, 3, True, 1),
    "jxl la 16": (lambda: jxl(colour(2, dtype="u2")), "u2", 16, 1, True, 1),
    "jxl float": (lambda: jxl(colour(dtype="f4")), "f4", 32, 3, False, 1),
    "jxl half": (lambda: jxl(gray(dtype="f2")), "f2", 16, 1, False, 1),
    "tiff gray 8": (lambda: tiff(gray()), "u1", 8, 1, False, 1),
    "tiff rgb 16": (lambda: tiff(colour(dtype="u2"), **COLOURS), "u2", 16, 3, False, 1),
    "tiff half": (lambda: tiff(gray(dtype="f2")), "f2", 16, 1, False, 1),
    "tiff float": (lambda: tiff(colour(dtype="f4"), **COLOURS), "f4", 32, 3, False, 1),
    "tiff double": (
        lambda: tiff(gray(dtype="f8"), compression="zlib", predictor=3), "f8", 64, 1, False, 1
    ),
    "tiff uint32": (lambda: tiff(gray(dtype="u4")), "u4", 32, 1, False, 1),
    "tiff uint64": (lambda: tiff(gray(dtype="u8")), "u8", 64, 1, False, 1),
    "tiff int8": (lambda: tiff(gray(dtype="i1")), "i1", 8, 1, False, 1),
    "tiff int16": (lambda: tiff(gray(dtype="i2")), "i2", 16, 1, False, 1),
    "tiff int32": (lambda: tiff(gray(dtype="i4")), "i4", 32, 1, False, 1),
    "tiff 1 bit": (lambda: tiff(gray() > 99), "u1", 8, 1, False, 1),
    "tiff white is zero": (lambda: tiff(gray(), photometric="miniswhite"), "u1", 8, 1, False, 1),
    "tiff mask": (lambda: tiff(gray(), photometric="mask"), "u1", 8, 1, False, 1),
    "tiff palette 8": (
        lambda: tiff(gray(), photometric="palette", colormap=noise(3, 256).astype("u2") * 257),
        "u1", 8, 3, False, 1,
    ),
    "tiff palette 16": (
        lambda: tiff(gray(), photometric="palette", colormap=noise(3, 256, dtype="u2")),
        "u2", 16, 3, False, 1,
    ),
    "tiff rgba": (
        lambda: tiff(colour(4), extrasamples=["unassalpha"], **COLOURS), "u1", 8, 3, True, 1
    ),
    "tiff premultiplied": (
        lambda: tiff(colour(4), extrasamples=["assocalpha"], **COLOURS), "u1", 8, 3, True, 1
    ),
    "tiff la": (
        lambda: tiff(colour(2), extrasamples=["unassalpha"], planarconfig="contig", **PLAIN),
        "u1", 8, 1, True, 1,
    ),
    "tiff cmyk": (lambda: tiff(colour(4), photometric="separated"), "u1", 8, 4, False, 1),
    "tiff cielab 8": (lambda: tiff(colour(), photometric="cielab"), "u1", 8, 3, False, 1),
    "tiff cielab 16": (
        lambda: tiff(colour(dtype="u2"), photometric="cielab", compression="lzw", predictor=True),
        "u2", 16, 3, False, 1,
    ),
    "tiff cielab planar alpha": (
        lambda: tiff(
            noise(4, ROWS, COLUMNS), {"byteorder": ">"}, photometric="cielab",
            planarconfig="separate", extrasamples=["unassalpha"],
        ),
        "u1", 8, 3, True, 1,
    ),
    "tiff cielab float": (
        lambda: tiff(colour(dtype="f4"), photometric="cielab"), "f4", 32, 3, False, 1
    ),
    "tiff cielab by pillow": (lambda: pillow(colour(), "TIFF", "LAB"), "u1", 8, 3, False, 1),
    "tiff icclab 8": (lambda: tiff(colour(), photometric="icclab"), "u1", 8, 3, False, 1),
    "tiff icclab 16": (
        lambda: tiff(colour(dtype="u2"), photometric="icclab"), "u2", 16, 3, False, 1
    ),
    "tiff 5 bands": (
        lambda: tiff(colour(5), planarconfig="contig", **PLAIN), "u1", 8, 5, False, 1
    ),
    "tiff planar": (
        lambda: tiff(noise(3, ROWS, COLUMNS), planarconfig="separate", **COLOURS),
        "u1", 8, 3, False, 1,
    ),
    "tiff stack": (lambda: tiff(noise(5, ROWS, COLUMNS, dtype="u2")), "u2", 16, 1, False, 5),
    "tiff rgb stack": (lambda: tiff(noise(4, ROWS, COLUMNS, 3), **COLOURS), "u1", 8, 3, False, 4),
    "tiff tiled bigtiff": (
        lambda: tiff(colour(dtype="u2"), {"bigtiff": True}, tile=(16, 32), compression="zstd"),
        "u2", 16, 3, False, 1,
    ),
    "tiff big endian": (
        lambda: tiff(colour(dtype="u2"), {"byteorder": ">"}, compression="lzw", predictor=True),
        "u2", 16, 3, False, 1,
    ),
    "tiff deflate": (lambda: tiff(gray(), compression="zlib", predictor=2), "u1", 8, 1, False, 1),
    "tiff packbits": (lambda: tiff(gray(), compression="packbits"), "u1", 8, 1, False, 1),
    "tiff lzma": (lambda: tiff(gray(dtype="u2"), compression="lzma"), "u2", 16, 1, False, 1),
    "tiff jpeg": (lambda: tiff(smooth(), compression="jpeg", **COLOURS), "u1", 8, 3, False, 1),
    "imagej hyperstack": (
        lambda: tiff(
            noise(3, 2, ROWS, COLUMNS, dtype="u2"), {"imagej": True},
            metadata={"axes": "ZCYX", "Labels": list("abcdef"), "Info": "made for a test"},
        ),
        "u2", 16, 1, False, 6,
    ),
    "imagej one directory": (
        lambda: tiff(noise(5, ROWS, COLUMNS, dtype="u2"), {"imagej": True}, truncate=True),
        "u2", 16, 1, False, 5,
    ),
    "ome": (
        lambda: tiff(noise(3, 2, ROWS, COLUMNS), {"ome": True}, metadata={"axes": "TCYX"}),
        "u1", 8, 1, False, 6,
    ),
    "tga through imageio": (lambda: pillow(colour(), "TGA"), "u1", 8, 3, False, 1),
}  # fmt: skip


def read(data: bytes) -> tuple[Info, list[Frame]]:
    with open_reader(io.BytesIO(data)) as reader:
        return reader.info, list(reader)


def write(info: Info, frames: list[Frame], **how) -> tuple[bytes, list[str]]:
    file = io.BytesIO()
    with open_writer(file, info, **how) as writer:
        for frame in frames:
            writer.write(frame)
    return file.getvalue(), writer.losses


def assert_same(ours: list[Frame], others: list[Frame]) -> None:
    assert len(ours) == len(others)
    for one, other in zip(ours, others, strict=True):
        assert one.duration == other.duration
        assert (one.alpha is None) == (other.alpha is None)
        visible = np.s_[:] if one.alpha is None else one.alpha > 0
        for a, b in zip(one.planes, other.planes, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a[visible], b[visible])
        if one.alpha is not None:
            np.testing.assert_array_equal(one.alpha, other.alpha)


def named(tmp_path, name: str, data: bytes) -> str:
    """A file, because a suffix decides where content does not."""
    path = tmp_path / f"source{'.tga' if name.startswith('tga') else '.bin'}"
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_lost(name: str, tmp_path) -> None:
    make, dtype, bits, channels, alpha, count = KINDS[name]
    source = named(tmp_path, name, bytes(make()))
    with open_reader(source) as reader:
        info, frames = reader.info, list(reader)
    expected = (np.dtype(dtype), bits, channels, alpha, count)
    assert (info.dtype, info.bits, info.channels, info.alpha, info.frames) == expected
    assert len(frames) == count
    for frame in frames:
        assert frame.planes[0].shape == (info.height, info.width, channels)
        assert frame.planes[0].dtype == info.dtype

    target = source.replace("source", "target")
    with open_writer(target, info, format=None if "tga" in name else info.format) as writer:
        for frame in frames:
            writer.write(frame)
    assert writer.losses == [] or info.format in ("gif", "pbm")
    with open_reader(target) as reader:
        again, back = reader.info, list(reader)
    assert_same(frames, back)
    fields = ("format", "width", "height", "channels", "alpha", "dtype", "bits", "frames", "clip")
    for field in fields:
        assert getattr(info, field) == getattr(again, field), field
    assert info.metadata.loop == again.metadata.loop


@pytest.mark.parametrize("name", [name for name in KINDS if name.startswith(("tiff", "im", "ome"))])
def test_tiff_looks_the_same_to_others(name: str) -> None:
    """Same samples, axes and tags to tifffile, unless the kind cannot stay (palette, 1 bit)."""
    source = KINDS[name][0]()
    info, frames = read(source)
    with (
        tifffile.TiffFile(io.BytesIO(source)) as ours,
        tifffile.TiffFile(io.BytesIO(write(info, frames)[0])) as theirs,
    ):
        if any(kind in name for kind in ("palette", "1 bit", "tiff jpeg")):
            return
        np.testing.assert_array_equal(ours.asarray(), theirs.asarray())
        assert ours.series[0].axes == theirs.series[0].axes
        assert ours.is_bigtiff == theirs.is_bigtiff
        assert ours.byteorder == theirs.byteorder
        assert ours.imagej_metadata == theirs.imagej_metadata
        places = {254, 273, 278, 279, 324, 325}  # where strips lie may change
        for page, copy in zip(ours.pages, theirs.pages, strict=False):
            for tag in page.aspage().tags:
                assert tag.code in places or str(tag.value) == str(
                    copy.aspage().tags[tag.code].value
                )


@pytest.mark.parametrize("name", ["apng rgba", "apng previous", "gif rgb", "gif transparent"])
def test_frames_are_those_that_viewers_show(name: str) -> None:
    """Disposal and blending as Pillow does them."""
    data = KINDS[name][0]()
    info, frames = read(data)
    with Image.open(io.BytesIO(data)) as picture:
        for index, frame in enumerate(frames):
            picture.seek(index)
            shown = np.asarray(picture.convert("RGBA"))
            visible = shown[..., 3] > 0
            np.testing.assert_array_equal(frame.planes[0][visible], shown[visible][:, :3])
            assert frame.duration == picture.info["duration"] / 1000
    copy, _ = write(info, frames)
    with Image.open(io.BytesIO(copy)) as picture:
        assert picture.n_frames == len(frames)


def test_apng_disposal_and_blending() -> None:
    """A frame that is laid over, taken back, laid over again, cleared."""
    first, *rest = shots(4, 4)
    data = saved(
        first, "PNG", save_all=True, append_images=rest, duration=50, disposal=[0, 2, 1, 0], blend=1
    )
    a, b, c, d = (np.asarray(shot) for shot in shots(4, 4))
    expected = [a, np.where(b[..., 3:], b, a), np.where(c[..., 3:], c, a), d]
    _, frames = read(data)
    for frame, shown in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame.alpha, shown[..., 3])
        visible = shown[..., 3] > 0
        np.testing.assert_array_equal(frame.planes[0][visible], shown[visible][:, :3])


def test_identical_frames_are_not_merged() -> None:
    frame = Frame((colour() // 64 * 64,), None, 0.1)
    info = Info("png", COLUMNS, ROWS, 3, False, np.dtype("u1"), 8, 3, True)
    for format in ("png", "gif", "webp"):
        data, _ = write(info, [frame] * 3, format=format)
        again, frames = read(data)
        assert again.frames == len(frames) == 3
        assert_same([frame] * 3, frames)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_jpeg_keeps_tables_and_subsampling(channels, progressive, subsampling) -> None:
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[channels]
    source = pillow(
        smooth(channels), "JPEG", mode, quality=83, subsampling=subsampling, progressive=progressive
    )
    info, frames = read(source)
    copy, losses = write(info, frames)
    assert losses == []
    with Image.open(io.BytesIO(source)) as ours, Image.open(io.BytesIO(copy)) as theirs:
        assert ours.quantization == theirs.quantization
        assert ours.layer == theirs.layer
        assert ours.mode == theirs.mode == mode
        assert bool(theirs.info.get("progressive")) == progressive
        ours_samples, theirs_samples = np.asarray(ours).astype(int), np.asarray(theirs).astype(int)
    assert np.abs(ours_samples - theirs_samples).mean() < 1.5  # a second coding, same tables


def test_jpeg_of_unusual_subsampling_says_so() -> None:
    source = bytes(imagecodecs.jpeg8_encode(smooth(), 90, subsampling="411"))
    info, frames = read(source)
    _, losses = write(info, frames)
    assert any("subsampling" in loss for loss in losses)


@pytest.mark.parametrize("format", ["webp", "avif", "jxl"])
def test_lossy_sources_stay_lossy_and_close(format: str) -> None:
    samples = smooth()
    sources = {
        "webp": lambda: pillow(samples, "WEBP", quality=80),
        "avif": lambda: bytes(imagecodecs.avif_encode(samples, 80)),
        "jxl": lambda: bytes(imagecodecs.jpegxl_encode(samples, distance=1.0)),
    }
    info, frames = read(sources[format]())
    assert not info.metadata.lossless
    copy, _ = write(info, frames)
    _, back = read(copy)
    difference = frames[0].planes[0].astype(int) - back[0].planes[0]
    assert 10 * np.log10(255**2 / np.mean(difference**2)) > 38
    exact, _ = write(info, frames, options=Options(lossless=True))
    assert_same(frames, read(exact)[1])


BILEVEL = {"png": lambda: small_gray_png(1), "tiff": lambda: tiff(gray() > 99),
           "pbm": lambda: pbm(gray() > 99), "text": lambda: b"P1 8 1\n10110100\n",
           "pgm": lambda: netpbm("P5", gray(top=1), 1)}  # fmt: skip


@pytest.mark.parametrize("source", BILEVEL)
def test_one_bit_goes_to_pbm(source: str) -> None:
    """Gray in between becomes the nearer of black and white, and that is told."""
    info, frames = read(BILEVEL[source]())
    assert info.bilevel
    (plane,) = frames[0].planes
    shaken = np.where(plane, plane - np.uint8(127), plane + np.uint8(127)).astype("u1")
    copy, losses = write(info, [Frame((shaken,))], format="pbm")
    assert any("gray levels" in loss for loss in losses)
    with Image.open(io.BytesIO(copy)) as picture:
        assert (picture.format, picture.mode) == ("PPM", "1")
        np.testing.assert_array_equal(np.asarray(picture), plane[..., 0] == 255)


@pytest.mark.parametrize("bits", range(9, 16))
def test_depth_is_scaled_up_reversibly(bits: int) -> None:
    samples = np.arange(2**bits, dtype="u2").reshape(-1, 2**5, 1)
    info = Info("pgm", 2**5, len(samples), 1, False, np.dtype("u2"), bits)
    again, frames = read(write(info, [Frame((samples,))], format="png")[0])
    wide = frames[0].planes[0].astype(float)
    assert again.bits == 16
    assert (wide.min(), wide.max()) == (0, 65535)
    np.testing.assert_array_equal(np.rint(wide * (2**bits - 1) / 65535), samples)


def test_white_is_zero_is_inverted_for_other_formats() -> None:
    samples = gray()
    info, frames = read(tiff(samples, photometric="miniswhite"))
    np.testing.assert_array_equal(frames[0].planes[0][:, :, 0], 255 - samples)
    _, back = read(write(info, frames, format="png")[0])
    np.testing.assert_array_equal(back[0].planes[0][:, :, 0], 255 - samples)


@pytest.mark.parametrize("told", ["u", "i"])
@pytest.mark.parametrize("dtype", ["i1", "i2"])
def test_lab_is_read_with_gray_in_the_middle(dtype: str, told: str) -> None:
    """a* and b* of CIELab are signed, L* is not, whatever is told of all three."""
    stored = colour(dtype=dtype)
    samples = stored.view(f"u{stored.itemsize}")
    source = stored.view(f"{told}{stored.itemsize}")
    info, frames = read(tiff(source, photometric="cielab"))
    again = tifffile.imread(io.BytesIO(write(info, frames)[0]))
    assert again.dtype == source.dtype
    np.testing.assert_array_equal(again, source)
    (plane,) = frames[0].planes
    assert info.lab
    np.testing.assert_array_equal(plane[..., 0], samples[..., 0])
    middle = -np.iinfo(dtype).min
    np.testing.assert_array_equal(plane[..., 1:].astype(int) - middle, stored[..., 1:])


def test_samples_of_several_kinds_are_told() -> None:
    file = io.BytesIO(tiff(colour(dtype="i1"), photometric="cielab"))
    with tifffile.TiffFile(file) as stored:
        at = stored.pages.first.tags["SampleFormat"].valueoffset
    data = bytearray(file.getvalue())
    data[at : at + 6] = struct.pack("<3H", 1, 2, 2)
    with pytest.raises(FileError, match="samples of several kinds"):
        read(bytes(data))


def test_lab_of_pillow_is_the_same_to_it() -> None:
    source = pillow(colour(), "TIFF", "LAB")
    info, frames = read(source)
    with (
        Image.open(io.BytesIO(source)) as ours,
        Image.open(io.BytesIO(write(info, frames)[0])) as theirs,
    ):
        assert ours.mode == theirs.mode == "LAB"
        for k in range(3):
            band = np.asarray(ours.getchannel(k))
            np.testing.assert_array_equal(band, np.asarray(theirs.getchannel(k)))
            np.testing.assert_array_equal(band, frames[0].planes[0][..., k])


def test_hidden_still_of_an_animation_is_kept() -> None:
    first, *rest = shots(3)
    data = saved(first, "PNG", save_all=True, append_images=rest, default_image=True, duration=50)
    info, frames = read(data)
    assert info.frames == 2
    copy, _ = write(info, frames)
    with Image.open(io.BytesIO(data)) as ours, Image.open(io.BytesIO(copy)) as theirs:
        assert theirs.info["default_image"]
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


@pytest.mark.parametrize("channels", [3, 4])
def test_avif_sequence_is_read_with_its_times(channels: int) -> None:
    info, frames = read(animation("AVIF", channels, quality=100))
    assert (info.clip, info.frames, info.channels, info.alpha) == (True, 4, 3, channels == 4)
    assert [round(frame.duration, 3) for frame in frames] == [0.04, 0.07, 0.1, 0.25]
    _, back = read(write(info, frames, format="png")[0])
    assert_same(frames, back)


def test_pages_of_different_sizes() -> None:
    file = io.BytesIO()
    pages = [noise(9, 7), noise(5, 12, 3), noise(6, 6, dtype="u2")]
    with tifffile.TiffWriter(file) as writer:
        for page in pages:
            writer.write(page, photometric="rgb" if page.ndim == 3 else "minisblack")
    info, frames = read(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(write(info, frames)[0])) as copy:
        for page, other in zip(pages, copy.pages, strict=True):
            np.testing.assert_array_equal(page, other.asarray())


def test_pages_of_several_kinds_do_not_go_into_a_ppm() -> None:
    frames = [Frame((colour(),)), Frame((colour(dtype="u2"),))]
    info = Info("tiff", COLUMNS, ROWS, 3, False, np.dtype("u1"), 8, 2)
    with pytest.raises(FileError, match="several kinds"):
        write(info, frames, format="ppm")


def test_frames_come_one_by_one() -> None:
    """A long stack is never held as a whole."""
    import tracemalloc

    data = tiff(noise(40, 256, 256, dtype="u2"))
    file = io.BytesIO(data)
    tracemalloc.start()
    with open_reader(file) as reader:
        for _ in reader:
            pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(data) / 4
