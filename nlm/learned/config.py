"""What the network `nlnet` is made of; pure Python, shared by every engine."""

from __future__ import annotations

import reprlib
from dataclasses import asdict, dataclass, fields
from typing import Any

from nlm.errors import UsageError
from nlm.learned.ranges import Range, check_ranges

FORMAT_VERSION = 3
MOST_LEVELS = 4
SQUARE = 4
"""Rows and columns of the results that a convolution on the CPU finds together."""
PATCH_BEFORE, RADIUS_BEFORE = 5, 6
"""Of the classical filter, when a network's file did not yet tell."""

RANGES = {
    "estimates": Range(float, 0.01, 10, many=True),
    "estimate_patch": Range(int, 1, 31),
    "estimate_radius": Range(int, 1, 64),
    "widths": Range(int, 1, 4096, many=True),
    "blocks": Range(int, 0, 256, many=True),
    "blocks_up": Range(int, 0, 256, many=True),
    "nonlocal_radius": Range(int, 0, 64, many=True),
    "nonlocal_width": Range(int, 0, 4096),
    "leak": Range(float, 0, 1),
    "repeats": Range(int, 1, 64),
}


@dataclass(frozen=True)
class ModelConfig:
    """What the network is made of.

    A picture is pixel-unshuffled by two and runs through a U of residual blocks whose level
    `l` works at 1/2, 1/4, 1/8 ... of the picture's size with `widths[l]` channels. Windowed
    non-local blocks stand where `nonlocal_radius` is not zero.

    Attributes
    ----------
    channels : int
        Colour channels of the picture: 1 or 3.
    estimates : tuple of float
        Strengths of the classical filter whose results are further input pictures; () = none.
    estimate_patch, estimate_radius : int
        Its patches' side and its search's reach, in pixels.
    widths : tuple of int
        Channels of each level, finest first.
    blocks : tuple of int
        Residual blocks of each level on the way down (the last entry: at the bottom).
    blocks_up : tuple of int
        Residual blocks of each level but the last on the way up.
    nonlocal_radius : tuple of int
        Reach of the non-local block that opens each level's way up (the last entry: the
        bottom), in that level's positions; 0 = no block.
    nonlocal_width : int
        Channels of theta, phi and g; 0 = half of the level's.
    pairwise : str
        "distance", exp(-|theta_i - phi_j|^2), or "embedded_gaussian", exp(theta_i . phi_j).
    leak : float
        What residual blocks multiply negative values by; 0 = ReLU.
    repeats : int
        How often the body runs, with the same weights (1 = once, an ordinary network).
    """

    channels: int = 1
    estimates: tuple[float, ...] = ()
    estimate_patch: int = 7
    estimate_radius: int = 10
    widths: tuple[int, ...] = (48, 80, 128)
    blocks: tuple[int, ...] = (1, 2, 4)
    blocks_up: tuple[int, ...] = (2, 2)
    nonlocal_radius: tuple[int, ...] = (0, 8, 0)
    nonlocal_width: int = 0
    pairwise: str = "distance"
    leak: float = 0.1
    repeats: int = 1

    def __post_init__(self) -> None:
        check_ranges(self, RANGES)
        levels = len(self.widths)
        if type(self.channels) is not int or self.channels not in (1, 3):
            raise UsageError(
                f"channels is {reprlib.repr(self.channels)}; 1 (gray) and 3 (colour) are allowed"
            )
        if levels > MOST_LEVELS:
            raise UsageError(f"{levels} levels of widths; at most {MOST_LEVELS} are allowed")
        if self.estimate_patch % 2 == 0:
            raise UsageError(f"estimate_patch is {self.estimate_patch}; odd sides are allowed")
        if levels < 1 or len(self.blocks) != levels or len(self.nonlocal_radius) != levels:
            raise UsageError("widths, blocks and nonlocal_radius need one entry per level")
        if len(self.blocks_up) != levels - 1:
            raise UsageError("blocks_up needs one entry per level but the last")
        if self.pairwise not in ("distance", "embedded_gaussian"):
            raise UsageError(
                f"pairwise is {reprlib.repr(self.pairwise)}; distance, embedded_gaussian allowed"
            )

    def inner_width(self, level: int) -> int:
        """Channels of theta, phi and g of a level's non-local block."""
        return self.nonlocal_width or max(1, self.widths[level] // 2)

    @property
    def only_block(self) -> int | None:
        """The level of the network's non-local block, if there is one that is passed once."""
        levels = [level for level, radius in enumerate(self.nonlocal_radius) if radius]
        return levels[0] if len(levels) == 1 and self.repeats == 1 else None

    @property
    def inputs(self) -> int:
        """Channels that enter the first convolution: unshuffled pictures and sigma."""
        return 4 * self.channels * (1 + len(self.estimates)) + 1

    @property
    def multiple(self) -> int:
        """Picture sides are padded (by reflection) to a multiple of this many pixels."""
        return 1 << len(self.widths)

    @property
    def align(self) -> int:
        """Tiles of a picture begin at multiples of this many pixels, for equal rounding errors.

        Convolutions go through every level in squares of `SQUARE` positions.
        """
        return SQUARE * self.multiple

    @property
    def halo(self) -> int:
        """How many pixels on each side decide on a pixel, at most; a multiple of `align`."""
        reach = 2 * 2  # first and last convolution, at half size
        for level, count in enumerate(self.blocks):
            count += self.blocks_up[level] if level < len(self.blocks_up) else 0
            reach += (2 * count + self.nonlocal_radius[level]) << (level + 1)
        reach = reach * self.repeats + self.multiple
        if self.estimates:
            reach += 2 * (self.estimate_radius + self.estimate_patch // 2)
        return -(-reach // self.align) * self.align

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of all weights."""
        found: dict[str, tuple[int, ...]] = {}

        def layer(name: str, outputs: int, inputs: int, taps: int) -> None:
            found[f"{name}.weight"] = (outputs, inputs, taps, taps)
            found[f"{name}.bias"] = (outputs,)

        def blocks(name: str, level: int, count: int) -> None:
            width = self.widths[level]
            for k in range(count):
                layer(f"{name}.{k}.conv1", width, width, 3)
                layer(f"{name}.{k}.conv2", width, width, 3)

        layer("stem", self.widths[0], self.inputs, 3)
        for i in range(len(self.widths) - 1):
            blocks(f"encoder.{i}", i, self.blocks[i])
            layer(f"down.{i}", self.widths[i + 1], self.widths[i], 2)
            layer(f"up.{i}", 4 * self.widths[i], self.widths[i + 1], 1)
            blocks(f"decoder.{i}", i, self.blocks_up[i])
        blocks("bottom", len(self.widths) - 1, self.blocks[-1])
        for i, radius in enumerate(self.nonlocal_radius):
            if radius:
                width, inner = self.widths[i], self.inner_width(i)
                for part in ("theta", "phi", "g"):
                    layer(f"non_local.{i}.{part}", inner, width, 1)
                layer(f"non_local.{i}.w_z", width, inner, 1)
        layer("head", 4 * self.channels, self.widths[0], 3)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, for JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Read back what `to_dict` wrote, or wrote before there was a leak and patches had a size.

        Unknown names are an error.
        """
        if not isinstance(values, dict):
            raise UsageError(f"settings are {reprlib.repr(values)}; names and values are wanted")
        known = {f.name for f in fields(cls)}
        if unknown := set(values) - known:
            names = reprlib.repr(sorted(unknown))
            raise UsageError(f"unknown network settings {names}; a newer nlm wrote them")
        settings: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        before: dict[str, Any] = {"leak": 0.0}
        if settings.get("estimates"):
            before |= {"estimate_patch": PATCH_BEFORE, "estimate_radius": RADIUS_BEFORE}
        return cls(**{**before, **settings})
