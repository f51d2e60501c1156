"""Frames to the card and back while it computes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.backends import gpu_device

Planes = tuple[NDArray[np.float32], ...]


@dataclass
class Incoming:
    """Where a frame's planes arrive.

    Attributes
    ----------
    pinned, on_card : list of arrays
    used : event
        What was launched with these planes is done; at first, with what had their memory before.
    copied : event or None
        The copy is done.
    """

    pinned: list[NDArray[np.float32]]
    on_card: list[Any]
    used: Any
    copied: Any = None


class Transfer:
    """Copies of the frames of one clip, in both directions beside the computing.

    A frame is copied to the card while those before it are computed, and its result back while
    those after it are. Planes are of the same sizes in all frames.
    """

    ahead = 1
    """Results that are under way when the next one is asked for."""

    def __init__(self) -> None:
        self.device = gpu_device.device()
        self.up, self.down = self.device.lane(), self.device.lane()
        self.incoming: list[Incoming] = []
        self.brought = 0

    def bring(self, planes: Planes) -> tuple[Any, ...]:
        """Planes on the card, good until the next are brought."""
        if len(self.incoming) < 2:
            shapes = [plane.shape for plane in planes]
            self.incoming.append(
                Incoming(
                    [self.device.pinned(shape) for shape in shapes],
                    [self.device.xp.empty(shape, np.float32) for shape in shapes],
                    self.device.mark(),
                )
            )
        if self.brought:
            self.incoming[(self.brought - 1) % 2].used = self.device.mark()
        place = self.incoming[self.brought % 2]
        if place.copied is not None:
            place.copied.synchronize()
        self.up.wait(place.used)
        for plane, pinned, on_card in zip(planes, place.pinned, place.on_card, strict=True):
            np.copyto(pinned, plane)
            self.up.bring(pinned, on_card)
        place.copied = self.up.mark()
        self.device.wait(place.copied)
        self.brought += 1
        return tuple(place.on_card)

    def fetch(self, planes: tuple[Any, ...]) -> Callable[[], Planes]:
        """Begin to copy planes from the card; what is returned waits for them."""
        self.down.wait(self.device.mark())
        arrived = tuple(self.device.pinned(plane.shape) for plane in planes)
        for plane, pinned in zip(planes, arrived, strict=True):
            self.down.fetch(plane, pinned)
        done = self.down.mark()

        def wait() -> Planes:
            done.synchronize()
            return arrived if planes else ()  # the card's arrays live until here

        return wait
