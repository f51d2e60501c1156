"""What the filters are compared on where that is a clip: a few frames that follow each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean

from nlm.compare import measures
from nlm.compare.pictures import Float32, Picture
from nlm.noise import Plan


@dataclass(frozen=True)
class Clip:
    """Some frames of a clip to be denoised; where one picture stands for it, the middle one.

    Attributes
    ----------
    path : str
    frames : tuple of Picture
        Of the same size; each with its own noise, and what is found of it.
    first : int
        Number of the first in the file, from 0.
    """

    path: str
    frames: tuple[Picture, ...]
    first: int = 0
    is_clip = True

    @property
    def name(self) -> str:
        """Its file's name."""
        return Path(self.path).name

    @property
    def middle(self) -> int:
        """Which of the frames is shown."""
        return len(self.frames) // 2

    @property
    def moment(self) -> str:
        """Which frame is shown, in words."""
        last = self.first + len(self.frames) - 1
        return f"frame {self.first + self.middle}, the middle one of {self.first} to {last}"

    @property
    def noisy(self) -> Float32:
        """The middle frame."""
        return self.frames[self.middle].noisy

    @property
    def reference(self) -> Float32 | None:
        """The middle frame without noise."""
        return self.frames[self.middle].reference

    @property
    def noise(self) -> Plan:
        """That of the frame of median noise."""
        found = sorted((one.noise for one in self.frames), key=lambda plan: plan.sigma)
        return found[len(found) // 2]

    @property
    def origin(self) -> str:
        """How the noise level is known."""
        return self.frames[0].origin

    @property
    def bounded(self) -> bool:
        """Its file holds integers."""
        return self.frames[0].bounded

    @property
    def lab(self) -> bool:
        """Its channels are L*, a* and b*."""
        return self.frames[0].lab

    @property
    def megapixels(self) -> float:
        """Size of all frames in millions of pixels."""
        return sum(one.megapixels for one in self.frames)

    @property
    def noisy_psnr(self) -> float | None:
        """How far the noisy frames are from the clean ones, in dB, on average."""
        levels = [one.noisy_psnr for one in self.frames]
        known = [level for level in levels if level is not None]
        return fmean(known) if known else None

    def within_range(self, pixels: Float32) -> Float32:
        """What can be stored of a result, without rounding."""
        return self.frames[0].within_range(pixels)

    @cached_property
    def still(self) -> list[measures.Mask]:
        """Where nothing changes from each frame to the next, see `measures.flicker`."""
        clean = [one.reference for one in self.frames if one.reference is not None]
        if clean:
            return measures.still(clean)
        sigma = self.noise.sigma
        return measures.seemingly_still([one.noisy for one in self.frames], sigma)

    def flicker(self, denoised: Sequence[Float32]) -> float | None:
        """How much a result flickers, in 8-bit grey levels; None where everything moves."""
        return measures.flicker(denoised, self.still)
