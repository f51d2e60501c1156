"""`nlm batch`: a folder tree in, the same tree denoised out."""

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from nlm.errors import UsageError
from nlm_cli import completion, options
from nlm_cli.batch_progress import Summary, clock, display
from nlm_cli.clip_options import clip_options, span_options

if TYPE_CHECKING:
    from nlm.batch import Executor, Folder, Outcome


@click.command(
    epilog="""\b
Examples:
  nlm batch photos/ clean/                       every picture, same tree; run it again to go on
  nlm batch scans/ clean/ --include '*.tif'      only these
  nlm batch photos/ web/ --format webp           another format
  nlm batch photos/ clean/ -n                    how many, how large, how long
  nlm batch photos/ clean/ -j 4 --memory 8G      four files at once, in 8 GB
  nlm batch photos/ clean/ --report report.html  a page about every file
  nlm batch dark/ clean/ --guide flash/          dark/a/b.jpg with flash/a/b.jpg or b.png
  nlm batch /nas/in /nas/out --scheduler tcp://head:8786"""
)
@click.argument("src", type=completion.FOLDER, metavar="SRC_DIR")
@click.argument("dst", type=completion.FOLDER, metavar="DST_DIR")
@click.option(
    "--include", multiple=True, metavar="GLOB",
    help="Only files like this; repeat for more. With a slash: of the path. [default: pictures]",
)  # fmt: skip
@click.option(
    "--exclude", multiple=True, metavar="GLOB", help="Leave out such files and folders; repeat."
)
@click.option(
    "-j", "--jobs", type=options.Number(int), metavar="N",
    help="Files at once at most. [default: one per processor thread]",
)  # fmt: skip
@click.option(
    "--memory", metavar="SIZE",
    help="Use about this much, 3G say: large pictures run fewer at once. [default: 70% of free]",
)  # fmt: skip
@click.option(
    "--resume/--no-resume", default=True, show_default=True, help="Leave alone what is done."
)
@click.option("-f", "--force", is_flag=True, help="Overwrite outputs that batch did not make.")
@click.option("-n", "--dry-run", is_flag=True, help="Check and count everything, write nothing.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first file that fails.")
@click.option(
    "--retries", type=options.Number(int), default=2, show_default=True,
    help="Further attempts for a file whose worker died.",
)  # fmt: skip
@click.option(
    "--report", type=completion.FILE, metavar="FILE", help="About every file: .json, .csv or .html."
)
@click.option("--scheduler", metavar="ADDRESS", help="Use this Dask cluster, tcp://host:8786 say.")
@click.option(
    "--cluster", type=click.Choice(["local"]), help="Use a Dask cluster made for the run."
)
@options.noise_options
@options.mirrored_companion_options
@options.method_options
@options.filter_options
@options.output_options
@clip_options
@span_options
@options.report_options
def command(
    src: str,
    dst: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    resume: bool,
    force: bool,
    dry_run: bool,
    fail_fast: bool,
    report: str | None,
    quiet: bool,
    verbose: int,
    as_json: bool,
    **chosen: Any,
) -> int:
    """Denoise a folder tree into another, on all processors.

    What is done is on record in DST_DIR/.nlm: started again after any interruption, the batch goes
    on where it was; files whose source or options changed are done again. A file that fails stops
    no other. The exit code is 0 if all went well, 1 if a file failed, 2 for wrong usage.
    """
    options.tell_details(verbose, quiet)
    settings = options.settings_from(chosen)
    executor = executor_from(chosen)

    from nlm.batch import Folder
    from nlm.batch.report import check_report, write_report

    if report:
        check_report(report)
    outcomes: list[Outcome] = []
    with Folder(
        src, dst, settings, include=include, exclude=exclude,
        resume=resume, force=force, dry_run=dry_run,
    ) as folder:  # fmt: skip
        summary = Summary(folder)
        show = display(summary, quiet, verbose)
        try:
            with show, closing(folder.run(executor, show.event)) as results:
                for outcome in results:
                    outcomes.append(outcome)
                    summary.add(outcome)
                    show.finished(outcome)
                    if as_json:
                        click.echo(json.dumps(outcome.file.as_json()))
                    if fail_fast and outcome.file.status == "failed":
                        break
        finally:
            if report:
                write_report(report, outcomes)
        if not quiet:
            for line in summary.lines():
                show.say(line)
            if dry_run:
                click.echo(forecast(folder), err=as_json)
    return 1 if summary.counts["failed"] else 0


def forecast(folder: "Folder") -> str:
    """What a dry run tells of the work ahead."""
    from nlm.batch.duration import expected_seconds

    pixels = sum(task.pixels for task in folder.todo)
    seconds = expected_seconds(folder)
    takes = "unknown time" if seconds is None else f"about {clock(seconds)}"
    count = len(folder.todo)
    files = f"{count} file{'' if count == 1 else 's'}"
    return f"{files}, {pixels / 1e6:.1f} million pixels, {takes} on this machine"


def executor_from(chosen: dict[str, Any]) -> "Executor":
    """Where the jobs run, by a command's options.

    Raises
    ------
    UsageError
        If a value is not allowed.
    """
    jobs, retries = chosen["jobs"], chosen["retries"]
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs {jobs} is not allowed; give 1 or more")
    if retries < 0:
        raise UsageError(f"--retries {retries} is not allowed; give 0 or more")
    if chosen["scheduler"] and chosen["cluster"]:
        raise UsageError("--scheduler and --cluster exclude each other; give one of them")

    from nlm.batch.capacity import parse_memory

    memory = parse_memory(chosen["memory"]) if chosen["memory"] else None
    if chosen["scheduler"] or chosen["cluster"]:
        from nlm.batch import Dask

        return Dask(chosen["scheduler"], jobs, memory, retries)

    from nlm.batch import Workers

    if jobs is None and chosen["threads"]:
        from nlm.backends.threads import available_threads

        jobs = max(1, available_threads() // chosen["threads"])
    return Workers(jobs, None, memory, retries)
