"""`nlm compare`: several filters on the same pictures."""

import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from nlm.errors import FileError, UsageError
from nlm_cli import completion, options
from nlm_cli.compare_table import lines
from nlm_cli.progress import Progress

if TYPE_CHECKING:
    from nlm.compare.comparison import Comparison


@click.command(
    epilog="""\b
Examples:
  nlm compare clean.png --add-noise 25 -o report.html     a page to look at, all filters
  nlm compare noisy.png --reference clean.png             PSNR and SSIM against a clean picture
  nlm compare noisy.png -o report.html                    without one: estimates, and your eyes
  nlm compare clean/ --add-noise 25 --csv table.csv       a folder: mean and spread
  nlm compare clean.png --add-noise 25 --methods nlm,nlm@best,nlm:strength=0.4,tv
  nlm compare clean.png --add-noise 25 --methods nlm,tv --sweep strength=0.3:1.0:8
  nlm compare clip.mp4 --add-noise 25 --frames 40:45      some frames of a clip, and flicker"""
)
@click.argument("pictures", nargs=-1, required=True, type=completion.FILE, metavar="PICTURE...")
@click.option(
    "-o",
    "--output",
    metavar="HTML",
    type=options.HTML,
    help="Write a page with pictures and numbers.",
)
@click.option(
    "--sheet", metavar="PNG", type=options.PNG, help="Write a contact sheet of telling crops."
)
@click.option(
    "--csv", "table", metavar="CSV", type=options.CSV, help="Write all numbers as a table."
)
@click.option(
    "--save-dir", type=completion.FOLDER, metavar="DIR", help="Write all pictures as float TIFF."
)
@click.option(
    "--add-noise", type=options.Number(float), metavar="LEVEL",
    help="Add Gaussian noise to clean pictures, in 8-bit grey levels.",
)  # fmt: skip
@click.option(
    "--seed", type=options.Number(int), default=0, show_default=True, help="Of the added noise."
)
@click.option(
    "--reference",
    type=completion.FILE,
    metavar="CLEAN",
    help="The clean picture or clip, or a folder of the same names.",
)
@click.option(
    "--frames", metavar="A:B",
    help="Of clips: frames A to B-1, counted from 0. [default: 5 from the middle]",
)  # fmt: skip
@click.option(
    "--methods", type=completion.METHODS, metavar="A,B,C",
    help="NAME[@PRESET][:PARAMETER=VALUE]..., with commas; `all` = slow ones too. [default: the "
    "quick ones]",
)  # fmt: skip
@click.option(
    "--sweep", metavar="PARAMETER=FIRST:LAST:COUNT", help="Try a parameter's values; name the best."
)
@click.option(
    "--runs", type=options.Number(int), default=3, show_default=True,
    help="Timed runs of each; the median counts.",
)  # fmt: skip
@options.noise_options
@options.place_options
@click.option(
    "--max-pixels", type=click.IntRange(1), default=options.MAX_PIXELS, show_default=True,
    help="Refuse pictures with more pixels.",
)  # fmt: skip
@click.option("-f", "--force", is_flag=True, help="Overwrite existing outputs.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array on stdout, no table.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
def command(
    pictures: tuple[str, ...],
    output: str | None,
    sheet: str | None,
    table: str | None,
    save_dir: str | None,
    methods: str | None,
    sweep: str | None,
    force: bool,
    as_json: bool,
    quiet: bool,
    **chosen: Any,
) -> int:
    """Compare filters: the same pictures, the same noise, the same rules for all.

    Of a clip (a video, an animation, frame_%04d.png) some frames are taken, and flicker is measured
    as well. Quality is measured against a clean picture where there is one, and estimated
    otherwise. The exit code is 0 if all went well, 1 if a filter or file failed, 2 for wrong usage.
    A filter that is not installed is shown as such.
    """
    check(chosen)

    from nlm.compare import compare_picture
    from nlm.compare.pictures import find_pictures
    from nlm.compare.records import as_json as to_json
    from nlm.compare.records import save, saved_names
    from nlm.io import Span
    from nlm.pipeline import refuse_existing

    chosen["span"] = Span.parse(chosen.pop("frames"))
    files = find_pictures(options.expand(pictures))
    comparison = begin(methods, sweep, len(files))
    refuse([path for path in (output, sheet, table) if path], force)
    if save_dir:
        for name in saved_names(save_dir, files, comparison.methods):
            refuse_existing(name, force)
    for path in files:
        try:
            picture = load(path, chosen)
        except FileError as error:
            click.echo(f"nlm: {error}", err=True)
            comparison.add_failed(path, error)
            continue
        with Progress(picture.name, quiet) as progress:
            results = compare_picture(
                picture,
                comparison.methods,
                runs=chosen["runs"],
                backend=chosen["backend"],
                threads=chosen["threads"],
                progress=progress.update,
            )
        if save_dir:
            save(save_dir, picture, results)
        comparison.add(picture, results)
    if as_json:
        click.echo(to_json(comparison.results))
    elif not quiet:
        for line in lines(comparison):
            click.echo(line)
    write(comparison, output, sheet, table, chosen["threads"])
    return 1 if any(one.status == "failed" for one in comparison.results) else 0


def check(chosen: dict[str, Any]) -> None:
    """Refuse numbers that are not allowed, before any work.

    Raises
    ------
    UsageError
    """
    for name in ("add_noise", "sigma"):
        value, flag = chosen[name], "--" + name.replace("_", "-")
        if value is not None and not 0 <= value < float("inf"):
            raise UsageError(
                f"{flag} {value:g} is not allowed; give 0 or more, in 8-bit grey levels"
            )
    if chosen["seed"] < 0:
        raise UsageError(f"--seed {chosen['seed']} is not allowed; give a whole number, 0 or more")
    if chosen["runs"] < 1:
        raise UsageError(f"--runs {chosen['runs']} is not allowed; give 1 or more")
    if chosen["add_noise"] is not None and chosen["reference"] is not None:
        raise UsageError("--add-noise and --reference exclude each other; give one of them")


def begin(methods: str | None, sweep: str | None, pictures: int) -> "Comparison":
    """A comparison of the methods that are asked for.

    Raises
    ------
    UsageError
        If one is unknown.
    """
    from nlm.compare import default_methods, parse_sweep
    from nlm.compare.comparison import Comparison
    from nlm.compare.methods import parse_methods

    asked = parse_methods(methods) if methods is not None else default_methods()
    return Comparison(asked, parse_sweep(sweep) if sweep else None, pictures)


def load(path: str, chosen: dict[str, Any]) -> Any:
    """A picture with its noise, as the options say."""
    from nlm.compare import load as load_picture
    from nlm.compare.pictures import find_reference

    levels = {name: chosen[name] for name in ("add_noise", "sigma", "gain")}
    return load_picture(
        path,
        seed=chosen["seed"],
        reference=find_reference(path, chosen["reference"]),
        noise_model=chosen["noise_model"],
        max_pixels=chosen["max_pixels"],
        span=chosen["span"],
        **{name: None if value is None else value / 255 for name, value in levels.items()},
    )


def refuse(targets: list[str], force: bool) -> None:
    """Refuse outputs that exist or have no folder, before any work."""
    from nlm.pipeline import refuse_existing

    for path in targets:
        refuse_existing(path, force)
        if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
            raise FileError(f"{path}: its folder does not exist; create it first")


def write(
    comparison: "Comparison",
    output: str | None,
    sheet: str | None,
    table: str | None,
    threads: int | None,
) -> None:
    """Write what was asked for; of pictures that could all not be read only the numbers."""
    from nlm.compare.records import as_csv, write_text
    from nlm.io.output import write_bytes

    if table:
        write_text(table, as_csv(comparison.results))
    if sheet and comparison.exhibits:
        from nlm.compare.sheet import draw_sheet

        write_bytes(sheet, draw_sheet(comparison.shown()))
    if output and comparison.exhibits:
        from nlm.compare.page import render

        command = shlex.join(["nlm", *sys.argv[1:]])
        write_text(output, render(comparison.report(command, threads)))
