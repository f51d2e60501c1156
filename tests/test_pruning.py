"""Blocks that let nothing through, left out of a network."""

import numpy as np
import pytest

from nlm.backends.threads import for_each
from nlm.learned.config import ModelConfig
from nlm.learned.model import NlNet
from nlm.learned.pruning import without_blocks
from tests.conftest import checkers, noisy
from tests.networks import random_weights


@pytest.mark.parametrize("radius", [0, 2])
@pytest.mark.parametrize("idle", [(), (0,), (1, 2), (0, 2), (0, 1, 2)])
def test_the_network_stays_the_same(idle, radius):
    config = ModelConfig(widths=(8, 16), blocks=(1, 3), blocks_up=(1,), nonlocal_radius=(0, radius))
    arrays = random_weights(config, gain=1.0)
    for k in idle:
        arrays[f"bottom.{k}.conv1.bias"][:] = -1e3
    smaller, left = without_blocks(config, arrays, idle)
    assert smaller.blocks == (1, 3 - len(idle))
    assert smaller.halo <= config.halo
    assert {name: array.shape for name, array in left.items()} == smaller.shapes()
    picture = noisy(checkers(40, 52), 0.1)
    before, after = (
        NlNet(*network).denoise(picture, 0.1, for_each)
        for network in ((config, arrays), (smaller, left))
    )
    assert np.abs(before - picture).max() > 0.1
    assert np.allclose(before, after, rtol=1e-5, atol=1e-5)
