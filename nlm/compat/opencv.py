"""OpenCV's `fastNlMeansDenoising*`, computed by nlm.

>>> from nlm.compat import opencv as cv2  # for these functions

Signatures are those of cv2 4 and 5, both overloads in one: h may be a list with one number per
channel, and then NORM_L1 may be asked for. Results differ in this:

- Theirs rounds distances of patches down to 1.3 grey levels squared (patch 7) and drops weights
  below 0.001; here neither is done.
- Coloured versions work in CIELAB, which theirs rounds to 8 bits; here it is not rounded.
- NORM_L2 takes 16 bits, too, which theirs refuses.
- NORM_L1 is computed in NumPy, and slow.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nlm.checks import number, whole_number
from nlm.compat.averages import NORM_L1, NORM_L2, Sizes, average
from nlm.compat.lab import bgr_of_lab, lab_of_bgr
from nlm.errors import UsageError

__all__ = [
    "NORM_L1",
    "NORM_L2",
    "fastNlMeansDenoising",
    "fastNlMeansDenoisingColored",
    "fastNlMeansDenoisingColoredMulti",
    "fastNlMeansDenoisingMulti",
]

Image = NDArray[Any]
Strengths = float | Sequence[float] | NDArray[Any]


def fastNlMeansDenoising(
    src: Image,
    dst: Image | Strengths | None = None,
    h: Strengths | Image | None = 3,
    templateWindowSize: int = 7,
    searchWindowSize: int = 21,
    normType: int = NORM_L2,
) -> Image:
    """Denoise a gray or multichannel picture, all channels with the same weights.

    Parameters
    ----------
    src : ndarray of uint8 or uint16, shape (Y, X) or (Y, X, C)
    dst : ndarray, optional
        Takes the result. A list here is h, as in cv2's second form (src, h, dst, ...).
    h : float or sequence of float
        Strength in levels of the samples; one, or one for each channel. 0 or less changes nothing.
    templateWindowSize, searchWindowSize : int
        Sides of patch and search window, pixels; even ones are raised by one.
    normType : {NORM_L2, NORM_L1}
        Distances by squared or by absolute differences.

    Returns
    -------
    ndarray
        Shape and dtype of `src`; `dst` where it was given and has both.

    Raises
    ------
    UsageError
        If something is not allowed.

    References
    ----------
    A. Buades, B. Coll, J.-M. Morel, IPOL 2011, doi:10.5201/ipol.2011.bcm_nlm
    """
    dst, h = _overload(dst, h)
    src = _checked(src)
    sizes = Sizes(templateWindowSize, searchWindowSize)
    pixels = src.reshape(*src.shape[:2], -1).astype(np.float32)
    result = average([pixels], 0, _strengths(h, pixels.shape[2]), sizes, normType)
    return _stored(result, src, dst)


def fastNlMeansDenoisingColored(
    src: Image,
    dst: Image | None = None,
    h: float = 3,
    hColor: float = 3,
    templateWindowSize: int = 7,
    searchWindowSize: int = 21,
) -> Image:
    """Denoise a BGR picture: lightness with strength `h`, colour with `hColor`.

    Parameters
    ----------
    src : ndarray of uint8, shape (Y, X, 3), or (Y, X, 4) whose alpha comes out as 255
    dst : ndarray, optional
        Takes the result.
    h, hColor : float
        In 8-bit levels of CIELAB; 0 or less leaves lightness or colour as it is.
    templateWindowSize, searchWindowSize : int
        As in `fastNlMeansDenoising`.

    Returns
    -------
    ndarray
        Shape and dtype of `src`; `dst` where it was given and has both.
    """
    sizes = Sizes(templateWindowSize, searchWindowSize)
    return _coloured([src], 0, dst, h, hColor, sizes)


def fastNlMeansDenoisingMulti(
    srcImgs: Sequence[Image],
    imgToDenoiseIndex: int,
    temporalWindowSize: int,
    dst: Image | Strengths | None = None,
    h: Strengths | Image | None = 3,
    templateWindowSize: int = 7,
    searchWindowSize: int = 21,
    normType: int = NORM_L2,
) -> Image:
    """Denoise one frame of a clip with patches of its neighbours, too.

    Parameters
    ----------
    srcImgs : sequence of ndarray
        Frames of the same shape and dtype.
    imgToDenoiseIndex : int
        Which frame.
    temporalWindowSize : int
        Frames to use, odd; all must be in `srcImgs`.
    dst, h, templateWindowSize, searchWindowSize, normType
        As in `fastNlMeansDenoising`; NORM_L1 needs a temporal window of 1.

    Returns
    -------
    ndarray
        Shape and dtype of a frame; `dst` where it was given and has both.
    """
    dst, h = _overload(dst, h)
    sizes = Sizes(templateWindowSize, searchWindowSize, strict=True)
    frames = _window(srcImgs, imgToDenoiseIndex, temporalWindowSize)
    middle = len(frames) // 2
    pixels = [one.reshape(*one.shape[:2], -1).astype(np.float32) for one in frames]
    strengths = _strengths(h, pixels[0].shape[2])
    return _stored(average(pixels, middle, strengths, sizes, normType), frames[middle], dst)


def fastNlMeansDenoisingColoredMulti(
    srcImgs: Sequence[Image],
    imgToDenoiseIndex: int,
    temporalWindowSize: int,
    dst: Image | None = None,
    h: float = 3,
    hColor: float = 3,
    templateWindowSize: int = 7,
    searchWindowSize: int = 21,
) -> Image:
    """Denoise one BGR frame of a clip with patches of its neighbours, too.

    Parameters
    ----------
    srcImgs, imgToDenoiseIndex, temporalWindowSize
        As in `fastNlMeansDenoisingMulti`.
    dst, h, hColor, templateWindowSize, searchWindowSize
        As in `fastNlMeansDenoisingColored`.

    Returns
    -------
    ndarray
        Shape and dtype of a frame; `dst` where it was given and has both.
    """
    sizes = Sizes(templateWindowSize, searchWindowSize, strict=True)
    frames = _window(srcImgs, imgToDenoiseIndex, temporalWindowSize)
    return _coloured(frames, len(frames) // 2, dst, h, hColor, sizes)


def _coloured(
    frames: Sequence[Image],
    index: int,
    dst: Image | None,
    h: float,
    h_colour: float,
    sizes: Sizes,
) -> Image:
    """Lightness and colours of a BGR frame, each by itself."""
    frames = [np.asarray(frame) for frame in frames]
    source = frames[index]
    for frame in frames:
        if (
            not frame.size
            or frame.dtype != np.uint8
            or frame.ndim != 3
            or frame.shape[2] not in (3, 4)
        ):
            raise UsageError(
                f"a picture of {frame.dtype} and shape {frame.shape} is not allowed; "
                "give uint8 (Y, X, 3) or (Y, X, 4)"
            )
    lab = [lab_of_bgr(frame[..., :3] / 255).astype(np.float32) for frame in frames]
    parts = [
        average(
            [np.ascontiguousarray(one[..., part]) for one in lab],
            index,
            [_strength(s)],
            sizes,
            NORM_L2,
        )
        for part, s in ((slice(0, 1), h), (slice(1, 3), h_colour))
    ]
    bgr = 255 * bgr_of_lab(np.concatenate(parts, axis=2).astype(np.float64))
    if source.shape[2] == 4:
        bgr = np.concatenate([bgr, np.full((*bgr.shape[:2], 1), 255.0)], axis=2)
    return _stored(bgr, source, dst)


def _overload(dst: Any, h: Any) -> tuple[Image | None, Any]:
    """cv2's second form has h before dst."""
    known = isinstance(dst, list | tuple | np.ndarray | None)
    if not known:
        raise UsageError(f"dst {dst!r} is not allowed; give an array or None, and h after it")
    is_h = isinstance(dst, list | tuple) or (isinstance(dst, np.ndarray) and dst.ndim == 1)
    return (h if isinstance(h, np.ndarray) else None, dst) if is_h else (dst, h)


def _strengths(h: Any, channels: int) -> list[float]:
    found = [_strength(one) for one in np.atleast_1d(np.asarray(3 if h is None else h))]
    if len(found) not in (1, channels):
        raise UsageError(f"{len(found)} strengths for {channels} channels; give 1 or {channels}")
    return found


def _strength(h: Any) -> float:
    found = number(h)
    if not abs(found) < np.inf:
        raise UsageError(f"a strength of {h!r} is not allowed; give a number")
    return found


def _checked(src: Image) -> Image:
    src = np.asarray(src)
    if src.size == 0:
        raise UsageError(f"a picture of shape {src.shape} is empty; give one with pixels")
    channels = src.shape[2] if src.ndim == 3 else 1
    if src.dtype not in (np.uint8, np.uint16) or src.ndim not in (2, 3) or not 1 <= channels <= 4:
        raise UsageError(
            f"a picture of {src.dtype} and shape {src.shape} is not allowed; "
            "give uint8 or uint16, (Y, X) or (Y, X, C) of 1 to 4 channels"
        )
    return src


def _window(frames: Sequence[Image], index: int, count: int) -> list[Image]:
    frames, index = list(frames), whole_number("imgToDenoiseIndex", index, 0)
    count = whole_number("temporalWindowSize", count, 1)
    if count % 2 == 0:
        raise UsageError(f"a temporalWindowSize of {count} is not allowed; give an odd number")
    half = count // 2
    if not half <= index < len(frames) - half:
        raise UsageError(
            f"frames {index - half} to {index + half} are wanted, there are 0 to {len(frames) - 1};"
            " choose imgToDenoiseIndex and temporalWindowSize to fit"
        )
    window = [_checked(frame) for frame in frames[index - half : index + half + 1]]
    if any((one.shape, one.dtype) != (window[0].shape, window[0].dtype) for one in window):
        raise UsageError("the frames differ in size or type; give frames of one clip")
    return window


def _stored(result: Image, source: Image, dst: Image | None) -> Image:
    top = np.iinfo(source.dtype).max
    stored = np.clip(np.rint(result), 0, top).astype(source.dtype).reshape(source.shape)
    if dst is None or (dst.shape, dst.dtype) != (stored.shape, stored.dtype):
        return stored
    dst[...] = stored
    return dst
