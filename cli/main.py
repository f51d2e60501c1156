"""The command `nlm`: its subcommands load when they are used."""

import os
import sys
from importlib import import_module

import click

from nlm.errors import NlmError, UsageError
from nlm.version import __version__
from nlm_cli.interruption import exit_code, heed_ends

COMMANDS = {
    "denoise": "Denoise pictures and videos.",
    "batch": "Denoise a folder tree.",
    "compare": "Compare filters on the same pictures.",
    "estimate": "Tell the noise level of pictures.",
    "noise": "Add synthetic noise to a clean picture.",
    "methods": "List the filters and their parameters.",
    "train": "Train the learned filter on a folder of pictures.",
    "info": "Show versions, threads, SIMD width, GPU and cache folder.",
}


class LazyGroup(click.Group):
    """A group whose commands are modules of this package, imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"nlm_cli.{name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            ctx.fail(f"no command {name!r}; available: {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  nlm denoise photo.jpg
  nlm denoise --sigma 25 --preset best scan.tif -o clean.tif
  nlm estimate *.png

`nlm COMMAND --help` tells more. Shell completion: see the README.""",
)
@click.version_option(__version__, prog_name="nlm")
def nlm() -> None:
    """Denoise and restore images with non-local means, classical and learned."""


def main() -> None:
    """Run the command line; errors are one line on stderr."""
    heed_ends()
    try:
        status = nlm.main(standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt) as error:
        click.echo("nlm: interrupted; unfinished outputs were removed", err=True)
        status = exit_code(error)
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except UsageError as error:
        click.echo(f"nlm: {error}", err=True)
        status = 2
    except NlmError as error:
        click.echo(f"nlm: {error}", err=True)
        status = 1
    except BrokenPipeError:
        sys.stderr.close()
        status = 1
    except OSError as error:
        if error.filename is not None:
            raise
        click.echo(f"nlm: standard output cannot be written ({error.strerror})", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what waits goes nowhere
        status = 1
    sys.exit(status)
