"""The cell as a graph: nodes stay where they are, an edge's primitive shows by colour, dash and label, p by width.

Covers any cell whose edges run from a lower to a higher node. Nodes stand on one line; an edge that passes over d nodes
is an arc of height growing with d, alternately above and below and steep at its ends, so that no two labels of
NAS-Bench-201's cell share a place. The table and the DOT text hold the same facts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from lab.charts.layout import make_figure, note_figure
from lab.charts.style import GREY, LineStyle, edge_label, primitive_style

DASH_PIXELS = {
    "solid": "solid",
    "longdash": "24px,7px",
    "dash": "11px,7px",
    "dashdot": "17px,6px,5px,6px",
    "dot": "4px,6px",
    "longdashdot": "24px,6px,5px,6px",
}
"""Dashes in pixels: Plotly's named ones grow with the line's width and would leave gaps as long as a short edge."""
DOT_STYLES = {"solid": "solid", "longdash": "dashed", "dash": "dashed", "dashdot": "dashed", "dot": "dotted"}


@dataclass(frozen=True, kw_only=True)
class CellEdge:
    """One edge of a drawn cell."""

    cell: str
    target: int
    source: int
    primitive: str
    probability: float | None
    """Probability of `primitive` on this edge, in [0, 1]; None where it is not known."""
    changed: bool = False
    """Whether the latest mutation changed this edge."""

    @property
    def label(self) -> str:
        """The edge's name: source, arrow, target."""
        return edge_label(self.target, self.source, self.cell)


def cell_edges(
    genotype: Mapping[str, Any],
    snapshot: Mapping[str, Any] | None = None,
    changed: Sequence[Sequence[Any]] = (),
) -> tuple[CellEdge, ...]:
    """The edges of a genotype in JSON form, with the probabilities of a genotype event's payload.

    Args:
        genotype: `{"space": name, "cells": {cell type: [[target, source, primitive], ...]}}`.
        snapshot: payload of a genotype event (`edges`, `primitives`, `probabilities`); None where there is none.
        changed: edits `[cell type, target, source, ...]` to point out.
    """
    known: dict[tuple[str, int, int, str], float] = {}
    if snapshot is not None:
        for (cell, target, source), row in zip(snapshot["edges"], snapshot["probabilities"], strict=True):
            for primitive, probability in zip(snapshot["primitives"], row, strict=True):
                known[cell, int(target), int(source), primitive] = float(probability)
    edited = {(edit[0], int(edit[1]), int(edit[2])) for edit in changed}
    return tuple(
        CellEdge(
            cell=cell,
            target=int(target),
            source=int(source),
            primitive=primitive,
            probability=known.get((cell, int(target), int(source), primitive)),
            changed=(cell, int(target), int(source)) in edited,
        )
        for cell, rows in genotype["cells"].items()
        for target, source, primitive in rows
    )


def edge_table(edges: Sequence[CellEdge]) -> list[dict[str, str]]:
    """The graph as rows of text: edge, primitive, probability, changed. The twin for those who cannot see the graph."""
    return [
        {
            "edge": edge.label,
            "primitive": primitive_style(edge.primitive).label,
            "probability": "not known" if edge.probability is None else f"{edge.probability:.2f}",
            "changed": "changed" if edge.changed else "",
        }
        for edge in edges
    ]


def edge_width(probability: float | None) -> float:
    """Line width in pixels: 1.5 at probability 0, 9 at 1; 3 where it is not known."""
    return 3.0 if probability is None else 1.5 + 7.5 * min(max(probability, 0.0), 1.0)


def genotype_figure(edges: Sequence[CellEdge], *, title: str = "", height: int = 400) -> go.Figure:
    """The cell as a graph; several cell types stand one below the other."""
    if not edges:
        return note_figure(
            "No genotype: a search writes one after its first architecture epoch.", height=height, title=title
        )
    cells = list(dict.fromkeys(edge.cell for edge in edges))
    data: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    floor = 0.0
    for cell in cells:
        own = [edge for edge in edges if edge.cell == cell]
        top, bottom = _extent(own)
        base = floor - top
        for edge in own:
            trace, note = _edge(edge, base)
            data.append(trace)
            notes.append(note)
        data.append(_nodes(own, base))
        notes += _end_notes(own, base)
        if len(cells) > 1:
            notes.append({"text": f"<b>{cell}</b>", "x": -0.3, "y": floor, "showarrow": False, "xanchor": "left"})
        floor = base - bottom - 0.25
    nodes = max(edge.target for edge in edges)
    hidden = {"visible": False, "fixedrange": True}
    return make_figure(
        data,
        height=height,
        title=title,
        hovermode="closest",
        showlegend=False,
        margin={"l": 4, "r": 4, "t": 30 if title else 4, "b": 4},
        xaxis={**hidden, "range": [-0.45, nodes + 0.45]},
        yaxis={**hidden, "range": [floor + 0.25, 0.0]},
        annotations=notes,
    )


def _bow(edge: CellEdge) -> float:
    """Height of the arc's middle over the line of nodes; its sign says above or below."""
    jump = edge.target - edge.source - 1
    if jump == 0:
        return 0.0
    side = 1.0 if (edge.source + jump) % 2 else -1.0
    return side * (0.6 + 0.8 * (jump - 1))


def _extent(edges: Sequence[CellEdge]) -> tuple[float, float]:
    bows = [_bow(edge) for edge in edges]
    return max(0.3, *bows) + 0.2, max(0.3, *(-bow for bow in bows)) + 0.2


def _edge(edge: CellEdge, base: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Trace and label of one edge: an arc through the two nodes with its top at the bow."""
    style = primitive_style(edge.primitive)
    place = np.linspace(0.0, 1.0, 41)
    bow = _bow(edge)
    x = edge.source + (edge.target - edge.source) * place
    y = base + bow * (1.0 - (2.0 * place - 1.0) ** 4)
    share = "" if edge.probability is None else f" {edge.probability:.2f}"
    straight = bow == 0.0
    name = f"<b>{style.label}</b>{'<br>' if straight else ''}{share}"
    trace = {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "line": {
            "color": style.color,
            "width": edge_width(edge.probability),
            "dash": DASH_PIXELS.get(style.dash, style.dash),
        },
        "opacity": 0.6 if edge.primitive == "none" else 1.0,
        "hoverinfo": "text",
        "text": f"edge {edge.label}: {style.label}{share}",
    }
    note = {
        "x": (edge.source + edge.target) / 2,
        "y": base + bow,
        "text": f"★ {name}" if edge.changed else name,
        "showarrow": False,
        "yshift": 24 if straight else 17 if bow > 0 else -17,
        "font": {"size": 14},
    }
    return trace, note


def _nodes(edges: Sequence[CellEdge], base: float) -> dict[str, Any]:
    numbers = sorted({node for edge in edges for node in (edge.source, edge.target)})
    ends = {numbers[0]: "in", numbers[-1]: "out"}
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": numbers,
        "y": [base] * len(numbers),
        "text": [f"<b>{node}</b>" for node in numbers],
        "textfont": {"color": "white", "size": 15},
        "marker": {"size": 38, "color": "#475569", "line": {"width": 2, "color": GREY}},
        "hoverinfo": "text",
        "hovertext": [f"node {node} {ends.get(node, '')}".strip() for node in numbers],
    }


def _end_notes(edges: Sequence[CellEdge], base: float) -> list[dict[str, Any]]:
    first, last = min(edge.source for edge in edges), max(edge.target for edge in edges)
    common = {"y": base, "showarrow": False, "font": {"size": 13}}
    return [
        {**common, "x": first, "text": "in →", "xanchor": "right", "xshift": -22},
        {**common, "x": last, "text": "→ out", "xanchor": "left", "xshift": 22},
    ]


def genotype_dot(edges: Sequence[CellEdge], name: str = "cell") -> str:
    """The cell as DOT text with pinned node places (for `neato -n` and for keeping).

    Edge colour, style, width and label say what they say in the figure.
    """
    lines = [f'digraph "{name}" {{', "  rankdir=LR;", '  node [shape=circle, fontname="sans-serif"];']
    for cell in dict.fromkeys(edge.cell for edge in edges):
        own = [edge for edge in edges if edge.cell == cell]
        for node in sorted({node for edge in own for node in (edge.source, edge.target)}):
            lines.append(f'  "{cell}{node}" [label="{node}", pos="{node * 144},0!"];')
        for edge in own:
            lines.append(_dot_edge(edge, primitive_style(edge.primitive)))
    return "\n".join([*lines, "}", ""])


def _dot_edge(edge: CellEdge, style: LineStyle) -> str:
    share = "" if edge.probability is None else f" {edge.probability:.2f}"
    return (
        f'  "{edge.cell}{edge.source}" -> "{edge.cell}{edge.target}" [label="{style.label}{share}", '
        f'color="{style.color}", style="{DOT_STYLES.get(style.dash, "dashed")}", '
        f"penwidth={edge_width(edge.probability):.2f}];"
    )
