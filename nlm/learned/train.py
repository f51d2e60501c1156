"""Train `nlnet` in PyTorch: network, data, schedule, checkpoints and export in one file.

The network's NumPy/Numba twin lives in `model.py`; both read `config.py`. Besides
`nlm train`, every field of both configurations can be set from a shell:

    python -m nlm.learned.train --set data=DIR val=DIR out=runs/name lr=2e-3 widths=[48,64,96]
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import functools
import json
import math
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from nlm.errors import FileError, NlmError, UsageError
from nlm.learned.config import FORMAT_VERSION, ModelConfig, TrainConfig
from nlm.learned.weights import digest

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm"}
LARGEST_SIDE = 2048  # larger pictures are reduced when they are read
NHWC = torch.channels_last


# ------------------------------------------------------------------ the network


class ResBlock(nn.Module):
    """x + conv(ReLU(conv(x))), both 3x3; close to the identity at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        with torch.no_grad():
            self.conv2.weight.mul_(0.3)
        nn.init.zeros_(self.conv2.get_parameter("bias"))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv2(F.relu(self.conv1(x)))
        return out


class NonLocal(nn.Module):
    """The non-local operation of Wang et al. (CVPR 2018) in a sliding square window.

    y_i is the mean of g(x_j), over the positions j at most `radius` rows and columns away and
    inside the picture, weighted by the pairwise function of theta(x_i) and phi(x_j); the result
    is x + w_z(y). `w_z` starts at zero, so a fresh block is the identity; theta and phi start
    equal, so its weights are those of classical non-local means on the features x.

    Computed by blocks of 8x8 queries against their (8 + 2 radius)^2 surroundings, of which
    each query sees its own window: the same result as position by position.
    """

    BLOCK = 8
    hidden: Tensor

    def __init__(self, width: int, radius: int, inner: int, pairwise: str) -> None:
        super().__init__()
        self.radius, self.inner, self.pairwise = radius, inner, pairwise
        self.theta = nn.Conv2d(width, inner, 1)
        self.phi = nn.Conv2d(width, inner, 1)
        self.g = nn.Conv2d(width, inner, 1)
        self.w_z = nn.Conv2d(inner, width, 1)
        self.phi.load_state_dict(self.theta.state_dict())
        nn.init.zeros_(self.w_z.weight)
        nn.init.zeros_(self.w_z.get_parameter("bias"))
        query = torch.arange(self.BLOCK)[:, None]
        key = torch.arange(self.BLOCK + 2 * radius)[None, :] - radius
        near = (query - key).abs() <= radius  # (BLOCK, K) along one axis
        pairs = near[:, None, :, None] & near[None, :, None, :]  # (BLOCK, BLOCK, K, K)
        hidden = torch.where(pairs.flatten(2).flatten(0, 1), 0.0, -1e9)
        self.register_buffer("hidden", hidden, persistent=False)  # (BLOCK*BLOCK, K*K)

    def surroundings(self, x: Tensor) -> Tensor:
        """Return the keys of every block of queries, (N, K*K, channels)."""
        size, step = self.BLOCK + 2 * self.radius, self.BLOCK
        blocks = x.unfold(1, size, step).unfold(2, size, step)  # (B, Y/8, X/8, channels, K, K)
        return blocks.permute(0, 1, 2, 4, 5, 3).reshape(-1, size * size, x.shape[3])

    def forward(self, x: Tensor) -> Tensor:
        b, r, d = self.BLOCK, self.radius, self.inner
        down, right = -x.shape[2] % b, -x.shape[3] % b
        theta, phi, g = (f(x).permute(0, 2, 3, 1) for f in (self.theta, self.phi, self.g))
        bias = torch.zeros_like(phi[..., :1])  # (B, Y, X, 1), added to each key's score
        if self.pairwise == "distance":  # |theta|^2 is the same for all keys and cancels
            theta, bias = 2 * theta, -phi.square().sum(-1, keepdim=True)
        theta = F.pad(theta, (0, 0, 0, right, 0, down))  # (B, Y, X, d), Y and X multiples of 8
        batch, rows, columns, _ = theta.shape
        theta = theta.reshape(batch, rows // b, b, columns // b, b, d)
        theta = theta.transpose(2, 3).reshape(-1, b * b, d)  # (N, 64, d), N blocks
        around = (0, 0, r, right + r, r, down + r)
        keys = self.surroundings(F.pad(torch.cat((phi, g), -1), around))  # (N, K*K, 2d)
        bias = self.surroundings(F.pad(bias, around, value=-1e9))  # (N, K*K, 1)
        score = torch.baddbmm(bias.transpose(1, 2) + self.hidden, theta, keys[..., :d].mT)
        y = torch.softmax(score, -1) @ keys[..., d:]  # (N, 64, K*K) @ (N, K*K, d)
        y = y.reshape(batch, rows // b, columns // b, b, b, d).transpose(2, 3)
        y = y.reshape(batch, rows, columns, d)[:, : x.shape[2], : x.shape[3]]
        z: Tensor = x + self.w_z(y.permute(0, 3, 1, 2))
        return z


class NlNet(nn.Module):
    """A U of residual and non-local blocks that predicts the noise of a picture."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        widths, levels = config.widths, range(len(config.widths) - 1)

        def blocks(level: int, count: int, radius: int = 0) -> nn.Sequential:
            width = widths[level]
            body: list[nn.Module] = [ResBlock(width) for _ in range(count)]
            if radius:
                inner = config.nonlocal_width or width // 2
                body.append(NonLocal(width, radius, inner, config.pairwise))
            return nn.Sequential(*body)

        self.stem = nn.Conv2d(config.inputs, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(blocks(i, config.blocks[i]) for i in levels)
        self.down = nn.ModuleList(nn.Conv2d(widths[i], widths[i + 1], 2, 2) for i in levels)
        self.bottom = blocks(len(levels), config.blocks[-1], config.nonlocal_radius[-1])
        self.up = nn.ModuleList(nn.Conv2d(widths[i + 1], 4 * widths[i], 1) for i in levels)
        self.decoder = nn.ModuleList(
            blocks(i, config.blocks_up[i], config.nonlocal_radius[i]) for i in levels
        )
        self.head = nn.Conv2d(widths[0], 4 * config.channels, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.get_parameter("bias"))
        for p in self.parameters():
            if p.ndim == 4:  # channels last: what PyTorch is fastest with
                p.data = p.data.contiguous(memory_format=NHWC)

    def body(self, h: Tensor) -> Tensor:
        """Run the U once; each level's way down is added to its way up."""
        kept: list[Tensor] = []
        for encoder, down in zip(self.encoder, self.down, strict=True):
            h = encoder(h)
            kept.append(h)
            h = down(h)  # (B, widths[l + 1], Y/2, X/2)
        h = self.bottom(h)
        for i in reversed(range(len(kept))):
            h = F.pixel_shuffle(self.up[i](h), 2)  # (B, widths[l], 2Y, 2X)
            h = self.decoder[i](h.contiguous(memory_format=NHWC) + kept[i])
        return h

    def forward(self, noisy: Tensor, sigma: Tensor, estimates: Tensor | None = None) -> Tensor:
        """Denoise pictures whose sides are multiples of `config.multiple`.

        Parameters
        ----------
        noisy : Tensor, (B, C, Y, X)
            Full scale 1.0.
        sigma : Tensor, (B, 1, Y, X) or (B, 1, 1, 1)
            Noise level, fraction of full scale.
        estimates : Tensor, (B, C * len(config.estimates), Y, X), optional
            The classical filter's results.
        """
        pictures = noisy if estimates is None else torch.cat((noisy, estimates), 1)
        sigma = F.avg_pool2d(sigma.expand(-1, 1, *noisy.shape[2:]), 2)
        h = torch.cat((F.pixel_unshuffle(pictures, 2), sigma), 1)  # (B, inputs, Y/2, X/2)
        first = self.stem(h.contiguous(memory_format=NHWC))  # (B, widths[0], Y/2, X/2)
        h = self.body(first)
        for _ in range(self.config.repeats - 1):
            h = self.body(h + first)
        return noisy - F.pixel_shuffle(self.head(h), 2)  # (B, C, Y, X)


# ------------------------------------------------------------------ the data


def load_pictures(folder: Path, channels: int, smallest: int) -> list[np.ndarray]:
    """Read every picture under a folder as uint8 (Y, X, C); name those that are left out.

    Raises
    ------
    UsageError
        If no usable picture is found.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder of pictures")
    pictures = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        try:
            with Image.open(path) as file:
                image = file.convert("L" if channels == 1 else "RGB")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            warn(f"{path}: left out, not readable ({error})")
            continue
        if max(image.size) > LARGEST_SIDE:
            image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BOX)
        if min(image.size) < smallest:
            warn(f"{path}: left out, {image.width}x{image.height} is smaller than {smallest}")
            continue
        pictures.append(np.asarray(image).reshape(image.height, image.width, channels))
    if not pictures:
        raise UsageError(f"{folder} holds no usable picture ({', '.join(sorted(SUFFIXES))})")
    return pictures


def estimate(noisy: np.ndarray, sigma: float, strengths: tuple[float, ...]) -> np.ndarray:
    """Return the classical filter's results for one (C, Y, X) picture, one after another."""
    from nlm.backends.cpu import nlm
    from nlm.backends.threads import for_each

    image = np.ascontiguousarray(noisy.transpose(1, 2, 0))
    options: dict[str, Any] = {"patch": (5, 5), "radius": (6, 6), "aggregate": True}
    options["for_each"] = functools.partial(for_each, threads=1)
    results = [nlm(image, image, sigma, strength, **options) for strength in strengths]
    return np.concatenate(results, -1, dtype=np.float32).transpose(2, 0, 1)


def crop_at_random(
    picture: np.ndarray, config: TrainConfig, rng: np.random.Generator
) -> np.ndarray:
    """Cut a square out, sometimes from the reduced picture, turned and mirrored at random."""
    size = config.crop
    if rng.random() < config.downscaled:
        size = min(round(size / rng.uniform(0.5, 1.0)), *picture.shape[:2])
    y = rng.integers(picture.shape[0] - size + 1)
    x = rng.integers(picture.shape[1] - size + 1)
    crop = picture[y : y + size, x : x + size]
    if size != config.crop:
        image = Image.fromarray(crop.squeeze()).resize((config.crop, config.crop))  # bicubic
        crop = np.asarray(image).reshape(config.crop, config.crop, -1)
    crop = np.rot90(crop, int(rng.integers(4)))
    return crop[::-1] if rng.integers(2) else crop


def make_batch(
    pictures: list[np.ndarray], step: int, config: TrainConfig, model: ModelConfig
) -> tuple[np.ndarray, ...]:
    """Return clean and noisy crops, sigma and the estimates of one step.

    The step's number and the seed decide everything, so a resumed run sees what an
    uninterrupted one would have seen.
    """
    rng = np.random.default_rng([config.seed, step])
    n, size = config.batch, config.crop
    crops = [crop_at_random(pictures[rng.integers(len(pictures))], config, rng) for _ in range(n)]
    clean = np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32) / 255  # (B, C, Y, X)
    ends = rng.uniform(0, config.sigma_max / 255, (2, n, 1, 1, 1)).astype(np.float32)
    ramp = np.linspace(0, 1, size, dtype=np.float32)[:, None].repeat(size, 1)
    ramp = ramp * (rng.random((n, 1, 1, 1)) < config.ramps)
    sigma = (ends[0] + (ends[1] - ends[0]) * ramp).astype(np.float32)  # (B, 1, Y, X)
    noisy = clean + sigma * rng.standard_normal(clean.shape, dtype=np.float32)
    if not model.estimates:
        return clean, noisy, sigma
    levels = sigma.mean((1, 2, 3)).tolist()
    guides = [estimate(p, s, model.estimates) for p, s in zip(noisy, levels, strict=True)]
    return clean, noisy, sigma, np.stack(guides)


def batches(
    pictures: list[np.ndarray], first: int, config: TrainConfig, model: ModelConfig
) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield the batch of each step from `first` on, prepared ahead if there are workers."""
    if config.workers == 0:
        for step in range(first, config.steps):
            yield make_batch(pictures, step, config, model)
        return
    waiting: deque[Future[tuple[np.ndarray, ...]]] = deque()
    with ThreadPoolExecutor(config.workers) as pool:
        for step in range(first, config.steps):
            waiting.append(pool.submit(make_batch, pictures, step, config, model))
            if len(waiting) > 2 * config.workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


# ------------------------------------------------------------------ measuring


def denoise(net: NlNet, noisy: np.ndarray, sigma: float, device: torch.device) -> np.ndarray:
    """Denoise one (C, Y, X) picture of any size, reflected to the size the network needs."""
    _, rows, columns = noisy.shape
    multiple = net.config.multiple
    padding = ((0, 0), (0, -rows % multiple), (0, -columns % multiple))
    padded = np.pad(noisy, padding, "reflect")[None]
    guides = None
    if net.config.estimates:
        guide = np.pad(estimate(noisy, sigma, net.config.estimates), padding, "reflect")
        guides = torch.from_numpy(guide[None]).to(device)
    level = torch.full((1, 1, 1, 1), sigma, device=device)
    with torch.no_grad():
        out = net(torch.from_numpy(padded).to(device), level, guides)
    cut: np.ndarray = out[0, :, :rows, :columns].cpu().numpy()
    return cut


def validate(
    net: NlNet, pictures: list[np.ndarray], sigmas: tuple[int, ...], device: torch.device
) -> dict[str, float]:
    """Return the mean PSNR for each noise level, by the protocol that every filter is held to."""
    mean = {}
    for sigma in sigmas:
        psnrs = []
        for index, picture in enumerate(pictures):
            clean = picture / 255.0
            shape = clean.shape if net.config.channels > 1 else clean.shape[:2]
            noise = np.random.default_rng(1000 * sigma + index).normal(size=shape)
            noisy = clean + noise.reshape(clean.shape) * (sigma / 255)  # (Y, X, C)
            noisy = noisy.transpose(2, 0, 1).astype(np.float32)
            out = denoise(net, noisy, sigma / 255, device).transpose(1, 2, 0)
            psnrs.append(-10 * math.log10(np.mean((np.clip(out, 0, 1) - clean) ** 2)))
        mean[str(sigma)] = round(float(np.mean(psnrs)), 4)
    return mean


def loss_of(out: Tensor, clean: Tensor, sigma: Tensor) -> Tensor:
    """Return the squared error relative to the one usual at each crop's noise level.

    Good denoisers of photographs leave a mean squared error nearly proportional to sigma,
    so every level, and with it every crop, counts about the same.
    """
    usual = 4.65e-5 * (255 * sigma.mean((1, 2, 3)) + 1)
    relative = (out - clean).square().mean((1, 2, 3)) / usual
    mean: Tensor = relative.mean()
    return mean


# ------------------------------------------------------------------ training


def rate(step: int, config: TrainConfig) -> float:
    """Return the share of the learning rate: a rise, a plateau, a fall to zero by 1 - sqrt."""
    rise = min(1.0, (step + 1) / max(1, config.warmup))
    left = (config.steps - step) / max(1, config.decay)  # 1 where the fall begins
    return rise * (1.0 if left >= 1 else 1 - math.sqrt(1 - left))


def optimizers_of(net: NlNet, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Give the kernels of the body to Muon, and the rest to AdamW.

    First and last convolution read and write pictures, not features: they belong to the rest.
    """
    named = list(net.named_parameters())
    ends = ("stem.", "head.")
    kernels = [p for name, p in named if p.ndim > 1 and not name.startswith(ends)]
    rest = [p for name, p in named if p.ndim <= 1 or name.startswith(ends)]
    return [
        Muon(kernels, config.lr, config.weight_decay),
        torch.optim.AdamW(rest, config.lr_rest, betas=(0.9, 0.99), weight_decay=0.0, fused=True),
    ]


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


def train(config: TrainConfig, model: ModelConfig) -> Path:
    """Train a network and return the path of its exported weights.

    Everything lies in `config.out`: `last.pt` to continue from, `log.jsonl`, `nlnet.npz`.
    Ending the process (Ctrl-C, SIGTERM) or reaching `config.minutes` saves first.

    Parameters
    ----------
    config : TrainConfig
        Data, schedule and device.
    model : ModelConfig
        The network.
    """
    device = choose_device(config)
    pictures = load_pictures(config.data, model.channels, config.crop)
    held_out = load_pictures(config.val, model.channels, model.multiple) if config.val else []
    config.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(config.seed)
    net = NlNet(model).to(device)
    if config.warm_start:
        warm_start(net, config.warm_start)
    average = NlNet(model).to(device)
    average.load_state_dict(net.state_dict())
    optimizers = optimizers_of(net, config)
    state = State(net, average, optimizers, config, model)
    state.load()
    forward = torch.compile(net) if config.compile else net
    log = Log(config, state)
    log.write(start=state.step, model=model.to_dict(), train=config.to_dict(), device=str(device))

    with StopSignal(config.minutes) as stop:
        for arrays in batches(pictures, state.step, config, model):
            clean, *given = [torch.from_numpy(a).to(device, non_blocking=True) for a in arrays]
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                out = forward(*given)
            loss = loss_of(out.float(), clean, given[1])
            torch.autograd.backward(loss)
            log.step(loss, state.update())

            last = stop.asked or state.step == config.steps
            if held_out and (state.step % config.val_every == 0 or state.step == config.steps):
                state.psnr = validate(average, held_out, config.val_sigmas, device)
                log.write(step=state.step, psnr=state.psnr)
                warn(f"step {state.step}  PSNR {state.psnr}")
            if state.step % config.save_every == 0 or last:
                state.save()
            if last:
                break
    return export(config.out / "last.pt", config.out / "nlnet.npz")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `State.save` wrote; nothing in the file is executed."""
    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if missing := {"net", "average", "optimizers", "step", "model"} - set(saved):
            raise ValueError(f"without {', '.join(sorted(missing))}")
    except FileNotFoundError:
        raise FileError(f"{path}: no such checkpoint") from None
    except Exception as error:
        raise FileError(f"{path}: not a checkpoint of nlm train ({error})") from error
    return saved


class State:
    """What a run must remember to go on exactly: saved to and loaded from `out/last.pt`."""

    def __init__(
        self,
        net: NlNet,
        average: NlNet,
        optimizers: list[torch.optim.Optimizer],
        config: TrainConfig,
        model: ModelConfig,
    ) -> None:
        self.net, self.average, self.optimizers = net, average, optimizers
        self.config, self.model = config, model
        self.step, self.pixels = 0, 0
        self.seconds = 0.0
        self.psnr: dict[str, float] = {}
        self.began = time.monotonic()

    def update(self) -> Tensor:
        """Move the weights, and the averaged ones after them; return the gradient's norm."""
        config = self.config
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), config.clip)
        for optimizer in self.optimizers if torch.isfinite(norm) else ():
            for group in optimizer.param_groups:
                group["lr"] = optimizer.defaults["lr"] * rate(self.step, config)
            optimizer.step()
        self.net.zero_grad()
        self.step += 1
        self.pixels += config.batch * config.crop**2
        past = min(config.ema, self.step / (self.step + 10))  # a short memory at first
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.net.parameters()), 1 - past
            )
        return norm

    def load(self) -> None:
        """Continue `out/last.pt`, else `config.resume`, else start afresh."""
        own = self.config.out / "last.pt"
        path = own if own.exists() else self.config.resume
        if path is None:
            return
        saved = read_checkpoint(path)
        if saved["model"] != self.model.to_dict():
            raise UsageError(f"{path} holds another network, {saved['model']}; choose another out")
        self.net.load_state_dict(saved["net"])
        self.average.load_state_dict(saved["average"])
        for optimizer, values in zip(self.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        self.step, self.pixels, self.psnr = saved["step"], saved["pixels"], saved["psnr"]
        self.seconds = saved["seconds"]

    def save(self) -> None:
        """Write the checkpoint beside the old one and put it in its place at once."""
        seconds = self.seconds + time.monotonic() - self.began
        saved = {
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "pixels": self.pixels,
            "psnr": self.psnr,
            "seconds": seconds,
            "model": self.model.to_dict(),
            "train": self.config.to_dict(),
        }
        path = self.config.out / "last.pt"
        torch.save(saved, path.with_suffix(".new"))
        os.replace(path.with_suffix(".new"), path)


class Log:
    """A progress line on stderr and JSON lines in `out/log.jsonl`."""

    def __init__(self, config: TrainConfig, state: State) -> None:
        self.config, self.state = config, state
        self.path = config.out / "log.jsonl"
        self.losses: list[Tensor] = []
        self.since = time.monotonic()
        self.first = state.step

    def write(self, **entry: Any) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"time": now(), **entry}) + "\n")

    def step(self, loss: Tensor, norm: Tensor) -> None:
        """Collect one step's figures; write them out every `log_every` steps."""
        self.losses.append(loss.detach())
        state, config = self.state, self.config
        if state.step % config.log_every:
            return
        count, elapsed = len(self.losses), time.monotonic() - self.since
        mean = torch.stack(self.losses).mean().item()
        speed = count * config.batch * config.crop**2 / elapsed
        lr = config.lr * rate(state.step - 1, config)
        self.write(
            step=state.step,
            loss=round(mean, 5),
            grad=round(float(norm), 4),
            lr=lr,
            pixels=state.pixels,
            pixels_per_second=round(speed),
        )
        done = (time.monotonic() - state.began) / (state.step - self.first)
        left = datetime.timedelta(seconds=round(done * (config.steps - state.step)))
        line = f"step {state.step}/{config.steps}  loss {mean:.4f}  lr {lr:.2e}"
        warn(f"{line}  {speed / 1e3:.0f} kpx/s  {left} left")
        self.losses.clear()
        self.since = time.monotonic()


class StopSignal:
    """Tells when to stop: on Ctrl-C, on SIGTERM, or when the minutes are up."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes if minutes else math.inf
        self.caught = False
        self.before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            for name in (signal.SIGINT, signal.SIGTERM):
                self.before[name] = signal.signal(name, self.catch)
        return self

    def __exit__(self, *_: object) -> None:
        for name, handler in self.before.items():
            signal.signal(name, handler)

    def catch(self, *_: object) -> None:
        """Remember the first signal; give way to the second."""
        if self.caught:
            raise KeyboardInterrupt
        self.caught = True
        warn("stopping after this step; once more to stop at once")

    @property
    def asked(self) -> bool:
        return self.caught or time.monotonic() > self.end


def choose_device(config: TrainConfig) -> torch.device:
    """Return the device to train on, with PyTorch set up for it."""
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.set_flush_denormal(True)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True
    return torch.device(name)


def warm_start(net: NlNet, path: Path) -> None:
    """Take the averaged weights of another run; what it lacks keeps its start.

    New input channels of the first convolution start at zero. They stand between the noisy
    picture's channels and sigma, which stays last.
    """
    saved = read_checkpoint(path)["average"]
    own = net.state_dict()
    old, new = saved["stem.weight"], own["stem.weight"]
    if old.shape != new.shape and old.shape[0] == new.shape[0]:
        wider = torch.zeros_like(new)
        wider[:, : old.shape[1] - 1] = old[:, :-1]
        wider[:, -1] = old[:, -1]
        saved["stem.weight"] = wider
    fitting = {k: v for k, v in saved.items() if k in own and v.shape == own[k].shape}
    net.load_state_dict(fitting, strict=False)
    warn(f"{path}: {len(fitting)} of {len(own)} arrays taken")


# ------------------------------------------------------------------ export


def export(checkpoint: Path, path: Path, half: bool = True) -> Path:
    """Write a checkpoint's averaged weights and their model card as an npz file.

    The array `meta` is a JSON string with `format`, `model` (the ModelConfig), `card` and
    `sha256` (of all other arrays, see `digest`).

    Parameters
    ----------
    checkpoint, path : Path
        From and to.
    half : bool
        Store kernels (not biases) as float16, half the size; they are computed in float32.
    """
    saved = read_checkpoint(checkpoint)
    arrays = {}
    for name, value in saved["average"].items():
        array = value.contiguous().numpy()
        arrays[name] = array.astype(np.float16) if half and array.ndim > 1 else array
    settings = saved["train"]
    card = {
        "data": Path(settings["data"]).name,
        "validation": Path(settings["val"]).name if settings["val"] else None,
        "sigma": [0.0, settings["sigma_max"]],
        "steps": saved["step"],
        "pixels": saved["pixels"],
        "hours": round(saved["seconds"] / 3600, 2),
        "psnr": saved["psnr"],
        "date": now(),
        "torch": torch.__version__,
    }
    meta = {
        "format": FORMAT_VERSION,
        "model": saved["model"],
        "card": card,
        "sha256": digest(arrays),
    }
    np.savez(path, allow_pickle=False, meta=np.array(json.dumps(meta)), **arrays)
    return path


def now() -> str:
    """Return the time as an ISO string in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def warn(text: str) -> None:
    """Write a line to stderr."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Train from a shell; see the top of this file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--set", nargs="+", default=[], metavar="name=value")
    model = {f.name for f in dataclasses.fields(ModelConfig)}
    settings: dict[str, dict[str, Any]] = {"train": {}, "model": {}}
    for item in parser.parse_args().set:
        name, _, text = item.partition("=")
        value: Any = text
        if name in ("data", "val", "out", "resume", "warm_start"):
            value = Path(text)
        elif name not in ("device", "pairwise"):
            value = json.loads(text)
        value = tuple(value) if isinstance(value, list) else value
        settings["model" if name in model else "train"][name] = value
    try:
        train(TrainConfig(**settings["train"]), ModelConfig(**settings["model"]))
    except NlmError as error:
        sys.exit(f"nlm train: {error}")


if __name__ == "__main__":
    main()
