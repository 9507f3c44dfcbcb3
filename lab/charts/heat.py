"""A table of numbers as a map of colours, for instance a loss over two parameters or a load over steps."""

from collections.abc import Sequence
from typing import Any

from lab.base import ConfigError
from lab.charts.layout import make_figure
from lab.charts.plotly import go


def heat_figure(
    values: Sequence[Sequence[float]],
    *,
    x: Sequence[Any],
    y: Sequence[Any],
    x_title: str,
    y_title: str = "",
    unit: str = "",
    title: str = "",
    low: float | None = None,
    high: float | None = None,
    height: int = 360,
) -> go.Figure:
    """One row of colours for each entry of `y`, the first at the bottom.

    Args:
        values: one row for each of `y`, one number for each of `x`.
        x: numbers or names of the columns.
        y: numbers or names of the rows.
        x_title: what stands below.
        y_title: what stands on the left.
        unit: what the numbers are, beside the scale of colours.
        title: above the figure.
        low: the number that gets the darkest colour; the least one where it is None.
        high: the number that gets the brightest colour; the largest one where it is None.
        height: pixels.

    Raises:
        ConfigError: another number of rows than `y`, or of numbers in a row than `x`.
    """
    if len(values) != len(y):
        raise ConfigError(f"{len(y)} rows of numbers", f"{len(values)}", "give one for each of y")
    for row in values:
        if len(row) != len(x):
            raise ConfigError(f"{len(x)} numbers in a row", f"{len(row)}", "give one for each of x")
    heat = {
        "type": "heatmap",
        "x": list(x),
        "y": list(y),
        "z": [list(row) for row in values],
        "zmin": low,
        "zmax": high,
        "colorscale": "Cividis",
        "colorbar": {"title": {"text": unit, "side": "right"}, "thickness": 14},
        "hovertemplate": f"{x_title} %{{x}}, {y_title} %{{y}}: %{{z:.4g}} {unit}<extra></extra>",
    }
    return make_figure(
        [heat],
        height=height,
        title=title,
        hovermode="closest",
        xaxis={"title": {"text": x_title, "standoff": 4}, "automargin": True},
        yaxis={"title": {"text": y_title, "standoff": 4}, "automargin": True},
    )
