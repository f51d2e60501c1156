"""VP8 and VP9 with transparency: it lies beside the pictures, where only libvpx looks for it."""

from __future__ import annotations

import av
from av.codec.codec import UnknownCodecError
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

__all__ = ["BESIDE", "decoder_with_alpha", "has_room_beside", "says_transparent"]

BESIDE = frozenset({"libvpx", "libvpx-vp9"})
"""Encoders that put transparency beside the pictures."""

_DECODERS = {("vp8", "yuv420p"): "libvpx", ("vp9", "yuv420p"): "libvpx-vp9"}
"""What decodes transparency, by a stream's codec and pixels without it."""


def says_transparent(stream: VideoStream) -> bool:
    """Whether a stream announces transparency beside its pictures."""
    return stream.metadata.get("alpha_mode") == "1"


def has_room_beside(muxer: str | None) -> bool:
    """Whether a container holds what lies beside the pictures."""
    return muxer in ("matroska", "webm")


def decoder_with_alpha(stream: VideoStream) -> VideoCodecContext | None:
    """What decodes a stream with the transparency beside it; None = nothing here, or there is none.

    Its frames are those of the stream's own decoder, as yuva420p.
    """
    own = stream.codec_context
    name = _DECODERS.get((own.codec.canonical_name, own.pix_fmt or ""))
    if name is None or not says_transparent(stream):
        return None
    try:
        decoder = av.CodecContext.create(name, "r")
    except UnknownCodecError:
        return None
    assert isinstance(decoder, VideoCodecContext)
    decoder.width, decoder.height = own.width, own.height
    decoder.color_range, decoder.colorspace = own.color_range, own.colorspace
    decoder.color_primaries, decoder.color_trc = own.color_primaries, own.color_trc
    return decoder
