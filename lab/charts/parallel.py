"""Runs as lines across parallel axes: what they were given, and what came of it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lab.base import require
from lab.charts.layout import make_figure, note_figure
from lab.charts.plotly import go
from lab.charts.study import coordinate_axis

DECADES = 1.5
"""An axis of positive numbers that lie further apart than this, in powers of ten, is logarithmic."""
LONGEST = 22
"""Letters of a text beside an axis; a longer one keeps its end, where names of runs differ."""


def parallel_figure(
    columns: Mapping[str, Sequence[str | float]], *, colors: Sequence[str], title: str = "", height: int = 420
) -> go.Figure:
    """One line for each run across axes.

    Args:
        columns: name of an axis -> the value of each run, all of equal length. Numbers lie on a scale of their own;
            a column that holds a text lies at even places, in order of first appearance.
        colors: of each run: those that its curves have elsewhere on the page.

    Raises:
        ConfigError: columns of unequal length, or another number of colours.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    wanted = {*lengths.values(), len(colors)}
    require(len(wanted) == 1, expected="one value and one colour of each run", got=lengths, hint="fill the gaps")
    if not colors or not columns:
        return note_figure("Nothing to show: no run has both settings and values.", height=height, title=title)
    last = max(len(colors) - 1, 1)
    scale = [[place / last, color] for place, color in enumerate(colors)]
    data: list[dict[str, Any]] = [
        {
            "type": "parcoords",
            "dimensions": [_axis(name, values) for name, values in columns.items()],
            "line": {
                "color": list(range(len(colors))),
                "cmin": 0,
                "cmax": last,
                # A scale has two ends, also for one run.
                "colorscale": scale if len(scale) > 1 else [*scale, [1.0, colors[0]]],
            },
            "labelangle": -20,
        }
    ]
    # Room for slanted names above the axes and for half a name at either side.
    return make_figure(data, height=height, title=title, margin={"l": 110, "r": 90, "t": 90, "b": 30})


def is_number(value: object) -> bool:
    """Whether a value has a place on an axis of numbers: finite, and neither a text nor true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _axis(name: str, values: Sequence[str | float]) -> dict[str, Any]:
    numbers = [float(value) for value in values if is_number(value)]
    if len(numbers) < len(values):
        texts = [value if isinstance(value, str) else f"{value:g}" for value in values]
        made = coordinate_axis({"field": name, "choices": list(dict.fromkeys(texts))}, texts)
        return {**made, "ticktext": [_short(text) for text in made["ticktext"]]}
    low, high = min(numbers), max(numbers)
    log = low > 0 and math.log10(high / low) > DECADES
    if low == high:
        # An axis needs two ends.
        room = abs(low) / 2 or 1.0
        low, high = low - room, high + room
    return coordinate_axis({"field": name, "choices": [], "low": low, "high": high, "log": log}, numbers)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"…{text[1 - LONGEST :]}"
