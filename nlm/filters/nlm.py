"""Classical non-local means.

Every pixel becomes a mean of the pixels in a search window, weighted by how alike the patches round
them are: w = exp(-max(d2 - 2 sigma^2, 0) / (strength * sigma)^2), d2 the mean squared difference
of two patches over pixels and channels.

Colours are averaged in a luma/chroma space: luma with weights that are mostly of luma, chroma with
its own. What comes out can be refined: as a pilot that tells which patches are alike, for a
denoising of such patches together (`nlm.backends.cpu_groups`).

A. Buades, B. Coll, J.-M. Morel, "A non-local algorithm for image denoising", CVPR 2005,
doi:10.1109/CVPR.2005.38; patchwise aggregation: "Non-Local Means Denoising", IPOL 2011,
doi:10.5201/ipol.2011.bcm_nlm.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

from nlm.errors import UsageError
from nlm.params import Halo, Params, parameter
from nlm.registry import Filter, Guide, VolumeFilter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nlm.backends import Backend
    from nlm.registry import Planes
    from nlm.spacetime import Search

    Picture = NDArray[np.float32]

LEVELS = (5, 10, 15, 25, 50, 75)
"""Noise levels, of 255, that the tables below are for."""
STRENGTHS = {
    3: (0.95, 0.9, 0.9, 0.9, 0.95, 1.0),
    5: (0.8, 0.7, 0.67, 0.63, 0.65, 0.7),
    7: (0.78, 0.66, 0.6, 0.52, 0.5, 0.52),
    9: (0.78, 0.63, 0.55, 0.48, 0.42, 0.4),
}
"""For patches of so many pixels, the strengths that gave the best PSNR of photographs."""
STRENGTH_CHROMA = 0.9
RADIUS, RADIUS_IN_COLOUR = 6, 5
"""Of the search window; three channels tell likeness better than one."""
STRONG = 35 / 255
"""Noise from here on is met with larger patches."""
CHROMA_IN_LUMA, LUMA_IN_CHROMA = 0.35, 0.4
"""How much the other channels' differences count in the weights for luma and for chroma."""
STRENGTH_OF_VOLUMES, RADIUS_OF_VOLUMES = 0.7, 3
CLIP_LEVELS = (2.5, 5, 10, 20, 40, 60)
CLIP_STRENGTHS = {
    9: (1.0, 0.85, 0.65, 0.57, 0.52, 0.55),
    15: (1.0, 0.9, 0.68, 0.52, 0.44, 0.45),
}
"""The same tables for clips: a little more than the best PSNR, for less flicker."""
CLIP_STRONG = 25 / 255
"""Noise from here on is met with larger patches in clips."""
CLIP_STRENGTH_CHROMA = 0.8
RADIUS_IN_CLIPS = 2
FAINT = 1 / 64
"""Noise of a guide below this share of the picture's is taken for this much."""
REACH_OF_REFINING = 108
"""Pixels; each of the two rounds in `refine` reaches twice its radius and patch, 54 at most."""


@dataclass(frozen=True)
class NlmParams(Params):
    """Parameters of classical non-local means."""

    patch_size: int | None = parameter(
        None,
        "Side of the patches that are compared; left out, 5, and 7 for strong noise; of clips 9 "
        "and 15 (multiples of 3 are several times as fast there).",
        unit="pixels",
        low=1,
        high=31,
        odd=True,
    )
    search_radius: int | None = parameter(
        None,
        "How far similar patches are searched for; left out, 6, and in colour 5 for weak noise; of "
        "clips 2 in every frame.",
        unit="pixels",
        low=1,
        high=64,
    )
    strength: float | None = parameter(
        None,
        "Filter strength: h / sigma. More is smoother; left out, it suits patch and noise.",
        low=0.01,
        high=10,
    )
    strength_chroma: float | None = parameter(
        None, "The same for the chroma of colour pictures.", low=0.01, high=10
    )
    aggregate: bool = parameter(
        True, "Average what every patch says of a pixel, not only the patch round it."
    )
    refine: bool = parameter(
        False,
        "Of a picture: let the result guide a denoising of groups of similar patches.",
    )
    temporal_radius: int = parameter(
        2,
        "Of a clip: frames before and after that are searched, too; 0 = each frame for itself.",
        unit="frames",
        low=0,
        high=8,
    )

    @property
    def halo(self) -> Halo:
        reach = (self.search_radius or RADIUS) + (self.patch_size or 7) // 2
        reach *= 2 if self.aggregate else 1
        reach += REACH_OF_REFINING if self.refine else 0
        return (0, reach, reach)

    @property
    def align(self) -> int:
        return 36  # see cpu_collaborate.TILE

    def working_memory(self, rows: int, columns: int, channels: int) -> float:
        return (56.0 if self.refine else 28.0) * rows * columns * channels

    def at(self, sigma: float, colour: bool = False) -> Self:
        """With what is left open decided for a noise level."""
        patch_size = self.patch_size or (7 if sigma >= STRONG else 5)
        radius = RADIUS_IN_COLOUR if colour and sigma < STRONG else RADIUS
        chroma = STRENGTH_CHROMA if self.aggregate else None
        return replace(
            self,
            patch_size=patch_size,
            search_radius=self.search_radius or radius,
            strength=self.strength or best_strength(patch_size, sigma),
            strength_chroma=self.strength_chroma or chroma,
        )


@dataclass(frozen=True)
class ClipParams(NlmParams):
    """The same for clips, where more patches are alike: they may be larger, the window smaller."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.refine or not self.aggregate:
            option = "refine" if self.refine else "no aggregate"
            raise UsageError(
                f"{option} is not for clips; leave it out, or denoise every frame for itself with "
                "temporal radius 0"
            )

    def search(self, sigma: float) -> "Search":
        """With what is left open decided for a noise level."""
        import numpy as np

        from nlm.spacetime import Search

        small, large = CLIP_STRENGTHS
        patch_size = self.patch_size or (large if sigma >= CLIP_STRONG else small)
        found = [np.interp(255 * sigma, CLIP_LEVELS, row) for row in CLIP_STRENGTHS.values()]
        usual = float(np.interp(patch_size, list(CLIP_STRENGTHS), found))
        strength = self.strength or round(usual, 3)
        return Search(
            patch_size=patch_size,
            search_radius=self.search_radius or RADIUS_IN_CLIPS,
            temporal_radius=self.temporal_radius,
            strength=strength,
            strength_chroma=self.strength_chroma or CLIP_STRENGTH_CHROMA * strength / usual,
        )

    def at(self, sigma: float, colour: bool = False) -> Self:
        return replace(self, **vars(self.search(sigma)))


@lru_cache(maxsize=64)
def best_strength(patch_size: int, sigma: float) -> float:
    """The strength for a patch size and a noise level, interpolated between tuned ones."""
    import numpy as np

    levels = np.log(LEVELS)
    level = np.log(max(sigma * 255, 1e-3))
    sizes = list(STRENGTHS)
    found = [np.interp(level, levels, STRENGTHS[size]) for size in sizes]
    return round(float(np.interp(patch_size, sizes, found)), 3)


def apply(
    frames: "NDArray[np.float32]", sigma: float, params: NlmParams, backend: "Backend"
) -> "NDArray[np.float32]":
    return _denoised(frames, frames, sigma, sigma, params, backend)


def apply_guided(
    frames: "NDArray[np.float32]",
    sigma: float,
    params: NlmParams,
    backend: "Backend",
    guide: Guide,
) -> "NDArray[np.float32]":
    """The strength is relative to the picture's noise, what is forgiven is the guide's."""
    return _denoised(frames, guide.frames, sigma, max(guide.sigma, sigma * FAINT), params, backend)


def apply_volume(
    volume: "NDArray[np.float32]", sigma: float, params: NlmParams, backend: "Backend"
) -> "NDArray[np.float32]":
    from nlm.backends.cpu_volume import nlm_volume

    denoised: Picture = nlm_volume(
        volume,
        volume,
        sigma,
        params.strength or STRENGTH_OF_VOLUMES,
        patch=params.patch_size or 3,
        radius=params.search_radius or RADIUS_OF_VOLUMES,
        aggregate=params.aggregate,
        for_each=backend.for_each,
    )
    return denoised


def stream(
    frames: "Iterable[Planes]", sigma: tuple[float, ...], params: ClipParams, backend: "Backend"
) -> "Iterator[Planes]":
    from nlm import spacetime

    return spacetime.denoise(frames, sigma, params.search(sigma[0]), backend)


def _denoised(
    frames: "NDArray[np.float32]",
    guides: "NDArray[np.float32]",
    sigma: float,
    guide_sigma: float,
    params: NlmParams,
    backend: "Backend",
) -> "NDArray[np.float32]":
    """Frames denoised with weights from their guides, often the frames themselves."""
    import numpy as np

    colour = frames.shape[3] == guides.shape[3] == 3
    params = params.at(sigma, colour)
    strengths = [
        one and one * sigma / guide_sigma for one in (params.strength, params.strength_chroma)
    ]
    colour = colour and params.strength_chroma is not None
    first, *others = (backend.part(k, 3) for k in range(3)) if params.refine else (backend,)
    denoised = []
    for frame, guide in zip(frames, guides, strict=True):
        guide = frame if guides is frames else guide
        if colour:
            result = average_colour(frame, guide, guide_sigma, strengths, params, first)
        else:
            result = means(guide, frame, guide_sigma, strengths[0], params, first)
        denoised.append(refine(frame, result, sigma, others) if params.refine else result)
    return denoised[0][None] if len(denoised) == 1 else np.stack(denoised)


def average_colour(
    frame: "Picture",
    guide: "Picture",
    sigma: float,
    strengths: Sequence[float | None],
    params: NlmParams,
    backend: "Backend",
) -> "Picture":
    """Luma and chroma with weights and strengths of their own."""
    import numpy as np

    parts = [
        backend.kernels.Part(
            channels, share, sigma * float(np.sqrt(np.mean(np.square(share)))), strength
        )
        for channels, share, strength in (
            (slice(0, 1), (1.0, CHROMA_IN_LUMA, CHROMA_IN_LUMA), strengths[0]),
            (slice(1, 3), (LUMA_IN_CHROMA, 1.0, 1.0), strengths[1]),
        )
    ]
    denoised: Picture = backend.kernels.nlm_colour(frame, guide, parts, **geometry(frame, params),
                                                   for_each=backend.for_each)  # fmt: skip
    return denoised


def geometry(picture: "Picture", params: NlmParams) -> dict[str, Any]:
    """Patches and windows: signals have one row."""
    long = [size > 1 for size in picture.shape[:2]]
    return {
        "patch": tuple(params.patch_size if is_long else 1 for is_long in long),
        "radius": tuple(params.search_radius if is_long else 0 for is_long in long),
        "aggregate": params.aggregate,
    }


def means(
    features: "Picture",
    values: "Picture",
    sigma: float,
    strength: float | None,
    params: NlmParams,
    backend: "Backend",
) -> "Picture":
    """Non-local means of `values`, weighted by likeness in `features`."""
    denoised: Picture = backend.kernels.nlm(
        features,
        values,
        sigma,
        strength,
        **geometry(features, params),
        for_each=backend.for_each,
    )
    return denoised


def refine(
    noisy: "Picture", pilot: "Picture", sigma: float, places: "Sequence[Backend]"
) -> "Picture":
    """Denoise groups of patches that the pilot finds alike, twice: the first time by what the
    noisy patches say of each other, then, with that as the pilot, by a Wiener filter.
    """
    from nlm import groups

    first = {"patch": 9, "members": 18, "step": 4, "radius": 18, "by_pixels": False}
    small = {"patch": 5, "members": 64, "step": 3, "radius": 18, "by_pixels": True}
    second = small if sigma < STRONG else groups.LARGE
    rounds = [(first, False, places[0]), (second, True, places[1])]
    return groups.refine(noisy, pilot, sigma, rounds)


FILTER = Filter(
    name="nlm",
    params=NlmParams,
    apply=apply,
    summary="classical non-local means: patches of a search window, averaged by likeness",
    presets={
        "fast": {"patch_size": 5, "search_radius": 4},
        "best": {"refine": True},
    },
    tile=1512,
    stream=stream,
    clip_params=ClipParams,
    clip_presets={"fast": {"temporal_radius": 1}, "best": {"temporal_radius": 3}},
    guided=apply_guided,
    volume=VolumeFilter(
        apply=apply_volume,
        presets={
            "fast": {"patch_size": 3, "search_radius": 2, "strength": 0.8},
            "balanced": {"patch_size": 3, "search_radius": 3, "strength": 0.7},
            "best": {"patch_size": 3, "search_radius": 5, "strength": 0.7},
        },
        tile=96,
        working_memory=64.0,
    ),
)
