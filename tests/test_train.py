"""Training of the learned filter: settings, pictures, schedule, resuming, export, command line."""

import json
import os
import re
import signal
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nlm
from nlm.errors import FileError, UsageError
from nlm.learned import weights
from nlm.learned.config import ModelConfig
from nlm.learned.data import load_pictures, reduced
from nlm.learned.train_config import TrainConfig, from_settings
from tests import networks
from tests.conftest import checkers, noisy
from tests.networks import no_larger_files_than, random_weights

TINY = ModelConfig(widths=(16, 16), blocks=(1, 1), blocks_up=(1,), nonlocal_radius=(0, 0))
SETTINGS = [f"{name}={json.dumps(value)}" for name, value in TINY.to_dict().items()
            if value != ModelConfig().to_dict()[name]]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """Four clean pictures, one of them in colour, in a tree."""
    path = tmp_path / "pictures"
    (path / "more").mkdir(parents=True)
    for k in range(3):
        pixels = checkers(50 + k, 60, period=5 + 2 * k)[..., 0]
        Image.fromarray((255 * pixels).astype(np.uint8)).save(path / "more" / f"{k}.png")
    Image.fromarray((255 * checkers(40, 70, 3)).astype(np.uint8)).save(path / "colour.png")
    return path


def config_for(folder, out, **changes):
    small = {"crop": 32, "batch": 2, "threads": 1, "log_every": 5, "warmup": 3, "steps": 8}
    return TrainConfig(data=folder, out=out, **{**small, **changes})


def read_weights(path):
    return weights.load(path)[1]


class TestSettings:
    def test_values_are_read_by_their_kind(self):
        train, model = from_settings(
            ["lr=1", "data=some/dir", "decay=30", "device=cpu", "compile=true",
             "widths=[16, 24]", "estimates=[0.5]", "pairwise=embedded_gaussian"]
        )  # fmt: skip
        assert train == {
            "lr": 1.0, "data": Path("some/dir"), "decay": 30, "device": "cpu", "compile": True
        }  # fmt: skip
        assert type(train["lr"]) is float
        assert model == {
            "widths": (16, 24), "estimates": (0.5,), "pairwise": "embedded_gaussian"
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("item", "message"),
        [
            ("warp=3", "no setting 'warp'; those there are: batch, blocks"),
            ("lr=fast", "lr=fast cannot be read; write it like lr=0.5"),
            ("steps=1.5", "write it like steps=8"),
            ("compile=1", "write it like compile=true"),
            ("widths=48", "write it like"),
            ("widths=[1.5]", "write it like"),
            ("steps", "write it like"),
        ],
    )
    def test_what_cannot_be_read_is_named(self, item, message):
        with pytest.raises(UsageError, match=re.escape(message)):
            from_settings([item])

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"crop": 33}, "crop 33 is not allowed; give a multiple of 4 pixels"),
            ({"steps": 0}, "steps 0"),
            ({"batch": 0}, "batch 0"),
            ({"lr": float("nan")}, "lr nan"),
            ({"sigma_max": 0}, "sigma_max 0"),
            ({"device": "tpu"}, "available: auto, cpu, cuda"),
            ({"seed": -1}, "seed -1"),
            ({"seed": 10**23 - 1}, "seed 9.* is not allowed; give a whole number from 0 to"),
            ({"threads": 10**20}, "threads 1"),
            ({"steps": 1.5}, "steps 1.5 is not allowed; give a whole number from 1 to"),
            ({"minutes": -1.0}, "minutes -1.0 is not allowed; give a number of at least 0"),
            ({"minutes": float("nan")}, "minutes nan"),
            ({"clip": float("nan")}, "clip nan is not allowed; give a number above 0"),
            ({"clip": -1.0}, "clip -1.0"),
            ({"motion": float("nan")}, "motion nan"),
            ({"ema": 2.0}, "ema 2.0 is not allowed; give a number from 0 to 1"),
            ({"warmup": -5}, "warmup -5"),
            ({"decay": -5}, "decay -5"),
            ({"weight_decay": float("nan")}, "weight_decay nan"),
            ({"downscaled": float("nan")}, "downscaled nan"),
            ({"clips": -1.0}, "clips -1.0"),
            ({"ramps": 2.0}, "ramps 2.0"),
            ({"val_sigmas": (-5,)}, "val_sigmas .* give whole numbers from 0 to 255"),
        ],
    )
    def test_values_that_make_no_sense_are_named(self, changes, message):
        with pytest.raises(UsageError, match=message):
            config_for(Path(), Path(), **changes).check(TINY)

    @pytest.mark.parametrize(
        "changes",
        [
            {"minutes": 0.5}, {"decay": 0}, {"decay": None}, {"warmup": 0}, {"clip": float("inf")},
            {"ema": 1}, {"weight_decay": 0.0}, {"motion": 0}, {"val_sigmas": ()},
        ],
        ids=str,
    )  # fmt: skip
    def test_values_that_make_sense_are_taken(self, changes):
        config_for(Path(), Path(), **changes).check(TINY)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"nonlocal_radius": (0, -3)}, r"\(0, -3\) is not allowed; give whole .* from 0 to 64"),
            ({"nonlocal_width": -1}, "nonlocal_width -1"),
            ({"widths": (0, 8)}, r"widths \(0, 8\)"),
            ({"widths": (-8, 8)}, r"widths \(-8, 8\)"),
            ({"blocks": (-1, 1)}, r"blocks \(-1, 1\)"),
            ({"blocks_up": (-1,)}, r"blocks_up \(-1,\)"),
            ({"estimates": (float("nan"),)}, r"estimates \(nan,\)"),
            ({"leak": 2.0}, "leak 2.0"),
            ({"repeats": 10**9}, "repeats 1000000000"),
        ],
    )
    def test_networks_that_make_no_sense_are_named(self, changes, message):
        with pytest.raises(UsageError, match=message):
            replace(TINY, **changes)


class TestPictures:
    def test_gray_and_colour_come_as_asked(self, folder):
        told = []
        for channels in (1, 3):
            found = load_pictures(folder, channels, 32, told.append)
            assert [p.shape for p in found] == [(40, 70, channels)] + [
                (50 + k, 60, channels) for k in range(3)
            ]
            assert {p.dtype for p in found} == {np.dtype(np.uint8)}
        assert not told
        rgb, gray = (load_pictures(folder, n, 32, told.append)[0] for n in (3, 1))
        with Image.open(folder / "colour.png") as image:
            assert np.array_equal(rgb, np.asarray(image))
            assert np.abs(gray[..., 0] - np.asarray(image.convert("L"), float)).max() <= 1

    def test_16_bits_are_scaled(self, tmp_path):
        deep = (checkers(40, 40)[..., 0] * 65535).astype(np.uint16)
        Image.fromarray(deep).save(tmp_path / "deep.png")
        (found,) = load_pictures(tmp_path, 1, 8, pytest.fail)
        assert np.abs(found[..., 0] - deep / 257).max() <= 0.51

    def test_what_cannot_be_used_is_left_out_and_told(self, folder):
        (folder / "text.png").write_text("no picture")
        Image.new("L", (90, 20)).save(folder / "tiny.png")
        whole = (folder / "colour.png").read_bytes()
        (folder / "half.png").write_bytes(whole[: len(whole) // 2])
        (folder / "notes.txt").write_text("not meant")
        Image.new("CMYK", (50, 50)).save(folder / "print.tif")
        told = []
        assert len(load_pictures(folder, 1, 32, told.append)) == 4
        assert len(told) == 4
        for reason in (
            "text.png: is no PNG",
            "tiny.png: left out, 90x20 pixels",
            "half.png",
            "print.tif: 4 channels",
        ):
            assert any(reason in line for line in told)
        assert all("left out" in line and "\n" not in line for line in told)

    def test_a_picture_may_be_a_pixel_wide(self, tmp_path):
        for name, size in (("gray", (1, 3000)), ("wide", (3000, 1)), ("tall", (1, 90))):
            for mode in ("L", "RGB"):
                Image.new(mode, size, "white").save(tmp_path / f"{name}{mode}.png")
        told = []
        for channels in (1, 3):
            found = load_pictures(tmp_path, channels, 1, told.append)
            shapes = {(2048, 1, channels), (1, 2048, channels), (90, 1, channels)}
            assert {p.shape for p in found} == shapes
            assert {p.shape[2] for p in reduced(found, 1)} == {channels}
            with pytest.raises(UsageError, match="no usable picture"):
                load_pictures(tmp_path, channels, 32, told.append)
        assert all("left out" in line and "\n" not in line for line in told)

    def test_what_is_no_file_is_left_out(self, folder):
        os.mkfifo(folder / "pipe.png")
        (folder / "folder.png").mkdir()
        (folder / "gone.png").symlink_to("nowhere")
        told = []
        assert len(load_pictures(folder, 1, 32, told.append)) == 4
        assert told == [
            f"{folder / name}.png: is no file; left out" for name in ("folder", "gone", "pipe")
        ]

    def test_folders_without_pictures_are_refused(self, tmp_path):
        (tmp_path / "text.png").write_text("no picture")
        with pytest.raises(UsageError, match="no usable picture"):
            load_pictures(tmp_path, 1, 32, lambda line: None)
        with pytest.raises(UsageError, match="none is not a folder"):
            load_pictures(tmp_path / "none", 1, 32, pytest.fail)


@pytest.fixture
def crops_of(folder):
    """A function that makes the source of batches; it needs PyTorch."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from nlm.learned.crops import Crops

    pictures = load_pictures(folder, 1, 32, pytest.fail)

    def make(model=TINY, **changes):
        return Crops(pictures, config_for(folder, folder, **changes), model, torch.device("cpu"))

    return make


class TestBatches:
    def test_noise_is_of_the_level_that_is_told(self, crops_of):
        crops = crops_of(batch=6, ramps=0.5)
        shares = []
        for step in range(8):
            batch = crops.batch(step)
            assert batch.clean.shape == batch.noisy.shape == (6, 1, 32, 32)
            assert batch.sigma.shape == (6, 1, 32, 32)
            assert 0 <= batch.clean.min() <= batch.clean.max() <= 1
            assert 0 <= batch.sigma.min() <= batch.sigma.max() <= 75 / 255
            noise = (batch.noisy - batch.clean) / (batch.sigma + 1e-9)
            shares += list(noise.numpy().std((1, 2, 3)))
        assert np.abs(np.array(shares) - 1).max() < 0.1

    def test_crops_are_squares_of_the_pictures(self, folder, crops_of):
        pictures = load_pictures(folder, 1, 32, pytest.fail)
        squares = {
            p[y : y + 32, x : x + 32, 0].tobytes()
            for p in pictures
            for y in range(p.shape[0] - 31)
            for x in range(p.shape[1] - 31)
        }
        turned = set()
        for crop in np.rint(255 * crops_of(batch=64, downscaled=0.0).batch(0).clean.numpy()):
            square = crop[0].astype(np.uint8)
            ways = [np.rot90(s, k) for s in (square, square.T) for k in range(4)]
            fitting = [k for k, way in enumerate(ways) if way.tobytes() in squares]
            assert fitting
            turned.update(fitting[:1])
        assert len(turned) > 4

    def test_reduced_copies_are_drawn_as_often_as_asked(self, folder):
        pictures = [np.full((64, 64, 1), 40 * k, np.uint8) for k in range(3)]
        copies = reduced(pictures, 32)
        assert [c.shape for c in copies] == [(n, n, 1) for n in (32, 42, 51)] * 3
        assert reduced(pictures, 52) == []

    def test_frames_of_a_clip_move_evenly(self, crops_of):
        still = crops_of(batch=20, clips=1.0, frames=5, motion=0.0).batch(0)
        moving = crops_of(batch=20, clips=1.0, frames=5, motion=6.0).batch(0)
        assert still.frames == moving.frames == 5
        assert moving.clean.shape == (20, 1, 32, 32)
        changes = []
        for batch in (still, moving):
            clips = batch.clean.reshape(4, 5, 32, 32)
            changes.append(float((clips[:, 1:] - clips[:, :-1]).abs().mean()))
            sigmas = batch.sigma.reshape(4, 5, 32, 32)
            assert (sigmas == sigmas[:, :1]).all()
        assert changes[0] < changes[1]
        assert crops_of(batch=20, clips=0.0, frames=5).batch(0).frames == 1

    def test_seed_and_step_decide_everything(self, crops_of):
        model = replace(TINY, estimates=(0.6,))
        one = crops_of(model, downscaled=0.5).batch(3)
        assert one.estimates.shape == one.noisy.shape
        again = crops_of(model, downscaled=0.5).batch(3)
        assert (again.noisy == one.noisy).all()
        assert (again.estimates == one.estimates).all()
        assert (crops_of(model, downscaled=0.5).batch(4).noisy != one.noisy).any()
        assert (crops_of(model, downscaled=0.5, seed=1).batch(3).noisy != one.noisy).any()

    @pytest.mark.parametrize("strengths", [(), (0.6,)])
    def test_copies_have_memory_of_their_own(self, crops_of, strengths):
        crops = crops_of(replace(TINY, estimates=strengths))
        one, other = crops.batch(1), crops.batch(2)
        held, before = one.copy(), one.clean.clone()
        held.fill(other)
        names = ["clean", "noisy", "sigma", *(["estimates"] if strengths else [])]
        for name in names:
            assert bool((getattr(held, name) == getattr(other, name)).all())
        assert bool((one.clean == before).all())
        assert (held.estimates is None) == (not strengths)


@pytest.fixture
def train():
    """The function that trains; it needs PyTorch."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from nlm.learned.train import train

    return train


class TestStart:
    """How a network begins to learn."""

    @pytest.fixture(autouse=True)
    def _needs_torch(self):
        pytest.importorskip("torch", reason="PyTorch is not installed")

    def test_features_of_gray_have_no_mean(self):
        import torch

        from nlm.learned.pytorch import MIDDLE, NlNet

        torch.manual_seed(1)
        net = NlNet(ModelConfig(channels=3))
        seen = []
        for block in (net.encoder[0], net.bottom[0]):
            block.register_forward_hook(lambda module, given, out: seen.append(given[0]))
        net(torch.full((1, 3, 96, 96), MIDDLE[0]), torch.full((1, 1, 1, 1), MIDDLE[1]))
        for features in seen:
            middle = features[:, :, features.shape[2] // 2, features.shape[3] // 2]
            assert middle.abs().max() < 1e-5

    @pytest.mark.parametrize(("leak", "learns"), [(0.0, False), (0.1, True)])
    def test_channels_below_zero_learn_where_there_is_a_leak(self, leak, learns):
        import torch

        from nlm.learned.pytorch import NlNet

        net = NlNet(replace(TINY, leak=leak))
        torch.nn.init.normal_(net.head.weight, std=0.1)
        conv = net.bottom[0].conv1
        with torch.no_grad():
            conv.bias.fill_(-1e3)
        net(torch.rand(3, 1, 32, 32), torch.full((3, 1, 1, 1), 0.1)).square().sum().backward()
        assert bool((conv.weight.grad != 0).any()) == learns


class TestRecording:
    def test_each_kind_of_batch_is_recorded_once(self, crops_of, train, tmp_path, monkeypatch):
        import torch

        from nlm.learned import checkpoint, learner
        from nlm.learned.pytorch import NlNet

        class Graph:
            """Notes what a CUDA graph is asked for."""

            def __init__(self):
                self.plays = 0

            def replay(self):
                self.plays += 1

        monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
        monkeypatch.setattr(torch.cuda, "graph", lambda graph: nullcontext())
        config = config_for(tmp_path, tmp_path)
        net = NlNet(TINY)
        state = checkpoint.State(net, NlNet(TINY), learner.optimizers_of(net, config), config, TINY)
        learning = learner.Learner(state, config, torch.device("cuda"))
        seen = []

        def learn(batch):
            seen.append(batch)
            return batch.noisy.sum(), batch.noisy.max()

        monkeypatch.setattr(learning, "learn", learn)
        crops = crops_of()
        for step in range(2 * (learner.FIRST + 4)):
            batch = replace(crops.batch(step), frames=1 + step % 2)
            learning(batch)
            held = learning.recordings.get((batch.frames, batch.clean.shape))
            assert (held is None) == (step // 2 < learner.FIRST)
            assert held is None or bool((held.batch.noisy == batch.noisy).all())
        assert len(seen) == 2 * (learner.FIRST + 1)
        assert [one.graph.plays for one in learning.recordings.values()] == [4, 4]
        assert state.step == 2 * (learner.FIRST + 4)


class TestTraining:
    def test_rate_rises_stays_and_falls(self, train):
        from nlm.learned.learner import rate

        config = TrainConfig(data=Path(), steps=100, warmup=10, decay=40)
        rates = np.array([rate(step, config) for step in range(101)])
        assert np.all(np.diff(rates[:10]) > 0)
        assert np.all(rates[9:60] == 1)
        assert np.all(np.diff(rates[60:]) < 0)
        assert rates[100] == 0

    def test_orthogonal_updates(self, train):
        import torch

        from nlm.learned.muon import orthogonal

        for shape in ((3, 8, 30), (2, 30, 8)):
            matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
            values = torch.linalg.svdvals(orthogonal(matrices))
            assert values.min() > 0.5
            assert values.max() < 1.5
            same = torch.nn.functional.cosine_similarity(
                orthogonal(matrices).flatten(1), matrices.flatten(1)
            )
            assert same.min() > 0.5

    def test_going_on_equals_never_having_stopped(self, train, folder, tmp_path):
        straight = train(config_for(folder, tmp_path / "a"), TINY, str)
        train(config_for(folder, tmp_path / "b", minutes=1e-9), TINY, str)
        told = []
        resumed = train(config_for(folder, tmp_path / "b"), TINY, told.append)
        assert "from step 1 to step 8" in told[0]
        one, two = read_weights(straight.weights), read_weights(resumed.weights)
        assert all(np.array_equal(one[name], two[name]) for name in one)
        last = tmp_path / "b" / "last.pt"
        branch = train(config_for(folder, tmp_path / "c", resume=last, steps=9), TINY, str)
        assert branch.step == 9

    def test_it_learns_and_says_so(self, train, folder, tmp_path):
        config = config_for(
            folder, tmp_path, val=folder, val_sigmas=(25,), steps=120, batch=4, lr_rest=3e-3
        )
        told = []
        result = train(config, TINY, told.append)
        assert result.psnr["25"] > 23  # of the noisy pictures it is 20.2
        assert any(re.fullmatch(r"step 120/120  loss .* kpx/s  0:00:00 left", one) for one in told)
        assert told[-1] == f"step 120/120  validation PSNR {result.psnr['25']:.2f} at sigma 25"
        found, arrays, card = weights.load(result.weights)
        assert found == TINY
        assert {array.dtype for array in arrays.values()} == {np.dtype("f2"), np.dtype("f4")}
        assert card["data"] == card["validation"] == "pictures"
        assert (card["steps"], card["psnr"], card["sigma"]) == (120, result.psnr, [0, 75])
        assert card["pixels"] == 120 * 4 * 32**2
        clean = checkers(64, 64, period=7)
        better = nlm.denoise(
            noisy(clean, 0.1), 0.1, "nlnet", channel_axis=-1, weights=str(result.weights)
        )
        assert nlm.psnr(better, clean) > nlm.psnr(noisy(clean, 0.1), clean) + 2

    def test_what_a_warm_start_adds_changes_nothing_at_first(self, train, folder, tmp_path):
        import torch

        from nlm.learned import checkpoint
        from nlm.learned.pytorch import NlNet

        train(config_for(folder, tmp_path / "plain"), TINY, str)
        more = replace(TINY, estimates=(0.6,), nonlocal_radius=(3, 2))
        config = config_for(folder, tmp_path / "more")
        state = checkpoint.State(NlNet(more), NlNet(more), [], config, more)
        start = tmp_path / "plain" / "last.pt"
        checkpoint.warm_start(state, start, str)
        plain = NlNet(TINY)
        plain.load_state_dict(checkpoint.read_checkpoint(start)["average"])
        noise, sigma, guide = torch.rand(1, 1, 32, 40), torch.full((1, 1, 1, 1), 0.1), torch.rand(1)
        with torch.no_grad():
            one = plain(noise, sigma)
            two = state.net(noise, sigma, guide.expand(1, 1, 32, 40))
        assert (one - two).abs().max() < 1e-6
        assert state.pixels == 8 * 2 * 32**2

    @pytest.mark.parametrize("suffix", [".pt", ".npz"])
    def test_gray_begins_from_colour_without_its_first_layer(self, train, folder, tmp_path, suffix):
        colour = replace(TINY, channels=3)
        start = train(config_for(folder, tmp_path / "a", steps=1), colour, str).weights
        start = start if suffix == ".npz" else start.with_name("last.pt")
        told = []
        gray = train(config_for(folder, tmp_path / "b", warm_start=start), TINY, told.append)
        count = len(TINY.shapes())
        assert told[0] == f"{start}: {count - 3} of {count} arrays taken"  # nor the last layer's
        assert gray.step == 8

    def test_a_run_that_goes_on_does_without_its_start(self, train, folder, tmp_path):
        start = train(config_for(folder, tmp_path / "a", steps=1), TINY, str).weights
        how = {"warm_start": start}
        straight = train(config_for(folder, tmp_path / "b", **how), TINY, str)
        train(config_for(folder, tmp_path / "c", minutes=1e-9, **how), TINY, str)
        start.unlink()
        told = []
        resumed = train(config_for(folder, tmp_path / "c", **how), TINY, told.append)
        assert "from step 1 to step 8" in told[0]
        one, two = read_weights(straight.weights), read_weights(resumed.weights)
        assert all(np.array_equal(one[name], two[name]) for name in one)

    @pytest.mark.parametrize("steps", [5, 8])
    def test_a_checkpoint_with_all_its_steps_is_exported(self, train, folder, tmp_path, steps):
        first = train(config_for(folder, tmp_path / "a"), TINY, str)
        last = tmp_path / "a" / "last.pt"
        config = config_for(folder, tmp_path / "b", resume=last, steps=steps)
        for _ in range(2):
            again = train(config, TINY, str)
            assert (again.step, weights.load(again.weights)[2]["steps"]) == (8, 8)
        one, two = read_weights(first.weights), read_weights(again.weights)
        assert all(np.array_equal(one[name], two[name]) for name in one)

    @pytest.mark.parametrize(("steps", "name"), [(4, "last.pt"), (2, "nlnet.npz")])
    def test_a_full_disk_leaves_what_was_there(self, train, folder, tmp_path, steps, name):
        out = tmp_path / "out"
        train(config_for(folder, out, steps=2), TINY, str)
        before = {path.name: path.read_bytes() for path in out.iterdir()}
        room = len(before["nlnet.npz"]) - 1000  # but for the log
        with no_larger_files_than(room), pytest.raises(FileError) as error:
            train(config_for(folder, out, steps=steps), TINY, str)
        assert re.search(f"{name}: cannot be written: .*; choose another", str(error.value))
        assert "\n" not in str(error.value)
        assert {path.name for path in out.iterdir()} == set(before)
        for kept in ("last.pt", "nlnet.npz"):
            assert (out / kept).read_bytes() == before[kept]

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device")
    def test_a_log_that_cannot_be_written_is_named(self, train, folder, tmp_path):
        (tmp_path / "log.jsonl").symlink_to("/dev/full")
        with pytest.raises(FileError, match=r"log\.jsonl: cannot be written: the disk is full"):
            train(config_for(folder, tmp_path, steps=2), TINY, str)

    @pytest.mark.parametrize("model", [TINY, replace(TINY, nonlocal_radius=(0, 2), widths=(8, 1))])
    def test_exported_weights_start_a_run_as_well(self, train, folder, tmp_path, model):
        from nlm.learned import checkpoint
        from nlm.learned.pytorch import NlNet

        first = train(config_for(folder, tmp_path / "first"), model, str)
        config = config_for(folder, tmp_path / "second")
        state = checkpoint.State(NlNet(model), NlNet(model), [], config, model)
        checkpoint.warm_start(state, first.weights, str)
        for name, array in read_weights(first.weights).items():
            assert np.array_equal(state.average.state_dict()[name].numpy(), np.float32(array))
        assert state.pixels == 8 * 2 * 32**2

    def test_networks_from_before_there_was_a_leak_go_on(self, train, folder, tmp_path):
        import torch

        relu = replace(TINY, leak=0.0)
        train(config_for(folder, tmp_path / "a", steps=2), relu, str)
        path = tmp_path / "a" / "last.pt"
        saved = torch.load(path, weights_only=True)
        del saved["model"]["leak"]
        torch.save(saved, path)
        assert train(config_for(folder, tmp_path / "a", steps=3), relu, str).step == 3
        told = []
        start = config_for(folder, tmp_path / "b", warm_start=path, steps=1)
        train(start, TINY, told.append)
        assert any("its leak was 0.0 and is 0.1 now" in line for line in told)

    def test_networks_from_before_patches_had_a_size_go_on(self, train, folder, tmp_path):
        import torch

        train(config_for(folder, tmp_path / "a", steps=2), TINY, str)
        path = tmp_path / "a" / "last.pt"
        saved = torch.load(path, weights_only=True)
        del saved["model"]["estimate_patch"], saved["model"]["estimate_radius"]
        torch.save(saved, path)
        assert train(config_for(folder, tmp_path / "a", steps=3), TINY, str).step == 3

    def test_other_estimates_are_told(self, train, folder, tmp_path):
        model = replace(TINY, estimates=(0.6,), estimate_radius=3)
        start = train(config_for(folder, tmp_path / "a", steps=1), model, str).weights
        told = []
        config = config_for(folder, tmp_path / "b", warm_start=start, steps=1)
        train(config, replace(model, estimate_radius=4), told.append)
        assert any("its estimate_radius was 3 and is 4 now" in line for line in told)
        assert not any("its estimates" in line for line in told)

    def test_a_resumed_run_has_its_own_settings(self, train, folder, tmp_path):
        import torch

        train(config_for(folder, tmp_path / "a", steps=1, weight_decay=0.01), TINY, str)
        train(config_for(folder, tmp_path / "a", steps=2, weight_decay=0.3, clip=2.0), TINY, str)
        saved = torch.load(tmp_path / "a" / "last.pt", weights_only=True)
        assert saved["optimizers"][0]["param_groups"][0]["weight_decay"] == 0.3
        # Checkpoints from before have rates that are plain numbers.
        train(config_for(folder, tmp_path / "b", steps=1), TINY, str)
        path = tmp_path / "b" / "last.pt"
        saved = torch.load(path, weights_only=True)
        for one in saved["optimizers"]:
            for group in one["param_groups"]:
                group["lr"] = float(group["lr"])
        torch.save(saved, tmp_path / "old.pt")
        usual = train(config_for(folder, tmp_path / "b"), TINY, str)
        old = config_for(folder, tmp_path / "c", resume=tmp_path / "old.pt")
        resumed = train(old, TINY, str)
        one, two = read_weights(usual.weights), read_weights(resumed.weights)
        assert all(np.array_equal(one[name], two[name]) for name in one)

    def test_a_run_that_goes_astray_says_so_and_keeps_its_checkpoint(self, train, folder, tmp_path):
        with pytest.raises(FileError, match="training went astray; begin anew with a lower --lr"):
            train(config_for(folder, tmp_path / "a", lr=1e19, steps=20, warmup=0), TINY, str)
        assert (tmp_path / "a" / "last.pt").exists()

    def test_checkpoints_that_do_not_fit_are_refused(self, train, folder, tmp_path):
        train(config_for(folder, tmp_path / "a", steps=1), TINY, str)
        with pytest.raises(UsageError, match="another network"):
            train(config_for(folder, tmp_path / "a"), replace(TINY, repeats=2), str)
        bad = tmp_path / "bad.pt"
        bad.write_bytes((tmp_path / "a" / "last.pt").read_bytes()[:1000])
        for path, message in ((bad, "is no checkpoint"), (tmp_path / "none.pt", "does not exist")):
            with pytest.raises(FileError, match=message):
                train(config_for(folder, tmp_path / "b", resume=path), TINY, str)

    @pytest.mark.parametrize("model", [{"nonlocal_radius": [-3, 0]}, {"warp": 3}, []], ids=str)
    def test_checkpoints_of_no_network_are_named(self, train, folder, tmp_path, model):
        import torch

        train(config_for(folder, tmp_path / "a", steps=1), TINY, str)
        path = tmp_path / "a" / "last.pt"
        saved = torch.load(path, weights_only=True)
        saved["model"] = {**saved["model"], **model} if model else model
        torch.save(saved, path)
        for how in ("resume", "warm_start"):
            with pytest.raises(FileError, match=r"last\.pt: describes no network"):
                train(config_for(folder, tmp_path / how, **{how: path}), TINY, str)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("net", {}), ("net", 3), ("average", {"stem.weight": 1}), ("step", "many"),
            ("pixels", None), ("seconds", -1.0), ("psnr", {"25": "good"}), ("train", {}),
            ("optimizers", [1, 2]), ("optimizers", []),
            ("optimizers", [{"state": {0: {"mean": [1]}}}, {"state": {}}]),
        ],
        ids=str,
    )  # fmt: skip
    def test_damaged_checkpoints_are_named(self, train, folder, tmp_path, name, value):
        import torch

        train(config_for(folder, tmp_path / "a", steps=1), TINY, str)
        path = tmp_path / "a" / "last.pt"
        torch.save({**torch.load(path, weights_only=True), name: value}, path)
        with pytest.raises(FileError, match=rf"last\.pt: is damaged, .*{name if value else ''}"):
            train(config_for(folder, tmp_path / "a", steps=3), TINY, str)

    def test_weights_with_another_networks_shapes_are_named(self, train, folder, tmp_path):
        import torch

        train(config_for(folder, tmp_path / "a", steps=1), TINY, str)
        path = tmp_path / "a" / "last.pt"
        saved = torch.load(path, weights_only=True)
        saved["net"]["stem.weight"] = saved["net"]["stem.weight"][:, :2]
        torch.save(saved, path)
        for how in ("resume", "warm_start"):
            with pytest.raises(FileError, match=r"last\.pt: is damaged, its 'net'"):
                train(config_for(folder, tmp_path / how, **{how: path}), TINY, str)

    def test_pictures_that_are_restored_exactly(self, train, folder, tmp_path):
        """A black picture without noise, by a network that says zero: PSNR stays a number."""
        import torch

        from nlm.learned.pytorch import NlNet
        from nlm.learned.train import validate

        net = NlNet(TINY)
        for weight in net.parameters():
            torch.nn.init.zeros_(weight)
        psnr = validate(net, [np.zeros((16, 16, 1), np.float32)], (0,), torch.device("cpu"))
        assert 100 < psnr["0"] < np.inf


@pytest.mark.gpu
class TestOnACard:
    @pytest.fixture(autouse=True)
    def _needs_a_card(self):
        torch = pytest.importorskip("torch", reason="PyTorch is not installed")
        if not torch.cuda.is_available():
            pytest.skip("no graphics card")

    def test_recorded_steps_move_weights_as_others_do(self, train, folder, tmp_path, monkeypatch):
        from nlm.learned import learner

        def trained(name, steps, first, **changes):
            monkeypatch.setattr(learner, "FIRST", first)
            how = {"device": "cuda", "clips": 0.5, "frames": 2, "batch": 4, "decay": 4}
            config = config_for(folder, tmp_path / name, steps=steps, **{**how, **changes})
            model = replace(TINY, nonlocal_radius=(2, 0))
            arrays = read_weights(train(config, model, str).weights)
            return np.concatenate([np.float64(arrays[name]).ravel() for name in sorted(arrays)])

        start, usual = trained("start", 1, 99), trained("usual", 24, 99)
        recorded = trained("recorded", 24, 2)
        trained("stopped", 12, 2, decay=0)
        resumed = trained("stopped", 24, 2)
        moved = np.abs(usual - start).mean()
        for found in (recorded, resumed):
            assert np.abs(found - usual).mean() < 0.1 * moved  # bfloat16, sums in any order


class TestCommand:
    def test_from_pictures_to_a_denoised_one(self, run_nlm, train, folder, tmp_path):
        small = [text for one in SETTINGS for text in ("--set", one)]
        options = ("--crop", 32, "--batch", 2, "--steps", 6, "--threads", 1, *small)
        done = run_nlm("train", "--data", folder, *options, "-o", tmp_path / "run", check=0)
        path = done.stdout.decode().strip()
        assert path == str(tmp_path / "run" / "nlnet.npz")
        assert b"4 pictures" in done.stderr
        quiet = run_nlm("train", "--data", folder, *options, "-o", tmp_path / "run", "-q", check=0)
        assert quiet.stderr == b""
        picture = folder / "colour.png"
        run_nlm("denoise", picture, "--method", "nlnet", "--weights", path, "--sigma", 9, check=0)
        assert picture.with_name("colour_denoised.png").exists()

    def test_interrupted_it_saves(self, train, folder, tmp_path):
        import subprocess
        import sys

        command = [sys.executable, "-c", "from nlm_cli.main import main; main()"]
        command += ["train", "--data", str(folder), "-o", str(tmp_path), "--threads", "1"]
        command += ["--crop", "32", "--batch", "2"]
        for one in [*SETTINGS, "log_every=1"]:
            command += ["--set", one]
        running = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        lines = []
        while not (lines and lines[-1].startswith(b"step ")):
            lines.append(running.stderr.readline())
            assert lines[-1], b"".join(lines)
        time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
        assert running.returncode == 130
        assert b"stopping after this step" in err
        assert b"Traceback" not in err
        assert weights.load(out.decode().strip())[2]["steps"] >= 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("--data none", "none is not a folder"),
            ("--data empty", "empty holds no usable picture"),
            ("--data pictures --crop 64", "no usable picture"),
            ("--data pictures --crop 33", "crop 33 is not allowed"),
            ("--data pictures --set warp=1", "no setting 'warp'"),
            ("--data pictures --set nonlocal_radius=[0,-3,0]", "nonlocal_radius .* not allowed"),
            ("--data pictures --set widths=[0,8,8]", "widths .* not allowed"),
            ("--data pictures --set estimates=[NaN]", "estimates .* not allowed"),
            ("--data pictures --set val_sigmas=[-5]", "val_sigmas .* not allowed"),
            ("--data pictures --seed 99999999999999999999999", "seed .* not allowed"),
            ("--data pictures --minutes nan", "minutes nan is not allowed"),
            ("--data pictures -o file", "file: no folder can be made"),
            ("--data pictures --crop 32 --warm-start file", "file: is no checkpoint"),
        ],
    )
    def test_mistakes_get_one_line(self, train, folder, arguments, message, monkeypatch):
        from nlm_cli.main import nlm as group

        monkeypatch.chdir(folder.parent)
        Path("empty").mkdir()
        Path("file").write_text("")
        with pytest.raises(nlm.NlmError, match=message) as error:
            group.main(["train", *arguments.split()], standalone_mode=False)
        assert "\n" not in str(error.value)

    def test_without_pytorch_the_extra_is_named(self, run_nlm, folder, tmp_path):
        (tmp_path / "torch.py").write_text("raise ImportError('blocked')")
        env = {"PYTHONPATH": str(tmp_path)}
        done = run_nlm("train", "--data", folder, env=env, check=2)
        assert done.stderr.decode().strip().endswith("use: pip install 'nlm[train]'")


class TestOwnWeights:
    def test_damaged_and_missing_files_are_named(self, run_nlm, folder, tmp_path):
        shipped = weights.shipped(1).read_bytes()
        (tmp_path / "half.npz").write_bytes(shipped[: len(shipped) // 2])
        for name, message in (("half.npz", "damaged"), ("none.npz", "does not exist")):
            done = run_nlm(
                "denoise", folder / "colour.png", "--method", "nlnet", "--weights", tmp_path / name,
                check=1,
            )  # fmt: skip
            (line,) = done.stderr.decode().splitlines()
            assert name in line
            assert message in line

    def test_the_halo_is_that_of_the_weights(self, tmp_path):
        from nlm import registry

        wide = replace(TINY, nonlocal_radius=(12, 0))
        path = networks.saved(tmp_path / "wide.npz", wide, random_weights(wide))
        own = registry.parameters("nlnet", None, {"weights": path})
        assert own.halo == (0, wide.halo, wide.halo)
        shipped = weights.load(weights.shipped(1))[0]
        assert registry.parameters("nlnet", None, {}).halo[1] >= shipped.halo

    def test_weights_for_colour_do_not_take_gray(self, tmp_path):
        config = replace(TINY, channels=3)
        path = networks.saved(tmp_path / "rgb.npz", config, random_weights(config))
        image = np.random.default_rng(0).random((20, 24, 3)).astype(np.float32)
        nlm.denoise(image, 0.1, "nlnet", channel_axis=-1, weights=path)
        with pytest.raises(FileError, match="for 3 channels and the picture has 1"):
            nlm.denoise(image[..., 0], 0.1, "nlnet", weights=path)
