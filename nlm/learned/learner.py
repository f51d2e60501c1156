"""Steps of learning: the loss, what moves the weights, how fast, and how a card is kept busy."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nlm.backends.compiled import machine
from nlm.learned.checkpoint import State
from nlm.learned.crops import Batch
from nlm.learned.muon import Muon
from nlm.learned.pytorch import NlNet
from nlm.learned.train_config import TrainConfig

FIRST = 3
"""Steps with a kind of batch before one is recorded: kernels are chosen and memory is taken."""

Kind = tuple[int, torch.Size]
"""What a recording depends on: frames of a clip, shape of a batch."""


@dataclass(frozen=True)
class Recording:
    """A step on a card that can be played back.

    Attributes
    ----------
    graph : CUDAGraph
    batch : Batch
        Where it reads.
    loss, norm : Tensor
        Where it writes.
    """

    graph: torch.cuda.CUDAGraph
    batch: Batch
    loss: Tensor
    norm: Tensor


class Learner:
    """Moves the weights of a run, batch by batch, and the averaged ones after them.

    A step is more than a thousand kernels, which Python starts more slowly than a card computes
    them. There, each kind of batch is recorded as a CUDA graph once, and played back from then on.

    Parameters
    ----------
    state : State
        Loaded before: recordings are tied to its tensors.
    config : TrainConfig
    device : torch.device
    """

    def __init__(self, state: State, config: TrainConfig, device: torch.device) -> None:
        self.state, self.config, self.device = state, config, device
        self.brief = is_quick_in_bfloat16(device)
        self.parameters: list[Tensor] = list(state.net.parameters())
        self.forward = torch.compile(state.net, dynamic=False) if config.compile else state.net
        self.steps: Counter[Kind] = Counter()
        self.recordings: dict[Kind, Recording] = {}

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Learn from a batch; return its loss and the gradient's norm."""
        state, config = self.state, self.config
        for optimizer in state.optimizers:
            for group in optimizer.param_groups:
                group["lr"].fill_(optimizer.defaults["lr"] * rate(state.step, config))
        loss, norm = self.replay(batch) if self.device.type == "cuda" else self.learn(batch)
        state.step += 1
        past = min(config.ema, state.step / (state.step + 10))  # a short memory at first
        with torch.no_grad():
            torch._foreach_lerp_(list(state.average.parameters()), self.parameters, 1 - past)
        return loss, norm

    def learn(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Forward, backward, and a step of each optimizer at its present learning rate."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.brief):
            given = (batch.noisy, batch.sigma, batch.estimates)
            out = self.forward(*given, frames=batch.frames, reach=self.config.reach)
        loss = loss_of(out.float(), batch.clean, batch.sigma)
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        for p in self.parameters:  # without waiting for the device to tell whether one is infinite
            if p.grad is not None:
                p.grad.nan_to_num_(0.0, 0.0, 0.0)
        for optimizer in self.state.optimizers:
            optimizer.step()
        self.state.net.zero_grad()
        return loss.detach(), norm

    def replay(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Learn on a card: after `FIRST` batches of a kind, by playing a recording back."""
        kind = (batch.frames, batch.clean.shape)
        self.steps[kind] += 1
        if self.steps[kind] <= FIRST:
            return self.learn(batch)
        if kind not in self.recordings:
            held = batch.copy()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                found = self.learn(held)
            self.recordings[kind] = Recording(graph, held, *found)
        recording = self.recordings[kind]
        recording.batch.fill(batch)
        recording.graph.replay()
        return recording.loss.clone(), recording.norm.clone()


def is_quick_in_bfloat16(device: torch.device) -> bool:
    """Tell whether layers run several times as fast on numbers of half the bytes: cards, AMX."""
    return device.type == "cuda" or "+amx-bf16" in machine()[1].split(",")


def loss_of(out: Tensor, clean: Tensor, sigma: Tensor) -> Tensor:
    """Return the squared error relative to the one usual at each crop's noise level.

    Good denoisers of photographs leave a mean squared error nearly proportional to sigma,
    so every level, and with it every crop, counts about the same.
    """
    usual = 4.65e-5 * (255 * sigma.mean((1, 2, 3)) + 1)
    relative = (out - clean).square().mean((1, 2, 3)) / usual
    mean: Tensor = relative.mean()
    return mean


def optimizers_of(net: NlNet, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Give the kernels of the body to Muon, and the rest to AdamW.

    First and last convolution read and write pictures, not features: they belong to the rest.
    Learning rates lie beside the weights, where recorded steps find them.
    """
    named = list(net.named_parameters())
    ends = ("stem.", "head.")
    kernels = [p for name, p in named if p.ndim > 1 and not name.startswith(ends)]
    rest = [p for name, p in named if p.ndim <= 1 or name.startswith(ends)]
    device = rest[0].device
    optimizers = [
        Muon(kernels, config.lr, config.weight_decay),
        torch.optim.AdamW(
            rest,
            config.lr_rest,
            betas=(0.9, 0.99),
            weight_decay=0.0,
            fused=True,
            capturable=device.type == "cuda",
        ),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(float(group["lr"]), device=device)
    return optimizers


def rate(step: int, config: TrainConfig) -> float:
    """Return the share of the learning rate: a rise, a plateau, a fall to zero by 1 - sqrt."""
    rise = min(1.0, (step + 1) / max(1, config.warmup))
    left = (config.steps - step) / max(1, config.falling)  # 1 where the fall begins
    return rise * (1.0 if left >= 1 else 1 - math.sqrt(1 - left))
