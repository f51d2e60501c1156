"""`nlm batch` as people and scripts use it: what is done, what is not, what is said."""

import csv
import json
import os
import resource
import time

import numpy as np
import pytest
from PIL import Image

from nlm import batch as nlm_batch
from nlm.batch import Folder, InProcess, Job, Workers
from nlm.pipeline import denoise_file
from nlm.settings import Settings
from tests.batching import QUICK, batch, contents, own_files, results, save_picture, save_pictures

FAST = Settings(sigma=20 / 255, preset="fast")
NAMES = (
    "input output status method preset sigma sigma_channels strength backend seconds width height "
    "frames error"
)


@pytest.fixture
def src(tmp_path):
    """Six pictures in three folders, and a text."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "notes.txt").write_text("not a picture")
    return save_pictures(tmp_path / "src", 6)


@pytest.fixture
def dst(tmp_path):
    return tmp_path / "dst"


def do(src, dst, executor=None, settings=FAST, **options):
    """The outcomes of a folder done in this process, by the input's path below it."""
    with Folder(str(src), str(dst), settings, **options) as folder:
        outcomes = list(folder.run(executor or InProcess()))
    return {os.path.relpath(one.file.input, src): one for one in outcomes}


def statuses(outcomes):
    return {name: one.file.status for name, one in outcomes.items()}


class TestMirror:
    def test_tree_is_mirrored(self, src, dst):
        rows = results(src, dst, *QUICK)
        assert set(contents(dst)) == set(contents(src)) - {"notes.txt"}
        assert own_files(dst) == {"manifest.jsonl", "lock"}
        assert len(rows) == 6
        for row in rows.values():
            assert set(row) == set(NAMES.split())
            assert (row["status"], row["sigma"], row["frames"]) == ("ok", 20.0, 1)
            assert os.path.exists(row["output"])

    def test_same_bytes_as_denoise_whatever_runs_it(self, src, tmp_path):
        for path in src.rglob("*.png"):
            single = tmp_path / "single" / path.relative_to(src)
            single.parent.mkdir(parents=True, exist_ok=True)
            denoise_file(path, single, FAST)
        do(src, tmp_path / "a")
        do(src, tmp_path / "b", Workers(2, threads=2))
        do(src, tmp_path / "c", Workers(1, threads=4))
        expected = contents(tmp_path / "single")
        assert all(contents(tmp_path / name) == expected for name in "abc")

    def test_run_gives_one_result_per_job(self, src, tmp_path):
        sources = [*sorted(src.rglob("*.png")), tmp_path / "missing.png"]
        jobs = [Job(str(one), str(tmp_path / one.name), FAST) for one in sources]
        done = list(nlm_batch.run(jobs, Workers(2)))
        assert sorted(one.job.source for one in done) == sorted(map(str, sources))
        assert [one.file.status for one in done].count("failed") == 1

    def test_empty_folder(self, tmp_path, dst):
        (tmp_path / "none").mkdir()
        assert "0 failed" in batch(tmp_path / "none", dst).stderr

    def test_another_format(self, src, dst):
        do(src, dst, settings=Settings(sigma=20 / 255, preset="fast", format="tiff"))
        assert {path.suffix for path in dst.rglob("*.*") if ".nlm" not in path.parts} == {".tif"}
        with Image.open(dst / "0" / "000.tif") as image:
            assert image.format == "TIFF"

    def test_names_that_another_format_makes_one(self, tmp_path, dst):
        for name in ("a.png", "a.bmp", "b.png"):
            save_picture(tmp_path / "src" / name)
        do(tmp_path / "src", dst, settings=Settings(sigma=0.0, format="webp"))
        assert set(contents(dst)) == {"a.png.webp", "a.bmp.webp", "b.webp"}


class TestResume:
    def test_what_is_done_is_left_alone(self, src, dst):
        do(src, dst)
        before = {path: path.stat().st_mtime_ns for path in dst.rglob("*.png")}
        again = results(src, dst, *QUICK)
        assert {row["status"] for row in again.values()} == {"skipped"}
        assert again["000.png"]["width"] == 48
        assert before == {path: path.stat().st_mtime_ns for path in dst.rglob("*.png")}

    def test_changed_source_is_done_again(self, src, dst):
        do(src, dst)
        save_picture(src / "0" / "003.png", seed=99)
        found = statuses(do(src, dst))
        assert found.pop("0/003.png") == "ok"
        assert set(found.values()) == {"skipped"}

    def test_touched_source_is_not(self, src, dst):
        do(src, dst)
        for path in [*src.rglob("*.png"), *dst.rglob("*.png")]:
            os.utime(path)
        assert set(statuses(do(src, dst)).values()) == {"skipped"}

    @pytest.mark.parametrize("change", [{"sigma": 0.2}, {"preset": "best"}, {"tile": 32}])
    def test_changed_options_are_done_again(self, src, dst, change):
        do(src, dst)
        changed = Settings(**{"sigma": 20 / 255, "preset": "fast", **change})
        assert set(statuses(do(src, dst, settings=changed)).values()) == {"ok"}
        assert set(statuses(do(src, dst, settings=changed)).values()) == {"skipped"}

    def test_threads_do_not_count_as_a_change(self, src, dst):
        do(src, dst)
        changed = Settings(sigma=20 / 255, preset="fast", threads=2)
        assert set(statuses(do(src, dst, settings=changed)).values()) == {"skipped"}

    def test_no_resume_does_all_again(self, src, dst):
        do(src, dst)
        assert set(statuses(do(src, dst, resume=False)).values()) == {"ok"}

    def test_deleted_and_emptied_outputs_are_made_again(self, src, dst):
        do(src, dst)
        whole = contents(dst)
        (dst / "0" / "000.png").unlink()
        (dst / "1" / "001.png").write_bytes(b"")
        found = statuses(do(src, dst))
        assert [name for name, status in found.items() if status == "ok"] == [
            "0/000.png",
            "1/001.png",
        ]
        assert contents(dst) == whole

    @pytest.mark.parametrize("damage", [b'{"target":"0/0', b"\0\0\0", b"[]\n", b'{"read":3}\n'])
    def test_half_written_manifest_line(self, src, dst, damage):
        do(src, dst)
        whole = contents(dst)
        manifest = dst / ".nlm" / "manifest.jsonl"
        lines = manifest.read_bytes().splitlines(keepends=True)
        manifest.write_bytes(b"".join(lines[:-1]) + damage)
        lost = json.loads(lines[-1])["target"]
        (dst / lost).unlink()
        assert statuses(do(src, dst))[lost] == "ok"
        assert contents(dst) == whole
        assert set(statuses(do(src, dst)).values()) == {"skipped"}

    def test_long_manifest_is_shortened(self, src, dst):
        do(src, dst)
        manifest = dst / ".nlm" / "manifest.jsonl"
        manifest.write_bytes(manifest.read_bytes() * 40)
        assert set(statuses(do(src, dst)).values()) == {"skipped"}
        assert len(manifest.read_bytes().splitlines()) == 6


class TestOthersFiles:
    def test_strangers_are_protected(self, src, dst):
        stranger = dst / "0" / "000.png"
        stranger.parent.mkdir(parents=True)
        stranger.write_bytes(b"precious")
        row = results(src, dst, *QUICK, check=1)["000.png"]
        assert row["status"] == "failed"
        assert "--force" in row["error"]
        assert stranger.read_bytes() == b"precious"
        assert statuses(do(src, dst, force=True))["0/000.png"] == "ok"
        assert stranger.read_bytes() != b"precious"

    def test_own_output_that_somebody_edited_is_protected(self, src, dst):
        do(src, dst)
        (dst / "0" / "000.png").write_bytes(b"edited by hand")
        assert statuses(do(src, dst))["0/000.png"] == "failed"

    def test_stranger_that_appears_during_the_run(self, src, dst):
        with Folder(str(src), str(dst), FAST) as folder:
            (dst / "1").mkdir()
            (dst / "1" / "004.png").write_bytes(b"precious")
            outcomes = list(folder.run(InProcess()))
        assert [one.file.status for one in outcomes].count("failed") == 1
        assert (dst / "1" / "004.png").read_bytes() == b"precious"

    def test_sources_are_never_overwritten(self, tmp_path):
        save_picture(tmp_path / "out" / "in" / "in" / "a.png")
        before = contents(tmp_path / "out" / "in")
        save_picture(tmp_path / "out" / "in" / "b.png")
        found = statuses(do(tmp_path / "out" / "in", tmp_path / "out", force=True))
        assert found == {"in/a.png": "failed", "b.png": "ok"}
        assert before.items() <= contents(tmp_path / "out" / "in").items()

    def test_link_in_the_destination_does_not_lead_into_the_source(self, src, dst):
        dst.mkdir()
        (dst / "0").symlink_to(src / "0")
        before = contents(src)
        found = statuses(do(src, dst, force=True))
        assert found["0/000.png"] == "failed"
        assert contents(src) == before


class TestOddFolders:
    def test_source_is_destination(self, src, tmp_path):
        (tmp_path / "link").symlink_to(src)
        for same in (src, tmp_path / "link", f"{src}/."):
            assert "source folder itself" in batch(src, same, *QUICK, check=2).stderr

    def test_no_folder(self, src, tmp_path):
        assert "check the name" in batch(tmp_path / "none", "x", check=2).stderr
        assert "nlm denoise" in batch(src / "notes.txt", "x", check=2).stderr
        assert "another name" in batch(src, src / "notes.txt", check=2).stderr

    def test_destination_inside_source(self, src):
        for _ in range(2):
            do(src, src / "clean")
        assert len(contents(src / "clean")) == 6

    def test_link_loops_end(self, src, dst):
        (src / "0" / "up").symlink_to(src)
        (src / "0" / "self").symlink_to(src / "0")
        (src / "broken").symlink_to(src / "nowhere")
        (src / "friend").symlink_to(src / "1")
        found = statuses(do(src, dst))
        assert set(found.values()) == {"ok"}
        assert "friend/001.png" in found
        assert len(found) == 8

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
    def test_unreadable_folder(self, src, dst):
        (src / "1").chmod(0)
        try:
            found = do(src, dst)
        finally:
            (src / "1").chmod(0o700)
        assert "cannot be read" in found["1"].file.error
        assert list(statuses(found).values()).count("ok") == 4

    def test_folder_that_cannot_be_read_is_reported(self, src, dst, monkeypatch):
        real = os.scandir

        def scandir(path):
            if str(path).endswith("/1"):
                raise PermissionError(13, "Permission denied")
            return real(path)

        monkeypatch.setattr(os, "scandir", scandir)
        found = do(src, dst)
        assert "this folder cannot be read (Permission denied)" in found["1"].file.error
        assert list(statuses(found).values()).count("ok") == 4

    def test_names_that_are_no_text(self, tmp_path, dst):
        odd = os.fsencode(tmp_path / "src") + b"/\xff\xfe \n'\".png"
        picture = save_picture(tmp_path / "src" / "plain.png")
        os.rename(picture, odd)
        for expected in ("ok", "skipped"):
            rows = results(tmp_path / "src", dst, *QUICK, "-v", "--report", tmp_path / "r.html")
            assert [row["status"] for row in rows.values()] == [expected]
        assert os.listdir(os.fsencode(dst)).count(os.path.basename(odd)) == 1
        for kind in ("r.csv", "r.json"):
            batch(tmp_path / "src", dst, *QUICK, "--report", tmp_path / kind)

    def test_files_that_cannot_be_done(self, src, dst):
        (src / "empty.png").write_bytes(b"")
        (src / "text.jpg").write_text("this is no picture")
        whole = (src / "0" / "000.png").read_bytes()
        (src / "cut.png").write_bytes(whole[: len(whole) // 2])
        (src / "gone.png").symlink_to(src / "nowhere")
        rows = results(src, dst, *QUICK, check=1)
        bad = {name for name, row in rows.items() if row["status"] == "failed"}
        assert bad == {"empty.png", "text.jpg", "cut.png", "gone.png"}
        assert "0 bytes" in rows["empty.png"]["error"]
        assert len(contents(dst)) == 6
        for name in bad:
            assert str(src / name) in rows[name]["error"]
            assert ".nlm" not in rows[name]["error"]

    def test_source_that_vanishes_during_the_run(self, src, dst):
        with Folder(str(src), str(dst), FAST) as folder:
            (src / "2" / "005.png").unlink()
            outcomes = list(folder.run(Workers(2)))
        (lost,) = [one.file for one in outcomes if one.file.status == "failed"]
        assert "does not exist" in lost.error

    def test_source_that_changes_while_it_is_read(self, src, dst, monkeypatch):
        from nlm import pipeline

        real = pipeline.denoise_file

        def denoise_file(source, *rest, **options):
            done = real(source, *rest, **options)
            if source.endswith("005.png"):
                save_picture(src / "2" / "005.png", seed=7)
            return done

        monkeypatch.setattr(pipeline, "denoise_file", denoise_file)
        found = do(src, dst)
        assert "changed while it was read" in found["2/005.png"].file.error
        assert len(contents(dst)) == 5

    def test_full_disk_costs_the_files_that_do_not_fit(self, src, dst):
        save_picture(src / "large.bmp", size=300)
        done = results(
            src, dst, *QUICK, check=1,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        )  # fmt: skip
        assert [name for name, row in done.items() if row["status"] == "failed"] == ["large.bmp"]
        assert str(dst / "large.bmp") in done["large.bmp"]["error"]
        assert own_files(dst) == {"manifest.jsonl", "lock"}

    def test_manifest_that_cannot_grow_fails_the_file_only(self, src, dst, monkeypatch):
        from nlm.batch.manifest import Manifest

        real = Manifest.add

        def add(self, record):
            if record.target == "0/000.png":
                raise OSError(28, "No space left on device")
            real(self, record)

        monkeypatch.setattr(Manifest, "add", add)
        found = do(src, dst)
        assert "disk is full" in found["0/000.png"].file.error
        assert len(contents(dst)) == 5


class TestChoice:
    def test_include_and_exclude(self, src, dst):
        rows = results(src, dst, *QUICK, "--include", "0/*", "--exclude", "003*")
        assert set(rows) == {"000.png"}

    def test_dry_run_counts_and_writes_nothing(self, src, dst):
        done = batch(src, dst, *QUICK, "-n")
        assert "6 files, 0.0 million pixels, about" in done.stdout
        assert not dst.exists()
        rows = results(src, dst, *QUICK, "-n")
        assert {row["status"] for row in rows.values()} == {"planned"}

    def test_fail_fast(self, src, dst):
        (src / "bad.png").write_text("no picture")
        for number in range(30):
            save_picture(src / "more" / f"{number}.png", size=60)
        done = batch(src, dst, *QUICK, "--fail-fast", "--include", "*", check=1)
        assert "not begun" in done.stderr
        assert own_files(dst) == {"manifest.jsonl", "lock"}

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (["-j", "0"], "--jobs 0"),
            (["--retries", "-1"], "--retries -1"),
            (["--memory", "lots"], "3G"),
            (["--report", "r.txt"], ".html"),
            (["--report", "none/r.csv"], "does not exist"),
            (["--format", "pgn"], "pgn"),
            (["--sigma", "-1"], "--sigma -1"),
            (["--cluster", "local", "--scheduler", "tcp://x:1"], "exclude each other"),
        ],
    )
    def test_wrong_options_exit_2_before_any_work(self, src, dst, words, expected):
        for more in ([], ["-n"]):
            done = batch(src, dst, *words, *more, check=2)
            assert expected in done.stderr
            assert len(done.stderr.splitlines()) <= 3
            assert not dst.exists()


class TestSaid:
    @pytest.mark.parametrize("suffix", [".json", ".csv", ".html"])
    def test_report(self, src, dst, tmp_path, suffix):
        (src / "<bad>.png").write_text("no picture")
        report = tmp_path / f"report{suffix}"
        batch(src, dst, *QUICK, "--report", report, check=1)
        text = report.read_text()
        if suffix == ".html":
            assert text.count("<tr") == 8
            assert "&lt;bad&gt;.png" in text
            assert "6 ok, 0 skipped" in text
            return
        rows = json.loads(text) if suffix == ".json" else list(csv.DictReader(text.splitlines()))
        assert [row["status"] for row in rows].count("ok") == 6
        good = next(row for row in rows if row["status"] == "ok")
        assert int(good["source_bytes"]) == os.path.getsize(good["input"])
        assert int(good["output_bytes"]) == os.path.getsize(good["output"])
        assert int(good["attempts"]) == 1

    def test_summary_and_quiet(self, src, dst):
        (src / "bad.png").write_text("no picture")
        done = batch(src, dst, *QUICK, check=1)
        first, last = done.stderr.splitlines()
        assert "bad.png" in first
        assert "6 done, 1 failed, 1 other files left alone" in last
        assert done.stdout == ""
        quiet = batch(src, dst, *QUICK, "-q", check=1)
        assert len(quiet.stderr.splitlines()) == 1

    def test_bar_on_a_terminal(self, src, dst):
        import pty
        import subprocess

        from tests.batching import arguments

        ours, theirs = pty.openpty()
        child = subprocess.Popen(arguments(src, dst, *QUICK), stderr=theirs)
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:
            pass
        os.close(ours)
        assert child.wait() == 0
        assert b"of 6 files" in shown
        assert b"6 done" in shown


def test_three_damaged_among_a_hundred(tmp_path):
    src = save_pictures(tmp_path / "src", 97, size=16)
    for number in range(3):
        (src / f"bad{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    rows = results(src, tmp_path / "dst", *QUICK, check=1)
    found = [row["status"] for row in rows.values()]
    assert (found.count("ok"), found.count("failed")) == (97, 3)
    assert len(contents(tmp_path / "dst")) == 97


def test_overhead_per_file_is_small(tmp_path):
    """Everything but the filter: planning, round trip, record, commit, for tiny files."""
    src = save_pictures(tmp_path / "src", 200, size=16)
    settings = Settings(sigma=0.0)
    with Folder(str(src), str(tmp_path / "dst"), settings) as folder:
        results = folder.run(Workers(1, threads=1))
        next(results)
        began = time.process_time()
        list(results)
        assert (time.process_time() - began) / 199 < 0.005


def test_pictures_survive(tmp_path):
    """Something other than noise comes out."""
    src = tmp_path / "src"
    save_picture(src / "a.png", 64)
    do(src, tmp_path / "dst")
    with Image.open(src / "a.png") as before, Image.open(tmp_path / "dst" / "a.png") as after:
        change = np.abs(np.asarray(before, float) - np.asarray(after, float)).mean()
    assert 1 < change < 30
