"""What became of each of several things under each of several treatments, as a map with a word in each cell."""

from collections.abc import Mapping, Sequence

from lab.base import ConfigError
from lab.charts.layout import make_figure
from lab.charts.plotly import go
from lab.charts.style import GREEN, GREY, ORANGE, RED

RANKS: tuple[str, ...] = (GREEN, GREY, ORANGE, RED)
"""Colour of a fate by its rank, from good to bad; the word stands in the cell."""


def fate_figure(
    names: Sequence[str], fates: Mapping[str, Sequence[str]], ranks: Mapping[str, int], *, title: str = ""
) -> go.Figure:
    """A row for each name, a column for each treatment, the fate written in its cell.

    Args:
        names: one for each row.
        fates: treatment -> the fate of each name.
        ranks: fate -> 0 (good) to 3 (bad), which sets its colour.
        title: above the map.

    Raises:
        ConfigError: a treatment with another number of fates than names, or a fate without a rank from 0 to 3.
    """
    for treatment, row in fates.items():
        if len(row) != len(names):
            raise ConfigError(f"{len(names)} fates of {treatment}", f"{len(row)}", "give one for each name")
        for fate in row:
            if not 0 <= ranks.get(fate, -1) < len(RANKS):
                raise ConfigError(f"a rank from 0 to 3 of {fate!r}", f"{ranks.get(fate)}", "name it in ranks")
    step = 1 / len(RANKS)
    bands = [[place, color] for n, color in enumerate(RANKS) for place in (n * step, (n + 1) * step)]
    text = [[fates[treatment][row] for treatment in fates] for row in range(len(names))]
    heat = {
        "type": "heatmap",
        "x": list(fates),
        "y": list(names),
        "z": [[ranks[fate] for fate in row] for row in text],
        "zmin": -0.5,
        "zmax": len(RANKS) - 0.5,
        "colorscale": bands,
        "showscale": False,
        "text": text,
        "texttemplate": "%{text}",
        "textfont": {"color": "white"},
        "xgap": 2,
        "ygap": 2,
        "hovertemplate": "%{y}, %{x}: %{text}<extra></extra>",
    }
    return make_figure(
        [heat],
        height=130 + 26 * len(names),
        title=title,
        hovermode="closest",
        xaxis={"side": "top", "automargin": True},
        yaxis={"autorange": "reversed", "automargin": True},
    )
