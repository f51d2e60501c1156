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
        """Update all kernels."""
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            kernels = [p for p in group["params"] if p.grad is not None]
            for p in kernels:
                if not self.state[p]:
                    self.state[p]["mean"] = torch.zeros_like(p)
            gradients = [p.grad for p in kernels]
            means = [self.state[p]["mean"] for p in kernels]
            torch._foreach_mul_(means, momentum)
            torch._foreach_add_(means, gradients)
            ahead = list(torch._foreach_mul(means, momentum))
            torch._foreach_add_(ahead, gradients)
            shapes: dict[torch.Size, list[int]] = {}
            for k, p in enumerate(kernels):
                shapes.setdefault(p.shape, []).append(k)
            for shape, members in shapes.items():  # all kernels of one shape together
                updates = orthogonal(torch.stack([ahead[k].flatten(1) for k in members]))
                updates = updates * (0.2 * math.sqrt(max(updates.shape[1:])))
                for k, update in zip(members, updates, strict=True):  # (out, in * rows * columns)
                    ahead[k] = update.view(shape)
            torch._foreach_mul_(ahead, lr)
            torch._foreach_mul_(kernels, 1 - lr * group["weight_decay"])
            torch._foreach_sub_(kernels, ahead)


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
