"""What all figures share: margins, axes, hover, and the marks of phases and mutations.

Backgrounds are clear, so that the page shows through. Text has the one colour `layout.font.color`, dark by default:
a dark page sets that one field (and a heat map's `textfont.color`).
"""

from collections.abc import Sequence
from typing import Any

from lab.charts.lazy import LazyFigure
from lab.charts.marks import Mark
from lab.charts.plotly import go
from lab.charts.style import INK

GRID = "rgba(127,136,150,0.25)"
CLEAR = "rgba(0,0,0,0)"
LEGEND = {"orientation": "h", "x": 0, "y": 0, "yref": "container", "yanchor": "bottom"}
PLOT_WIDTH = 400
"""Pixels of the step axis of a panel of half a page, about."""
LETTER = 7.5
"""Pixels of a letter of a mark's label, about."""


def mark_shapes(marks: Sequence[Mark]) -> list[dict[str, Any]]:
    """A vertical line over the whole height of the figure for each mark."""
    return [
        {
            "type": "line",
            "xref": "x",
            "yref": "paper",
            "x0": mark.step,
            "x1": mark.step,
            "y0": 0,
            "y1": 1,
            "line": {"color": mark.color, "width": 1.5, "dash": mark.dash},
        }
        for mark in marks
    ]


def mark_labels(marks: Sequence[Mark], span: float, width: int = PLOT_WIDTH) -> list[dict[str, Any]]:
    """The marks' texts above the figure; where two would overlap, the one that stays always is written, else the later.

    Args:
        span: length of the visible axis in steps.
        width: of that axis in pixels; labels stand apart where it is as wide or wider.
    """
    shown: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: (mark.always, mark.step), reverse=True):
        if all(
            abs(other.step - mark.step) * width >= ((len(other.text) + len(mark.text)) / 2 + 1) * LETTER * span
            for other in shown
        ):
            shown.append(mark)
    return [
        {
            "x": mark.step,
            "y": 1.0,
            "xref": "x",
            "yref": "paper",
            "yanchor": "bottom",
            "text": mark.text,
            "showarrow": False,
            "font": {"size": 12},
        }
        for mark in shown
    ]


def step_title(*notes: str) -> dict[str, Any]:
    """Title of a step axis, with what the reader must know of what is left out: `step (200 of 5,000 marks)`."""
    said = "; ".join(note for note in notes if note)
    return {"text": f"step ({said})" if said else "step", "standoff": 4}


def axis(**options: Any) -> dict[str, Any]:
    """An axis with the common grid and numbers written out (`0.0006`, not `600µ`); `options` go over it."""
    numbers = {"exponentformat": "none", "separatethousands": True}
    return {"gridcolor": GRID, "zeroline": False, "automargin": True, **numbers, **options}


def make_figure(data: list[dict[str, Any]], *, height: int, title: str = "", **layout: Any) -> go.Figure:
    """A figure with the common layout; `layout` goes over it."""
    common: dict[str, Any] = {
        "height": height,
        "margin": {"l": 8, "r": 12, "t": 58 if title else 28, "b": 66},
        "hovermode": "x unified",
        "font": {"color": INK, "size": 13},
        "template": "none",
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "legend": LEGEND,
    }
    if title:
        common["title"] = {"text": title, "x": 0.01, "xanchor": "left", "y": 0.98, "yanchor": "top"}
    return LazyFigure([_whole_markers(trace) for trace in data], {**common, **layout})


def _whole_markers(trace: dict[str, Any]) -> dict[str, Any]:
    """A marker on the edge of a plot, as the last one of a curve is, is drawn whole; one beyond it stays hidden."""
    points = trace.get("type") == "scatter" and "markers" in trace.get("mode", "")
    return {**trace, "cliponaxis": False} if points else trace


def note_figure(text: str, *, height: int = 260, title: str = "") -> go.Figure:
    """A figure without data that says why it has none."""
    hidden = {"visible": False}
    note = {
        # The reason on a line of its own: a panel of half the page would cut one long line at both ends.
        "text": text.replace(": ", ":<br>", 1),
        "x": 0.5,
        "y": 0.5,
        "xref": "paper",
        "yref": "paper",
        "showarrow": False,
        "font": {"size": 15},
    }
    return make_figure([], height=height, title=title, xaxis=hidden, yaxis=hidden, annotations=[note])
