"""What readers and writers of every format agree on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Encoder", "Frame", "Info", "Metadata", "Options", "Plugin"]


@dataclass(frozen=True)
class Metadata:
    """All that a file says besides its samples.

    Attributes
    ----------
    exif : bytes
        TIFF-structured block, without the leading ``Exif\\0\\0``.
    icc, xmp : bytes
        Colour profile and XMP packet.
    text : tuple of (key, value)
        Text entries in the order of the file.
    dpi : (float, float) or None
        Resolution across and down, dots per inch.
    orientation : int
        EXIF orientation 1..8 that a viewer applies to the samples as stored.
    loop : int or None
        How often an animation plays, 0 = for ever; None = not said.
    lossless : bool
        The source's samples were stored without loss.
    private : tuple of str
        Names of things that only the source's own format can hold.
    dropped : tuple of str
        Names of things in the source that nlm does not carry over at all.
    native : object
        The source plugin's own notes, used when the target has the same format.
    """

    exif: bytes = b""
    icc: bytes = b""
    xmp: bytes = b""
    text: tuple[tuple[str, str], ...] = ()
    dpi: tuple[float, float] | None = None
    orientation: int = 1
    loop: int | None = None
    lossless: bool = True
    private: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    native: Any = None


@dataclass(frozen=True)
class Info:
    """What a file holds, known before any sample is decoded.

    Attributes
    ----------
    format : str
        Name of a row of :data:`nlm.io.formats.FORMATS`.
    width, height : int
        Pixels of the first frame.
    channels : int
        Colour channels without alpha: 1 gray, 3 RGB; 4 CMYK and others in TIFF.
    alpha : bool
        Frames come with an alpha plane.
    dtype : numpy.dtype
        Stored sample type.
    bits : int
        Significant bits: full scale of unsigned integers is 2**bits - 1.
    frames : int or None
        Number of frames or pages; None = unknown until read.
    clip : bool
        Frames follow each other in time (animation, video); False = independent pages.
    chroma : (int, int) or None
        Planes are luma and two of chroma, subsampled by these powers of two across and down;
        None = one plane holds all channels.
    metadata : Metadata
    lab : bool
        Channels are L*, a* and b*; integers of a* and b* have their zero in the middle.
    bilevel : bool
        Stored samples have 1 bit; they are read as 0 and 255.
    """

    format: str
    width: int
    height: int
    channels: int
    alpha: bool
    dtype: np.dtype[Any]
    bits: int
    frames: int | None = 1
    clip: bool = False
    chroma: tuple[int, int] | None = None
    metadata: Metadata = field(default_factory=Metadata)
    lab: bool = False
    bilevel: bool = False


@dataclass
class Frame:
    """One picture, samples as stored.

    Attributes
    ----------
    planes : tuple of ndarray, each (Y, X, C)
        A picture has one plane; YUV video has luma and (smaller) chroma planes.
    alpha : ndarray, shape (Y, X), or None
        Same dtype as the planes.
    duration : float or None
        Seconds that the frame is shown.
    time : float or None
        Seconds from the start of the clip.
    native : object
        The source plugin's own notes on this frame (tags of a TIFF page).
    mask : bool
        It is no picture, but says which pixels of another page are seen: it stays as it is.
    """

    planes: tuple[NDArray[Any], ...]
    alpha: NDArray[Any] | None = None
    duration: float | None = None
    time: float | None = None
    native: Any = None
    mask: bool = False


@dataclass(frozen=True)
class Options:
    """What a person may choose about the output; None = as the source, or a high quality.

    Attributes
    ----------
    quality : int or None
        1..100 for formats with loss.
    lossless : bool or None
        True = no loss where the format can.
    codec : str or None
        Of video: a codec's name (h264) or an encoder's (libx264).
    crf : float or None
        Constant rate factor of a video encoder, smaller is better.
    encoder_preset : str or None
        How much time a video encoder takes, in its own words.
    fps : float or None
        Frames per second of a video made from what has no time: image sequences, TIFF stacks.
    keep_partial : bool
        Complete and keep the output of an interrupted or failing run of a clip.
    threads : int or None
        Processor threads of a video encoder; None = as it likes.
    """

    quality: int | None = None
    lossless: bool | None = None
    codec: str | None = None
    crf: float | None = None
    encoder_preset: str | None = None
    fps: float | None = None
    keep_partial: bool = False
    threads: int | None = None

    def wants_lossless(self, info: Info) -> bool:
        """Whether a format that can do both should store `info`'s frames without loss."""
        if self.lossless is not None:
            return self.lossless
        return info.metadata.lossless and self.quality is None


class Encoder(Protocol):
    """Writes one file: frames in order, then :meth:`finish`."""

    def write(self, frame: Frame) -> None:
        """Append a frame."""

    def finish(self) -> None:
        """Complete the file."""


class Plugin(Protocol):
    """What a module of :mod:`nlm.io` offers for its formats; all files are seekable."""

    def probe(self, file: BinaryIO) -> Info:
        """Read headers only."""

    def frames(self, file: BinaryIO, info: Info) -> Iterator[Frame]:
        """Decode frame by frame."""

    def encoder(self, file: BinaryIO, info: Info, options: Options) -> Encoder:
        """Start an empty file."""
