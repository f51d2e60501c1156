"""Muon, the optimizer of the kernels: momentum whose updates are orthogonalised."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised, kernel by kernel (Jordan et al., 2024).

    Every update has all its singular values near one, scaled so that its root mean square is
    0.2 `lr`, that of a typical Adam step (Liu et al., arXiv 2502.16982).
    """

    def __init__(self, parameters: list[nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": 0.95})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update all kernels, those of one shape together."""
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            shapes: dict[torch.Size, list[nn.Parameter]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    shapes.setdefault(p.shape, []).append(p)
            for shape, kernels in shapes.items():
                ahead = []
                for p in kernels:
                    if not self.state[p]:
                        self.state[p]["mean"] = torch.zeros_like(p)
                    mean = self.state[p]["mean"].mul_(momentum).add_(p.grad)
                    ahead.append(mean.mul(momentum).add_(p.grad).flatten(1))
                updates = orthogonal(torch.stack(ahead))  # (kernels, out, in * rows * columns)
                scale = 0.2 * math.sqrt(max(updates.shape[1:]))
                for p, update in zip(kernels, updates, strict=True):
                    p.mul_(1 - lr * group["weight_decay"])
                    p.add_(update.view(shape), alpha=-lr * scale)


def orthogonal(matrices: Tensor) -> Tensor:
    """Pull the singular values of each (n, m) matrix of a stack to about one.

    Five steps of Muon's quintic Newton-Schulz iteration X <- (a + b XX' + c (XX')^2) X, run on
    the small Gram matrices XX', whose polynomials commute, and applied to X once at the end.
    """
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonal(matrices.mT).mT
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    gram = x @ x.mT  # (N, n, n)
    eye = torch.eye(x.shape[1], device=x.device)
    total = eye.expand_as(gram)
    for _ in range(5):
        once = 3.4445 * eye - 4.7750 * gram + 2.0315 * (gram @ gram)
        total = once @ total
        gram = once @ gram @ once
    updates: Tensor = total @ x
    return updates
