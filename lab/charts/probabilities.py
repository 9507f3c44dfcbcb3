"""Architecture probabilities as a heat map: one row for each edge, one column for each primitive."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from lab.charts.layout import make_figure, note_figure
from lab.charts.style import INK, edge_label, primitive_style

SCALE: tuple[tuple[float, str], ...] = ((0.0, "rgba(47,126,240,0.05)"), (1.0, "rgba(47,126,240,0.8)"))
"""From the page's colour to blue, so that it reads in both themes; numbers stand in every cell."""


def chosen_columns(genotype: Mapping[str, Any], snapshot: Mapping[str, Any]) -> tuple[int, ...]:
    """Column of the genotype's primitive in each row of the snapshot's probabilities."""
    found = {
        (cell, int(target), int(source)): primitive
        for cell, rows in genotype["cells"].items()
        for target, source, primitive in rows
    }
    columns = list(snapshot["primitives"])
    return tuple(columns.index(found[cell, int(target), int(source)]) for cell, target, source in snapshot["edges"])


def probability_figure(snapshot: Mapping[str, Any] | None, *, title: str = "", height: int = 400) -> go.Figure:
    """softmax(alpha / temperature) of a genotype event's payload, first edge on top.

    ◆ marks the primitive that the live network has, ▲ the most probable one where it is another.
    """
    if snapshot is None or not snapshot["probabilities"]:
        text = "No probabilities: a search writes them after its first architecture epoch."
        return note_figure(text, height=height, title=title)
    values = np.asarray(snapshot["probabilities"], dtype=np.float64)
    live = chosen_columns(snapshot["genotype"], snapshot)
    best = chosen_columns(snapshot["likeliest"], snapshot)
    texts = [
        [_cell_text(values[row, column], column == live[row], column == best[row]) for column in range(values.shape[1])]
        for row in range(values.shape[0])
    ]
    data = [
        {
            "type": "heatmap",
            "z": values,
            "x": [primitive_style(primitive).label for primitive in snapshot["primitives"]],
            "y": [edge_label(int(target), int(source), cell) for cell, target, source in snapshot["edges"]],
            "zmin": 0.0,
            "zmax": 1.0,
            "colorscale": [list(stop) for stop in SCALE],
            "showscale": False,
            "xgap": 2,
            "ygap": 2,
            "text": texts,
            "texttemplate": "%{text}",
            "textfont": {"size": 13, "color": INK},
            "hovertemplate": "edge %{y}, %{x}: %{z:.3f}<extra></extra>",
        }
    ]
    return make_figure(
        data,
        height=height,
        title=title,
        hovermode="closest",
        margin={"l": 8, "r": 8, "t": 34 if title else 8, "b": 8},
        xaxis={"side": "bottom", "showgrid": False, "automargin": True},
        yaxis={"autorange": "reversed", "showgrid": False, "automargin": True, "type": "category"},
    )


def _cell_text(probability: float, live: bool, best: bool) -> str:
    sign = "◆ " if live else "▲ " if best else ""
    return f"{sign}{probability:.2f}" if np.isfinite(probability) else f"{sign}NaN"


def probability_table(snapshot: Mapping[str, Any]) -> list[dict[str, str]]:
    """The heat map as rows of text: edge, one column for each primitive, entropy in nats."""
    rows: list[dict[str, str]] = []
    entropies: Sequence[float] = snapshot["entropy"]
    for (cell, target, source), row, entropy in zip(
        snapshot["edges"], snapshot["probabilities"], entropies, strict=True
    ):
        entries = {
            primitive_style(primitive).label: f"{probability:.3f}"
            for primitive, probability in zip(snapshot["primitives"], row, strict=True)
        }
        rows.append({"edge": edge_label(int(target), int(source), cell), **entries, "entropy": f"{entropy:.3f}"})
    return rows
