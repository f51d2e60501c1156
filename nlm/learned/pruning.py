"""Leave out residual blocks at the bottom that have died: no hidden channel of theirs ever fires.

Such a block adds its last bias to everything, which the layer before it can do as well. Without it
the network is the same, but faster, and a pixel depends on fewer around it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from nlm.learned.config import ModelConfig
from nlm.learned.weights import Arrays


def without_blocks(
    config: ModelConfig, arrays: Arrays, idle: Collection[int]
) -> tuple[ModelConfig, Arrays]:
    """The network without some blocks of its bottom.

    Parameters
    ----------
    config : ModelConfig
        Of two levels or more, if any block goes: there is no layer before a single level's.
    arrays : dict
        Its weights by name.
    idle : collection of int
        Which blocks: those whose ReLU lets nothing through.

    Returns
    -------
    config : ModelConfig
    arrays : dict
    """
    bottom = len(config.widths) - 1
    left = {name: array for name, array in arrays.items() if not name.startswith("bottom.")}
    before = f"non_local.{bottom}.w_z" if config.nonlocal_radius[bottom] else f"down.{bottom - 1}"
    kept = 0
    for k in range(config.blocks[-1]):
        if k in idle:
            left[f"{before}.bias"] = left[f"{before}.bias"] + arrays[f"bottom.{k}.conv2.bias"]
            continue
        for part in ("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"):
            left[f"bottom.{kept}.{part}"] = arrays[f"bottom.{k}.{part}"]
        before = f"bottom.{kept}.conv2"
        kept += 1
    return replace(config, blocks=(*config.blocks[:-1], kept)), left
