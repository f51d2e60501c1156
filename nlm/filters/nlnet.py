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
    from nlm.learned.config import ModelConfig

MAPS = 4.0
"""Maps of features of four bytes each for four pixels that live at once, smaller ones included."""


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
        reach = max(config.halo for config in self._networks)
        return (0, reach, reach)

    @property
    def _networks(self) -> "list[ModelConfig]":
        from nlm.learned.model import network_for, network_of

        if self.weights is not None:
            return [network_of(self.weights).config]
        return [network_for(channels).config for channels in (1, 3)]

    def working_memory(self, channels: int) -> float:
        """At half the picture's size, some maps of the first level's features live at once."""
        features = max(sum(config.widths[:1]) + config.inputs / 4 for config in self._networks)
        return MAPS * features + 16.0 * channels


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
