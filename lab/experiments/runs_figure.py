"""Figures of single runs as SVG text: dots in rows, and one curve for each seed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from lab.results.figure import COLOURS

WIDTH = 760
INK, FAINT = "#333333", "#d9d9d9"
TICKS = 5
"""Ticks of an axis, about."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A linear scale from values to pixels.

    Args:
        low, high: values at the ends, low < high.
        start, end: pixels there.
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values inside the ends, about `TICKS` of them."""
        raw = (self.high - self.low) / TICKS
        magnitude = 10.0 ** math.floor(math.log10(raw))
        step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= raw)
        # 1e-9: a bound that is a multiple of the step keeps its tick in spite of rounding.
        first = math.ceil(self.low / step - 1e-9)
        return [number * step for number in range(first, math.floor(self.high / step + 1e-9) + 1)]


def dot_rows(title: str, rows: Sequence[tuple[str, Sequence[float]]], *, label: str) -> str:
    """One row for each (name, values): a dot for each value, a stroke at their mean; values as per cent.

    Args:
        label: what the values are.
    """
    left, top, row_height = 360, 50, 34
    bottom = top + row_height * len(rows)
    values = [100 * value for _, found in rows for value in found]
    margin = 0.05 * (max(values) - min(values)) or 1.0
    axis = Axis(low=min(values) - margin, high=max(values) + margin, start=left, end=WIDTH - 30)
    parts = [_text(20, 28, title, size=15)]
    for tick in axis.ticks():
        parts.append(_line(axis(tick), top, axis(tick), bottom, FAINT))
        parts.append(_text(axis(tick), bottom + 18, f"{tick:g} %", "middle"))
    for number, (name, found) in enumerate(rows):
        y = top + row_height * (number + 0.5)
        mean = axis(100 * sum(found) / len(found))
        parts.append(_text(left - 12, y + 4, name, "end"))
        parts.append(_line(mean, y - 11, mean, y + 11, COLOURS[0], 3))
        parts += [_dot(axis(100 * value), y) for value in found]
    parts.append(_text((left + WIDTH - 30) / 2, bottom + 40, label, "middle"))
    return _svg(parts, bottom + 55)


def curves_by_seed(
    title: str, groups: Sequence[tuple[str, Sequence[Sequence[tuple[float, float]]]]], *, x_label: str, y_label: str
) -> str:
    """For each (name, curves) one colour, a line for each curve of (x, y); y as per cent."""
    left, top, bottom = 80, 50, 380
    points = [point for _, curves in groups for curve in curves for point in curve]
    y_values = [100 * y for _, y in points]
    across = Axis(low=0.0, high=max(x for x, _ in points), start=left, end=WIDTH - 30)
    up = Axis(low=min(y_values), high=max(y_values) + 1, start=bottom, end=top)
    parts = [_text(20, 28, title, size=15)]
    for tick in across.ticks():
        parts.append(_line(across(tick), top, across(tick), bottom, FAINT))
        parts.append(_text(across(tick), bottom + 18, f"{tick:g}", "middle"))
    for tick in up.ticks():
        parts.append(_line(left, up(tick), WIDTH - 30, up(tick), FAINT))
        parts.append(_text(left - 8, up(tick) + 4, f"{tick:g} %", "end"))
    for number, (name, curves) in enumerate(groups):
        colour = COLOURS[number % len(COLOURS)]
        for curve in curves:
            path = " ".join(f"{across(x):.1f},{up(100 * y):.1f}" for x, y in curve)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = bottom - 14 - 20 * (len(groups) - 1 - number)
        parts += [_line(WIDTH - 190, y - 4, WIDTH - 165, y - 4, colour, 3), _text(WIDTH - 158, y, name)]
    parts += [_text((left + WIDTH) / 2, bottom + 42, x_label, "middle"), _text(left - 60, top - 8, y_label)]
    return _svg(parts, bottom + 58)


def _svg(parts: Sequence[str], height: float) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" font-family="sans-serif">'
        f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>'
    )
    return "\n".join([head, *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, anchor: str = "start", *, size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{INK}" text-anchor="{anchor}">{escape(text)}</text>'


def _dot(x: float, y: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{COLOURS[1]}" fill-opacity="0.6"/>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width:g}"/>'
