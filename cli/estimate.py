"""`nlm estimate`: how noisy are these pictures?"""

import json
import sys
from typing import Any

import click

from nlm.errors import FileError
from nlm_cli import options


@click.command(
    epilog="""\b
Examples:
  nlm estimate photo.jpg
  nlm estimate --json *.png | jq .sigma"""
)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per file on stdout.")
def command(inputs: tuple[str, ...], as_json: bool) -> int:
    """Tell the noise level of pictures, in 8-bit grey levels whatever their depth."""
    status = 0
    for source in options.expand(inputs):
        try:
            report = estimate_file(source)
        except FileError as error:
            click.echo(f"nlm: {error}", err=True)
            status = 1
            continue
        click.echo(json.dumps(report) if as_json else f"{source}: {report['sigma']:.2f}")
    return status


def estimate_file(source: str) -> dict[str, Any]:
    """What is known of the noise in a file's first frame."""
    from nlm.io import open_reader
    from nlm.noise import estimate
    from nlm.pipeline import visible_pixels

    with open_reader(sys.stdin.buffer if source == "-" else source) as reader:
        frame = next(iter(reader))
        found = estimate(visible_pixels(frame.planes[0], frame, reader.info))
    channels = found.sigma_channels
    return {
        "input": source,
        "sigma": found.sigma * 255,
        "sigma_channels": None if channels is None else [level * 255 for level in channels],
        "model": found.model,
        "correlation": found.correlation,
    }
