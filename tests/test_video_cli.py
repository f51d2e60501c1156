"""Videos on the command line: pipes, parts, interruptions, batches, results for scripts."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time

import av
import pytest

from tests.clips import about, make_video, read_video, texture
from tests.conftest import INTERRUPTIBLE, MAIN, noisy


@pytest.fixture
def clip(tmp_path):
    make_video(tmp_path / "clip.mp4", count=30, audio="aac")
    return tmp_path / "clip.mp4"


def test_a_file_beside_it(run_nlm, clip):
    done = run_nlm("denoise", "clip.mp4", "--json", cwd=clip.parent, check=0)
    told = json.loads(done.stdout)
    assert (told["status"], told["frames"], told["width"], told["height"]) == ("ok", 30, 64, 48)
    assert told["output"] == "clip_denoised.mp4"
    assert len(told["sigma_channels"]) == 3
    assert about(clip)["streams"] == about(clip.parent / "clip_denoised.mp4")["streams"]
    assert done.stderr == b""


def test_dry_run_tells_frames_and_losses(run_nlm, clip):
    done = run_nlm("denoise", clip, "-o", "x.y4m", "-n", cwd=clip.parent, check=0)
    assert b"30 frames" in done.stdout
    assert b"not carried over: audio stream 1 (aac)" in done.stderr
    assert not (clip.parent / "x.y4m").exists()


@pytest.mark.parametrize("format", ["y4m", "matroska", "mpegts", "mp4"])
def test_through_pipes(run_nlm, tmp_path, format):
    codec = "rawvideo" if format == "y4m" else "libx264"
    name = {"y4m": "yuv4mpegpipe"}.get(format, format)
    make_video(tmp_path / "a", codec=codec, format=name, count=6)
    data = (tmp_path / "a").read_bytes()
    done = run_nlm("denoise", "-", "--sigma", 0, stdin=data, check=0)
    with av.open(io.BytesIO(done.stdout)) as container:
        assert name.split("matroska")[0] in container.format.name
        assert sum(1 for _ in container.decode(video=0)) == 6


def test_a_pipe_flows(tmp_path):
    """Frames come out before all have gone in."""
    make_video(tmp_path / "a.y4m", codec="rawvideo", count=60)
    data = (tmp_path / "a.y4m").read_bytes()
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "denoise", "-", "--sigma", "0"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip

    def give_the_rest():
        process.stdin.write(data[len(data) * 2 // 3 :])
        process.stdin.close()

    with process:
        process.stdin.write(data[: len(data) * 2 // 3])
        process.stdin.flush()
        first = process.stdout.read(len(data) // 4)
        giving = threading.Thread(target=give_the_rest)  # while somebody reads
        giving.start()
        rest = process.stdout.read()
        giving.join()
    assert process.returncode == 0
    assert first + rest == data


def test_a_format_that_pipes_cannot_take(run_nlm, clip):
    done = run_nlm("denoise", clip, "-o", "-", "--format", "avi", check=1)
    assert done.stdout == b""
    assert b"--format mkv" in done.stderr


def test_a_part(run_nlm, clip, tmp_path):
    run_nlm("denoise", clip, "-o", tmp_path / "a.mkv", "--frames", "10:14", "--sigma", 0, check=0)
    assert len(read_video(tmp_path / "a.mkv")[0]) == 4
    run_nlm("denoise", clip, "-o", tmp_path / "b.mkv", "--start", 0.4, "--end", 0.8, check=0)
    assert len(read_video(tmp_path / "b.mkv")[0]) == 10


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--frames", "5"], b"A:B"),
        (["--frames", "9:3"], b"no frame lies from 9 to 3"),
        (["--frames", ":5", "--start", "1"], b"exclude each other"),
        (["--start", "-1"], b"0 or more"),
        (["--crf", "99"], b"0 to 63"),
        (["--fps", "0"], b"above 0"),
        (["--lossless", "--crf", "3"], b"exclude each other"),
        (["--stack", "volume"], b"pictures"),
        (["--codec", "nonsense"], b"--codec nonsense is not known"),
    ],
)
def test_wrong_usage(run_nlm, clip, arguments, words):
    done = run_nlm("denoise", clip, *arguments, check=2)
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert [one.name for one in clip.parent.iterdir()] == ["clip.mp4"]


def test_damage_is_told_and_what_there_is_is_written(run_nlm, tmp_path):
    make_video(tmp_path / "a.mkv", clip=noisy(texture(48, 64, 40), 0.1))
    data = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "b.mkv").write_bytes(data[: len(data) // 2])
    done = run_nlm("denoise", tmp_path / "b.mkv", "--sigma", 0, "--json", check=1)
    told = json.loads(done.stdout)
    assert told["status"] == "failed"
    assert f"{told['frames']} of 40 frames could be read" in told["error"]
    assert len(done.stderr.strip().splitlines()) == 1
    assert len(read_video(tmp_path / "b_denoised.mkv")[0]) == told["frames"] > 5


ENDS = [signal.SIGINT, *(getattr(signal, one) for one in ("SIGTERM", "SIGHUP") if os.name != "nt")]
USUAL = "".join(f"signal.signal({number:d}, signal.SIG_DFL); " for number in ENDS[1:])
"""Where what starts the tests ignores the end of a terminal."""


def ended_by(signals):
    return pytest.mark.parametrize("by", signals, ids=lambda number: number.name)


class TestInterrupted:
    PATIENCE = 600
    """Seconds; kernels may have to be compiled first, by a busy machine."""

    def interrupt(self, tmp_path, by, *options, frames=80, written=5000, silent=False):
        """Signal it when so much is written; the pipe stays open, so it never comes to an end.

        With `silent`, it stays open until the program has ended.

        Gives the exit code and what was said.
        """
        long = tmp_path / "long.y4m"
        program = f"import signal; {USUAL}{INTERRUPTIBLE}"
        process = subprocess.Popen(
            [sys.executable, "-c", program, "denoise", "-", "--format", "mkv", "-o",
             str(tmp_path / "out.mkv"), "--sigma", "9", "--preset", "fast", *options],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        clip = noisy(texture(96, 128, frames), 0.1)
        make_video(long, codec="rawvideo", clip=clip, size=(128, 96))
        with process:
            process.stdin.write(long.read_bytes())
            process.stdin.flush()
            until = time.monotonic() + self.PATIENCE
            while not any(one.stat().st_size >= written for one in tmp_path.glob(".nlm-*")):
                assert process.poll() is None, process.stderr.read()
                assert time.monotonic() < until
                time.sleep(0.05)
            process.send_signal(by)
            if silent:
                process.wait(self.PATIENCE)
            process.stdin.close()
            said = process.stderr.read()
        return process.returncode, said

    @ended_by(ENDS)
    def test_nothing_is_left(self, tmp_path, by):
        code, said = self.interrupt(tmp_path, by)
        assert code == 128 + by
        assert b"interrupted" in said
        assert b"Traceback" not in said
        assert {one.name for one in tmp_path.iterdir()} == {"long.y4m"}

    @ended_by(ENDS[:2])
    @pytest.mark.parametrize("options", [(), ("--keep-partial",)])
    def test_while_a_pipe_is_silent(self, tmp_path, by, options):
        code, said = self.interrupt(tmp_path, by, *options, silent=True)
        assert code == 128 + by
        assert b"Traceback" not in said
        left = {"long.y4m", "out.mkv"} if options else {"long.y4m"}
        assert {one.name for one in tmp_path.iterdir()} == left

    @pytest.mark.skipif(os.name == "nt", reason="waits for the pipe to be empty")
    @ended_by(ENDS[:2])
    @pytest.mark.parametrize("command", [("denoise", "-", "-o", "out.mkv"), ("estimate", "-")])
    def test_before_a_pipe_has_sent_enough_to_begin(self, tmp_path, by, command):
        make_video(tmp_path / "a.y4m", codec="rawvideo", count=2)
        program = f"import signal; {USUAL}{INTERRUPTIBLE}"
        process = subprocess.Popen(
            [sys.executable, "-c", program, *command],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
        )  # fmt: skip
        with process:
            process.stdin.write((tmp_path / "a.y4m").read_bytes())
            process.stdin.flush()
            until = time.monotonic() + self.PATIENCE
            while waiting_bytes(process.stdin):
                assert time.monotonic() < until
                time.sleep(0.05)
            time.sleep(0.5)
            process.send_signal(by)
            process.wait(self.PATIENCE)
            process.stdin.close()
            said = process.stderr.read()
        assert process.returncode == 128 + by
        assert b"Traceback" not in said
        assert {one.name for one in tmp_path.iterdir()} == {"a.y4m"}

    @ended_by(ENDS[:2])
    def test_keep_partial_leaves_a_file_that_plays(self, tmp_path, by):
        code, said = self.interrupt(tmp_path, by, "--keep-partial")
        assert code == 128 + by
        assert b"what was done is in" in said
        assert len(read_video(tmp_path / "out.mkv")[0]) > 0
        assert not list(tmp_path.glob(".nlm-*"))

    @ended_by(ENDS[:2])
    def test_keep_partial_before_there_is_anything(self, tmp_path, by):
        code, said = self.interrupt(tmp_path, by, "--keep-partial", frames=2, written=0)
        assert code == 128 + by
        assert b"unfinished outputs were removed" in said
        assert {one.name for one in tmp_path.iterdir()} == {"long.y4m"}


def waiting_bytes(pipe):
    """How many nobody has read yet."""
    import fcntl
    import termios

    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


class TestBatch:
    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "in" / "deep").mkdir(parents=True)
        make_video(tmp_path / "in" / "deep" / "good.mkv", count=4, audio="flac")
        make_video(tmp_path / "in" / "bad.mkv", clip=noisy(texture(48, 64, 40), 0.1))
        data = (tmp_path / "in" / "bad.mkv").read_bytes()
        (tmp_path / "in" / "bad.mkv").write_bytes(data[: len(data) // 2])
        return tmp_path

    def test_videos_in_folders(self, run_nlm, folder):
        words = ("batch", folder / "in", folder / "out", "--sigma", 0, "--json", "-j", 1)
        done = run_nlm(*words, check=1)
        told = {
            os.path.basename(one["input"]): one for one in map(json.loads, done.stdout.splitlines())
        }
        assert told["good.mkv"]["status"] == "ok"
        assert told["good.mkv"]["frames"] == 4
        assert told["bad.mkv"]["status"] == "failed"
        assert str(folder / "out" / "bad.mkv") in told["bad.mkv"]["error"]
        assert len(read_video(folder / "out" / "bad.mkv")[0]) == told["bad.mkv"]["frames"]
        assert about(folder / "out" / "deep" / "good.mkv")["streams"][1][1] == "flac"
        again = run_nlm(*words, check=1)  # still damaged, and told so without doing it again
        told = [json.loads(one)["status"] for one in again.stdout.splitlines()]
        assert sorted(told) == ["failed", "skipped"]
