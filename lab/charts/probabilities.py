"""Architecture probabilities as a heat map: one row for each edge, one column for each primitive."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from lab.charts.layout import make_figure, note_figure
from lab.charts.style import INK, edge_label, primitive_style

SCALE: tuple[tuple[float, str], ...] = ((0.0, "rgba(47,126,240,0.05)"), (1.0, "rgba(47,126,240,0.8)"))
"""From the page's colour to blue, so that it reads in both themes; numbers stand in every cell."""


ROW_HEIGHT = 22
"""Least height of a row in pixels."""
FEW = 6
"""Primitives up to which the cells' text is large and whole; beyond, `.31` stands for 0.31."""


def chosen_columns(genotype: Mapping[str, Any], snapshot: Mapping[str, Any]) -> tuple[int, ...]:
    """Column of the genotype's primitive in each row of the snapshot's probabilities; -1 on an edge not taken."""
    found = {
        (cell, int(target), int(source)): primitive
        for cell, rows in genotype["cells"].items()
        for target, source, primitive in rows
    }
    columns = list(snapshot["primitives"])
    names = [found.get((cell, int(target), int(source))) for cell, target, source in snapshot["edges"]]
    return tuple(-1 if name is None else columns.index(name) for name in names)


def probability_figure(snapshot: Mapping[str, Any] | None, *, title: str = "", height: int | None = None) -> go.Figure:
    """softmax(alpha / temperature) of a genotype event's payload, first edge on top.

    ◆ marks the primitive that the live network has, ▲ the most probable one where it is another; an edge that is not
    taken has neither. By default the height is 400, or more where there are many edges.
    """
    if snapshot is None or not snapshot["probabilities"]:
        text = "No probabilities: a search writes them after its first architecture epoch."
        return note_figure(text, height=height or 400, title=title)
    height = height or max(400, 60 + ROW_HEIGHT * len(snapshot["edges"]))
    values = np.asarray(snapshot["probabilities"], dtype=np.float64)
    live = chosen_columns(snapshot["genotype"], snapshot)
    best = chosen_columns(snapshot["argmax_genotype"], snapshot)
    many = values.shape[1] > FEW
    texts = [
        [_cell_text(values[row, column], column == live[row], column == best[row]) for column in range(values.shape[1])]
        for row in range(values.shape[0])
    ]
    if many:
        texts = [[text.replace("0.", ".") for text in row] for row in texts]
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
            "textfont": {"size": 10 if many else 13, "color": INK},
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
