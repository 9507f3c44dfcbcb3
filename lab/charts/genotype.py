"""The cell as a graph: nodes stay where they are, an edge's primitive shows by colour, dash and label, p by width.

Covers any cell whose edges run from a lower to a higher node; edges that a genotype does not take are not drawn. Nodes
stand on one line; an edge that passes over d nodes is an arc of height growing with d, alternately above and below and
steep at its ends, so that no two labels of a cell share a place. A cell of many nodes has short labels, which stay
apart on a telephone too; hover, table and DOT text have the whole names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lab.charts.layout import make_figure, note_figure
from lab.charts.plotly import go
from lab.charts.style import GREY, LineStyle, edge_label, primitive_style, short_label
from lab.space import ABSENT, SPACES

DASH_PIXELS = {
    "solid": "solid",
    "longdash": "24px,7px",
    "dash": "11px,7px",
    "dashdot": "17px,6px,5px,6px",
    "dot": "4px,6px",
    "longdashdot": "24px,6px,5px,6px",
}
"""Dashes in pixels: Plotly's named ones grow with the line's width and would leave gaps as long as a short edge."""
FEW = 4
"""Nodes up to which a cell has whole names and large nodes."""
LOW, LOW_OF_MANY = 0.6, 1.1
"""Height of the lowest arcs of a cell of few nodes, and of many: there fewer pixels are in a unit."""
HEADING = 0.15
"""Share of a cell's height that its heading takes where there are several cells."""
HALO = "0 0 3px var(--st-background-color, transparent)"
"""Shadow of a label in the page's colour: a line that passes behind the text does not strike it out."""
CELL_HEIGHT = 400
"""Height of one cell's graph in pixels."""
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
    former: str = ""
    """What a changed edge had before it; empty where that is not known, `ABSENT` where it had nothing."""
    space: str = ""
    """Name of the genotype's space."""

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
        changed: edits `[cell type, target, source, old primitive, ...]` to point out.
    """
    known: dict[tuple[str, int, int, str], float] = {}
    if snapshot is not None:
        for (cell, target, source), row in zip(snapshot["edges"], snapshot["probabilities"], strict=True):
            for primitive, probability in zip(snapshot["primitives"], row, strict=True):
                known[cell, int(target), int(source), primitive] = float(probability)
    edited = {(edit[0], int(edit[1]), int(edit[2])): str(edit[3]) if len(edit) > 3 else "" for edit in changed}
    return tuple(
        CellEdge(
            cell=cell,
            target=int(target),
            source=int(source),
            primitive=primitive,
            probability=known.get((cell, int(target), int(source), primitive)),
            changed=(cell, int(target), int(source)) in edited,
            former=edited.get((cell, int(target), int(source)), ""),
            space=str(genotype.get("space", "")),
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


def genotype_figure(
    edges: Sequence[CellEdge], *, title: str = "", height: int | None = None, filled: float | None = None
) -> go.Figure:
    """The cell as a graph; several cell types stand one below the other, by default each as high as one alone.

    Args:
        filled: share of a transition that is done, in [0, 1]: each changed edge is drawn as its new primitive that far
            from its source, and as its former one beyond; None draws the new one alone.
    """
    if not edges:
        text = "No genotype: a search writes one after its first architecture epoch."
        return note_figure(text, height=height or CELL_HEIGHT, title=title)
    cells = list(dict.fromkeys(edge.cell for edge in edges))
    height = height or CELL_HEIGHT * len(cells)
    data: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    axes: dict[str, Any] = {}
    last = max(edge.target for edge in edges)
    for number, cell in enumerate(cells):
        own = [edge for edge in edges if edge.cell == cell]
        end = "" if number == 0 else str(number + 1)
        traces, own_notes = _cell(own, filled)
        data += [{**trace, "xaxis": f"x{end}", "yaxis": f"y{end}"} for trace in traces]
        notes += [{**note, "xref": f"x{end}", "yref": f"y{end}"} for note in own_notes]
        top, bottom = _extent(own)
        row = 1.0 / len(cells)
        domain = [1.0 - (number + 1) * row, 1.0 - number * row - (HEADING * row if len(cells) > 1 else 0.0)]
        hidden = {"visible": False, "fixedrange": True}
        # At the ends a cell of few nodes has the words `in` and `out`.
        aside = 0.45 if _many(own) else 0.6
        axes[f"xaxis{end}"] = {**hidden, "range": [-aside, last + aside], "anchor": f"y{end}"}
        axes[f"yaxis{end}"] = {**hidden, "range": [-bottom, top], "domain": domain, "anchor": f"x{end}"}
        if len(cells) > 1:
            place = {"xref": f"x{end} domain", "yref": f"y{end} domain", "x": 0.0, "y": 1.0}
            notes.append(
                {"text": _heading(own[0]), "showarrow": False, "align": "left", "font": {"size": 13}}
                | {**place, "xanchor": "left", "yanchor": "bottom"}
            )
    return make_figure(
        data,
        height=height,
        title=title,
        hovermode="closest",
        showlegend=False,
        margin={"l": 4, "r": 4, "t": 30 if title else 4, "b": 4},
        annotations=notes,
        # A wide screen may put the cells side by side.
        meta={"rows": len(cells)},
        **axes,
    )


def _cell(edges: Sequence[CellEdge], filled: float | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Traces and labels of one cell, its nodes at height 0."""
    traces: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    for edge in edges:
        lines, labels = _edge(edge, many=_many(edges), filled=filled)
        traces += lines
        notes += labels
    return [*traces, _nodes(edges)], [*notes, *_end_notes(edges)]


def _heading(edge: CellEdge) -> str:
    """The cell type; for a space that is known also where a cell of several inputs gets them and what it gives."""
    name = f"<b>{edge.cell}</b>"
    if edge.space not in SPACES:
        return name
    space = SPACES[edge.space]
    inputs = [str(node) for node in range(min(row.target for row in space.edges))]
    joined = ", ".join(map(str, space.outputs))
    return f"{name}<br>in: {', '.join(inputs)}, the last {len(inputs)} cells · out: {joined} joined"


def _bow(target: int, source: int, low: float) -> float:
    """Height of the arc's middle over the line of nodes; its sign says above or below; `low` is that of the lowest."""
    jump = target - source - 1
    if jump == 0:
        return 0.0
    side = 1.0 if (source + jump) % 2 else -1.0
    return side * (low + 0.8 * (jump - 1))


def _many(edges: Sequence[CellEdge]) -> bool:
    """Whether the cell has so many nodes that whole names have no room."""
    return len(_numbers(edges)) > FEW


def _extent(edges: Sequence[CellEdge]) -> tuple[float, float]:
    """Height above and below the line of nodes; of all edges that the space has, so that nodes stay where they are."""
    places = {(edge.target, edge.source) for edge in edges}
    if edges[0].space in SPACES:
        places |= {(row.target, row.source) for row in SPACES[edges[0].space].edges if row.cell == edges[0].cell}
    many = _many(edges)
    bows = [_bow(target, source, LOW_OF_MANY if many else LOW) for target, source in places]
    # Room for the label of the outermost arc.
    room = 0.7 if many else 0.2
    return max(0.3, *bows) + room, max(0.3, *(-bow for bow in bows)) + room


def _edge(edge: CellEdge, *, many: bool, filled: float | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Traces and labels of one edge: an arc through the two nodes with its top at the bow."""
    style = primitive_style(edge.primitive)
    place = np.linspace(0.0, 1.0, 41)
    bow = _bow(edge.target, edge.source, LOW_OF_MANY if many else LOW)
    x = edge.source + (edge.target - edge.source) * place
    # The fourth power is flat in the middle, where the label stands, and steep at the nodes.
    y = bow * (1.0 - (2.0 * place - 1.0) ** 4)
    share = "" if edge.probability is None else f" {edge.probability:.2f}"
    text = f"edge {edge.label}: {style.label}{share}"
    width = edge_width(edge.probability)
    done = ""
    if filled is None or not (edge.changed and edge.former):
        traces = [_line(x, y, edge.primitive, width, text)]
    else:
        # What is behind this place is of the new primitive; the last point of it is the first of the former one.
        cut = round(min(max(filled, 0.0), 1.0) * (len(place) - 1))
        text = f"{text}, {filled:.0%} of the transition"
        traces = [_line(x[: cut + 1], y[: cut + 1], edge.primitive, width, text)]
        if edge.former != ABSENT:
            traces.insert(0, _line(x[cut:], y[cut:], edge.former, edge_width(None), text))
        done = f" · {filled:.0%}"
    star = "★ " if edge.changed else ""
    middle = {"x": (edge.source + edge.target) / 2, "y": bow, "showarrow": False}
    font = {"size": 12 if many else 14, "shadow": HALO}
    if many and bow == 0.0:
        # Between two of many neighbours there is room for the name alone: the number stands below the line.
        texts = {16: f"<b>{short_label(edge.primitive)}</b>", -16: f"{star}{share.strip()}{done}"}
        return traces, [
            {**middle, "text": text, "yshift": shift, "font": font} for shift, text in texts.items() if text
        ]
    name = f"<b>{short_label(edge.primitive) if many else style.label}</b>"
    label = f"{star}{name}{'' if bow else '<br>'}{share}{done}"
    return traces, [{**middle, "text": label, "yshift": 17 if bow > 0 else -17 if bow < 0 else 24, "font": font}]


def _line(x: np.ndarray, y: np.ndarray, primitive: str, width: float, text: str) -> dict[str, Any]:
    style = primitive_style(primitive)
    return {
        "type": "scatter",
        "mode": "lines",
        # No screen tells a thousandth; 16 digits make the figure twice as large.
        "x": x.round(3),
        "y": y.round(3),
        "line": {"color": style.color, "width": round(width, 2), "dash": DASH_PIXELS.get(style.dash, style.dash)},
        "opacity": 0.6 if primitive == "none" else 1.0,
        "hoverinfo": "text",
        "text": text,
    }


def _nodes(edges: Sequence[CellEdge]) -> dict[str, Any]:
    numbers = _numbers(edges)
    ends = {numbers[0]: "in", numbers[-1]: "out"}
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": numbers,
        "y": [0.0] * len(numbers),
        "text": [f"<b>{node}</b>" for node in numbers],
        "textfont": {"color": "white", "size": 15},
        "marker": {"size": 26 if _many(edges) else 38, "color": "#475569", "line": {"width": 2, "color": GREY}},
        "hoverinfo": "text",
        "hovertext": [f"node {node} {ends.get(node, '')}".strip() for node in numbers],
    }


def _numbers(edges: Sequence[CellEdge]) -> list[int]:
    """The nodes of a cell."""
    return sorted({node for edge in edges for node in (edge.source, edge.target)})


def _end_notes(edges: Sequence[CellEdge]) -> list[dict[str, Any]]:
    if edges[0].space in SPACES and len(SPACES[edges[0].space].outputs) > 1:
        return []
    first, last = min(edge.source for edge in edges), max(edge.target for edge in edges)
    common = {"y": 0.0, "showarrow": False, "font": {"size": 13}}
    return [
        {**common, "x": first, "text": "in →", "xanchor": "right", "xshift": -22},
        {**common, "x": last, "text": "→ out", "xanchor": "left", "xshift": 22},
    ]


def genotype_dot(edges: Sequence[CellEdge], name: str = "cell") -> str:
    """The cell as DOT text with pinned node places (for `neato -n` and for keeping).

    Edge colour, style, width and label say what they say in the figure.
    """
    lines = [f'digraph "{name}" {{', "  rankdir=LR;", '  node [shape=circle, fontname="sans-serif"];']
    for number, cell in enumerate(dict.fromkeys(edge.cell for edge in edges)):
        own = [edge for edge in edges if edge.cell == cell]
        for node in _numbers(own):
            lines.append(f'  "{cell}{node}" [label="{node}", pos="{node * 144},{-432 * number}!"];')
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
