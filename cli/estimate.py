"""`nlm estimate`: how noisy are these pictures, and in which way?"""

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from nlm.errors import FileError
from nlm_cli import completion, options

if TYPE_CHECKING:
    from nlm.noise import NoiseEstimate


@click.command(
    epilog="""\b
Examples:
  nlm estimate photo.jpg
  nlm estimate photo.jpg --plot curve.png      noise level over brightness
  nlm estimate --json *.png | jq .sigma"""
)
@click.argument("inputs", nargs=-1, required=True, type=completion.FILE, metavar="INPUT...")
@click.option(
    "--plot",
    metavar="PNG",
    type=options.PNG,
    help="Draw noise level over brightness (one input).",
)
@click.option("-f", "--force", is_flag=True, help="Overwrite an existing plot.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per file on stdout.")
def command(inputs: tuple[str, ...], plot: str | None, force: bool, as_json: bool) -> int:
    """Tell level and kind of the noise, in 8-bit grey levels whatever the picture's depth.

    The level is the one to filter with. Noise of cameras is correlated between pixels, and often
    grows with brightness (poisson-gaussian: variance = gain * brightness + offset^2).
    """
    files = options.expand(inputs)
    if plot and len(files) > 1:
        raise click.UsageError(f"--plot draws one picture's noise, not that of {len(files)}")
    status = 0
    for source in files:
        try:
            found = estimate_file(source)
            if plot:
                from nlm.noise.plot import draw_curve
                from nlm.pipeline import refuse_existing

                refuse_existing(plot, force)
                draw_curve(found, plot)
        except FileError as error:
            click.echo(f"nlm: {error}", err=True)
            status = 1
            continue
        click.echo(json.dumps(as_report(source, found)) if as_json else describe(source, found))
    return status


def estimate_file(source: str) -> "NoiseEstimate":
    """What is known of the noise in a file's first frame."""
    from nlm.io import open_reader
    from nlm.noise import estimate
    from nlm.planes import known_pixels

    with open_reader(options.stream_or_path(source, sys.stdin)) as reader:
        frame = next(iter(reader))
        return estimate(known_pixels(frame.planes[0], frame, reader.info))


def as_report(source: str, found: "NoiseEstimate") -> dict[str, Any]:
    """For scripts."""
    channels = found.sigma_channels
    return {
        "input": source,
        "sigma": found.sigma * 255,
        "sigma_channels": None if channels is None else [level * 255 for level in channels],
        "model": found.model,
        "gain": found.gain * 255,
        "offset": found.offset * 255,
        "correlation": found.correlation,
        "curve": [[x * 255, level * 255] for x, level in found.curve],
    }


def describe(source: str, found: "NoiseEstimate") -> str:
    """One line for people."""
    kind = "correlated" if found.correlation > 0.5 else "white"
    line = f"{source}: sigma {found.sigma * 255:.2f}, {kind}"
    if found.model == "poisson-gaussian":
        line += f", grows with brightness (gain {found.gain * 255:.3g}, "
        line += f"offset {found.offset * 255:.3g})"
    if found.sigma_channels is not None:
        luma, *chroma = (level * 255 for level in found.sigma_channels)
        line += f"; luma {luma:.2f}, chroma {chroma[0]:.2f} and {chroma[1]:.2f}"
    return line
