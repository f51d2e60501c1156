"""Image sequences, animations and stacks as clips, and what they become."""

import numpy as np
import pytest
import tifffile
from PIL import Image

import nlm
from nlm.io import Options, Span, open_reader
from nlm.io.sequence import is_sequence, numbered, path_of
from nlm.pipeline import default_output, denoise_file
from nlm.settings import Settings
from tests.clips import about, make_video, read_video, texture
from tests.conftest import noisy

OFF = Settings(sigma=0.0)


@pytest.fixture
def pictures(tmp_path):
    """Frames 7 to 12 of a moving texture, 8-bit RGB PNG, with a comment."""
    clip = (texture(40, 56, 6, channels=3) * 255).astype(np.uint8)
    for number, frame in enumerate(clip, 7):
        Image.fromarray(frame).save(tmp_path / f"in_{number:04d}.png", dpi=(300, 300))
    (tmp_path / "in_0001.txt").write_text("not a picture")
    (tmp_path / "in_x.png").write_text("nor this")
    return clip


def test_patterns(tmp_path):
    (tmp_path / "100%d.png").write_bytes(b"")
    assert is_sequence("a/b_%03d.png")
    assert not is_sequence("a%d/b.png")
    assert not is_sequence(tmp_path / "100%d.png")
    assert path_of("a/b_%03d_c%d.png", 7) == "a/b_007_c%d.png"
    for name in ("f_9.png", "f_10.png", "f_010.png"):
        (tmp_path / name).write_bytes(b"")
    assert list(numbered(str(tmp_path / "f_%d.png"))) == [9, 10]
    assert list(numbered(str(tmp_path / "f_%02d.png"))) == [10]


def test_pictures_to_pictures(pictures, tmp_path):
    source = tmp_path / "in_%04d.png"
    result = denoise_file(source, default_output(source), OFF)
    assert (result.status, result.frames, result.losses) == ("ok", 6, ())
    for number, frame in enumerate(pictures, 7):
        with Image.open(tmp_path / f"in_{number:04d}_denoised.png") as image:
            assert np.array_equal(np.asarray(image), frame)
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)


def test_existing_pictures_are_protected(pictures, tmp_path):
    (tmp_path / "out_0009.png").write_bytes(b"precious")
    with pytest.raises(nlm.FileError, match=r"out_0009\.png: exists already"):
        denoise_file(tmp_path / "in_%04d.png", tmp_path / "out_%04d.png", OFF)
    assert (tmp_path / "out_0009.png").read_bytes() == b"precious"
    assert not (tmp_path / "out_0007.png").exists()


def test_a_gap_and_an_odd_picture_are_named(pictures, tmp_path):
    Image.fromarray(pictures[0][:20]).save(tmp_path / "in_0013.png")
    with pytest.raises(nlm.FileError, match=r"in_0013\.png: its height is 20.*40"):
        denoise_file(tmp_path / "in_%04d.png", tmp_path / "out_%04d.png", OFF)
    assert not list(tmp_path.glob("out_*"))
    (tmp_path / "in_0009.png").unlink()
    with pytest.raises(nlm.FileError, match="number 9 is missing between 7 and 13"):
        denoise_file(tmp_path / "in_%04d.png", tmp_path / "out_%04d.png", OFF)
    with pytest.raises(nlm.FileError, match="no file has such a name"):
        denoise_file(tmp_path / "none_%04d.png", tmp_path / "out_%04d.png", OFF)


def test_pictures_to_video(pictures, tmp_path):
    source = tmp_path / "in_%04d.png"
    told = Settings(sigma=0.0, options=Options(fps=29.97))
    result = denoise_file(source, tmp_path / "out.mp4", told)
    assert any("exact colours" in loss for loss in result.losses)
    seen = about(tmp_path / "out.mp4")
    assert (seen["size"], seen["pixels"], seen["colours"]) == ((56, 40), "yuv420p", (1, 1, 1, 1))
    assert float(seen["rate"]) == pytest.approx(30000 / 1001)
    result = denoise_file(
        source, tmp_path / "out.mkv", Settings(sigma=0.0, options=Options(lossless=True))
    )
    assert result.losses == ("the resolution (DPI)",)
    with open_reader(tmp_path / "out.mkv") as reader:
        for frame, picture in zip(reader, pictures, strict=True):
            assert np.array_equal(frame.planes[0], picture)


def test_video_to_pictures_by_the_tags_of_the_video(tmp_path):
    """BT.709 limited range back to the RGB that it was made from."""
    clip = np.stack(
        [np.full((32, 32, 3), colour, np.uint8) for colour in [(255, 0, 0), (10, 200, 30)]]
    )
    for number, frame in enumerate(clip, 1):
        Image.fromarray(frame).save(tmp_path / f"in_{number}.png")
    fine = Options(crf=1)
    denoise_file(tmp_path / "in_%d.png", tmp_path / "a.mp4", Settings(sigma=0.0, options=fine))
    result = denoise_file(tmp_path / "a.mp4", tmp_path / "out_%03d.png", OFF)
    assert any("YUV becomes RGB" in loss for loss in result.losses)
    for number, frame in enumerate(clip, 1):
        with Image.open(tmp_path / f"out_{number:03d}.png") as image:
            assert np.abs(np.asarray(image).astype(int) - frame).max() <= 4


def test_ten_bit_video_to_sixteen_bit_pictures(tmp_path):
    make_video(tmp_path / "a.mkv", codec="ffv1", pixels="yuv444p10le", count=2, size=(64, 48))
    denoise_file(tmp_path / "a.mkv", tmp_path / "out_%d.png", OFF)
    with open_reader(tmp_path / "out_1.png") as reader:
        assert reader.info.bits == 16
        assert len(np.unique(next(iter(reader)).planes[0])) > 50


def test_animation_to_video_keeps_its_times(tmp_path):
    frames = [Image.fromarray((one[:, :, 0] * 255).astype(np.uint8)) for one in texture(32, 48, 4)]
    frames[0].save(
        tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=[40, 120, 80, 200]
    )
    result = denoise_file(tmp_path / "a.gif", tmp_path / "b.mp4", OFF)
    assert result.frames == 4
    times, _, _ = read_video(tmp_path / "b.mp4")
    assert [float(time) for time in times] == pytest.approx([0, 0.04, 0.16, 0.24])


def test_a_part_of_an_animation(tmp_path):
    frames = [Image.fromarray((one[:, :, 0] * 255).astype(np.uint8)) for one in texture(32, 48, 9)]
    frames[0].save(
        tmp_path / "a.webp", save_all=True, append_images=frames[1:], duration=100, lossless=True
    )
    for span, count in ((Span(first=2, last=5), 3), (Span(start=0.5, end=0.8), 3)):
        result = denoise_file(
            tmp_path / "a.webp", tmp_path / "b.webp", Settings(sigma=0.0, span=span), force=True
        )
        assert result.frames == count


class TestStack:
    @pytest.fixture
    def stack(self, tmp_path):
        clip = noisy(texture(48, 64, 5, step=0), 0.1)[..., 0]
        tifffile.imwrite(tmp_path / "a.tif", (clip.clip(0, 1) * 65535).astype(np.uint16))
        return tmp_path / "a.tif"

    def test_pages_become_frames_if_asked_for(self, stack, tmp_path):
        with pytest.raises(nlm.FileError, match="a picture is no video"):
            denoise_file(stack, tmp_path / "b.mkv", OFF)
        result = denoise_file(stack, tmp_path / "b.mkv", Settings(sigma=0.0, stack="clip"))
        assert result.losses == ("text entries",)
        _, frames, pixels = read_video(tmp_path / "b.mkv")
        assert pixels == "gray16le"
        for frame, page in zip(frames, tifffile.imread(stack), strict=True):
            assert np.array_equal(frame[0], page)

    def test_pages_stay_pages(self, stack, tmp_path):
        result = denoise_file(stack, tmp_path / "b.tif", Settings(stack="clip"))
        assert (result.status, result.frames) == ("ok", 5)
        assert tifffile.imread(tmp_path / "b.tif").shape == (5, 48, 64)

    def test_pages_that_differ_are_no_clip(self, tmp_path):
        with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
            writer.write(np.zeros((20, 30), np.uint8))
            writer.write(np.zeros((20, 40), np.uint8))
        with pytest.raises(nlm.FileError, match=r"frame 1 has 40 x 20.*--stack pages"):
            denoise_file(tmp_path / "a.tif", tmp_path / "b.tif", Settings(stack="clip"))


@pytest.mark.parametrize("output", [None, "out/"])
def test_a_file_that_is_named_like_a_pattern_keeps_its_name(run_nlm, tmp_path, output):
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / "100%d.png")
    to = [] if output is None else ["-o", output]
    run_nlm("denoise", "100%d.png", *to, "--sigma", 0, cwd=tmp_path, check=0)
    target = tmp_path / ("100%d_denoised.png" if output is None else "out/100%d.png")
    assert target.is_file()
    assert {one.name for one in tmp_path.iterdir()} <= {"100%d.png", "out", target.name}
    done = run_nlm("denoise", "100%d.png", *to, cwd=tmp_path, check=1)
    assert b"exists already" in done.stderr
