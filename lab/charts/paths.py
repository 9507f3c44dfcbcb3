"""A supernet's cell with all its operations: a lane for each, its count beside it, and the path that is drawn now.

Nodes stand on one line from left to right. Each edge has a band of lanes, one for each operation; bands of edges that
pass over the same nodes lie one above the other.
"""

from collections.abc import Sequence
from typing import Any

from lab.base import require
from lab.charts.layout import make_figure
from lab.charts.plotly import go
from lab.charts.style import GREY, primitive_style

LANE = 22
"""Pixels of one lane: its text, and the line below it at its broadest."""
BROAD = 5
"""Pixels that a lane with all counts is broader than one with none."""
TOP, BOTTOM = 58, 12
"""Pixels above and below the lanes; there is no legend."""
BEND = 0.22
"""Distance from a node at which a lane has reached its height, in distances between nodes."""


def _bands(edges: Sequence[tuple[int, int]]) -> list[int]:
    """A band for each edge (source, target): the lowest that no edge over the same nodes has; short edges first."""
    found: dict[int, int] = {}
    for number in sorted(range(len(edges)), key=lambda n: edges[n][1] - edges[n][0]):
        source, target = edges[number]
        taken = {band for other, band in found.items() if edges[other][0] < target and source < edges[other][1]}
        found[number] = next(band for band in range(len(edges)) if band not in taken)
    return [found[number] for number in range(len(edges))]


def path_figure(
    edges: Sequence[tuple[int, int]],
    primitives: Sequence[str],
    counts: Sequence[Sequence[int]],
    drawn: Sequence[int] = (),
    *,
    mark: str = "drawn",
    title: str = "",
) -> go.Figure:
    """Lanes of a supernet's cell, each as broad as its share of the counts of its edge.

    Args:
        edges: source and target node of each edge, source < target.
        primitives: names of the operations; each edge has all of them.
        counts: for each edge, how often each operation has been drawn.
        drawn: for each edge the index of the operation that is drawn now; empty for none. Its lane is coloured and says
            `mark`; the others are grey and dotted.
        mark: a word for the path.
        title: above the figure.

    Raises:
        ConfigError: counts or a path for another number of edges or operations.
    """
    require(
        len(counts) == len(edges) and all(len(row) == len(primitives) for row in counts),
        expected=f"counts of {len(edges)} edges, {len(primitives)} operations each",
        got=f"{[len(row) for row in counts]}",
        hint="give one row for each edge",
    )
    require(
        len(drawn) in (0, len(edges)),
        expected=f"{len(edges)} drawn operations, one for each edge, or none",
        got=f"{len(drawn)}",
        hint="give the whole path",
    )
    data: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    band_of = _bands(edges)
    for number, ((source, target), band) in enumerate(zip(edges, band_of, strict=True)):
        for lane, primitive in enumerate(primitives):
            y = band * (len(primitives) + 1) + len(primitives) - lane
            taken = bool(drawn) and drawn[number] == lane
            share = counts[number][lane] / max(sum(counts[number]), 1)
            text = f"{primitive_style(primitive).label} · {counts[number][lane]:,}"
            way = _lane(source, target, y, f"{source} → {target}: {text}", primitive, share, taken)
            data.append(way)
            notes.append(
                {
                    # Half-way to the next node: no other edge rises there.
                    "x": source + 0.5,
                    "y": y,
                    "yshift": 7 + way["line"]["width"] / 2,
                    "text": f"<b>{text} · {mark}</b>" if taken else text,
                    "font": {"size": 11},
                    "showarrow": False,
                }
            )
    nodes = sorted({node for edge in edges for node in edge})
    data.append(
        {
            "type": "scatter",
            "mode": "markers+text",
            "x": nodes,
            "y": [0] * len(nodes),
            "text": [str(node) for node in nodes],
            "textfont": {"color": "white"},
            "marker": {"size": 28, "color": "#4b5563"},
            "hovertemplate": "node %{x}<extra></extra>",
        }
    )
    low, high = -1.2, (max(band_of, default=0) + 1) * (len(primitives) + 1) + 0.3
    hidden = {"visible": False, "fixedrange": True}
    return make_figure(
        data,
        height=round(TOP + BOTTOM + LANE * (high - low)),
        title=title,
        margin={"l": 8, "r": 12, "t": TOP, "b": BOTTOM},
        hovermode="closest",
        showlegend=False,
        annotations=notes,
        xaxis={**hidden, "range": [-0.2, max(nodes, default=0) + 0.2]},
        yaxis={**hidden, "range": [low, high]},
    )


def _lane(source: int, target: int, y: float, text: str, primitive: str, share: float, taken: bool) -> dict[str, Any]:
    """One operation's way from node to node; a drawn one in its colour, another one grey and dotted."""
    line: dict[str, Any] = {"width": 1 + BROAD * share, "color": GREY, "dash": "dot"}
    if taken:
        line = {"width": 3 + BROAD * share, "color": primitive_style(primitive).color, "dash": "solid"}
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [source, source + BEND, target - BEND, target],
        "y": [0, y, y, 0],
        "line": line,
        "opacity": 1.0 if taken else 0.55,
        "hovertemplate": f"{text}<extra></extra>",
    }
