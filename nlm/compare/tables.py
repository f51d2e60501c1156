"""The page's tables, sortable by every column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from nlm.compare.charts import colour_class
from nlm.compare.summary import Spread, Summary, best
from nlm.compare.trials import OK


@dataclass(frozen=True)
class _Column:
    """A column of numbers.

    Attributes
    ----------
    key : str
        Attribute of a summary.
    first : str
        How it is sorted first, so that the best come first.
    format : str
        Of the numbers.
    """

    key: str
    title: str
    about: str
    first: str
    format: str


COLUMNS = (
    _Column("psnr", "PSNR dB", "Against the clean picture", "descending", ".2f"),
    _Column("ssim", "SSIM", "Structural similarity to the clean picture", "descending", ".4f"),
    _Column("blind_psnr", "est. PSNR dB", "Stein's unbiased risk estimate", "descending", ".2f"),
    _Column("flicker", "Flicker", "Change where nothing moves, grey levels", "ascending", ".2f"),
    _Column("seconds", "Seconds", "Median of the timed runs", "ascending", ".3f"),
    _Column("speed", "MP/s", "Megapixels per second", "descending", ".2f"),
    _Column("removed", "Removed", "What was taken away, over the noise level", "descending", ".2f"),
    _Column("whiteness", "Whiteness", "Of what was taken away; 1 is noise", "descending", ".3f"),
)


def numbers(summaries: Sequence[Summary], families: Mapping[str, int]) -> str:
    """One row per method, in the colour of its family; mean and spread over the pictures."""
    columns = [one for one in COLUMNS if any(getattr(row, one.key) for row in summaries)]
    winners = best(summaries)
    head = _head("Method", "", "ascending", "text")
    head += "".join(_head(one.title, one.about, one.first, "number") for one in columns)
    rows = "".join(_row(one, families[one.method], columns, winners) for one in summaries)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def matrix(inputs: Sequence[tuple[str, Mapping[str, float | None]]], methods: Sequence[str]) -> str:
    """One row per picture, one column per method: PSNR in dB."""
    head = _head("Picture", "", "ascending", "text")
    head += "".join(_head(method, "", "descending", "number") for method in methods)
    rows = []
    for path, levels in inputs:
        values = [levels.get(method) for method in methods]
        top = max((value for value in values if value is not None), default=None)
        name = Path(path).name
        cells = "".join(_cell(value, ".2f", value is not None and value == top) for value in values)
        rows.append(
            f'<tr><th scope="row" data-value="{escape(name)}">{escape(name)}</th>{cells}</tr>'
        )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _head(title: str, about: str, first: str, kind: str) -> str:
    tip = f' title="{escape(about)}"' if about else ""
    return (
        f'<th scope="col" data-first="{first}" data-kind="{kind}">'
        f'<button type="button"{tip}>{escape(title)}</button></th>'
    )


def _row(one: Summary, family: int, columns: Sequence[_Column], winners: Mapping[str, str]) -> str:
    name = escape(one.method)
    dot = f'<span class="dot {colour_class(family)}"></span>'
    row = f'<th scope="row" data-value="{name}">{dot}{name}</th>'
    if one.status != OK:
        kind = "wrong" if one.status == "failed" else "missing"
        note = escape(f"{one.status}: {one.error}" if one.error else one.status)
        return f'<tr>{row}<td class="{kind}" colspan="{len(columns)}">{note}</td></tr>'
    for column in columns:
        value = getattr(one, column.key)
        wins = winners.get(column.key) == one.method
        row += _cell(value, column.format, wins)
    return f"<tr>{row}</tr>"


def _cell(value: Spread | float | None, format: str, wins: bool) -> str:
    if value is None:
        return '<td data-value="">&ndash;</td>'
    mean, deviation = (value.mean, value.deviation) if isinstance(value, Spread) else (value, 0.0)
    spread = f" <small>± {deviation:{format}}</small>" if deviation else ""
    mark = ' class="best"' if wins else ""
    return f'<td{mark} data-value="{mean!r}">{mean:{format}}{spread}</td>'
