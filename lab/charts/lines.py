"""Named rows of numbers over one axis, for instance a measure of two networks over their layers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lab.base import ConfigError
from lab.charts.layout import axis, make_figure
from lab.charts.plotly import go
from lab.charts.style import series_style

SYMBOLS: tuple[str, ...] = ("circle", "x", "square", "diamond", "triangle-up")
"""Marker of the first, second, ... line, so that colour is not the only sign."""
MARKERS = 24
"""About as many markers a line has at most: more hide the line, and one another."""
TICKS = 6
"""Most powers of ten that a logarithmic axis names."""


def lines_figure(
    x: Sequence[Any],
    lines: Mapping[str, Sequence[float]],
    *,
    x_title: str,
    y_title: str = "",
    title: str = "",
    log_y: bool = False,
    height: int = 320,
) -> go.Figure:
    """One line for each entry of `lines`, with a marker at each point, or at some where there are many.

    Args:
        x: numbers or names, one for each point.
        lines: name -> one number for each of `x`.
        x_title: what stands below.
        y_title: what the numbers are, with their unit.
        title: above the figure.
        log_y: logarithmic axis of values; those <= 0 have no place on it.
        height: pixels.

    Raises:
        ConfigError: a line of another length than `x`.
    """
    data: list[dict[str, Any]] = []
    for index, (name, values) in enumerate(lines.items()):
        if len(values) != len(x):
            raise ConfigError(f"{len(x)} values of {name}", f"{len(values)}", "give one for each point")
        style = series_style(name, index)
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": style.label,
                "x": list(x),
                "y": list(values),
                "line": {"color": style.color, "dash": style.dash, "width": 2},
                "marker": {"symbol": SYMBOLS[index % len(SYMBOLS)], "size": 8, "maxdisplayed": MARKERS},
                "hovertemplate": f"{style.label}, %{{x}}: %{{y:.4g}}<extra></extra>",
            }
        )
    kind = _log_axis(value for values in lines.values() for value in values) if log_y else {}
    return make_figure(
        data,
        height=height,
        title=title,
        hovermode="closest",
        showlegend=True,
        xaxis=axis(title={"text": x_title, "standoff": 4}),
        yaxis=axis(title={"text": y_title}, **kind),
    )


def _log_axis(values: Iterable[float]) -> dict[str, Any]:
    """A logarithmic axis for values, of which those <= 0 have no place on it.

    It has powers of ten, since numbers written out are as wide as the picture where a loss explodes, and none of the
    small digits between them, which Plotly writes too small to be read where the values span more than one power.
    """
    powers = [math.log10(value) for value in values if 0 < value < math.inf]
    span = max(powers, default=0.0) - min(powers, default=0.0)
    ticks = {"dtick": math.ceil(span / TICKS)} if span > 1 else {}
    return {"type": "log", "exponentformat": "power", **ticks}
