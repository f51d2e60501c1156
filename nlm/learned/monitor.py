"""What people see of a training run, and how they stop it."""

from __future__ import annotations

import datetime
import json
import math
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nlm.io.output import write_problem
from nlm.learned.config import ModelConfig
from nlm.learned.train_config import TrainConfig

if TYPE_CHECKING:
    from torch import Tensor

Tell = Callable[[str], None]
"""Takes a line for people."""


class Log:
    """Lines for people, with the time that is left, and JSON lines in `out/log.jsonl`."""

    def __init__(self, config: TrainConfig, first: int, tell: Tell) -> None:
        self.config, self.first, self.tell = config, first, tell
        self.path = config.out / "log.jsonl"
        self.losses: list[Tensor] = []
        self.pixels = 0
        self.began = self.since = time.monotonic()

    def write(self, **entry: Any) -> None:
        """Add a line to the log; FileError if that fails."""
        try:
            with self.path.open("a") as file:
                file.write(json.dumps({"time": now(), **entry}) + "\n")
        except OSError as error:
            raise write_problem(self.path, error) from error

    def start(
        self, model: ModelConfig, device: str, pictures: int, held_out: int, size: int
    ) -> None:
        """Say what is about to be done."""
        config = self.config
        self.write(start=self.first, model=model.to_dict(), train=config.to_dict(), device=device)
        begin = f"from step {self.first} " if self.first else ""
        self.tell(
            f"{pictures} pictures, {held_out} for validation; a network of {size / 1e3:.0f} k "
            f"weights; {begin}to step {config.steps} on {device}"
        )

    def step(self, step: int, loss: Tensor, norm: Tensor, lr: float, pixels: int) -> None:
        """Collect one step's figures; write them out every `log_every` steps.

        Only then are they read: a GPU need not be waited for in between.
        """
        self.losses.append(loss)
        self.pixels += pixels
        config = self.config
        if step % config.log_every:
            return
        mean = float(sum(self.losses)) / len(self.losses)
        time_now = time.monotonic()
        speed = self.pixels / (time_now - self.since)
        self.write(
            step=step,
            loss=round(mean, 5),
            grad=round(float(norm), 4),
            lr=lr,
            pixels_per_second=round(speed),
        )
        per_step = (time_now - self.began) / (step - self.first)
        left = datetime.timedelta(seconds=round(per_step * (config.steps - step)))
        line = f"step {step}/{config.steps}  loss {mean:.4f}  lr {lr:.2e}"
        self.tell(f"{line}  {speed / 1e3:.0f} kpx/s  {left} left")
        self.losses.clear()
        self.pixels = 0
        self.since = time_now

    def psnr(self, step: int, psnr: dict[str, float]) -> None:
        """Say how good the averaged weights are."""
        self.write(step=step, psnr=psnr)
        self.tell(f"step {step}/{self.config.steps}  {describe_psnr(psnr)}")


def describe_psnr(psnr: dict[str, float]) -> str:
    """PSNR by noise level, for people."""
    levels, values = "/".join(psnr), "/".join(f"{value:.2f}" for value in psnr.values())
    return f"validation PSNR {values} at sigma {levels}" if psnr else "not validated"


class StopSignal:
    """Tells when to stop: on Ctrl-C, on SIGTERM, or when the minutes are up."""

    def __init__(self, minutes: float, tell: Tell) -> None:
        self.tell = tell
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
        self.tell("stopping after this step; once more to stop at once")

    @property
    def asked(self) -> bool:
        return self.caught or time.monotonic() > self.end


def now() -> str:
    """Return the time as an ISO string in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
