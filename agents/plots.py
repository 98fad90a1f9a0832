"""Plots as SVG text: axes with round numbers and units, lines, bars and a matrix, nothing that moves.

Colours are CSS variables of the page around, so one drawing serves light, dark and paper. A plot is drawn in
its own units of 640 by 320 and scales with the page; margins hold the longest labels that occur.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from typing import NamedTuple

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 14, 50


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

    def __init__(self, x: Axis, y: Axis, about: str) -> None:
        self.x, self.y = x, y
        self.parts = [
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(about)}">',
        ]
        for value, label in y.ticks:
            at = self.down(value)
            self.parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
            self.text(LEFT - 8, at + 4, label, "end")
        for value, label in x.ticks:
            self.text(self.across(value), HEIGHT - BOTTOM + 18, label, "middle")
        self.parts.append(f'<path class="axis" d="M{LEFT} {HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>')
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x.title, "middle", "title")
        middle = (TOP + HEIGHT - BOTTOM) / 2
        self.parts.append(
            f'<text class="title" text-anchor="middle" transform="translate(14 {middle:.1f}) rotate(-90)">'
            f"{escape(y.title)}</text>"
        )

    def across(self, value: float) -> float:
        """Place a value on the horizontal axis."""
        return LEFT + (value - self.x.low) / (self.x.high - self.x.low) * (WIDTH - LEFT - RIGHT)

    def down(self, value: float) -> float:
        """Place a value on the vertical axis."""
        return HEIGHT - BOTTOM - (value - self.y.low) / (self.y.high - self.y.low) * (HEIGHT - TOP - BOTTOM)

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


def dates(labels: Sequence[str]) -> tuple[tuple[float, str], ...]:
    """Label at most six of some dates, evenly, by their place.

    Examples
    --------
    >>> dates(["1997-01-01", "1997-02-01"])
    ((0.5, '1997-01-01'), (1.5, '1997-02-01'))
    """
    step = max(1, -(-len(labels) // 6))
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
