"""Two small charts as SVG that takes its colours from the page."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

WIDTH, HEIGHT = 480, 320
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 16, 46
LETTER, LINE, DOT = 7.5, 15, 6
"""Width and height of a letter, about, and radius of a dot: to keep labels apart."""
COLOURS = 10
"""Classes c0 to c9 of the page's style."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class Point:
    """One mark of a chart."""

    x: float
    y: float
    label: str
    colour: int


@dataclass(frozen=True)
class Line:
    """One curve of a chart; its highest point is marked."""

    points: tuple[tuple[float, float], ...]
    label: str
    colour: int

    @property
    def best(self) -> tuple[float, float]:
        """The highest point."""
        return max(self.points, key=lambda point: point[1])


@dataclass(frozen=True)
class _Axis:
    """From values to pixels along one axis."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return self.start + (at - low) / (high - low) * (self.stop - self.start)

    def ticks(self) -> list[float]:
        """Round values between the ends."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            digits = (1, 2, 5) if self.high / self.low < 1000 else (1,)
            values = [digit * 10.0**power for power in decades for digit in digits]
        else:
            step = _round_step((self.high - self.low) / 5)
            first, last = math.ceil(self.low / step), math.floor(self.high / step)
            values = [step * k for k in range(first, last + 1)]
        return [value for value in values if self.low <= value <= self.high]


def scatter(points: Sequence[Point], x_title: str, y_title: str) -> str:
    """Labelled points over a logarithmic axis.

    Parameters
    ----------
    points : sequence of Point
        x above 0; not empty.
    x_title, y_title : str

    Returns
    -------
    str
        SVG.
    """
    xs = [one.x for one in points]
    across = _Axis(min(xs) / 1.5, max(xs) * 1.5, LEFT, WIDTH - RIGHT, log=True)
    up = _vertical([one.y for one in points])
    dots = [(across(one.x), up(one.y)) for one in points]
    taken: list[Box] = [(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in dots]
    marks = []
    for one, (x, y) in zip(points, dots, strict=True):
        note = f"{escape(one.label)}: {one.x:.3g} s, {one.y:.2f} dB"
        circle = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{DOT}"><title>{note}</title></circle>'
        marks.append(_mark(one.colour, circle + _label(one.label, x, y, taken)))
    return _chart(across, up, x_title, y_title, "".join(marks))


def curves(lines: Sequence[Line], x_title: str, y_title: str) -> str:
    """Curves, each with its best point marked.

    Parameters
    ----------
    lines : sequence of Line
        Not empty.
    x_title, y_title : str

    Returns
    -------
    str
        SVG.
    """
    xs = [x for line in lines for x, _ in line.points]
    margin = 0.04 * (max(xs) - min(xs)) or 1.0
    across = _Axis(min(xs) - margin, max(xs) + margin, LEFT, WIDTH - RIGHT)
    up = _vertical([y for line in lines for _, y in line.points])
    taken: list[Box] = [(x - 1, y - 1, x + 1, y + 1) for x, y in _along(lines, across, up)]
    marks = []
    for line in lines:
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in line.points)
        dots = "".join(
            f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" '
            f'r="{DOT if (x, y) == line.best else DOT / 2}">'
            f"<title>{escape(line.label)}: {y:.2f} dB at {x:g}</title></circle>"
            for x, y in line.points
        )
        x, y = line.best
        label = _label(f"{line.label}: best at {x:g}", across(x), up(y), taken)
        marks.append(_mark(line.colour, f'<polyline points="{path}"/>{dots}{label}'))
    return _chart(across, up, x_title, y_title, "".join(marks))


def colour_class(number: int) -> str:
    """The class of the page's style that gives a method its colour."""
    return f"c{number % COLOURS}"


def _along(lines: Sequence[Line], across: _Axis, up: _Axis) -> Iterator[tuple[float, float]]:
    """Places on the curves, close enough to keep labels off them."""
    for line in lines:
        for (x, y), (next_x, next_y) in pairwise(line.points):
            for share in (0, 0.2, 0.4, 0.6, 0.8, 1):
                yield across(x + share * (next_x - x)), up(y + share * (next_y - y))


def _vertical(values: Sequence[float]) -> _Axis:
    margin = 0.12 * (max(values) - min(values)) or 1.0
    return _Axis(min(values) - margin, max(values) + margin, HEIGHT - BOTTOM, TOP)


def _label(text: str, x: float, y: float, taken: list[Box]) -> str:
    """The text beside a dot, where nothing is in its way."""
    boxes = list(_places(x, y, LETTER * len(text)))
    box = next((one for one in boxes if _is_free(one, taken)), boxes[0])
    taken.append(box)
    middle, base = (box[0] + box[2]) / 2, box[3] - 4
    return f'<text x="{middle:.1f}" y="{base:.1f}" text-anchor="middle">{escape(text)}</text>'


def _places(x: float, y: float, width: float) -> Iterator[Box]:
    """Right, left, above and below, then the same farther away."""
    for away in range(0, 6 * LINE, LINE // 3):
        near = DOT + 3
        for left, top in (
            (x + near, y - LINE / 2 + away),
            (x - near - width, y - LINE / 2 + away),
            (x - width / 2, y - near - LINE - away),
            (x - width / 2, y + near + away),
        ):
            yield left, top, left + width, top + LINE


def _is_free(box: Box, taken: Sequence[Box]) -> bool:
    left, top, right, bottom = box
    inside = left > LEFT and right < WIDTH and top > 0 and bottom < HEIGHT - BOTTOM
    return inside and not any(
        left < one[2] and right > one[0] and top < one[3] and bottom > one[1] for one in taken
    )


def _mark(colour: int, content: str) -> str:
    return f'<g class="mark {colour_class(colour)}">{content}</g>'


def _chart(across: _Axis, up: _Axis, x_title: str, y_title: str, marks: str) -> str:
    bottom, middle = HEIGHT - BOTTOM, (TOP + HEIGHT - BOTTOM) / 2
    grid = "".join(
        f'<line x1="{across(x):.1f}" x2="{across(x):.1f}" y1="{TOP}" y2="{bottom}"/>'
        f'<text x="{across(x):.1f}" y="{bottom + 17}" text-anchor="middle">{x:g}</text>'
        for x in across.ticks()
    )
    grid += "".join(
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(y):.1f}" y2="{up(y):.1f}"/>'
        f'<text x="{LEFT - 7}" y="{up(y) + 4:.1f}" text-anchor="end">{y:g}</text>'
        for y in up.ticks()
    )
    titles = (
        f'<text class="title" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" '
        f'text-anchor="middle">{escape(x_title)}</text>'
        f'<text class="title" transform="translate(12 {middle}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_title)}</text>'
    )
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(y_title)} against {escape(x_title)}">'
        f'<g class="grid">{grid}</g>{titles}{marks}</svg>'
    )


def _round_step(rough: float) -> float:
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(power * digit for digit in (1, 2, 2.5, 5, 10) if power * digit >= rough)
