"""Checkpoints of a training run: read, begin from another's weights, export."""

from __future__ import annotations

import io
import math
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
from nlm.learned.weights import load, number_of, save

SETTINGS = {"data", "val", "sigma_max", "warm_start"}
"""Settings of a run that its model card tells."""
MEMORY = {"Muon": {"mean"}, "AdamW": {"step", "exp_avg", "exp_avg_sq"}}
"""What optimizers keep of every tensor."""
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
        memories = saved["optimizers"]
        if len(memories) != len(self.optimizers) or not all(
            _fits(optimizer, values["state"])
            for optimizer, values in zip(self.optimizers, memories, strict=True)
        ):
            raise FileError(
                f"{path}: is damaged, its 'optimizers' are not those of its network; give another "
                "last.pt of nlm train, or begin from its weights with --warm-start"
            )
        for optimizer, values in zip(self.optimizers, memories, strict=True):
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
    if problem := _problem(saved):
        raise FileError(f"{path}: is damaged, {problem}; give another last.pt of nlm train")
    return saved


def _problem(saved: dict[str, Any]) -> str:
    """What no run would have saved, in words; empty for none."""
    shapes = saved["model"].shapes()
    for name in ("net", "average"):
        if not _are_weights(saved[name], shapes):
            return f"its {name!r} is not made of the weights of its network"
    for name in ("step", "pixels", "seconds"):
        if not _is_number(saved[name]):
            return f"its {name!r} is no number of 0 or more"
    psnr = saved.get("psnr", {})
    if not isinstance(psnr, dict) or not all(isinstance(one, int | float) for one in psnr.values()):
        return "its 'psnr' does not consist of numbers"
    if not isinstance(saved["train"], dict) or SETTINGS - set(saved["train"]):
        return "the settings of its run are missing"
    memories = saved["optimizers"]
    if not isinstance(memories, list) or not all(
        isinstance(one, dict) and isinstance(one.get("state"), dict) for one in memories
    ):
        return "its 'optimizers' have no memory"
    return ""


def _are_weights(tensors: object, shapes: dict[str, tuple[int, ...]]) -> bool:
    if not isinstance(tensors, dict) or tensors.keys() != shapes.keys():
        return False
    return all(
        isinstance(one, torch.Tensor) and one.is_floating_point() and one.shape == shapes[name]
        for name, one in tensors.items()
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _fits(optimizer: torch.optim.Optimizer, memory: dict[Any, Any]) -> bool:
    """Whether an optimizer can go on with what one of its kind has stored."""
    tensors = [p for group in optimizer.param_groups for p in group["params"]]
    wanted = MEMORY[type(optimizer).__name__]
    return all(
        isinstance(k, int)
        and 0 <= k < len(tensors)
        and isinstance(stored, dict)
        and stored.keys() == wanted
        and all(isinstance(one, torch.Tensor) for one in stored.values())
        and all(stored[name].shape == tensors[k].shape for name in wanted - {"step"})
        for k, stored in memory.items()
    )


def warm_start(state: State, path: Path, tell: Tell) -> None:
    """Take the averaged weights of another run, or exported ones; what they lack keeps its start.

    The pixels that it has seen and its time count as this run's own. New input channels of the
    first convolution start at zero. They stand between the noisy picture's channels and sigma,
    which stays last. One of fewer input channels keeps its start.
    """
    if path.suffix == ".npz":
        model, arrays, card = load(path)
        saved = {name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()}
        state.pixels = int(number_of(path, card, "pixels"))
        state.seconds = 3600 * number_of(path, card, "hours")
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
    for name in ("leak", "estimates", "estimate_patch", "estimate_radius"):
        before, after = getattr(model, name), getattr(state.model, name)
        if before != after and (name == "leak" or model.estimates):
            tell(f"its {name} was {before} and is {after} now (--set {name}=...)")


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
