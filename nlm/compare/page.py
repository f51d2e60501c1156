"""The report: one HTML file that needs nothing else."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from math import isfinite
from string import Template

from nlm.compare import charts, figures, tables
from nlm.compare.exhibits import Exhibit
from nlm.compare.summary import Curve, Summary, best

RULES = (
    "Every method got the same noisy picture and was told the same noise level.",
    "Each ran once untimed, to compile and load what it needs; then all were timed in turn and the "
    "median counts. A method that takes longer than 1 s is timed once. Reading and writing files "
    "is not timed.",
    "Methods of scikit-image and BM3D run on one thread, whatever is allowed.",
    "Results were cut to the range that the picture's file can hold, and not rounded; OpenCV gets "
    "and gives 8 bits. PSNR is over all samples with a peak of 1; SSIM has Gaussian weights of "
    "standard deviation 1.5.",
    "Whiteness is about what was taken away: 1 is white noise, less means that structure went with "
    "it. Removed is its standard deviation over that of the noise.",
    "The pictures on this page have 8 bits.",
)
BLIND = (
    "There is no clean picture, so PSNR is estimated by Stein's unbiased risk estimate, over what "
    "is not clipped to black or white. It trusts the noise level, and that the noise is white and "
    "Gaussian: compare the methods by it, not the pictures."
)

MOVING = (
    "The frames of a clip went through every method as nlm denoise takes them: those that can look "
    "at neighbouring frames did. PSNR, SSIM, whiteness and what was removed are means over the "
    "frames, seconds are for all of them. The middle one is shown. Of YUV video it is luma.",
    "Flicker is the mean change from frame to frame, in 8-bit grey levels, where the clean clip "
    "changes by less than half a level; without a clean clip, where mean and variance of the "
    "noisy clip's changes over 9 x 9 pixels are what noise lets expect.",
)


@dataclass(frozen=True)
class Report:
    """All that a page tells.

    Attributes
    ----------
    title : str
    facts : mapping
        Short values by title: size, noise level, ...
    summaries : sequence of Summary
    exhibits : sequence of Exhibit
    families : mapping
        Number of the method that a contender is a variant of; it decides on its colour.
    inputs : sequence of (path, mapping)
        PSNR by method of every picture, shown or not.
    curves : sequence of Curve
    parameter : str
        What the curves are over.
    command : str
        Makes this page.
    versions : mapping
    """

    title: str
    facts: Mapping[str, str]
    summaries: Sequence[Summary]
    exhibits: Sequence[Exhibit]
    families: Mapping[str, int]
    command: str
    versions: Mapping[str, str]
    inputs: Sequence[tuple[str, Mapping[str, float | None]]] = ()
    curves: Sequence[Curve] = field(default=())
    parameter: str = ""


def render(report: Report) -> str:
    """The page as text."""
    style, script = _part("page.css"), _part("page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest(style)}; "
        f"script-src {_digest(script)}; base-uri 'none'; form-action 'none'"
    )
    clean = any(one.psnr for one in report.summaries)
    winners = best(report.summaries)
    moving = MOVING if any(one.moment for one in report.exhibits) else ()
    rules = (*RULES, *moving, *(() if clean else (BLIND,)))
    return Template(_part("page.html")).substitute(
        policy=policy,
        style=style,
        script=script,
        title=escape(report.title),
        facts="".join(
            f"<li>{escape(name)} <b>{escape(value)}</b></li>"
            for name, value in report.facts.items()
        ),
        chooser=figures.chooser(report.exhibits),
        error_choice=figures.error_choice(report.exhibits),
        best=escape(winners.get("psnr") or winners.get("blind_psnr") or ""),
        gain=str(report.exhibits[0].gain),
        pictures=figures.pictures(report.exhibits),
        table=tables.numbers(report.summaries, report.families),
        notes="" if clean else f'<p class="note">{escape(BLIND)}</p>',
        charts=_charts(report),
        matrix=_matrix(report),
        rules=f'<ul class="rules">{"".join(f"<li>{escape(rule)}</li>" for rule in rules)}</ul>',
        command=escape(report.command),
        versions="".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
            for name, value in report.versions.items()
        ),
    )


def _charts(report: Report) -> str:
    label = "PSNR in dB" if any(one.psnr for one in report.summaries) else "estimated PSNR in dB"
    cards = []
    shown = report.exhibits[0].pictures
    points = [
        charts.Point(one.seconds.mean, one.quality.mean, one.method, report.families[one.method])
        for one in report.summaries
        if one.method in shown and one.seconds and one.quality and isfinite(one.quality.mean)
    ]
    if points:
        what = "clip" if all(one.moment for one in report.exhibits) else "picture"
        plot = charts.scatter(points, f"seconds per {what}", label)
        cards.append(_card("Quality against time", plot))
    lines = [
        charts.Line(one.points, one.method, report.families[one.best]) for one in report.curves
    ]
    if lines:
        name = report.parameter.replace("_", " ")
        cards.insert(0, _card(f"Quality over {name}", charts.curves(lines, name, label)))
    return f'<div class="charts">{"".join(cards)}</div>' if cards else ""


def _card(title: str, content: str) -> str:
    return f'<section class="card"><h2>{escape(title)}</h2>{content}</section>'


def _matrix(report: Report) -> str:
    if len(report.inputs) < 2:
        return ""
    methods = [one.method for one in report.summaries]
    table = tables.matrix(report.inputs, methods)
    return _card("PSNR of each picture, in dB", f'<div class="scroll">{table}</div>')


def _part(name: str) -> str:
    return files("nlm.compare").joinpath(name).read_text("utf-8")


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
