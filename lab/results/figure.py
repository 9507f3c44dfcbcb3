"""A line figure as SVG text: mean and deviation of several series over a logarithmic axis, and one band."""

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 60, 190, 44, 48
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7f7f7f")
"""Colours that colour-blind readers can tell apart (Okabe and Ito); each series has its own mark as well."""
MARKS = ("o", "s", "^", "d")
Scale = Callable[[float], float]
"""Value -> pixel."""


@dataclass(frozen=True, kw_only=True)
class PlotLine:
    """One line."""

    name: str
    points: tuple[tuple[float, float, float], ...]
    """(x > 0, mean, deviation), x ascending."""


def line_figure(
    series: Sequence[PlotLine],
    *,
    title: str,
    x_title: str,
    y_title: str,
    band: tuple[float, float] | None = None,
    band_title: str = "",
) -> str:
    """The figure as SVG: a line with marks for each series, deviations as vertical bars, `band` shaded across."""
    xs = sorted({x for line in series for x, _, _ in line.points})
    values = [edge for line in series for _, mean, deviation in line.points for edge in (mean - deviation, mean)]
    low, high = min([*values, *(band or ())]), max([*values, *(band or ())])
    low, high = low - 0.05 * (high - low or 1), high + 0.05 * (high - low or 1)
    wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    span = math.log(xs[-1] / xs[0]) or 1.0

    def px(x: float) -> float:
        return LEFT + 0.05 * wide + 0.9 * wide * math.log(x / xs[0]) / span

    def py(y: float) -> float:
        return TOP + tall * (high - y) / (high - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 20, title, size=13),
        _text(LEFT + wide / 2, HEIGHT - 10, x_title, anchor="middle"),
        _text(8, TOP - 10, y_title),
    ]
    if band is not None:
        top, bottom = py(band[1]), py(band[0])
        parts.append(f'<rect x="{LEFT}" y="{top:.1f}" width="{wide}" height="{bottom - top:.1f}" fill="#dddddd"/>')
        parts.append(_text(LEFT + 4, top - 4, band_title, size=11))
    parts += _axes(xs, low, high, px, py)
    for number, line in enumerate(series):
        # Pixels: the bars of several series at one x would cover each other.
        shift = 4.0 * (number - (len(series) - 1) / 2)
        parts += _line(line, number, shift, px, py)
    return "\n".join([*parts, "</svg>", ""])


def _axes(xs: Sequence[float], low: float, high: float, px: Scale, py: Scale) -> list[str]:
    right = WIDTH - RIGHT
    parts = [f'<path d="M{LEFT},{TOP} V{HEIGHT - BOTTOM} H{right}" fill="none" stroke="black"/>']
    step = 10 ** math.floor(math.log10(high - low)) / 2
    tick = math.ceil(low / step) * step
    while tick <= high:
        parts.append(f'<path d="M{LEFT - 4},{py(tick):.1f} H{LEFT}" stroke="black"/>')
        parts.append(_text(LEFT - 7, py(tick) + 4, f"{tick:g}", anchor="end"))
        tick += step
    for x in xs:
        parts.append(f'<path d="M{px(x):.1f},{HEIGHT - BOTTOM} v4" stroke="black"/>')
        parts.append(_text(px(x), HEIGHT - BOTTOM + 18, f"{x:g}", anchor="middle"))
    return parts


def _line(line: PlotLine, number: int, shift: float, px: Scale, py: Scale) -> list[str]:
    colour = COLOURS[number % len(COLOURS)]
    spots = [
        (px(x) + shift, py(mean), py(mean - deviation), py(mean + deviation)) for x, mean, deviation in line.points
    ]
    path = " L".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in spots)
    parts = [f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>']
    for x, y, bottom, top in spots:
        parts.append(f'<path d="M{x:.1f},{bottom:.1f} V{top:.1f}" stroke="{colour}" stroke-opacity="0.5"/>')
        parts.append(_mark(x, y, number, colour))
    x, y = WIDTH - RIGHT + 16, TOP + 16 + 20 * number
    return [*parts, _mark(x, y, number, colour), _text(x + 10, y + 4, line.name)]


def _mark(x: float, y: float, number: int, colour: str) -> str:
    kind = MARKS[number % len(MARKS)]
    if kind == "o":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
    shapes = {"s": "-4,-4 4,-4 4,4 -4,4", "^": "0,-5 5,4 -5,4", "d": "0,-5 5,0 0,5 -5,0"}
    return f'<polygon points="{shapes[kind]}" transform="translate({x:.1f},{y:.1f})" fill="{colour}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{html.escape(text)}</text>'
