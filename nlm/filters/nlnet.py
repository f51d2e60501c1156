"""The learned filter, see `nlm.learned.model`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nlm.learned.config import MOST_LEVELS
from nlm.params import Halo, Params, parameter
from nlm.registry import Filter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nlm.backends import Backend


@dataclass(frozen=True)
class NlnetParams(Params):
    """Parameters of the learned filter."""

    strength: float = parameter(
        1.0, "Noise level given to the network, relative to sigma.", low=0.01, high=10
    )

    weights: str | None = parameter(None, "Weights made by `nlm train`; those of nlm if left out.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights is not None:
            from nlm.learned.model import network_of

            network_of(self.weights)

    @property
    def halo(self) -> Halo:
        from nlm.learned.model import network_for, network_of

        if self.weights is not None:
            reach = network_of(self.weights).config.halo
        else:
            reach = max(network_for(channels).config.halo for channels in (1, 3))
        return (0, reach, reach)


def apply(
    frames: "NDArray[np.float32]", sigma: float, params: NlnetParams, backend: "Backend"
) -> "NDArray[np.float32]":
    import numpy as np

    from nlm.learned.model import network_for

    channels = frames.shape[3]
    network = network_for(channels, params.weights).on(backend)
    step = network.config.channels  # a network for one channel takes each by itself
    denoised = np.empty_like(frames)
    for frame, result in zip(frames, denoised, strict=True):
        for c in range(0, channels, step):
            part = slice(c, c + step)
            result[..., part] = network.denoise(
                frame[..., part], params.strength * sigma, backend.for_each
            )
    return denoised


FILTER = Filter(
    name="nlnet",
    params=NlnetParams,
    apply=apply,
    summary="a learned network: better, and slower",
    tile=1024,
    align=1 << MOST_LEVELS,
    tolerance=1e-5,
    constant=0.03,
)
