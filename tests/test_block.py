"""The non-local block: identity at first, equal to mmcv's, and kept safely in files."""

import pickle

import numpy as np
import pytest

from nlm.attention import PAIRWISE
from nlm.errors import FileError, UsageError
from nlm.learned.block import NonLocalBlock
from tests import naive

GRIDS = {1: (13,), 2: (6, 8), 3: (3, 6, 4)}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def trained(*arguments, **keywords):
    """A block whose weights are all at work."""
    block = NonLocalBlock(*arguments, **keywords)
    for seed, (name, weights) in enumerate(block.weights.items()):
        block.weights[name] = 0.5 * normal(*weights.shape, seed=seed)
    return block


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_new_block_returns_its_input(pairwise, ndim):
    x = normal(*GRIDS[ndim], 6)
    for window, subsample in ((None, 1), (2, 1), (None, 2)):
        block = NonLocalBlock(6, ndim, pairwise, window=window, subsample=subsample)
        assert np.array_equal(block(x), x)


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_does_what_it_says(pairwise):
    x = normal(5, 7, 4)
    block = trained(4, pairwise=pairwise, inner=3, window=(1, 2), scale=0.5)
    w = block.weights
    ones = np.ones((5, 7, 1), np.float32)
    matrices = {
        n: np.vstack([w[n], w[f"{n}_bias"]]) if n in w else np.eye(5)[:, :4]
        for n in ("theta", "phi", "g")
    }
    y = naive.non_local(
        np.concatenate([x, ones], -1),
        **matrices,
        pairwise=pairwise,
        w_f=w.get("w_f"),
        scale=0.5,
        window=(1, 2),
    )
    np.testing.assert_allclose(block(x), y @ w["w_z"] + w["w_z_bias"] + x, atol=2e-5)


@pytest.mark.parametrize("subsample", [1, 2])
@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("pairwise", PAIRWISE[:-1])
def test_equals_mmcv(pairwise, ndim, subsample):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    bricks = pytest.importorskip("mmcv.cnn.bricks.non_local", reason="mmcv-lite is not installed")
    theirs = getattr(bricks, f"NonLocal{ndim}d")(
        6, reduction=2, use_scale=True, mode=pairwise, sub_sample=subsample == 2
    ).eval()
    scale = 3**-0.5 if pairwise == "embedded_gaussian" else None
    ours = trained(6, ndim, pairwise, subsample=subsample, scale=scale)
    copy_weights(torch, ours.weights, theirs)
    x = normal(*GRIDS[ndim], 6)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(np.moveaxis(x, -1, 0)[None].copy()))[0].numpy()
    np.testing.assert_allclose(ours(x), np.moveaxis(expected, 0, -1), atol=2e-5)


def copy_weights(torch, weights, theirs):
    """Give mmcv's module our weights."""
    for name, module in (("theta",) * 2, ("phi",) * 2, ("g",) * 2, ("w_z", "conv_out")):
        layer = getattr(theirs, module, None)
        if name not in weights:
            continue
        layer = layer[0] if isinstance(layer, torch.nn.Sequential) else layer
        with torch.no_grad():
            matrix = torch.from_numpy(weights[name].T)
            layer.conv.weight.copy_(matrix.reshape(layer.conv.weight.shape))
            layer.conv.bias.copy_(torch.from_numpy(weights[f"{name}_bias"]))
    if "w_f" in weights:
        layer = theirs.concat_project.conv
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weights["w_f"]).reshape(layer.weight.shape))


def test_seed_decides_the_weights():
    one, same, other = (NonLocalBlock(4, rng=r) for r in (1, np.random.default_rng(1), 2))
    assert np.array_equal(one.weights["theta"], same.weights["theta"])
    assert not np.array_equal(one.weights["theta"], other.weights["theta"])


@pytest.mark.parametrize("window", [None, 3, (np.int64(1), None)])
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_comes_back_from_a_file(tmp_path, pairwise, window):
    block = trained(6, pairwise=pairwise, window=window, scale=0.3, inner=2)
    block.save(tmp_path / "block.npz")
    again = NonLocalBlock.load(tmp_path / "block.npz")
    assert again.settings == block.settings
    x = normal(9, 8, 6)
    assert np.array_equal(again(x), block(x))


def test_bad_files_are_refused(tmp_path):
    path = tmp_path / "block.npz"
    block = NonLocalBlock(32)
    block.save(path)
    good = path.read_bytes()
    with np.load(path) as stored:
        arrays = dict(stored)
    middle = good.index(b"theta.npy") + 200
    flipped = good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :]
    for content in (b"", good[: len(good) // 2], flipped, pickle.dumps([1]), b"no block"):
        path.write_bytes(content)
        with pytest.raises(FileError, match=r"block\.npz: not a sound block"):
            NonLocalBlock.load(path)
    future = str(arrays["settings"]).replace('"format": 1', '"format": 9')
    for change in (
        {"theta": np.zeros((4, 9), np.float32)},
        {"theta": np.full((4, 2), np.nan, np.float32)},
        {"theta": np.array([None])},
        {"more": np.zeros(2)},
        {"settings": np.array(future)},
        {"settings": np.array("[]")},
        {"settings": np.array("{}")},
    ):
        np.savez(path, **{**arrays, **change})
        with pytest.raises(FileError, match=r"block\.npz: not a sound block"):
            NonLocalBlock.load(path)
    np.savez(path, x=np.zeros(2))
    with pytest.raises(FileError, match="settings"):
        NonLocalBlock.load(path)
    with pytest.raises(FileError, match="cannot be read"):
        NonLocalBlock.load(tmp_path / "none.npz")
    with pytest.raises(FileError, match="cannot write"):
        block.save(tmp_path / "none" / "block.npz")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 0}, "channels 0"),
        ({"ndim": 4}, "ndim 4 is not allowed; give 1, 2 or 3"),
        ({"pairwise": "none"}, "available"),
        ({"inner": 0}, "inner 0"),
        ({"window": (1, 2, 3)}, "for 3 axes and there are 2"),
        ({"window": -2}, "window -2"),
        ({"subsample": 1.5}, r"subsample 1\.5"),
        ({"scale": np.nan}, "scale nan"),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        NonLocalBlock(**{"channels": 4, **arguments})


def test_input_that_does_not_fit_is_named():
    with pytest.raises(UsageError, match="takes 2 axes of positions and 4 channels"):
        NonLocalBlock(4)(np.zeros((5, 4)))
