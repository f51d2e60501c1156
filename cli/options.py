"""Options that mean the same in every command, and how they become `nlm.settings.Settings`."""

import glob
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from nlm import registry
from nlm.backends import CHOICES, choose, in_precision
from nlm.errors import UsageError
from nlm.limits import MAX_PIXELS
from nlm.params import kind
from nlm_cli import completion

if TYPE_CHECKING:
    from nlm.settings import Settings

NOISE_MODELS = ("auto", "gaussian", "poisson-gaussian")
Command = TypeVar("Command", bound=Callable[..., Any])


class Number(click.ParamType[Any]):
    """A number, checked by the parameters' own dataclass later."""

    name = "number"

    def __init__(self, kind: type[int] | type[float]) -> None:
        self.kind = kind
        self.name = "integer" if kind is int else "number"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        try:
            return self.kind(value)
        except ValueError:
            self.fail(
                f"{value!r} is not a{'n' if self.kind is int else ''} {self.name}", param, ctx
            )


class Target(click.ParamType[Any]):
    """The name of an output of one kind; a suffix must be one of that kind."""

    name = "file"

    def __init__(self, kind: str, *suffixes: str) -> None:
        self.kind = kind
        self.suffixes = suffixes

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if not value:
            self.fail(f"the name is empty; give that of a file for {self.kind}", param, ctx)
        suffix = os.path.splitext(value)[1].lower()
        if suffix and suffix not in self.suffixes:
            allowed = " or ".join(self.suffixes)
            self.fail(f"{value}: {self.kind} is written; let its name end in {allowed}", param, ctx)
        return value

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="file")]


PNG = Target("PNG", ".png")
HTML = Target("HTML", ".html", ".htm")
CSV = Target("CSV", ".csv", ".txt")


def filter_options(command: Command) -> Command:
    """An option for every parameter of every registered filter."""
    seen: dict[str, click.Option] = {}
    for name in registry.methods():
        for spec in fields(registry.get(name).params):
            seen.setdefault(spec.name, _option_of(spec))
    for option in reversed(seen.values()):
        command.__dict__.setdefault("__click_params__", []).append(option)
    return command


def _option_of(spec: Any) -> click.Option:
    about, flag = spec.metadata, "--" + spec.name.replace("_", "-")
    unit = f" [{about['unit']}]" if about["unit"] else ""
    if kind(spec) is bool:
        return click.Option(
            [f"{flag}/--no-{flag[2:]}", spec.name], default=None, help=about["help"]
        )
    if kind(spec) is str:
        return click.Option(
            [flag, spec.name],
            type=completion.FILE,
            metavar="FILE",
            default=None,
            help=about["help"],
        )
    number = Number(kind(spec))
    return click.Option([flag, spec.name], type=number, default=None, help=about["help"] + unit)


def noise_options(command: Command) -> Command:
    """What is known of the noise."""
    for decorate in (
        click.option(
            "--poisson", "gain", type=Number(float), metavar="GAIN",
            help="Gain of poisson-gaussian noise, in 8-bit grey levels; --sigma is the other part.",
        ),
        click.option(
            "--noise-model", type=click.Choice(NOISE_MODELS), default="auto", show_default=True,
            help="Whether the noise grows with brightness.",
        ),
        click.option(
            "--sigma", type=Number(float), metavar="LEVEL",
            help="Noise level in 8-bit grey levels (whatever the depth). Left out: estimated.",
        ),
    ):  # fmt: skip
        command = decorate(command)
    return command


def companion_options(command: Command) -> Command:
    """Other pictures that tell how to denoise one."""
    return _companions(command, "FILE", "")


def mirrored_companion_options(command: Command) -> Command:
    """The same for many pictures: one for all, or a folder of them."""
    return _companions(command, "FILE|DIR", " For all, or a folder like SRC_DIR with one for each.")


def _companions(command: Command, metavar: str, more: str) -> Command:
    for decorate in (
        click.option(
            "--guide", type=completion.FILE, metavar=metavar,
            help="Weights come from this picture of the same size, values from the input." + more,
        ),
        click.option(
            "--sigma-map", type=completion.FILE, metavar=metavar,
            help="Gray picture of the noise level: an integer's brightness as an 8-bit level, "
            "or levels as floats (TIFF)." + more,
        ),
    ):  # fmt: skip
        command = decorate(command)
    return command


def place_options(command: Command) -> Command:
    """Where to compute and on how many threads."""
    for decorate in (
        click.option("--threads", type=Number(int), help="Processor threads. [default: all]"),
        click.option(
            "--backend", type=click.Choice(CHOICES), default="auto", show_default=True,
            help="Where to compute.",
        ),
    ):  # fmt: skip
        command = decorate(command)
    return command


def method_options(command: Command) -> Command:
    """Which filter, where and on how many threads."""
    for decorate in (
        click.option(
            "--tile",
            default="auto",
            metavar="N|auto",
            help="Side of tiles in pixels; of nlnet's on the CPU, width.",
        ),
        place_options,
        click.option(
            "--preset", type=click.Choice(registry.PRESETS), default="balanced", show_default=True,
            help="Speed against quality; options given by hand win over it.",
        ),
        click.option(
            "--method", type=completion.METHOD, default=registry.DEFAULT, show_default=True,
            metavar="NAME",
            help="The filter, see `nlm methods`.",
        ),
    ):  # fmt: skip
        command = decorate(command)
    return command


def output_options(command: Command) -> Command:
    """How outputs are written."""
    for decorate in (
        click.option(
            "--max-pixels", type=click.IntRange(1), default=MAX_PIXELS, show_default=True,
            help="Refuse pictures with more pixels.",
        ),
        click.option("--lossless", is_flag=True, help="Store without loss where the format can."),
        click.option(
            "--quality", type=click.IntRange(1, 100),
            help="Quality of formats with loss. [default: the source's, or high]",
        ),
        click.option(
            "--format", type=completion.FORMAT, metavar="NAME",
            help="Format of the output, png say.",
        ),
    ):  # fmt: skip
        command = decorate(command)
    return command


def report_options(command: Command) -> Command:
    """What is said, and how."""
    for decorate in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object per file on stdout."),
        click.option("-v", "--verbose", count=True, help="Say more."),
        click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors."),
    ):
        command = decorate(command)
    return command


def settings_from(options: dict[str, Any]) -> "Settings":
    """The settings that a command's options ask for.

    Raises
    ------
    UsageError
        If a value is not allowed, or the method has no such option.
    """
    from nlm.io import Span
    from nlm.settings import Settings
    from nlm_cli.clip_options import coding_from

    method, sigma = options["method"], options["sigma"]
    known = {spec.name for spec in fields(registry.get(method).params)}
    every = {spec.name for name in registry.methods() for spec in fields(registry.get(name).params)}
    given = {name: options[name] for name in every if options.get(name) is not None}
    for name in given.keys() - known:
        flags = ", ".join("--" + one.replace("_", "-") for one in sorted(known)) or "none"
        raise UsageError(
            f"method {method!r} has no option --{name.replace('_', '-')}; its own options: {flags}"
        )
    stack, guide, sigma_map = (options.get(name) for name in ("stack", "guide", "sigma_map"))
    params = registry.parameters(method, options["preset"], given, stack == "volume")
    told = sigma is not None or options["gain"] is not None
    if sigma_map and (told or options["noise_model"] == "poisson-gaussian"):
        raise UsageError(
            "--sigma-map tells the noise level; leave out --sigma, --poisson and --noise-model"
        )
    if sigma is not None and not 0 <= sigma < float("inf"):
        raise UsageError(
            f"--sigma {sigma:g} is not allowed; give the noise level in 8-bit grey levels, "
            "0 or more, or leave it out to have it estimated"
        )
    in_precision(choose(options["backend"], options["threads"]), params)
    if options["gain"] is not None or options["noise_model"] != "auto":
        from nlm.noise import check_model

        check_model(options["noise_model"], sigma, options["gain"])
    return Settings(
        method=method,
        preset=options["preset"],
        parameters=given,
        sigma=None if sigma is None else sigma / 255,
        noise_model=options["noise_model"],
        gain=None if options["gain"] is None else options["gain"] / 255,
        backend=options["backend"],
        threads=options["threads"],
        tile=_tile(options["tile"]),
        format=options["format"],
        options=coding_from(options),
        max_pixels=options["max_pixels"],
        stack=stack or "pages",
        span=Span.parse(options.get("frames"), options.get("start"), options.get("end")),
        sigma_map=sigma_map,
        guide=guide,
    )


def tell_details(verbose: int, quiet: bool) -> None:
    """With -v, and not -q, say on stderr what nlm notes of its choices."""
    if verbose and not quiet:
        import logging

        log = logging.getLogger("nlm")
        if not log.handlers:
            handler = logging.StreamHandler()
            handler.setFormatter(logging.Formatter("nlm: %(message)s"))
            log.addHandler(handler)
        log.setLevel(logging.INFO)


def _tile(value: str) -> int | None:
    if value == "auto":
        return None
    if not value.isdigit() or int(value) < 16:
        raise UsageError(f"--tile {value} is not allowed; give a number of at least 16, or auto")
    return int(value)


def expand(inputs: tuple[str, ...]) -> list[str]:
    """Inputs with the globs that the shell left alone expanded."""
    found: list[str] = []
    for one in inputs:
        is_glob = any(sign in one for sign in "*?[") and not os.path.lexists(one)
        matches = sorted(glob.glob(one, recursive=True)) if is_glob else []
        found += matches or [one]
    return found


def watched() -> bool:
    """Whether a person looks at stderr."""
    return sys.stderr.isatty()


def stream_or_path(name: str, stream: Any) -> Any:
    """The standard stream that `-` stands for: to be read from a pipe, without Python's own buffer,
    so that waiting can be ended.
    """
    if name != "-":
        return name
    whole = stream.buffer
    piped = stream is sys.stdin and not whole.seekable()
    return getattr(whole, "raw", whole) if piped else whole
