"""Memory over time: what each line of code has allocated and not yet given back, as areas on top of each other."""

from collections.abc import Mapping, Sequence
from typing import Any

from lab.charts.layout import axis, make_figure
from lab.charts.plotly import go
from lab.charts.style import series_style

LINES = 7
"""Lines with an area of their own; the others are added up."""
OTHERS = "other lines"
LETTERS = 88
"""Longest name of a line in the legend, which must fit a page of 1000 pixels."""
ROW = 20
"""Pixels of a row of the legend."""
PATTERNS: tuple[str, ...] = ("", "/", "x", ".", "\\", "-", "|", "+")
"""Fill of the first, second, ... area, so that colour is not the only sign."""


def allocation_figure(live: Mapping[str, Sequence[float]], *, title: str = "", height: int = 300) -> go.Figure:
    """One area for each line of code; their sum is what is alive.

    Args:
        live: line of code -> its bytes alive, one number after each allocation and each release, equally many for all.
            The first `LINES` have an area of their own.
        title: above the figure.
        height: pixels without the legend, which has a row for each area.
    """
    shown = dict(list(live.items())[:LINES])
    if more := list(live.values())[LINES:]:
        shown[OTHERS] = [sum(numbers) for numbers in zip(*more, strict=True)]
    data: list[dict[str, Any]] = []
    for index, (name, values) in enumerate(shown.items()):
        label = name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"
        style = series_style(label, index)
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": style.label,
                "x": list(range(len(values))),
                "y": list(values),
                "stackgroup": "lines",
                "line": {"color": style.color, "width": 1, "shape": "hv"},
                "fillpattern": {
                    "shape": PATTERNS[index % len(PATTERNS)],
                    "fgcolor": style.color,
                    "fillmode": "overlay",
                },
                "hovertemplate": f"{style.label}: %{{y:,}} B<extra></extra>",
            }
        )
    bottom = 60 + ROW * len(shown)
    return make_figure(
        data,
        height=height + ROW * len(shown),
        title=title,
        hovermode="closest",
        showlegend=True,
        margin={"l": 8, "r": 12, "t": 58 if title else 28, "b": bottom},
        legend={"orientation": "v", "x": 0, "y": 0, "yref": "container", "yanchor": "bottom", "traceorder": "normal"},
        xaxis=axis(title={"text": "allocations and releases, in order", "standoff": 4}),
        yaxis=axis(title={"text": "bytes alive"}, rangemode="tozero", tickformat="~s", ticksuffix="B"),
    )
