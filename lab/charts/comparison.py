"""What came beside what was wanted: bars for a number, two lines for a row of them, three maps for a table."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lab.base import require
from lab.charts.layout import axis, make_figure
from lab.charts.plotly import go
from lab.charts.style import BLUE, ORANGE

MAPS = ("what came", "what was wanted", "difference")
ROOM = 12
"""Most positions that an axis names one by one."""
WRITTEN = 4
"""Most columns of a map whose numbers are written into it: those of more would be too small to be read."""


def comparison_figure(got: ArrayLike, want: ArrayLike, *, title: str = "", height: int = 300) -> go.Figure:
    """Numbers that came and numbers that were wanted.

    A table of numbers is drawn as three maps (what came, what was wanted, their difference), a single number as two
    bars, anything else as two lines over the position, which lie on each other where the numbers agree.

    Args:
        got: numbers of any shape.
        want: numbers of the same shape.
        title: what is compared.
        height: pixels.

    Raises:
        ConfigError: the shapes differ.
    """
    a, b = np.asarray(got, dtype=float), np.asarray(want, dtype=float)
    require(
        a.shape == b.shape,
        expected=f"as many numbers as were wanted, shape {b.shape}",
        got=f"shape {a.shape}",
        hint="compare the shapes first",
    )
    if a.ndim == 2 and min(a.shape) > 1:
        return _maps(a, b, title, height)
    if a.size == 1:
        return _bars(a.item(), b.item(), title, height // 2)
    return _lines(a.reshape(-1), b.reshape(-1), title, height)


def _bars(a: float, b: float, title: str, height: int) -> go.Figure:
    """A bar for each, the wanted one above, its number beside its name: 0 and NaN have no bar."""
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": [f"came: {a:.6g}", f"wanted: {b:.6g}"],
        "x": [a, b],
        "marker": {"color": [ORANGE, BLUE], "pattern": {"shape": ["/", ""]}},
        "hovertemplate": "%{y}<extra></extra>",
    }
    category = {"type": "category", "showgrid": False, "automargin": True, "ticksuffix": " "}
    return make_figure(
        [bars],
        height=height,
        title=title,
        hovermode="closest",
        margin={"l": 8, "r": 12, "t": 58 if title else 28, "b": 30},
        xaxis=axis(rangemode="tozero"),
        yaxis=category,
    )


def _lines(a: NDArray[Any], b: NDArray[Any], title: str, height: int) -> go.Figure:
    """Wanted as a broad pale line with rings, came as a thin dashed one with crosses."""
    place = list(range(len(a)))
    wanted = {"color": BLUE, "width": 6}
    data: list[dict[str, Any]] = [
        {"name": "wanted", "line": wanted, "opacity": 0.5, "marker": {"symbol": "circle-open", "size": 11}},
        {"name": "came", "line": {"color": ORANGE, "width": 2, "dash": "dash"}, "marker": {"symbol": "x", "size": 7}},
    ]
    for trace, values in zip(data, (b, a), strict=True):
        trace |= {"type": "scatter", "mode": "lines+markers", "x": place, "y": values.tolist()}
    places = {"dtick": 1} if len(a) <= ROOM else {}
    xaxis, yaxis = axis(title={"text": "position"}, **places), axis(title={"text": "value"})
    return make_figure(data, height=height, title=title, xaxis=xaxis, yaxis=yaxis)


def _maps(a: NDArray[Any], b: NDArray[Any], title: str, height: int) -> go.Figure:
    """Three maps side by side; the first two share their colours, the third has 0 in the middle of its own."""
    both = np.concatenate([a[np.isfinite(a)], b[np.isfinite(b)]])
    low, high = (float(both.min()), float(both.max())) if len(both) else (0.0, 1.0)
    gap = a - b
    finite = gap[np.isfinite(gap)]
    reach = float(np.abs(finite).max()) if len(finite) else 0.0
    ranges = ((low, high), (low, high), (-(reach or 1.0), reach or 1.0))
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {}
    for number, (name, values, (least, most)) in enumerate(zip(MAPS, (a, b, gap), ranges, strict=True), start=1):
        end = "" if number == 1 else str(number)
        data.append(
            {
                "type": "heatmap",
                "z": values.tolist(),
                "zmin": least,
                "zmax": most,
                "colorscale": "RdBu" if number == 3 else "Cividis",
                "showscale": False,
                "xaxis": f"x{end}",
                "yaxis": f"y{end}",
                "texttemplate": "%{z:.3g}" if values.shape[1] <= WRITTEN and values.shape[0] <= ROOM else "",
                "textfont": {"size": 11},
                "hovertemplate": f"{name}, row %{{y}}, column %{{x}}: %{{z:.4g}}<extra></extra>",
            }
        )
        left = (number - 1) * 0.345
        text = {"text": name, "standoff": 4}
        columns, rows = ({"dtick": 1} if size <= ROOM else {} for size in reversed(values.shape))
        layout[f"xaxis{end}"] = {"domain": [left, left + 0.31], "anchor": f"y{end}", "title": text, **columns}
        # The maps have the same rows: numbers beside the first are enough, and those of the others would reach into it.
        layout[f"yaxis{end}"] = {"anchor": f"x{end}", "autorange": "reversed", "showticklabels": number == 1, **rows}
        for name in ("xaxis", "yaxis"):
            layout[f"{name}{end}"] |= {"automargin": True}
    return make_figure(data, height=height, title=title, hovermode="closest", **layout)
