"""Groups of similar patches, found by a pilot and denoised together, see `backends.cpu_groups`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nlm.noise.colour import from_opponent, to_opponent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nlm.backends import Backend

    Picture = NDArray[np.float32]

SMALLEST = 16
"""Pictures with a shorter side than this have no groups of patches."""
LARGE = {"patch": 7, "members": 96, "step": 4, "radius": 18, "by_pixels": True}
"""For a Wiener filter that a good pilot tells."""

Round = tuple[dict[str, Any], bool, "Backend"]
"""Fields of the kernel's `Groups`, whether the pilot tells how, and where it is computed."""


def refine(noisy: "Picture", pilot: "Picture", sigma: float, rounds: Sequence[Round]) -> "Picture":
    """Denoise a picture (Y, X, C), 3 channels being RGB, each round's result the next one's pilot.

    What is too small for groups stays as the pilot has it.
    """
    channels = noisy.shape[2]
    if min(noisy.shape[:2]) < SMALLEST:
        return pilot
    colour = channels == 3
    if colour:
        noisy, pilot = to_opponent(noisy), to_opponent(pilot)
    for groups, from_pilot, place in rounds:
        pilot = place.kernels.collaborate(
            noisy,
            pilot,
            sigma,
            place.kernels.Groups(**groups),
            matched=1 if colour else channels,
            from_pilot=from_pilot,
            for_each=place.for_each,
        )
    return from_opponent(pilot) if colour else pilot
