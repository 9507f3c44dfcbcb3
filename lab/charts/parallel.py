"""Runs as lines across parallel axes: what they were given, and what came of it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lab.base import require
from lab.charts.layout import make_figure, note_figure
from lab.charts.plotly import go
from lab.charts.study import coordinate_axis
from lab.charts.style import BLUE, ORANGE

DECADES = 1.5
"""An axis of positive numbers that lie further apart than this, in powers of ten, is logarithmic."""
LONGEST = 22
"""Letters of a text beside an axis; a longer one keeps its end, where names of runs differ."""


def parallel_figure(
    columns: Mapping[str, Sequence[str | float]], *, color: str, title: str = "", height: int = 420
) -> go.Figure:
    """One line for each run across axes, drawn the more blue the larger its value on the axis `color` is.

    Args:
        columns: name of an axis -> the value of each run, all of equal length. Numbers lie on a scale of their own;
            a column that holds a text lies at even places, in order of first appearance.
        color: name of a column of finite numbers.

    Raises:
        ConfigError: columns of unequal length, or no column of finite numbers called `color`.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    require(len(set(lengths.values())) <= 1, expected="one value of each run", got=lengths, hint="fill the gaps")
    shade = columns.get(color, ())
    if color in columns and not len(shade):
        return note_figure("Nothing to show yet: no run has both settings and values.", height=height, title=title)
    require(
        bool(shade) and all(is_number(value) for value in shade),
        expected=f"a column of finite numbers called {color!r}",
        got=f"{list(columns)}",
        hint="leave runs without that value out",
    )
    data: list[dict[str, Any]] = [
        {
            "type": "parcoords",
            "dimensions": [_axis(name, values) for name, values in columns.items()],
            "line": {"color": [float(value) for value in shade], "colorscale": [[0.0, ORANGE], [1.0, BLUE]]},
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
        texts = [str(value) for value in values]
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
