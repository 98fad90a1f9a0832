"""Plots as SVG text: axes with round numbers and units, lines, bars and a matrix, nothing that moves.

Colours are CSS variables of the page around, so one drawing serves light, dark and paper. A plot is drawn in
its own units and scales with the page; margins hold the longest labels that occur. Letters shrink with a
drawing, so each plot is drawn twice (`drawn`): for a page, and for a telephone, which shows the other one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from typing import NamedTuple

LEFT, RIGHT, TOP, BOTTOM = 64, 16, 14, 50
_HALF_LETTER = 3.8


class Size(NamedTuple):
    """How large a plot is in its own units, and how many dates there is room for below it."""

    name: str
    width: int
    height: int
    dates: int


BROAD = Size("broad", 640, 320, 6)
NARROW = Size("narrow", 360, 270, 3)


class Axis(NamedTuple):
    """A range of values, its ticks and what it is of.

    Attributes
    ----------
    ticks
        Value and label of each.
    title
        What the numbers are, with their unit.
    """

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    title: str


def axis(low: float, high: float, title: str, shown: Callable[[float], str] = "{:g}".format) -> Axis:
    """Span a range with some five round ticks.

    Examples
    --------
    >>> [label for _, label in axis(0.0, 0.93, "share").ticks]
    ['0', '0.2', '0.4', '0.6', '0.8', '1']
    """
    if high - low < 1e-12:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / 5.0
    scale = 10.0 ** floor(log10(rough))
    step = next(size * scale for size in (1.0, 2.0, 2.5, 5.0, 10.0) if size * scale >= rough * 0.999)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    values = [round(number * step, 12) for number in range(first, last + 1)]
    return Axis(values[0], values[-1], tuple((value, shown(value)) for value in values), title)


class Canvas:
    """A plot while it is drawn."""

    def __init__(self, x: Axis, y: Axis, about: str, size: Size) -> None:
        self.x, self.y, self.size = x, y, size
        self.right, self.bottom = size.width - RIGHT, size.height - BOTTOM
        self.parts = [
            f'<svg class="{size.name}" viewBox="0 0 {size.width} {size.height}" role="img" '
            f'aria-label="{escape(about)}">',
        ]
        for value, label in y.ticks:
            at = self.down(value)
            self.parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{self.right}"/>')
            self.text(LEFT - 8, at + 4, label, "end")
        for value, label in x.ticks:
            half = len(label) * _HALF_LETTER  # a label near the edge moves in, so that nothing is cut off
            at = min(max(self.across(value), half), size.width - half)
            self.text(at, self.bottom + 18, label, "middle")
        self.parts.append(f'<path class="axis" d="M{LEFT} {self.bottom}H{self.right}"/>')
        self.text((LEFT + self.right) / 2, size.height - 8, x.title, "middle", "title")
        middle = (TOP + self.bottom) / 2
        self.parts.append(
            f'<text class="title" text-anchor="middle" transform="translate(14 {middle:.1f}) rotate(-90)">'
            f"{escape(y.title)}</text>"
        )

    def across(self, value: float) -> float:
        """Place a value on the horizontal axis."""
        return LEFT + (value - self.x.low) / (self.x.high - self.x.low) * (self.right - LEFT)

    def down(self, value: float) -> float:
        """Place a value on the vertical axis."""
        return self.bottom - (value - self.y.low) / (self.y.high - self.y.low) * (self.bottom - TOP)

    def text(self, x: float, y: float, text: str, anchor: str, kind: str = "tick") -> None:
        """Write a few words."""
        self.parts.append(
            f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
        )

    def line(self, points: Sequence[tuple[float, float]], kind: str, dots: bool = False) -> None:
        """Draw a line through points, with a dot on each where there are few."""
        if not points:
            return
        path = "L".join(f"{self.across(x):.1f} {self.down(y):.1f}" for x, y in points)
        self.parts.append(f'<path class="line {kind}" d="M{path}"/>')
        if dots:
            for x, y in points:
                self.parts.append(
                    f'<circle class="dot {kind}" cx="{self.across(x):.1f}" cy="{self.down(y):.1f}" r="3">'
                    f"<title>{x:g}, {y:.4g}</title></circle>"
                )

    def bar(self, low: float, high: float, value: float, about: str) -> None:
        """Draw a bar from the axis to a value."""
        left, right = self.across(low), self.across(high)
        top, base = sorted((self.down(value), self.down(max(0.0, self.y.low))))
        gap = min(1.0, (right - left) / 6)
        self.parts.append(
            f'<rect class="bar" x="{left + gap:.1f}" y="{top:.1f}" width="{right - left - 2 * gap:.1f}" '
            f'height="{base - top:.1f}"><title>{escape(about)}</title></rect>'
        )

    def done(self) -> str:
        """Give the drawing."""
        return "".join([*self.parts, "</svg>"])


def drawn(draw: Callable[[Size], Canvas]) -> str:
    """Draw a plot in both sizes; the page shows the one that fits."""
    return "".join(draw(size).done() for size in (BROAD, NARROW))


def dates(labels: Sequence[str], most: int) -> tuple[tuple[float, str], ...]:
    """Label at most so many of some dates, evenly, by their place.

    Examples
    --------
    >>> dates(["1997-01-01", "1997-02-01", "1997-03-01"], most=2)
    ((0.5, '1997-01-01'), (2.5, '1997-03-01'))
    """
    step = max(1, -(-len(labels) // most))
    return tuple((place + 0.5, labels[place]) for place in range(0, len(labels), step))


def legend(entries: Mapping[str, str]) -> str:
    """Say what the lines are: text by kind."""
    items = (f'<span class="key {kind}">{escape(text)}</span>' for kind, text in entries.items())
    return f'<p class="legend">{"".join(items)}</p>'


def matrix(rows: Mapping[str, Mapping[str, int]], columns: Sequence[str], named: Callable[[str], str]) -> str:
    """Draw counts by where from (rows) and where to (columns), each row shaded by its shares."""
    head = "".join(f"<th><span>{escape(named(name))}</span></th>" for name in columns)
    body = []
    for left, row in rows.items():
        total = sum(row.values())
        cells = []
        for name in columns:
            count = row.get(name, 0)
            share = count / total
            shade = f' style="--share:{100 * share:.0f}%"' if count else ""
            cells.append(f"<td{shade}>{f'{count:,}' if count else ''}</td>")
        body.append(f"<tr><th>{escape(named(left))}</th>{''.join(cells)}<td>{total:,}</td></tr>")
    return (
        f'<div class="wide"><table class="matrix"><thead><tr><th>from \\ to</th>{head}<th><span>all</span>'
        f"</th></tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )
