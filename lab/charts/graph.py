"""A small graph of operations, drawn from top to bottom: boxes in layers, arrows between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lab.base import ConfigError
from lab.charts.layout import LEGEND, make_figure
from lab.charts.plotly import go
from lab.charts.style import GREY, LineStyle

BOX, LINE, ARROW = 32, 15, 34
"""Pixels of a box with its name alone, of each further line in it, and of the arrow below a box."""


@dataclass(frozen=True, kw_only=True)
class GraphNode:
    """One box."""

    name: str
    """First line of its text."""
    lines: tuple[str, ...] = ()
    """Further lines, in smaller letters."""
    style: LineStyle
    """Colour and dash of its frame; the label stands in the legend."""
    inputs: tuple[int, ...] = ()
    """Indices of the nodes whose arrows lead here; each is lower than the node's own."""


def _layers(nodes: Sequence[GraphNode]) -> list[int]:
    """The layer of each node: one below the lowest of its inputs."""
    found: list[int] = []
    for number, node in enumerate(nodes):
        if any(not 0 <= source < number for source in node.inputs):
            raise ConfigError(
                f"inputs of node {number} among the nodes before it", f"{node.inputs}", "sort the nodes first"
            )
        found.append(max((found[source] + 1 for source in node.inputs), default=0))
    return found


def _box(node: GraphNode) -> int:
    """Pixels from the top to the bottom of its box."""
    return BOX + LINE * len(node.lines)


def _text(node: GraphNode) -> str:
    """What its box says; letters of less than 11 pixels cannot be read."""
    return "<br>".join([f"<b>{node.name}</b>", *(f"<span style='font-size:11px'>{line}</span>" for line in node.lines)])


def graph_figure(nodes: Sequence[GraphNode], *, title: str = "") -> go.Figure:
    """Boxes with their texts, and an arrow from each input to its node.

    Raises:
        ConfigError: no node, or an input that does not stand before its node.
    """
    if not nodes:
        raise ConfigError("at least one operation", "none", "draw a tensor that an operation made")
    layers = _layers(nodes)
    # What is used late stands just above its first user, so that arrows stay short and cross few boxes.
    for number in reversed(range(len(nodes))):
        users = [layers[n] for n, node in enumerate(nodes) if number in node.inputs]
        if users:
            layers[number] = min(users) - 1
    rows: dict[int, list[int]] = {}
    for number, layer in enumerate(layers):
        rows.setdefault(layer, []).append(number)
    x = {n: (place + 1) / (len(row) + 1) for row in rows.values() for place, n in enumerate(row)}
    row_height = ARROW + max(map(_box, nodes))
    half = [_box(node) / 2 / row_height for node in nodes]
    labels = [
        {
            "x": x[number],
            "y": -layers[number],
            "text": _text(node),
            "showarrow": False,
            "bordercolor": node.style.color,
            "borderwidth": 2,
            "borderpad": 4,
            "bgcolor": "rgba(127,136,150,0.12)",
        }
        for number, node in enumerate(nodes)
    ]
    arrows = [
        {
            "x": x[number],
            "y": half[number] - layers[number],
            "ax": x[source],
            "ay": -layers[source] - half[source],
            **{"xref": "x", "yref": "y", "axref": "x", "ayref": "y"},
            "text": "",
            "showarrow": True,
            "arrowhead": 2,
            "arrowcolor": GREY,
            "arrowwidth": 1.5,
        }
        for number, node in enumerate(nodes)
        for source in node.inputs
    ]
    styles = list(dict.fromkeys(node.style for node in nodes))
    # The boxes are annotations, which a legend does not list and the mouse does not find: points lie behind them.
    data: list[dict[str, Any]] = []
    for style in styles:
        own = [number for number, node in enumerate(nodes) if node.style == style]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": style.label,
                "x": [x[n] for n in own],
                "y": [-layers[n] for n in own],
                "marker": {"symbol": "square", "size": 1, "color": style.color},
                "text": ["<br>".join([nodes[n].name, *nodes[n].lines]) for n in own],
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    hidden = {"visible": False}
    depth = max(layers)
    return make_figure(
        data,
        height=124 + row_height * (depth + 1),
        title=title,
        hovermode="closest",
        showlegend=True,
        annotations=[*arrows, *labels],
        legend={**LEGEND, "itemsizing": "constant"},
        xaxis={**hidden, "range": [0, 1]},
        yaxis={**hidden, "range": [-depth - 0.5, 0.5 - min(layers)]},
    )
