"""`nlm methods`: which filters there are."""

from dataclasses import fields

import click

from nlm import registry


@click.command(
    epilog="""\b
Examples:
  nlm methods
  nlm methods -v"""
)
@click.option("-v", "--verbose", is_flag=True, help="Also list each filter's own options.")
def command(verbose: bool) -> None:
    """List the filters, one line each."""
    for name in registry.methods():
        one = registry.get(name)
        click.echo(f"{name:11} {one.summary}")
        if not verbose:
            continue
        for spec in fields(one.params):
            default = "automatic" if spec.default is None else spec.default
            click.echo(
                f"    --{spec.name.replace('_', '-'):20} {spec.metadata['help']} [{default}]"
            )
    for name in registry.missing():
        click.echo(f"{name:11} not installed; {registry.INSTALL}")
