"""What became of every file, for people and programs: JSON, CSV or a page."""

import csv
import html
import io
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

from nlm.batch.outcome import Outcome
from nlm.errors import UsageError
from nlm.io.output import write_bytes

COLUMNS = (
    "status", "input", "output", "method", "preset", "sigma", "strength", "backend", "seconds",
    "width", "height", "frames", "source_bytes", "output_bytes", "attempts", "error",
)  # fmt: skip


def check_report(path: str) -> None:
    """Refuse a report that could not be written, before any work.

    Raises
    ------
    UsageError
        If its suffix says no kind of report, or its folder does not exist.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in WRITERS:
        raise UsageError(
            f"--report {path}: its suffix says no kind of report; use one of {', '.join(WRITERS)}"
        )
    if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise UsageError(f"--report {path}: its folder does not exist; create it first")


def write_report(path: str, outcomes: Sequence[Outcome]) -> None:
    """Write what became of the files, sorted by name, in the kind that the suffix says.

    Raises
    ------
    FileError
        If it cannot be written.
    """
    rows = sorted(map(_row, outcomes), key=lambda row: str(row["input"]))
    text = WRITERS[os.path.splitext(path)[1].lower()](rows)
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def _row(outcome: Outcome) -> dict[str, Any]:
    return {
        **outcome.file.as_json(),
        "source_bytes": outcome.source_bytes,
        "output_bytes": outcome.output_bytes,
        "attempts": outcome.attempts,
    }


def _json(rows: Sequence[dict[str, Any]]) -> str:
    return json.dumps(rows, indent=1) + "\n"


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def _html(rows: Sequence[dict[str, Any]]) -> str:
    counts = [
        f"{sum(row['status'] == status for row in rows)} {status}"
        for status in ("ok", "skipped", "planned", "failed")
    ]
    columns = [name for name in COLUMNS if any(row.get(name) not in (None, "") for row in rows)]
    head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in columns)
    # what went wrong comes first
    body = "\n".join(
        f'<tr class="{row["status"]}">'
        + "".join(f"<td>{_cell(row.get(name))}</td>" for name in columns)
        + "</tr>"
        for row in sorted(rows, key=lambda row: row["status"] != "failed")
    )
    return PAGE.format(summary=", ".join(counts), head=head, body=body)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return html.escape(f"{value:.2f}" if isinstance(value, float) else str(value))


WRITERS: dict[str, Callable[[Sequence[dict[str, Any]]], str]] = {
    ".json": _json,
    ".csv": _csv,
    ".html": _html,
}

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>nlm batch: {summary}</title>
<style>
body {{ font: 14px/1.4 system-ui, sans-serif; margin: 2em; color: #222; background: #fff }}
table {{ border-collapse: collapse }}
th, td {{ padding: .25em .7em; text-align: left; border-bottom: 1px solid #ddd }}
th {{ position: sticky; top: 0; background: #fff }}
.failed {{ background: #fde8e8 }}
.skipped, .planned {{ color: #777 }}
</style>
<h1>nlm batch</h1>
<p>{summary}</p>
<table>
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody>
</table>
</html>
"""
