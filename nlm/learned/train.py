"""Train `nlnet` in PyTorch: network, data, schedule, checkpoints and export in one file.

The network's NumPy/Numba twin lives in `model.py`; both read `config.py`. Besides
`nlm train`, every field of both configurations can be set from a shell:

    python -m nlm.learned.train --set data=DIR val=DIR out=runs/name lr=2e-3 widths=[48,64,96]
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import math
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nlm.errors import FileError, NlmError, UsageError
from nlm.learned.config import FORMAT_VERSION, ModelConfig, TrainConfig
from nlm.learned.data import batches, load_pictures, warn
from nlm.learned.estimates import estimates
from nlm.learned.muon import Muon
from nlm.learned.pytorch import NlNet
from nlm.learned.weights import digest

# ------------------------------------------------------------------ measuring


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
