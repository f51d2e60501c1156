"""Train `nlnet` in PyTorch: the loop and its validation.

The network itself is in `pytorch.py`, its pictures in `data.py`, a step with loss and optimizers in
`learner.py`, what a run remembers in `checkpoint.py`, and every setting in `config.py` and
`train_config.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from nlm.errors import FileError, UsageError
from nlm.learned.checkpoint import State, export, warm_start
from nlm.learned.config import ModelConfig
from nlm.learned.crops import Crops
from nlm.learned.data import load_pictures
from nlm.learned.estimates import estimates
from nlm.learned.learner import Learner, optimizers_of, rate
from nlm.learned.monitor import Log, StopSignal, Tell
from nlm.learned.pytorch import NlNet
from nlm.learned.train_config import TrainConfig

EXACT = 1e-16
"""Mean squared error that counts as none: float32 holds no smaller one."""


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
    if not state.load() and config.warm_start:
        warm_start(state, config.warm_start, tell)
    learner = Learner(state, config, device)
    log = Log(config, state.step, tell)
    log.start(model, device.type, len(pictures), len(held_out), count_weights(net))

    with StopSignal(config.minutes, tell) as stop:
        while state.step < config.steps:
            batch = crops.batch(state.step)
            loss, norm = learner(batch)
            pixels = batch.clean[:, 0].numel()
            state.pixels += pixels
            log.step(state.step, loss, norm, config.lr * rate(state.step - 1, config), pixels)

            last = stop.asked or state.step == config.steps
            if held_out and (state.step % config.val_every == 0 or (last and not stop.caught)):
                state.psnr = validate(average, held_out, config.val_sigmas, device)
                log.psnr(state.step, state.psnr)
            if state.step % config.save_every == 0 or last:
                state.save()
            if last:
                break
    if not state.path.exists():  # the checkpoint of another run had all its steps
        state.save()
    path = export(state.path, config.out / "nlnet.npz")
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
            error = float(np.mean((np.clip(out, 0, 1) - clean) ** 2))
            psnrs.append(-10 * math.log10(max(error, EXACT)))
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
        guide = estimates(image, sigma, net.config).transpose(2, 0, 1)
        guides = torch.from_numpy(np.pad(guide, padding, "reflect")[None]).to(device)
    level = torch.full((1, 1, 1, 1), sigma, device=device)
    with torch.no_grad():
        out = net(torch.from_numpy(padded).to(device), level, guides)
    cut: np.ndarray = out[0, :, :rows, :columns].cpu().numpy()
    return cut
