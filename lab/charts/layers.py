"""Gradient and update of each layer over the steps of a run, as two heat maps: which layer learns, and when."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.charts.layout import axis, make_figure, note_figure, step_title
from lab.charts.marks import Event
from lab.charts.plotly import go
from lab.charts.series import count_note
from lab.charts.style import INK

MOST_READINGS = 200
"""Columns of a heat map; of a longer run evenly spaced readings."""
ROW_HEIGHT = 17
LETTERS = 26
"""Of a layer's name; the end tells it from its neighbours."""
USUAL = -3.0
"""Power of ten of the update over the weights that a healthy training has, about."""
_GRADIENT = ((0.0, "rgba(47,126,240,0.05)"), (1.0, "rgba(47,126,240,0.95)"))
_RATIO = ((0.0, "rgba(114,104,242,0.95)"), (0.5, "rgba(127,136,150,0.10)"), (1.0, "rgba(217,114,10,0.95)"))
NO_LAYERS = "No reading of the layers: the first one comes with the first step that trains weights."


def layer_figure(events: Sequence[Event], *, title: str = "") -> go.Figure:
    """Norm of the gradient, and of the update over the weights, by layer (row) and step (column), in powers of ten.

    An empty cell is a layer that got no gradient at that step, or that was not there yet.
    """
    found = [event for event in events if event.kind == "layers"]
    if not found:
        return note_figure(NO_LAYERS, title=title)
    shown = found
    if len(found) > MOST_READINGS:
        shown = [found[place] for place in np.linspace(0, len(found) - 1, MOST_READINGS).astype(int)]
    layers = layer_rows(shown)
    gradient, ratio = (_powers(shown, layers, field) for field in ("gradient", "ratio"))
    finite = gradient[np.isfinite(gradient)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (-1.0, 1.0)
    names = _short_names(layers)
    steps = [event.step for event in shown]
    maps = [
        _heat(gradient, steps, names, bar=0.77, low=low, high=max(high, low + 1e-6), scale=_GRADIENT),
        {**_heat(ratio, steps, names, bar=0.22, low=USUAL - 2, high=USUAL + 2, scale=_RATIO), "yaxis": "y2"},
    ]
    rows = {"type": "category", "autorange": "reversed", "showgrid": False, "tickfont": {"size": 11}}
    heading = {"xref": "paper", "yref": "paper", "x": 0, "xanchor": "left", "yanchor": "bottom", "showarrow": False}
    return make_figure(
        maps,
        height=140 + 2 * max(100, ROW_HEIGHT * len(layers)),
        title=title,
        hovermode="closest",
        xaxis=axis(title=step_title(count_note(len(shown), len(found))), showgrid=False, anchor="y2"),
        yaxis=axis(domain=[0.55, 1.0], **rows),
        yaxis2=axis(domain=[0.0, 0.45], **rows),
        annotations=[
            {**heading, "y": 1.0, "text": "log10 of the gradient norm"},
            {**heading, "y": 0.45, "text": "log10 of update / weights (usual: -3)"},
        ],
    )


def _short_names(layers: Sequence[str]) -> list[str]:
    """Names without the part that all begin with, cut at their front where they are still long."""
    parts = [name.split(".") for name in layers]
    shared = 0
    while all(len(each) > shared + 1 and each[shared] == parts[0][shared] for each in parts):
        shared += 1
    # One layer alone keeps its name.
    names = [".".join(each[shared:]) for each in parts] if len(layers) > 1 else list(layers)
    return [name if len(name) <= LETTERS else f"…{name[-LETTERS:]}" for name in names]


def layer_rows(events: Sequence[Event]) -> tuple[str, ...]:
    """The layers of the latest reading in the network's order, then those that only earlier ones had."""
    found: dict[str, None] = {}
    for event in reversed(events):
        found.update(dict.fromkeys(event.payload["layers"]))
    return tuple(found)


def _powers(events: Sequence[Event], layers: Sequence[str], field: str) -> NDArray[np.float64]:
    """log10 of a field, layer by step; NaN where there is no number above zero."""
    rows = {layer: row for row, layer in enumerate(layers)}
    values = np.full((len(layers), len(events)), np.nan)
    for column, event in enumerate(events):
        for layer, value in zip(event.payload["layers"], event.payload[field], strict=True):
            if value is not None and np.isfinite(value) and value > 0:
                values[rows[layer], column] = np.log10(value)
    return values


def _heat(
    values: NDArray[np.float64],
    steps: Sequence[int],
    names: Sequence[str],
    *,
    bar: float,
    low: float,
    high: float,
    scale: Sequence[tuple[float, str]],
) -> dict[str, Any]:
    return {
        "type": "heatmap",
        "z": values,
        "x": list(steps),
        "y": list(names),
        "zmin": low,
        "zmax": high,
        "colorscale": [list(stop) for stop in scale],
        "colorbar": {"len": 0.46, "y": bar, "thickness": 10, "outlinewidth": 0},
        # The page sets its colour, whether there is text or not.
        "textfont": {"color": INK},
        "hoverongaps": False,
        "hovertemplate": "%{y}, step %{x}: 10^%{z:.2f}<extra></extra>",
    }


def layer_table(events: Sequence[Event]) -> list[dict[str, str]]:
    """The latest reading as rows of text."""
    latest = next((event.payload for event in reversed(events) if event.kind == "layers"), None)
    if latest is None:
        return []
    return [
        {"layer": layer, "gradient norm": _number(gradient), "update / weights": _number(ratio)}
        for layer, gradient, ratio in zip(latest["layers"], latest["gradient"], latest["ratio"], strict=True)
    ]


def _number(value: float | None) -> str:
    return "no gradient" if value is None else f"{value:.2e}"
