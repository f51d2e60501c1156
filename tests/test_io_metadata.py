"""Profiles, EXIF, XMP, resolution, text and orientation go along, or the loss is told."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from nlm.errors import FileError
from nlm.io import FORMATS, Frame, Info, Metadata, check_target, open_reader, open_writer
from nlm.io.exif import orientation, with_orientation
from nlm.io.heif import Still
from nlm.io.ifd import Directory, Tag, pack_block, read_block
from nlm.io.samples import turn

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a>\xc3\xa4</a></x:xmpmeta>'
STILLS = ("png", "jpeg", "tiff", "webp", "avif", "jxl")


def exif(turned: int = 6, order: str = "<") -> bytes:
    """Camera, orientation, exposure, a maker's note and a place."""

    def tag(code: int, kind: int, data: bytes) -> Tag:
        return Tag(code, kind, data).reordered(order == ">")

    camera = Directory(
        tags={
            33434: tag(33434, 5, struct.pack("<II", 1, 125)),
            37500: tag(37500, 7, bytes(range(50))),
        }
    )
    place = Directory(
        tags={1: tag(1, 2, b"N\0"), 2: tag(2, 5, struct.pack("<6I", 52, 1, 31, 1, 7, 1))}
    )
    tags = {271: tag(271, 2, b"Camera Maker\0"), 274: tag(274, 3, struct.pack("<H", turned))}
    return pack_block(Directory(tags=tags, nested={34665: camera, 34853: place}), order)


def meaning(block: bytes) -> dict:
    """EXIF as Pillow understands it."""
    found = Image.Exif()
    found.load(b"Exif\0\0" + block)
    kept = {code: value for code, value in found.items() if code in (271, 274)}
    return {**kept, "camera": found.get_ifd(34665), "place": found.get_ifd(34853)}


def picture(**metadata) -> tuple[Info, Frame]:
    samples = np.random.default_rng(3).integers(0, 256, (12, 20, 3), "u1")
    meta = Metadata(**metadata)
    return Info("other", 20, 12, 3, False, np.dtype("u1"), 8, metadata=meta), Frame((samples,))


def written(info: Info, frame: Frame, format: str) -> tuple[bytes, list[str]]:
    file = io.BytesIO()
    with open_writer(file, info, format=format) as writer:
        writer.write(frame)
    return file.getvalue(), writer.losses


def reread(data: bytes) -> tuple[Info, Frame]:
    with open_reader(io.BytesIO(data)) as reader:
        (frame,) = reader
        return reader.info, frame


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("source", STILLS)
@pytest.mark.parametrize("target", STILLS)
def test_metadata_goes_from_any_format_to_any(source: str, target: str, order: str) -> None:
    block = exif(order=order)
    info, frame = picture(exif=block, icc=ICC, xmp=XMP, dpi=(300, 200), orientation=6)
    data, losses = written(info, frame, source)
    info, frame = reread(data)
    data, more = written(info, frame, target)
    info, _ = reread(data)
    meta = info.metadata
    expected = meaning(block)
    if "jxl" in (source, target):  # it turns the picture itself
        expected[274] = 1
        assert (info.width, info.height) == (12, 20)
    assert meaning(meta.exif) == expected
    assert meta.orientation == expected[274]
    assert meta.xmp == XMP
    told = " ".join(losses + more)
    assert meta.icc == ICC or "ICC" in told
    assert meta.dpi == pytest.approx((300, 200), abs=0.01) or "DPI" in told
    assert not ("ICC" in told and meta.icc)
    assert not ("DPI" in told and meta.dpi)


@pytest.mark.parametrize("target", ["png", "jpeg", "tiff", "webp", "avif"])
def test_others_understand_the_metadata(target: str) -> None:
    info, frame = picture(exif=exif(), icc=ICC, xmp=XMP, dpi=(300, 200), orientation=6)
    data, _ = written(info, frame, target)
    with Image.open(io.BytesIO(data)) as opened:
        found = opened.getexif()
        assert found[274] == 6
        assert found[271] == "Camera Maker"
        assert found.get_ifd(34853)[2] == (52.0, 31.0, 7.0)
        assert opened.info["icc_profile"] == ICC
        if target in ("png", "jpeg", "tiff"):
            assert opened.info["dpi"] == pytest.approx((300, 200), abs=0.01)
        packet = opened.info.get("xmp") or opened.info.get("XML:com.adobe.xmp")
        packet = packet or opened.tag_v2[700]
        assert (packet.encode() if isinstance(packet, str) else packet) == XMP


@pytest.mark.parametrize("target", ["bmp", "ppm", "gif", "jxl"])
@pytest.mark.parametrize("turned", range(1, 9))
def test_formats_without_orientation_get_upright_pixels(target: str, turned: int) -> None:
    info, frame = picture(exif=exif(turned), orientation=turned)
    frame.planes = (frame.planes[0] // 64 * 64,)
    _, back = reread(written(info, frame, target)[0])
    np.testing.assert_array_equal(back.planes[0], turn(frame, turned).planes[0])


@pytest.mark.parametrize("turned", range(1, 9))
def test_turn_agrees_with_pillow(turned: int) -> None:
    from PIL import ImageOps

    _, frame = picture()
    shot = Image.fromarray(frame.planes[0])
    shot.getexif()[274] = turned
    np.testing.assert_array_equal(
        turn(frame, turned).planes[0], np.asarray(ImageOps.exif_transpose(shot))
    )


@pytest.mark.parametrize("turned", range(1, 9))
def test_avif_orientation_is_understood(turned: int) -> None:
    data, _ = written(*picture(orientation=turned), "avif")
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.getexif().get(274, 1) == turned
    assert reread(data)[0].metadata.orientation == turned


def avif_exif(data: bytes) -> bytes | None:
    """The EXIF block as it stands in the file, without what readers make of the boxes."""
    items = Still.parse(data).items.values()
    return next((item.data[4:] for item in items if item.kind == b"Exif"), None)


@pytest.mark.parametrize("turned", range(1, 9))
@pytest.mark.parametrize("told", [b"", exif(1), exif(6)])
def test_avif_is_turned_by_its_boxes_only(told: bytes, turned: int) -> None:
    """A viewer that heeds both boxes and EXIF must not turn the picture twice."""
    file = io.BytesIO()
    shot = Image.fromarray(picture()[1].planes[0])
    block = Image.Exif()
    block.load(b"Exif\0\0" + told if told else b"")
    block[274] = turned
    shot.save(file, "AVIF", exif=block.tobytes(), quality=100)
    copy, losses = written(*reread(file.getvalue()), "avif")
    assert losses == []
    stands = avif_exif(copy)
    assert stands is None or orientation(stands) == 1
    with Image.open(file) as ours, Image.open(io.BytesIO(copy)) as theirs:
        assert ours.getexif().get(274, 1) == theirs.getexif().get(274, 1) == turned


def test_avif_without_exif_stays_without() -> None:
    data, _ = written(*picture(orientation=6), "avif")
    assert avif_exif(data) is None
    copy, _ = written(*reread(data), "avif")
    assert avif_exif(copy) is None
    assert reread(copy)[0].metadata.orientation == 6


def test_png_chunks_survive_byte_for_byte() -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Title", "a cat")
    chunks.add_text("Long", "x" * 500, zip=True)
    chunks.add_itxt("Author", "Zoë", "fr", "Auteur")
    chunks.add(b"gAMA", struct.pack(">I", 45455))
    chunks.add(b"prVt", b"private", after_idat=True)
    file = io.BytesIO()
    Image.fromarray(picture()[1].planes[0]).save(
        file, "PNG", pnginfo=chunks, icc_profile=ICC, dpi=(72, 72), exif=b"Exif\0\0" + exif()
    )
    info, frame = reread(file.getvalue())
    copy, losses = written(info, frame, "png")

    def listed(data: bytes) -> list[tuple[bytes, bytes]]:
        parts, at = [], 8
        while at < len(data):
            length, kind = struct.unpack_from(">I4s", data, at)
            body = data[at + 8 : at + 8 + length]
            assert zlib.crc32(kind + body) == int.from_bytes(data[at + 8 + length :][:4], "big")
            parts.append((kind, body))
            at += 12 + length
        return [part for part in parts if part[0] != b"IDAT"]

    assert listed(file.getvalue()) == listed(copy)
    assert losses == []
    assert dict(info.metadata.text)["Author"] == "Zoë"
    assert any("gAMA" in loss for loss in check_target(info, "x.webp"))


def test_jpeg_segments_survive() -> None:
    file = io.BytesIO()
    maker = b"\xff\xed" + struct.pack(">H", 16) + b"Photoshop 3.0\0"
    Image.fromarray(picture()[1].planes[0]).save(
        file, "JPEG", exif=b"Exif\0\0" + exif(), icc_profile=ICC, xmp=XMP, comment=b"hello",
        dpi=(300, 300), extra=maker,
    )  # fmt: skip
    info, frame = reread(file.getvalue())
    copy, losses = written(info, frame, "jpeg")
    with Image.open(io.BytesIO(file.getvalue())) as ours, Image.open(io.BytesIO(copy)) as theirs:
        assert ours.app == theirs.app
        assert ours.info == theirs.info
    assert losses == []
    assert any("APP13" in loss for loss in check_target(info, "x.png"))


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_descriptions_of_a_tiff_survive(order: str) -> None:
    """Its own one, in JSON, tifffile writes, beside a person's; readers heed the first."""
    file = io.BytesIO()
    samples = picture()[1].planes[0]
    tifffile.imwrite(file, samples, photometric="rgb", description="a cat", byteorder=order)
    with tifffile.TiffFile(io.BytesIO(file.getvalue())) as tiff:
        said = [tag.value for tag in tiff.pages.first.tags if tag.code == 270]
    assert len(said) == 2
    info, frame = reread(file.getvalue())
    assert info.metadata.text == (("Description", "a cat"),)
    copy, losses = written(info, frame, "tiff")
    with tifffile.TiffFile(io.BytesIO(copy)) as tiff:
        assert [tag.value for tag in tiff.pages.first.tags if tag.code == 270] == said
    with Image.open(io.BytesIO(copy)) as opened:
        assert opened.size == (20, 12)
    assert losses == []


def test_exif_stands_beside_two_descriptions() -> None:
    info, frame = picture(exif=exif())
    info, frame = reread(written(info, frame, "tiff")[0])
    tags = frame.native.tags
    texts = [Tag(270, 2, b"one\0"), Tag(270, 2, b"two\0")]
    tags.tags[270], tags.repeated = texts[0], texts[1:]
    again, _ = reread(written(info, frame, "tiff")[0])
    assert again.metadata.native.tags.every(270) == texts
    assert meaning(again.metadata.exif)["camera"] == meaning(exif())["camera"]


def jpeg(**options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture()[1].planes[0]).save(file, "JPEG", **options)
    return file.getvalue()


def ppm(samples: np.ndarray, kind: str = "P6") -> bytes:
    head = f"{kind} {samples.shape[1]} {samples.shape[0]} 255\n"
    return head.encode() + samples.tobytes()


def pillow(format: str, frames: int = 1) -> bytes:
    first = Image.fromarray(picture()[1].planes[0])
    more = {"save_all": True, "append_images": [first.rotate(180)]} if frames > 1 else {}
    file = io.BytesIO()
    first.save(file, format, **more)
    return file.getvalue()


FOLLOWED = {
    "png": pillow("PNG"),
    "webp": pillow("WEBP"),
    "jpeg": jpeg(),
    "progressive jpeg": jpeg(progressive=True, exif=b"Exif\0\0" + exif()),
    "restarting jpeg": jpeg(restart_marker_blocks=1),
    "ppm": ppm(picture()[1].planes[0]),
    "text ppm": b"P3 1 1 255\n1 2 3\n",
    "pfm": b"Pf 1 1 -1.0\n".replace(b" ", b"\n", 1) + struct.pack("<f", 0.5),
}
BEHIND = {
    "a clip": b"\0\0\0\x20ftypmp42PPPP",
    "a jpeg": jpeg(),
    "a picture of another kind": ppm(picture()[1].planes[0][..., 0], "P5"),
    "half a header": b"P6 20",
}


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("source", FOLLOWED)
def test_what_stands_behind_a_picture_is_told(source: str, behind: str) -> None:
    info, frame = reread(FOLLOWED[source] + BEHIND[behind])
    data, losses = written(info, frame, info.format)
    assert [loss for loss in losses if "behind the picture" in loss] == losses != []
    assert reread(data)[0].metadata.dropped == ()


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("format", ["PNG", "GIF", "WEBP"])
def test_what_stands_behind_an_animation_is_told(format: str, count: int) -> None:
    data = pillow(format, count)
    for behind, told in ((b"", 0), (b"\0" * 512, 0), (BEHIND["a clip"], 1)):
        with open_reader(io.BytesIO(data + behind)) as reader:
            assert len(reader.info.metadata.dropped) == told
            assert len(list(reader)) == count


@pytest.mark.parametrize("padding", [b"", b"\0" * 512, b"\r\n"])
@pytest.mark.parametrize("source", FOLLOWED)
def test_padding_behind_a_picture_is_nothing(source: str, padding: bytes) -> None:
    info, _ = reread(FOLLOWED[source] + padding)
    assert info.metadata.dropped == ()


def test_large_profile_is_cut_into_segments() -> None:
    profile = np.random.default_rng(0).bytes(200_000)
    info, frame = picture(icc=profile)
    assert reread(written(info, frame, "jpeg")[0])[0].metadata.icc == profile


def test_every_lost_kind_is_told() -> None:
    info, _ = picture(exif=exif(), icc=ICC, xmp=XMP, dpi=(1, 1), text=(("a", "b"),))
    for row in FORMATS:
        try:
            losses = check_target(info, f"x{row.suffixes[0]}")
        except FileError:
            continue
        lost = {"exif", "icc", "xmp", "dpi", "text"} - row.carries
        assert len(losses) == len(lost) + (row.name == "gif")


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_is_set_in_place(order: str) -> None:
    block = exif(3, order)
    for turned in range(1, 9):
        changed = with_orientation(block, turned)
        assert orientation(changed) == turned
        assert len(changed) == len(block)
    assert with_orientation(changed, 3) == block


def test_orientation_is_added() -> None:
    assert with_orientation(b"", 1) == b""
    assert orientation(with_orientation(b"", 7)) == 7
    _, directory = read_block(exif())
    del directory.tags[274]
    added = with_orientation(pack_block(directory, "<"), 5)
    assert meaning(added) == {**meaning(exif()), 274: 5}


@pytest.mark.parametrize(
    "garbage", [b"", b"II", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\0\x09"]
)
def test_damaged_exif_is_no_orientation(garbage: bytes) -> None:
    assert orientation(garbage) == 1
