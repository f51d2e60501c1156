"""`nlm train`: the learned filter, from pictures of one's own."""

from pathlib import Path
from typing import Any

import click

from nlm.errors import UsageError
from nlm_cli.options import Number

FOLDER = click.Path(path_type=Path)


@click.command(
    epilog="""\b
Examples:
  nlm train --data photos/                       gray, writes to runs/nlnet/
  nlm train --data photos/ --colour -o runs/rgb --val held_out/
  nlm train --data photos/ --minutes 30          as far as half an hour goes
  nlm train --data photos/ --warm-start runs/old/last.pt --set nonlocal_radius=[6,0,0]
  nlm train --data photos/ --resume runs/old/last.pt -o runs/more --steps 60000
  nlm denoise --method nlnet --weights runs/nlnet/nlnet.npz photo.png

The same command again goes on where it was stopped. --set reaches every other setting of network
and training: the fields of nlm.learned.config.ModelConfig and nlm.learned.train_config.TrainConfig.
Its Python is nlm.learned.train.train.""",
)
@click.option(
    "--data", type=FOLDER, required=True, metavar="DIR", help="Clean pictures to learn from."
)
@click.option("--val", type=FOLDER, metavar="DIR", help="Other pictures, to measure PSNR on.")
@click.option(
    "-o", "--output", "out", type=FOLDER, default=Path("runs/nlnet"), show_default=True,
    metavar="DIR", help="Folder of checkpoint, log and weights.",
)  # fmt: skip
@click.option("--colour", is_flag=True, help="A network for colour pictures. [default: gray]")
@click.option("--steps", type=Number(int), help="Steps in all. [default: 50000]")
@click.option(
    "--minutes", type=Number(float), help="Stop after so long, whatever the steps. [default: never]"
)
@click.option(
    "--sigma-max", type=Number(float), metavar="LEVEL",
    help="Noise levels go from 0 to this, in 8-bit grey levels. [default: 75]",
)  # fmt: skip
@click.option("--lr", type=Number(float), help="Peak learning rate. [default: 0.002]")
@click.option("--batch", type=Number(int), help="Crops per step. [default: 8]")
@click.option("--crop", type=Number(int), help="Side of the crops in pixels. [default: 96]")
@click.option("--seed", type=Number(int), help="Decides weights and batches. [default: 0]")
@click.option("--device", metavar="auto|cpu|cuda", help="Where to compute. [default: auto]")
@click.option("--threads", type=Number(int), help="Processor threads. [default: all]")
@click.option("--resume", type=FOLDER, metavar="FILE", help="Go on from another run's last.pt.")
@click.option(
    "--warm-start",
    type=FOLDER,
    metavar="FILE",
    help="Begin with the weights of a last.pt or nlnet.npz only.",
)
@click.option("--set", "more", multiple=True, metavar="NAME=VALUE", help="Any other setting.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
def command(colour: bool, more: tuple[str, ...], quiet: bool, **chosen: Any) -> int:
    """Train the learned filter nlnet on a folder of clean pictures.

    Noise is added to random crops, and the network learns to remove it, for all levels at once.
    Progress goes to stderr, the name of the file of weights to stdout. Ctrl-C saves, then stops.
    """
    from nlm.learned.config import ModelConfig
    from nlm.learned.train_config import TrainConfig, from_settings

    settings, network = from_settings(more)
    given = {name: value for name, value in chosen.items() if value is not None}
    if "lr" in given:
        given["lr_rest"] = given["lr"] / 2
    model = ModelConfig(**{"channels": 3 if colour else 1, **network})
    config = TrainConfig(**{**given, **settings})
    try:
        import torch  # noqa: F401
    except ImportError:
        raise UsageError(
            "training needs PyTorch, which is not installed; use: pip install 'nlm[train]'"
        ) from None

    from nlm.learned.monitor import describe_psnr
    from nlm.learned.train import train

    result = train(config, model, lambda line: None if quiet else click.echo(line, err=True))
    click.echo(result.weights)
    if not quiet:
        click.echo(f"{result.step} steps, {describe_psnr(result.psnr)}", err=True)
    if result.stopped:
        raise SystemExit(130)
    return 0
