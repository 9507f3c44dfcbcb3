"""Shares of several things side by side: groups of bars, one group for each label."""

from collections.abc import Mapping, Sequence
from typing import Any

from lab.charts.layout import axis, make_figure
from lab.charts.plotly import go
from lab.charts.style import INK, series_style

PATTERNS: tuple[str, ...] = ("", "/", "x", ".")
"""Fill of the first, second, ... bar of a group, so that colour is not the only sign."""


def share_figure(
    labels: Sequence[str], shares: Mapping[str, Sequence[float]], *, title: str = "", height: int = 340
) -> go.Figure:
    """One bar for each label and each entry of `shares`, whose values lie in [0, 1]; the number stands above it."""
    data: list[dict[str, Any]] = []
    for index, (name, values) in enumerate(shares.items()):
        style = series_style(name, index)
        data.append(
            {
                "type": "bar",
                "name": style.label,
                "x": list(labels),
                "y": list(values),
                "text": [f"{value:.2f}" for value in values],
                "textposition": "outside",
                "textfont": {"color": INK},
                "cliponaxis": False,
                "marker": {"color": style.color, "pattern": {"shape": PATTERNS[index % len(PATTERNS)]}},
                "hovertemplate": f"{style.label}, %{{x}}: %{{y:.3f}}<extra></extra>",
            }
        )
    return make_figure(
        data,
        height=height,
        title=title,
        hovermode="closest",
        barmode="group",
        xaxis={"type": "category", "showgrid": False, "automargin": True},
        yaxis=axis(range=[0.0, 1.05], tickformat=".0%"),
    )
