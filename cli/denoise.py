"""`nlm denoise`: pictures and videos in, denoised out."""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from nlm.errors import NlmError, UsageError
from nlm_cli import completion, options
from nlm_cli.clip_options import clip_options, span_options
from nlm_cli.interruption import exit_code
from nlm_cli.progress import Progress


@click.command(
    epilog="""\b
Examples:
  nlm denoise photo.jpg                        writes photo_denoised.jpg
  nlm denoise photo.jpg -o clean.png           another name and format
  nlm denoise *.tif -o cleaned/                many files into a folder
  nlm denoise --sigma 15 --strength 0.6 a.png  noise level and strength by hand
  nlm denoise --preset best scan.png           takes longer, looks better
  nlm denoise --sigma-map noise.png scan.png   the noise differs from place to place
  nlm denoise --guide flash.jpg dark.jpg       weights from the one, values from the other
  nlm denoise --stack volume ct.tif            pages as slices of a volume
  cat a.png | nlm denoise - --format png > b.png
  nlm denoise clip.mp4                         a video: sound, subtitles and tags are kept
  nlm denoise clip.mov --frames 100:150        a trial of 50 frames
  nlm denoise clip.mp4 -o clip.mkv --lossless  another container, nothing lost in coding
  nlm denoise frame_%04d.png -o clean.mp4      an image sequence
  nlm denoise --dry-run --json *.png           what would be done"""
)
@click.argument("inputs", nargs=-1, required=True, type=completion.FILE, metavar="INPUT...")
@click.option(
    "-o",
    "--output",
    type=completion.FILE,
    metavar="PATH",
    help="File, or folder for several inputs; - = stdout.",
)
@click.option("-f", "--force", is_flag=True, help="Overwrite existing outputs.")
@click.option("-n", "--dry-run", is_flag=True, help="Check everything, write nothing.")
@options.noise_options
@options.companion_options
@options.method_options
@options.filter_options
@options.output_options
@clip_options
@span_options
@click.option(
    "--keep-partial", is_flag=True, help="Interrupted, complete and keep what is done of a clip."
)
@options.report_options
def command(
    inputs: tuple[str, ...],
    output: str | None,
    force: bool,
    dry_run: bool,
    quiet: bool,
    verbose: int,
    as_json: bool,
    **chosen: Any,
) -> int:
    """Denoise pictures and videos, keeping depth, colours, metadata and all other streams.

    With no -o, photo.png becomes photo_denoised.png beside it. The exit code is 0 if all went
    well, 1 if a file failed, 2 for wrong usage.
    """
    options.tell_details(verbose, quiet)
    settings = options.settings_from(chosen)
    files = options.expand(inputs)
    outputs = plan_outputs(files, output, settings.format)
    if output and is_folder_for(files, output) and not dry_run:
        make_folder(output)

    from nlm.pipeline import denoise_file, failed

    status, misused = 0, False
    for source, target in zip(files, outputs, strict=True):
        progress = Progress(Path(source).name, quiet)
        before = outputs_at(target)
        try:
            with progress:
                result = denoise_file(
                    options.stream_or_path(source, sys.stdin),
                    options.stream_or_path(target, sys.stdout),
                    settings,
                    force=force,
                    dry_run=dry_run,
                    progress=progress.update,
                    tell_frames=progress.frames,
                )
        except NlmError as error:
            result = failed(source, target, settings, error)
            misused |= isinstance(error, UsageError)
        except KeyboardInterrupt as error:
            if not settings.options.keep_partial or outputs_at(target) == before:
                raise  # nothing was done yet
            click.echo(f"nlm: interrupted; what was done is in {target}", err=True)
            code: int = exit_code(error)
            return code
        if result.status == "failed":
            click.echo(f"nlm: {result.error}", err=True)
            status = 1
        if as_json:
            click.echo(json.dumps(result.as_json()), err=target == "-")
        if quiet or result.status == "failed":
            continue
        for loss in result.losses:
            click.echo(f"nlm: {target}: not carried over: {loss}", err=True)
        if verbose or (dry_run and not as_json):
            click.echo(describe(result), err=not dry_run)
    return 2 if misused else status


def plan_outputs(files: list[str], output: str | None, format: str | None) -> list[str]:
    """Where each file goes.

    Raises
    ------
    UsageError
        If several files would go to one.
    """
    from nlm.io.formats import by_name
    from nlm.io.sequence import OneFile, is_sequence
    from nlm.pipeline import default_output

    suffix = by_name(format).suffixes[0] if format else None
    if output and not is_folder_for(files, output):
        return [output]
    if output == "-":
        raise UsageError(f"standard output takes one input, not {len(files)}; give -o a folder")
    if output and not is_folder(output) and os.path.lexists(output):
        raise UsageError(f"-o {output} is a file; several inputs need a folder")
    if output and "-" in files:
        raise UsageError("standard input has no name; give -o a file name or -")
    outputs = []
    for source in files:
        if source == "-":
            outputs.append("-")
            continue
        target = Path(output) / Path(source).name if output else default_output(source)
        name = str(target.with_suffix(suffix) if suffix else target)
        outputs.append(name if is_sequence(source) else OneFile(name))
    twice = {target for target in outputs if outputs.count(target) > 1}
    if twice:
        raise UsageError(f"several inputs would be written to {sorted(twice)[0]}; rename one")
    return outputs


def is_folder_for(files: list[str], output: str) -> bool:
    """Whether -o names the folder of the outputs, not the only one itself."""
    return len(files) > 1 or is_folder(output)


def make_folder(output: str) -> None:
    """Make the folder of the outputs; UsageError if that fails."""
    try:
        Path(output).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"-o {output}: no folder can be made there ({error.strerror})") from None


def outputs_at(target: str) -> dict[str, tuple[int, ...]]:
    """The files of that name or pattern, and what changes when they are written again."""
    from nlm.io.sequence import is_sequence, numbered

    found: dict[str, tuple[int, ...]] = {}
    for path in numbered(target).values() if is_sequence(target) else [target]:
        with suppress(OSError):
            about = os.stat(path)
            found[path] = (about.st_ino, about.st_size, about.st_mtime_ns)
    return found


def is_folder(path: str) -> bool:
    """An existing folder, or a name that says it is one."""
    return path.endswith(("/", os.sep)) or os.path.isdir(path)


def describe(result: Any) -> str:
    """One line for people."""
    sigma = "sigma to be estimated" if result.sigma is None else f"sigma {result.sigma:.2f}"
    count = f" {result.frames} frames," if (result.frames or 1) > 1 else ""
    parts = [
        f"{result.input} -> {result.output}:",
        f"{result.width} x {result.height},{count}",
        f"{result.method}/{result.preset}, {sigma},",
        "not written (dry run)" if result.status == "planned" else f"{result.seconds:.2f} s",
    ]
    return " ".join(parts)
