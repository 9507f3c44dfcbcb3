"""Architecture probabilities as a heat map: one row for each edge, one column for each primitive."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lab.charts.entropy import drawable_columns, drawn_entropies, drawn_probabilities
from lab.charts.layout import make_figure, note_figure
from lab.charts.plotly import go
from lab.charts.style import INK, edge_label, primitive_style, short_label

SCALE: tuple[tuple[float, str], ...] = ((0.0, "rgba(47,126,240,0.05)"), (1.0, "rgba(47,126,240,0.8)"))
"""From the page's colour to blue, so that it reads in both themes; numbers stand in every cell."""


ROW_HEIGHT = 22
"""Least height of a row in pixels."""
FEW = 6
"""Primitives up to which the cells' text is large and whole; beyond, `.31` stands for 0.31."""
FAINT = 0.05
"""Of many primitives those that are less probable, and that no cell has, are told by colour and hover alone."""


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


def probability_figure(
    snapshot: Mapping[str, Any] | None, *, title: str = "", height: int | None = None, taken: bool = False
) -> go.Figure:
    """How likely each primitive is drawn, of a genotype event's payload, first edge on top.

    Primitives that no edge can draw have no column, unless a shown cell has them; one that this edge alone cannot draw
    is a dash. ◆ marks the primitive that the live network has, ▲ the most probable one where it is another; an edge
    that is not taken has neither. By default the height is 400, or more where there are many edges.
    """
    if snapshot is None or not snapshot["probabilities"]:
        text = "No probabilities: a search writes them after its first architecture epoch."
        return note_figure(text, height=height or 400, title=title)
    live = chosen_columns(snapshot["genotype"], snapshot)
    rows = [row for row in range(len(live)) if live[row] >= 0 or not taken]
    height = height or max(400, 60 + ROW_HEIGHT * len(rows))
    best = chosen_columns(snapshot["argmax_genotype"], snapshot)
    columns = _shown_columns(snapshot, {*live, *best})
    drawable, values = drawable_columns(snapshot), drawn_probabilities(snapshot)
    many = len(columns) > FEW
    texts = [
        [
            _cell_text(values[row, column], column == live[row], column == best[row], drawable[row, column], many=many)
            for column in columns
        ]
        for row in rows
    ]
    primitives = [snapshot["primitives"][column] for column in columns]
    edges = [snapshot["edges"][row] for row in rows]
    data = [
        {
            "type": "heatmap",
            "z": values[np.ix_(rows, columns)],
            "x": [short_label(name) if many else primitive_style(name).label for name in primitives],
            "y": [edge_label(int(target), int(source), cell) for cell, target, source in edges],
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
        xaxis={"side": "bottom", "showgrid": False, "automargin": True, "dtick": 1},
        yaxis={"autorange": "reversed", "showgrid": False, "automargin": True, "type": "category", "dtick": 1},
    )


def _shown_columns(snapshot: Mapping[str, Any], chosen: set[int]) -> list[int]:
    """Columns that some edge can draw, and those that a shown cell has all the same."""
    drawable = drawable_columns(snapshot)
    return [column for column in range(drawable.shape[1]) if drawable[:, column].any() or column in chosen]


def _cell_text(probability: float, live: bool, best: bool, drawable: bool, *, many: bool) -> str:
    sign = "◆" if live else "▲" if best else ""
    if not drawable:
        return f"{sign} –".strip()
    if not np.isfinite(probability):
        return f"{sign} NaN".strip()
    if not many:
        return f"{sign} {probability:.2f}".strip()
    # Two hundred small numbers are read by nobody: what is improbable is left to the colour.
    return sign if probability < FAINT else sign + f"{probability:.2f}".replace("0.", ".")


def probability_table(snapshot: Mapping[str, Any]) -> list[dict[str, str]]:
    """The heat map as rows of text: edge, one column for each primitive, entropy in nats."""
    rows: list[dict[str, str]] = []
    if not snapshot["probabilities"]:
        return rows
    columns = _shown_columns(snapshot, set())
    drawable, shares = drawable_columns(snapshot), drawn_probabilities(snapshot)
    for (cell, target, source), row, can, entropy in zip(
        snapshot["edges"], shares, drawable, drawn_entropies(snapshot), strict=True
    ):
        entries = {
            primitive_style(snapshot["primitives"][column]).label: f"{row[column]:.3f}" if can[column] else "–"
            for column in columns
        }
        rows.append({"edge": edge_label(int(target), int(source), cell), **entries, "entropy": f"{entropy:.3f}"})
    return rows
