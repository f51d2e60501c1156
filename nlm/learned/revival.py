"""Hidden channels that have died, whose ReLU lets nothing through any more: fresh weights for them.

No gradient reaches such a channel, so it stays dead, and what it costs buys nothing. Made afresh
it begins to learn; what the network computes does not change at that moment.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nlm.learned.pytorch import NlNet, ResBlock

BATCHES = 50
"""How many of them a channel has to let nothing through of, to count as dead."""


def revive(net: NlNet, average: NlNet, run: Callable[[], object], seed: int) -> int:
    """Make the channels afresh that are not above zero anywhere.

    Parameters
    ----------
    net : NlNet
    average : NlNet
        The running average of its weights; gets the same ones.
    run : callable
        Passes pictures through `net`.
    seed : int
        Decides the new weights.

    Returns
    -------
    int
        How many there were.
    """
    fires = firing(net, run)
    averaged = dict(average.named_modules())
    random = torch.Generator().manual_seed(seed)
    for name, block in residual_blocks(net).items():
        dead = ~fires[name].to(block.conv1.weight.device)
        fresh = torch.empty(block.conv1.weight.shape)
        nn.init.kaiming_uniform_(fresh, nonlinearity="relu", generator=random)
        for one in (block, averaged[name]):
            assert isinstance(one, ResBlock)
            renew(one, dead, fresh.to(dead.device))
    return int(sum((~alive).sum() for alive in fires.values()))


def firing(net: NlNet, run: Callable[[], object]) -> dict[str, Tensor]:
    """Which hidden channels of each residual block are above zero anywhere while `run` runs."""
    blocks = residual_blocks(net)
    fires = {
        name: torch.zeros(block.conv1.out_channels, dtype=torch.bool)
        for name, block in blocks.items()
    }

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def see(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
            fires[name] |= (out > 0).any(0).flatten(1).any(1).cpu()

        return see

    hooks = [block.conv1.register_forward_hook(watch(name)) for name, block in blocks.items()]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return fires


def residual_blocks(net: NlNet) -> dict[str, ResBlock]:
    """The blocks of a network by name."""
    return {name: m for name, m in net.named_modules() if isinstance(m, ResBlock)}


def renew(block: ResBlock, dead: Tensor, fresh: Tensor) -> None:
    """Give channels such weights, and no effect yet."""
    with torch.no_grad():
        block.conv1.weight[dead] = fresh[dead]
        block.conv1.get_parameter("bias")[dead] = 0
        block.conv2.weight[:, dead] = 0
