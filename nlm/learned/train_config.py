"""How `nlnet` is trained; pure Python, so that a command line can be made of it without PyTorch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from nlm.errors import UsageError
from nlm.learned.config import ModelConfig
from nlm.learned.ranges import Range, check_ranges

DEVICES = ("auto", "cpu", "cuda")
COUNT, MAYBE = Range(int, 1, 10**9), Range(int, 0, 10**9)
RATE, SIZE = Range(float, 0, above=True), Range(float, 0)
SHARE = Range(float, 0, 1)
RANGES = {
    "steps": COUNT,
    "decay": Range(int, 0, 10**9, optional=True),
    "warmup": MAYBE,
    "minutes": SIZE,
    "batch": Range(int, 1, 10**5),
    "crop": COUNT,
    "downscaled": SHARE,
    "clips": SHARE,
    "frames": Range(int, 1, 10**4),
    "reach": MAYBE,
    "motion": SIZE,
    "ramps": SHARE,
    "sigma_max": RATE,
    "lr": RATE,
    "lr_rest": RATE,
    "weight_decay": SIZE,
    "clip": Range(float, 0, math.inf, above=True),
    "ema": SHARE,
    "seed": Range(int, 0, 2**63 - 1),
    "threads": Range(int, 0, 4096),
    "val_every": COUNT,
    "save_every": COUNT,
    "log_every": COUNT,
    "val_sigmas": Range(int, 0, 255, many=True),
}


@dataclass(frozen=True)
class TrainConfig:
    """How the network is trained.

    The learning rate warms up, stays, and in the last `decay` of `steps` steps falls to zero:
    a run can stay level for as long as there is time, and from any of its checkpoints a decay
    branch (`resume=...`, `steps` a little beyond the checkpoint's step, another `out`) gives
    weights to ship while the run itself goes on. A run whose `out` holds a checkpoint continues.

    Attributes
    ----------
    data, val : Path
        Folders of pictures, searched recursively, to learn from and to measure on.
    out : Path
        Folder of checkpoint (`last.pt`), log (`log.jsonl`) and weights (`nlnet.npz`).
    resume : Path, optional
        A checkpoint to continue when `out` has none: weights, optimizer, average and step.
    warm_start : Path, optional
        A checkpoint or a file of weights, of which the weights alone are taken; new input
        channels and blocks start as zero. A run that goes on from a checkpoint does without it.
    steps, warmup : int
        Steps in all, and of the first rise of the learning rate.
    decay : int, optional
        Steps of its final fall; None = a fifth of all.
    minutes : float
        Stop (with a checkpoint) after so long; 0 = no limit.
    batch, crop : int
        Crops per step and their side in pixels.
    downscaled : float
        Share of crops taken from pictures reduced to 0.5-0.8 of their size, which hides
        JPEG artefacts and varies scale.
    clips : float
        Share of steps whose crops form clips: squares moving across a picture, in which
        non-local blocks see `reach` frames before and after their own.
    frames, reach : int
        Frames of such a clip, and how many frames away a block looks.
    motion : float
        Fastest motion of a clip, in pixels per frame and axis.
    ramps : float
        Share of crops whose noise level runs linearly between two values, for sigma maps.
    sigma_max : float
        Noise levels are drawn evenly from 0 to this, in 8-bit grey levels.
    lr, lr_rest : float
        Peak learning rates of the body's kernels (Muon) and of everything else (AdamW).
    weight_decay, clip : float
        Decoupled weight decay of the kernels, bound of the gradient's norm.
    ema : float
        Weight of the past in the running average of the weights that is measured and shipped.
    seed : int
        Decides initial weights and, with the step's number alone, every batch.
    device : str
        "auto", "cpu" or "cuda".
    compile : bool
        Use torch.compile; pays on a GPU, not on a CPU.
    threads : int
        CPU threads of PyTorch; 0 = its own choice.
    val_every, save_every, log_every : int
        Steps between validations, checkpoints and lines of the log.
    val_sigmas : tuple of int
        Noise levels of the validation.
    """

    data: Path
    out: Path = Path("runs/nlnet")
    val: Path | None = None
    resume: Path | None = None
    warm_start: Path | None = None
    steps: int = 50_000
    decay: int | None = None
    warmup: int = 300
    minutes: float = 0.0
    batch: int = 8
    crop: int = 96
    downscaled: float = 0.3
    clips: float = 0.0
    frames: int = 5
    reach: int = 2
    motion: float = 8.0
    ramps: float = 0.1
    sigma_max: float = 75.0
    lr: float = 2e-3
    lr_rest: float = 1e-3
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.999
    seed: int = 0
    device: str = "auto"
    compile: bool = False
    threads: int = 0
    val_every: int = 2000
    save_every: int = 1000
    log_every: int = 100
    val_sigmas: tuple[int, ...] = (15, 25, 50)

    @property
    def falling(self) -> int:
        """Steps of the learning rate's final fall."""
        return self.steps // 5 if self.decay is None else self.decay

    def check(self, model: ModelConfig) -> None:
        """Refuse values that cannot be trained with."""
        check_ranges(self, RANGES)
        if self.crop % model.multiple:
            raise UsageError(
                f"crop {self.crop} is not allowed; give a multiple of {model.multiple} pixels"
            )
        if self.device not in DEVICES:
            raise UsageError(f"unknown device {self.device!r}; available: {', '.join(DEVICES)}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain strings, lists and numbers, for JSON."""
        values = asdict(self)
        for name, value in values.items():
            if isinstance(value, Path):
                values[name] = str(value)
            elif isinstance(value, tuple):
                values[name] = list(value)
        return values


CONFIGS: tuple[type[TrainConfig], type[ModelConfig]] = (TrainConfig, ModelConfig)


def from_settings(items: Iterable[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields of both configurations from texts like ``lr=1e-3`` and ``widths=[48,64]``.

    Returns
    -------
    train, model : dict
        Arguments of `TrainConfig` and `ModelConfig`.

    Raises
    ------
    UsageError
        If there is no such field, or its value cannot be read.
    """
    kinds = {config: {f.name: str(f.type) for f in fields(config)} for config in CONFIGS}
    found: dict[type, dict[str, Any]] = {config: {} for config in CONFIGS}
    for item in items:
        name, _, text = item.partition("=")
        config = next((one for one in CONFIGS if name in kinds[one]), None)
        if config is None:
            known = ", ".join(sorted(name for one in CONFIGS for name in kinds[one]))
            raise UsageError(f"there is no setting {name!r}; those there are: {known}")
        found[config][name] = _value(name, text, kinds[config][name])
    return found[TrainConfig], found[ModelConfig]


def _value(name: str, text: str, kind: str) -> Any:
    if kind.startswith("Path"):
        return Path(text)
    if kind == "str":
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if kind == "float" and type(value) is int:
        value = float(value)
    if kind.startswith("tuple") and isinstance(value, list):
        inner = (int, float) if "float" in kind else (int,)
        if all(type(one) in inner for one in value):
            return tuple(value)
    elif type(value).__name__ == kind.removesuffix(" | None"):
        return value
    example = {"t": "[48,64,96]", "b": "true", "i": "8", "f": "0.5"}[kind[0]]
    raise UsageError(f"setting {name}={text} cannot be read; write it like {name}={example}")
