"""Batches for training: crops of the pictures with noise, made on the device that learns."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nlm.backends.threads import for_each
from nlm.learned.config import ModelConfig
from nlm.learned.data import reduced
from nlm.learned.estimates import estimates
from nlm.learned.train_config import TrainConfig


@dataclass(frozen=True)
class Batch:
    """What one step learns from.

    Attributes
    ----------
    clean, noisy : Tensor, (B, C, Y, X)
        Full scale 1.0. Frames of a clip follow each other.
    sigma : Tensor, (B, 1, Y, X)
        Noise level, fraction of full scale.
    estimates : Tensor, (B, C * len(config.estimates), Y, X), or None
    frames : int
        Frames of each clip; 1 = pictures.
    """

    clean: Tensor
    noisy: Tensor
    sigma: Tensor
    estimates: Tensor | None
    frames: int

    def copy(self) -> Batch:
        """The same in memory of its own."""
        estimates = None if self.estimates is None else self.estimates.clone()
        copies = (self.clean.clone(), self.noisy.clone(), self.sigma.clone(), estimates)
        return Batch(*copies, self.frames)

    def fill(self, other: Batch) -> None:
        """Take over the numbers of another batch of the same kind."""
        self.clean.copy_(other.clean)
        self.noisy.copy_(other.noisy)
        self.sigma.copy_(other.sigma)
        if self.estimates is not None and other.estimates is not None:
            self.estimates.copy_(other.estimates)


class Crops:
    """Draws noisy crops of pictures; the step's number and the seed decide everything.

    A resumed run on the same kind of device sees what an uninterrupted one would have seen.

    Parameters
    ----------
    pictures : list of ndarray of uint8, shape (Y, X, C)
        None smaller than the crops.
    config : TrainConfig
    model : ModelConfig
    device : torch.device
    """

    def __init__(
        self,
        pictures: list[np.ndarray],
        config: TrainConfig,
        model: ModelConfig,
        device: torch.device,
    ) -> None:
        self.config, self.model, self.device = config, model, device
        smaller = reduced(pictures, config.crop) if config.downscaled else []
        self.whole = len(pictures)
        pictures = pictures + smaller
        sizes = np.array([p.shape[:2] for p in pictures])
        starts = np.cumsum([0, *sizes.prod(1)[:-1]])
        flat = np.concatenate([p.reshape(-1, model.channels) for p in pictures])
        self.pixels = torch.from_numpy(flat).to(device)  # (pixels of all pictures, C)
        self.sizes = torch.from_numpy(sizes).to(device)  # (pictures, 2)
        self.starts = torch.from_numpy(starts).to(device)

    def __len__(self) -> int:
        return len(self.starts)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        config = self.config
        host = np.random.default_rng([config.seed, step])
        random = torch.Generator(self.device)
        random.manual_seed(int(host.integers(2**62)))
        frames = config.frames if host.random() < config.clips else 1
        clips = max(1, config.batch // frames)
        clean = self.clean(clips, frames, random)
        sigma = self.sigma(clips, random).repeat_interleave(frames, 0)
        noise = torch.randn(clean.shape, generator=random, device=self.device)
        noisy = clean + sigma * noise
        return Batch(clean, noisy, sigma, self.estimates(noisy, sigma), frames)

    def uniform(self, random: torch.Generator, *shape: int) -> Tensor:
        """Numbers from 0 to 1."""
        return torch.rand(shape, generator=random, device=self.device)

    def clean(self, clips: int, frames: int, random: torch.Generator) -> Tensor:
        """Squares cut out, some of reduced pictures, turned and mirrored at random.

        The squares of a clip move across their picture: evenly, each clip with a speed of its
        own, and with a tremble of a pixel.
        """
        config, size = self.config, self.config.crop
        draw = self.uniform(random, 2, clips)
        small = (draw[0] < config.downscaled) & (len(self) > self.whole)
        first = torch.where(small, self.whole, 0)
        count = torch.where(small, len(self) - self.whole, self.whole)
        picture = first + (draw[1] * count).long().clamp(max=count - 1)
        room = self.sizes[picture] - size  # (clips, 2)
        corner = self.uniform(random, clips, 1, 2) * (room[:, None] + 1)
        if frames > 1:
            speed = self.uniform(random, clips, 1, 2) * 2 - 1
            speed = speed * config.motion * self.uniform(random, clips, 1, 1)
            time = torch.arange(frames, device=self.device)[:, None] - (frames - 1) / 2
            tremble = self.uniform(random, clips, frames, 2) * 2 - 1
            corner = corner + speed * time + tremble  # (clips, frames, 2)
        corner = corner.floor().long().clamp(min=0).minimum(room[:, None])
        turn = self.uniform(random, 3, clips, 1, 1) < 0.5
        along = torch.arange(size, device=self.device)
        y, x = along[None, :, None], along[None, None, :]
        y, x = torch.where(turn[0], y, size - 1 - y), torch.where(turn[1], x, size - 1 - x)
        y, x = torch.where(turn[2], y, x), torch.where(turn[2], x, y)  # (clips, Y, X)
        width = self.sizes[picture, 1][:, None, None]
        offset = self.starts[picture][:, None] + corner[..., 0] * width[..., 0] + corner[..., 1]
        place = offset[..., None, None] + (y * width + x)[:, None]  # (clips, frames, Y, X)
        return self.pixels[place.flatten(0, 1)].permute(0, 3, 1, 2).float() / 255

    def sigma(self, count: int, random: torch.Generator) -> Tensor:
        """Noise levels (count, 1, Y, X), a share of them running from one value to another."""
        config, size = self.config, self.config.crop
        ends = self.uniform(random, 2, count, 1, 1, 1) * (config.sigma_max / 255)
        slope = self.uniform(random, count, 1, 1, 1) < config.ramps
        ramp = torch.linspace(0, 1, size, device=self.device)[:, None].expand(size, size)
        return torch.lerp(ends[0], ends[1], ramp * slope)

    def estimates(self, noisy: Tensor, sigma: Tensor) -> Tensor | None:
        """The classical filter's results, where the network takes any."""
        if not self.model.estimates:
            return None
        one_thread = functools.partial(for_each, threads=1)
        pictures = noisy.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        levels = sigma[:, 0].cpu().numpy()
        found = [
            estimates(p, s, self.model, one_thread) for p, s in zip(pictures, levels, strict=True)
        ]
        return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).to(self.device)
