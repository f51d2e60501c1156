"""Checkpoints of a training run: read, begin from another's weights, export."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nlm.errors import FileError, UsageError
from nlm.io.output import write_bytes
from nlm.learned.config import ModelConfig
from nlm.learned.monitor import Tell, now
from nlm.learned.pytorch import NlNet
from nlm.learned.train_config import TrainConfig
from nlm.learned.weights import load, save

CONTENT = {"net", "average", "optimizers", "step", "pixels", "seconds", "model", "train"}


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

    @property
    def path(self) -> Path:
        """Where it is saved."""
        return self.config.out / "last.pt"

    def load(self) -> bool:
        """Continue `out/last.pt`, else `config.resume`; False if there is neither.

        Optimizers get their memory back; their settings are those of this run.
        """
        path = self.path if self.path.exists() else self.config.resume
        if path is None:
            return False
        saved = read_checkpoint(path)
        if saved["model"] != self.model:
            raise UsageError(
                f"{path} holds another network, {saved['model'].to_dict()}; give another folder "
                "of output, or its settings"
            )
        self.net.load_state_dict(saved["net"])
        self.average.load_state_dict(saved["average"])
        for optimizer, values in zip(self.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict({**optimizer.state_dict(), "state": values["state"]})
        self.step, self.pixels = saved["step"], saved["pixels"]
        self.psnr = saved.get("psnr", {}) if self.config.val else {}
        self.seconds = saved["seconds"]
        return True

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
        file = io.BytesIO()
        torch.save(saved, file)
        write_bytes(self.path, file.getbuffer())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `State.save` wrote, with a ModelConfig; nothing in the file is executed."""
    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if missing := CONTENT - set(saved):
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        saved["model"] = ModelConfig.from_dict(saved["model"])
    except FileNotFoundError:
        raise FileError(f"{path}: does not exist; give a last.pt of nlm train") from None
    except UsageError as error:
        raise FileError(f"{path}: describes no network that this nlm knows ({error})") from error
    except Exception as error:  # PyTorch's reader raises whatever it comes across
        raise FileError(f"{path}: is no checkpoint; give a last.pt of nlm train") from error
    return saved


def warm_start(state: State, path: Path, tell: Tell) -> None:
    """Take the averaged weights of another run, or exported ones; what they lack keeps its start.

    The pixels that it has seen and its time count as this run's own. New input channels of the
    first convolution start at zero. They stand between the noisy picture's channels and sigma,
    which stays last. One of fewer input channels keeps its start.
    """
    if path.suffix == ".npz":
        model, arrays, card = load(path)
        saved = {name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()}
        state.pixels, state.seconds = card.get("pixels", 0), 3600 * card.get("hours", 0.0)
    else:
        checkpoint = read_checkpoint(path)
        model, saved = checkpoint["model"], checkpoint["average"]
        state.pixels, state.seconds = checkpoint["pixels"], checkpoint["seconds"]
    own = state.net.state_dict()
    old, new = saved["stem.weight"], own["stem.weight"]
    if old.shape[0] == new.shape[0] and old.shape[1] < new.shape[1]:
        wider = torch.zeros_like(new)
        wider[:, : old.shape[1] - 1] = old[:, :-1]
        wider[:, -1] = old[:, -1]
        saved["stem.weight"] = wider
    fitting = {k: v for k, v in saved.items() if k in own and v.shape == own[k].shape}
    for net in (state.net, state.average):
        net.load_state_dict(fitting, strict=False)
    tell(f"{path}: {len(fitting)} of {len(own)} arrays taken")
    if model.leak != state.model.leak:
        tell(f"its leak was {model.leak:g} and is {state.model.leak:g} now (--set leak=...)")


def export(checkpoint: Path, path: Path) -> Path:
    """Write a checkpoint's averaged weights and their model card as `weights.save` does.

    Parameters
    ----------
    checkpoint, path : Path
        From and to.
    """
    saved = read_checkpoint(checkpoint)
    settings = saved["train"]
    card = {
        "data": Path(settings["data"]).name,
        "validation": Path(settings["val"]).name if settings["val"] else None,
        "sigma": [0.0, settings["sigma_max"]],
        "steps": saved["step"],
        "warm_start": settings["warm_start"] is not None,
        "pixels": saved["pixels"],
        "hours": round(saved["seconds"] / 3600, 2),
        "psnr": saved["psnr"],
        "date": now(),
        "torch": torch.__version__,
    }
    arrays = {name: value.contiguous().numpy() for name, value in saved["average"].items()}
    save(path, saved["model"], arrays, card)
    return path
