"""The numbers of a comparison for the terminal."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from nlm.compare.comparison import Comparison
    from nlm.compare.summary import Summary

COLUMNS = (
    ("psnr", "PSNR", ".2f"),
    ("ssim", "SSIM", ".4f"),
    ("blind_psnr", "est. PSNR", ".2f"),
    ("flicker", "flicker", ".2f"),
    ("seconds", "seconds", ".3f"),
    ("speed", "MP/s", ".2f"),
    ("whiteness", "whiteness", ".3f"),
)


def lines(comparison: "Comparison") -> Iterator[str]:
    """A heading, one line per method, the best numbers in bold, and what a sweep found."""
    from nlm.compare.summary import best

    summaries = comparison.summaries
    columns = [one for one in COLUMNS if any(getattr(row, one[0]) for row in summaries)]
    winners = best(summaries)
    rows = [[_text(one, key, form) for key, _, form in columns] for one in summaries]
    titles = [title for _, title, _ in columns]
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    names = max(len("method"), *(len(one.method) for one in summaries))
    if comparison.exhibits:
        yield ", ".join(f"{name} {value}" for name, value in comparison.facts().items())
    heads = [title.rjust(width) for title, width in zip(titles, widths, strict=True)]
    yield click.style("  ".join(["method".ljust(names), *heads]), dim=True)
    for one, row in zip(summaries, rows, strict=True):
        if one.status != "ok":
            note = f"{one.status}: {one.error}" if one.error else one.status
            yield f"{one.method.ljust(names)}  {click.style(note, fg='red')}"
            continue
        cells = [
            click.style(text.rjust(width), bold=winners.get(key) == one.method)
            for text, width, (key, _, _) in zip(row, widths, columns, strict=True)
        ]
        yield "  ".join([one.method.ljust(names), *cells])
    for curve in comparison.curves:
        level = max(quality for _, quality in curve.points)
        yield f"best of {curve.method}: {curve.best}, {level:.2f} dB"


def _text(one: "Summary", key: str, form: str) -> str:
    value = getattr(one, key)
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:{form}}"
    spread = f" ± {value.deviation:{form}}" if value.deviation else ""
    return f"{value.mean:{form}}{spread}"
