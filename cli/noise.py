"""`nlm noise`: synthetic noise, reproducibly."""

import sys

import click

from nlm.errors import UsageError
from nlm_cli import completion
from nlm_cli.options import Number, stream_or_path


@click.command(
    epilog="""\b
Examples:
  nlm noise clean.png -o noisy.png --sigma 25
  nlm noise clean.png -o noisy.tif --sigma 25 --seed 7
  nlm noise clean.png -o noisy.png --sigma 3 --poisson 0.5
  nlm noise clean.png -o - --sigma 25 | nlm denoise - -o again.png"""
)
@click.argument("clean", type=completion.FILE, metavar="CLEAN")
@click.option(
    "-o",
    "--output",
    required=True,
    type=completion.FILE,
    metavar="OUTPUT",
    help="The noisy picture.",
)
@click.option(
    "--sigma",
    type=Number(float),
    required=True,
    metavar="LEVEL",
    help="Standard deviation of the Gaussian part, in 8-bit grey levels.",
)
@click.option(
    "--seed", type=Number(int), default=0, show_default=True, help="Of the random numbers."
)
@click.option(
    "--poisson",
    "gain",
    type=Number(float),
    metavar="GAIN",
    help="Photon noise first: value = Poisson(x * 255 / GAIN) * GAIN / 255.",
)
@click.option("-f", "--force", is_flag=True, help="Overwrite an existing output.")
def command(
    clean: str, output: str, sigma: float, seed: int, gain: float | None, force: bool
) -> None:
    """Add synthetic noise to a clean picture.

    The same picture, level and seed give the same noise everywhere: numpy's default_rng(seed),
    normal, times sigma / 255. Values are rounded and clipped only as the output's type asks for.
    """
    if not 0 <= sigma < float("inf"):
        raise UsageError(f"--sigma {sigma:g} is not allowed; give 0 or more, in 8-bit grey levels")
    if gain is not None and not 0 < gain < float("inf"):
        raise UsageError(f"--poisson {gain:g} is not allowed; give a gain above 0")
    if seed < 0:
        raise UsageError(f"--seed {seed} is not allowed; give a whole number of 0 or more")

    from nlm.synthetic import add_noise_to_file

    source = stream_or_path(clean, sys.stdin)
    target = stream_or_path(output, sys.stdout)
    add_noise_to_file(source, target, sigma / 255, seed, gain, force=force)
