"""Options about clips: videos, animations, image sequences and stacks."""

from typing import TYPE_CHECKING, Any

import click

from nlm.errors import UsageError
from nlm_cli.options import Command, Number

if TYPE_CHECKING:
    from nlm.io import Options

STACKS = ("pages", "clip", "volume")


def clip_options(command: Command) -> Command:
    """How clips are read and coded."""
    for decorate in (
        click.option(
            "--stack", type=click.Choice(STACKS), default="pages", show_default=True,
            help="What the pages of a TIFF are: each for itself, frames of a clip, "
            "or slices of a volume.",
        ),
        click.option(
            "--fps", type=Number(float), metavar="RATE",
            help="Frames per second of a video from an image sequence or stack. [default: 25]",
        ),
        click.option(
            "--encoder-preset", metavar="NAME",
            help="How much time the video encoder takes, in its own words: slow, fast, 8 ...",
        ),
        click.option(
            "--crf", type=Number(float), metavar="N",
            help="Constant rate factor of the video encoder, smaller is better and larger.",
        ),
        click.option(
            "--codec", metavar="NAME",
            help="Of the video: h264, hevc, av1, vp9, ffv1, prores ... [default: the source's]",
        ),
    ):  # fmt: skip
        command = decorate(command)
    return command


def span_options(command: Command) -> Command:
    """Which part of a clip."""
    for decorate in (
        click.option(
            "--end", type=Number(float), metavar="SECONDS", help="Only frames before this time."
        ),
        click.option(
            "--start", type=Number(float), metavar="SECONDS", help="Only frames from this time on."
        ),
        click.option(
            "--frames", metavar="A:B", help="Only frames A to B-1 of a clip, counted from 0."
        ),
    ):  # fmt: skip
        command = decorate(command)
    return command


def coding_from(options: dict[str, Any]) -> "Options":
    """How outputs are coded, by a command's options.

    Raises
    ------
    UsageError
        If a value is not allowed.
    """
    from nlm.io import Options

    fps, crf = options["fps"], options["crf"]
    if fps is not None and not 0 < fps <= 1000:
        raise UsageError(f"--fps {fps:g} is not allowed; give a number above 0, at most 1000")
    if crf is not None and not 0 <= crf <= 63:
        raise UsageError(f"--crf {crf:g} is not allowed; give a number from 0 to 63")
    if options["lossless"] and crf is not None:
        raise UsageError("--lossless and --crf exclude each other; give one of them")
    return Options(
        quality=options["quality"],
        lossless=options["lossless"] or None,
        codec=options["codec"],
        crf=crf,
        encoder_preset=options["encoder_preset"],
        fps=fps,
        keep_partial=options.get("keep_partial", False),
    )
