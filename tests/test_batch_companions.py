"""Guides, sigma maps and weights of a batch: found, fitting, and known by their content."""

import os
import shutil

import click
import numpy as np
import pytest
import tifffile
from PIL import Image

from nlm.batch import Folder, InProcess, Workers
from nlm.batch.companions import Companions
from nlm.batch.manifest import fingerprint
from nlm.errors import FileError, UsageError
from nlm.learned.weights import shipped
from nlm.pipeline import denoise_file
from nlm.settings import Settings
from nlm_cli.batch import command as batch_command
from nlm_cli.denoise import command as denoise_command
from tests.batching import batch, contents, results, save_picture, save_pictures
from tests.conftest import checkers
from tests.test_batch_cluster import cluster_arguments, needs_dask

SIGMA = 20 / 255
SHAPE = (40, 48)
ONLY_DENOISE = {
    "--output": "DST_DIR says where outputs go",
    "-o": "the same, short",
    "--keep-partial": "a batch that was interrupted goes on; a partial output would not be known",
}
"""Options of `denoise` that `batch` has no use for, and why."""


def options_of(command):
    """The flags of a command, each with its option."""
    return {
        flag: option
        for option in command.params
        if isinstance(option, click.Option)
        for flag in (*option.opts, *option.secondary_opts)
    }


def test_batch_takes_every_option_of_denoise():
    single, many = options_of(denoise_command), options_of(batch_command)
    assert single.keys() - many.keys() == ONLY_DENOISE.keys()
    for flag in single.keys() & many.keys():
        one, other = single[flag], many[flag]
        about = [
            (o.name, o.default, o.is_flag, o.multiple, o.type.to_info_dict()) for o in (one, other)
        ]
        assert about[0] == about[1], flag


def save_levels(path, level, shape=SHAPE):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, level, np.uint8)).save(path)
    return path


def save_clean(path, shape=SHAPE, channels=3):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (checkers(*shape, channels) * 255).astype(np.uint8)
    Image.fromarray(pixels.squeeze()).save(path)
    return path


@pytest.fixture
def src(tmp_path):
    """Three pictures in three folders: 0/000.png, 1/001.png, 2/002.png."""
    return save_pictures(tmp_path / "src", 3)


@pytest.fixture
def dst(tmp_path):
    return tmp_path / "dst"


def do(src, dst, executor=None, **settings):
    """What became of each file, by its path."""
    with Folder(str(src), str(dst), Settings(preset="fast", **settings)) as folder:
        outcomes = list(folder.run(executor or InProcess()))
    return {os.path.relpath(one.file.input, src): one.file for one in outcomes}


def statuses(found):
    return " ".join(found[name].status for name in sorted(found))


class TestOneForAll:
    def test_same_bytes_as_denoise(self, src, dst, tmp_path):
        guide, levels = save_clean(tmp_path / "guide.png"), save_levels(tmp_path / "map.png", 20)
        how = {"guide": str(guide), "sigma_map": str(levels)}
        assert statuses(do(src, dst, **how)) == "ok ok ok"
        denoise_file(
            src / "1" / "001.png", tmp_path / "one.png", Settings(preset="fast", **how)
        )  # fmt: skip
        assert (dst / "1" / "001.png").read_bytes() == (tmp_path / "one.png").read_bytes()
        plain = tmp_path / "plain.png"
        denoise_file(src / "1" / "001.png", plain, Settings(preset="fast", sigma=SIGMA))
        assert plain.read_bytes() != (tmp_path / "one.png").read_bytes()

    def test_one_that_lies_among_the_sources_is_no_source(self, src, dst):
        guide = save_clean(src / "guide.png")
        assert set(do(src, dst, sigma=SIGMA, guide=str(guide))) == {
            "0/000.png", "1/001.png", "2/002.png",
        }  # fmt: skip

    def test_one_that_does_not_fit_fails_those_it_does_not_fit(self, src, dst, tmp_path):
        guide = save_clean(tmp_path / "guide.png")
        save_picture(src / "large.png", 60)
        rows = results(src, dst, "--sigma", 20, "--guide", guide, check=1)
        assert [row["status"] for row in rows.values()].count("ok") == 3
        error = rows["large.png"]["error"]
        assert error.startswith(f"{src}/large.png: {guide}: a guide of 40 x 48 rows x columns")
        assert "does not fit; give one of 60 x 68" in error
        rows = results(src, tmp_path / "x", "--sigma", 20, "--guide", guide, "-n", check=1)
        assert rows["large.png"]["error"] == error

    @pytest.mark.parametrize("option", ["--guide", "--sigma-map"])
    def test_a_name_without_a_file_is_wrong_usage(self, src, dst, option):
        done = batch(src, dst, option, "none.png", check=2)
        assert f"{option} none.png: does not exist" in done.stderr
        assert not dst.exists()

    def test_a_method_that_takes_none_is_wrong_usage(self, src, dst, tmp_path):
        guide = save_clean(tmp_path / "guide.png")
        done = batch(src, dst, "--method", "nlnet", "--guide", guide, check=2)
        assert "'nlnet' takes no guide" in done.stderr


class TestOneForEach:
    @pytest.fixture
    def guides(self, tmp_path):
        folder = tmp_path / "guides"
        save_clean(folder / "0" / "000.png")
        save_clean(folder / "1" / "001.tif", channels=1)
        for other in ("001.txt", "001.mp4"):
            (folder / "1" / other).write_text("no picture")
        save_clean(folder / "2" / "002.bmp")
        save_clean(folder / "2" / "002.jpg")
        return folder

    def test_each_gets_its_own(self, src, dst, guides, tmp_path):
        rows = results(src, dst, "--sigma", 20, "--guide", guides, check=1)
        assert [rows[f"{n:03}.png"]["status"] for n in range(3)] == ["ok", "ok", "failed"]
        for number, name in enumerate(("0/000.png", "1/001.tif")):
            one = tmp_path / f"{number}.png"
            settings = Settings(sigma=SIGMA, guide=str(guides / name))
            denoise_file(src / f"{number}" / f"{number:03}.png", one, settings)
            assert (dst / f"{number}" / f"{number:03}.png").read_bytes() == one.read_bytes()

    def test_several_that_could_be_it(self, src, dst, guides):
        done = batch(src, dst, "--sigma", 20, "--guide", guides, check=1)
        (line,) = [one for one in done.stderr.splitlines() if "002" in one]
        assert line == (
            f"nlm: {src}/2/002.png: --guide could be any of 002.bmp, 002.jpg in {guides}/2; leave "
            "one of them there, or name it 002.png"
        )

    def test_a_missing_one_fails_its_picture_only(self, src, dst, guides):
        shutil.rmtree(guides / "2")
        done = batch(src, dst, "--sigma", 20, "--guide", guides, check=1)
        (line,) = [one for one in done.stderr.splitlines() if "002" in one]
        assert line.startswith(
            f"nlm: {src}/2/002.png: --guide has no file for it, neither {guides}/2/002.png nor "
            f"another picture {guides}/2/002.*"
        )
        assert set(contents(dst)) == {"0/000.png", "1/001.png"}
        save_clean(guides / "2" / "002.webp")
        found = do(src, dst, sigma=SIGMA, guide=str(guides))
        assert found["2/002.png"].status == "ok"

    def test_a_folder_among_the_sources_is_left_out(self, src, dst):
        for number in range(3):
            save_clean(src / "guides" / f"{number}" / f"{number:03}.png")
        found = do(src, dst, sigma=SIGMA, guide=str(src / "guides"))
        assert set(found) == {"0/000.png", "1/001.png", "2/002.png"}

    def test_the_batch_s_own_folders_are_refused(self, src, dst):
        for own in (src, dst):
            dst.mkdir(exist_ok=True)
            with pytest.raises(UsageError, match="folder itself; give another folder"):
                Companions(Settings(guide=str(own)), str(src), str(dst))

    def test_exact_names_win(self, tmp_path):
        for name in ("a.png", "a.tif", "b.tif"):
            save_clean(tmp_path / "guides" / name)
        one = Companions(Settings(guide=str(tmp_path / "guides")), "x", "y")
        assert one.of("a.png") == {"guide": str(tmp_path / "guides" / "a.png")}
        assert one.of("b.png") == {"guide": str(tmp_path / "guides" / "b.tif")}
        with pytest.raises(FileError, match=r"could be any of a.png, a.tif"):
            one.of("a.jpg")


class TestResume:
    """Changed content is done again, and what is the same is not."""

    def test_a_guide_for_all(self, src, dst, tmp_path):
        guide = save_clean(tmp_path / "guide.png")
        how = {"sigma": SIGMA, "guide": str(guide)}
        do(src, dst, **how)
        os.utime(guide)
        assert statuses(do(src, dst, **how)) == "skipped skipped skipped"
        moved = shutil.copy(guide, tmp_path / "moved.png")
        assert statuses(do(src, dst, sigma=SIGMA, guide=moved)) == "skipped skipped skipped"
        save_clean(guide, channels=1)
        assert statuses(do(src, dst, **how)) == "ok ok ok"
        assert statuses(do(src, dst, **how)) == "skipped skipped skipped"
        assert statuses(do(src, dst, sigma=SIGMA)) == "ok ok ok"
        assert statuses(do(src, dst, **how)) == "ok ok ok"

    def test_a_map_for_each(self, src, dst, tmp_path):
        maps = tmp_path / "maps"
        for number in range(3):
            save_levels(maps / f"{number}" / f"{number:03}.png", 15)
        how = {"sigma_map": str(maps)}
        assert statuses(do(src, dst, **how)) == "ok ok ok"
        save_levels(maps / "1" / "001.png", 30)
        assert statuses(do(src, dst, **how)) == "skipped ok skipped"
        assert do(src, dst, **how)["1/001.png"].sigma == pytest.approx(30)

    def test_weights(self, src, dst, tmp_path):
        weights = str(shutil.copy(shipped(1), tmp_path / "weights.npz"))
        how = {"method": "nlnet", "sigma": SIGMA, "parameters": {"weights": weights}}
        assert statuses(do(src, dst, **how)) == "ok ok ok"
        before = contents(dst)
        assert statuses(do(src, dst, Workers(1), **how)) == "skipped skipped skipped"
        weaken_last_layer(weights, weights)
        assert statuses(do(src, dst, **how)) == "ok ok ok"
        assert not set(before.values()) & set(contents(dst).values())

    def test_weights_that_come_with_nlm(self, src, dst, tmp_path, monkeypatch):
        """What was made with those of another version is made again, and nothing else."""
        how = {"method": "nlnet", "sigma": SIGMA}
        assert statuses(do(src, dst, **how)) == "ok ok ok"
        made = contents(dst)
        assert statuses(do(src, dst, **how)) == "skipped skipped skipped"
        by_hand = {"parameters": {"weights": str(shutil.copy(shipped(1), tmp_path / "own.npz"))}}
        others = [Settings(), Settings(**how, **by_hand)]
        before = [fingerprint(one) for one in others]
        newer = {1: tmp_path / "newer.npz", 3: shipped(3)}
        weaken_last_layer(shipped(1), newer[1])
        monkeypatch.setattr("nlm.learned.weights.shipped", lambda channels, small: newer[channels])
        assert statuses(do(src, dst, **how)) == "ok ok ok"
        assert statuses(do(src, dst, **how)) == "skipped skipped skipped"
        assert not set(made.values()) & set(contents(dst).values())
        assert [fingerprint(one) for one in others] == before

    def test_a_map_that_changes_meanwhile_fails_the_file(self, src, dst, tmp_path, monkeypatch):
        from nlm import pipeline

        levels, real = save_levels(tmp_path / "map.png", 15), pipeline.denoise_file

        def denoise_file(source, *rest, **options):
            done = real(source, *rest, **options)
            if source.endswith("001.png"):
                save_levels(levels, 30)
            return done

        monkeypatch.setattr(pipeline, "denoise_file", denoise_file)
        found = do(src, dst, sigma_map=str(levels))
        assert statuses(found) == "ok failed ok"
        assert found["1/001.png"].error.startswith(
            f"{src}/1/001.png: {levels}: changed while it was read"
        )
        monkeypatch.undo()  # of the others, the first was made from the old map
        assert statuses(do(src, dst, sigma_map=str(levels))) == "ok ok skipped"

    def test_presets_of_volumes_are_told_apart(self):
        same = {"patch_size": 5, "search_radius": 4}
        one = Settings(stack="volume", preset="fast")
        other = Settings(stack="volume", parameters=same)
        assert fingerprint(one) != fingerprint(other)


def weaken_last_layer(path, target):
    """The same network, but for its last layer."""
    from nlm.learned import weights

    config, arrays, card = weights.load(path)
    arrays = {name: np.float32(array) for name, array in arrays.items()}
    arrays["head.weight"] *= 0.5
    weights.save(target, config, arrays, card)


class TestStacks:
    def test_volume(self, tmp_path, dst):
        volume = np.repeat(checkers(24, 32)[None, ..., 0], 8, 0)
        volume += np.random.default_rng(0).normal(size=volume.shape).astype(np.float32) * SIGMA
        (tmp_path / "src").mkdir()
        tifffile.imwrite(tmp_path / "src" / "ct.tif", volume, photometric="minisblack")
        rows = results(tmp_path / "src", dst, "--sigma", 20, "--stack", "volume")
        assert rows["ct.tif"]["frames"] == 8
        one = tmp_path / "one.tif"
        denoise_file(tmp_path / "src" / "ct.tif", one, Settings(sigma=SIGMA, stack="volume"))
        assert np.array_equal(tifffile.imread(one), tifffile.imread(dst / "ct.tif"))
        pages = tmp_path / "pages.tif"
        denoise_file(tmp_path / "src" / "ct.tif", pages, Settings(sigma=SIGMA))
        assert not np.array_equal(tifffile.imread(one), tifffile.imread(pages))

    def test_some_frames(self, tmp_path, dst):
        (tmp_path / "src").mkdir()
        pages = (checkers(20, 30)[..., 0] * 200).astype(np.uint8)
        tifffile.imwrite(
            tmp_path / "src" / "a.tif", np.stack([pages] * 6), photometric="minisblack"
        )
        words = ("--sigma", 20, "--preset", "fast", "--stack", "clip", "--frames")
        assert results(tmp_path / "src", dst, *words, "1:4")["a.tif"]["frames"] == 3
        assert results(tmp_path / "src", dst, *words, "1:3")["a.tif"]["status"] == "ok"
        assert len(tifffile.imread(dst / "a.tif")) == 2

    def test_clips_have_no_companions(self, tmp_path, dst):
        frames = [Image.fromarray(np.full(SHAPE, 90 + k, np.uint8)) for k in range(3)]
        save_picture(tmp_path / "src" / "a.png")
        frames[0].save(tmp_path / "src" / "b.gif", save_all=True, append_images=frames[1:])
        guide = save_clean(tmp_path / "guide.png")
        rows = results(tmp_path / "src", dst, "--sigma", 20, "--guide", guide, check=1)
        assert rows["a.png"]["status"] == "ok"
        assert f"{tmp_path}/src/b.gif: is a clip; a guide" in rows["b.gif"]["error"]


@needs_dask
def test_on_a_cluster(src, tmp_path):
    """Workers elsewhere find the companions of relative folders, and tell their content."""
    import subprocess

    for number in range(3):
        save_clean(tmp_path / "guides" / f"{number}" / f"{number:03}.png")
    words = ("src", "there", "--sigma", 20, "--preset", "fast", "--guide", "guides")

    def run():
        command = cluster_arguments(*words, "--cluster", "local", "-j", 1)
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stderr

    assert "3 done, 0 failed" in run()
    do(src, tmp_path / "here", sigma=SIGMA, guide=str(tmp_path / "guides"))
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    save_clean(tmp_path / "guides" / "1" / "001.png", channels=1)
    assert "1 done, 2 done before, 0 failed" in run()
