"""Train `nlnet` in PyTorch: the loop, with its loss, optimizers, schedule and validation.

The network itself is in `pytorch.py`, its pictures in `data.py`, what a run remembers in
`checkpoint.py`, and every setting in `config.py` and `train_config.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nlm.errors import FileError, UsageError
from nlm.learned.checkpoint import State, export, warm_start
from nlm.learned.config import ModelConfig
from nlm.learned.crops import Crops
from nlm.learned.data import load_pictures
from nlm.learned.estimates import estimates
from nlm.learned.monitor import Log, StopSignal, Tell
from nlm.learned.muon import Muon
from nlm.learned.pytorch import NlNet
from nlm.learned.train_config import TrainConfig


def train(config: TrainConfig, model: ModelConfig, tell: Tell) -> Result:
    """Train a network and export its weights.

    Everything lies in `config.out`: `last.pt` to continue from, `log.jsonl`, `nlnet.npz`. Ctrl-C,
    SIGTERM and reaching `config.minutes` save first; the same call goes on from there.

    Parameters
    ----------
    config : TrainConfig
        Data, schedule and device.
    model : ModelConfig
        The network.
    tell : callable
        Is given a line for people now and then.

    Returns
    -------
    Result

    Raises
    ------
    UsageError
        If the settings do not fit each other, or a folder holds no usable picture.
    FileError
        If a checkpoint cannot be read, or nothing can be written.
    """
    config.check(model)
    device = choose_device(config)
    make_folder(config.out)
    pictures = load_pictures(config.data, model.channels, config.crop, tell)
    held_out = load_pictures(config.val, model.channels, model.multiple, tell) if config.val else []

    crops = Crops(pictures, config, model, device)

    torch.manual_seed(config.seed)
    net = NlNet(model).to(device)
    average = NlNet(model).to(device)
    average.load_state_dict(net.state_dict())
    state = State(net, average, optimizers_of(net, config), config, model)
    if config.warm_start:
        warm_start(state, config.warm_start, tell)
    state.load()
    forward = torch.compile(net, dynamic=False) if config.compile else net
    log = Log(config, state.step, tell)
    log.start(model, device.type, len(pictures), len(held_out), count_weights(net))

    with StopSignal(config.minutes, tell) as stop:
        while state.step < config.steps:
            batch = crops.batch(state.step)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                given = (batch.noisy, batch.sigma, batch.estimates)
                out = forward(*given, frames=batch.frames, reach=config.reach)
            loss = loss_of(out.float(), batch.clean, batch.sigma)
            torch.autograd.backward(loss)
            norm = update(state, config)
            pixels = batch.clean[:, 0].numel()
            state.pixels += pixels
            lr = config.lr * rate(state.step - 1, config)
            log.step(state.step, loss.detach(), norm, lr, pixels)

            last = stop.asked or state.step == config.steps
            if held_out and (state.step % config.val_every == 0 or (last and not stop.caught)):
                state.psnr = validate(average, held_out, config.val_sigmas, device)
                log.psnr(state.step, state.psnr)
            if state.step % config.save_every == 0 or last:
                state.save()
            if last:
                break
    path = export(config.out / "last.pt", config.out / "nlnet.npz")
    return Result(path, state.step, state.psnr, stopped=stop.caught)


@dataclass(frozen=True)
class Result:
    """What a run came to: its weights, after how many steps, its PSNR by noise level."""

    weights: Path
    step: int
    psnr: dict[str, float]
    stopped: bool


def make_folder(path: Path) -> None:
    """Make the folder that the run writes to."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{path}: no folder can be made there ({error.strerror})") from None


def count_weights(net: nn.Module) -> int:
    """How many numbers the network learns."""
    return sum(p.numel() for p in net.parameters())


def choose_device(config: TrainConfig) -> torch.device:
    """Return the device to train on, with PyTorch set up for it."""
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    elif name == "cuda" and not torch.cuda.is_available():
        raise UsageError("device cuda: PyTorch finds no GPU; give cpu, or auto")
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.set_flush_denormal(True)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True
    return torch.device(name)


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
    """
    named = list(net.named_parameters())
    ends = ("stem.", "head.")
    kernels = [p for name, p in named if p.ndim > 1 and not name.startswith(ends)]
    rest = [p for name, p in named if p.ndim <= 1 or name.startswith(ends)]
    return [
        Muon(kernels, config.lr, config.weight_decay),
        torch.optim.AdamW(rest, config.lr_rest, betas=(0.9, 0.99), weight_decay=0.0, fused=True),
    ]


def rate(step: int, config: TrainConfig) -> float:
    """Return the share of the learning rate: a rise, a plateau, a fall to zero by 1 - sqrt."""
    rise = min(1.0, (step + 1) / max(1, config.warmup))
    left = (config.steps - step) / max(1, config.falling)  # 1 where the fall begins
    return rise * (1.0 if left >= 1 else 1 - math.sqrt(1 - left))


def update(state: State, config: TrainConfig) -> Tensor:
    """Move the weights, and the averaged ones after them; return the gradient's norm."""
    parameters: list[Tensor] = list(state.net.parameters())
    norm = nn.utils.clip_grad_norm_(parameters, config.clip)
    for p in parameters:  # without waiting for the device to tell whether one is infinite
        if p.grad is not None:
            p.grad.nan_to_num_(0.0, 0.0, 0.0)
    for optimizer in state.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = optimizer.defaults["lr"] * rate(state.step, config)
        optimizer.step()
    state.net.zero_grad()
    state.step += 1
    past = min(config.ema, state.step / (state.step + 10))  # a short memory at first
    with torch.no_grad():
        torch._foreach_lerp_(list(state.average.parameters()), parameters, 1 - past)
    return norm


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


def denoise(net: NlNet, noisy: np.ndarray, sigma: float, device: torch.device) -> np.ndarray:
    """Denoise one (C, Y, X) picture of any size, reflected to the size the network needs."""
    _, rows, columns = noisy.shape
    multiple = net.config.multiple
    padding = ((0, 0), (0, -rows % multiple), (0, -columns % multiple))
    padded = np.pad(noisy, padding, "reflect")[None]
    guides = None
    if net.config.estimates:
        image = np.ascontiguousarray(noisy.transpose(1, 2, 0))
        guide = estimates(image, sigma, net.config.estimates).transpose(2, 0, 1)
        guides = torch.from_numpy(np.pad(guide, padding, "reflect")[None]).to(device)
    level = torch.full((1, 1, 1, 1), sigma, device=device)
    with torch.no_grad():
        out = net(torch.from_numpy(padded).to(device), level, guides)
    cut: np.ndarray = out[0, :, :rows, :columns].cpu().numpy()
    return cut
