"""A model that learns several tasks at once as figures: router load, weights of the losses, memory of its components.

The numbers come from scalars by name: `router/load/N`, `weight/TASK`, `loss/TASK`, `component/NAME/KIND`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from lab.charts.components import KINDS, WHOLE, ComponentBytes
from lab.charts.curves import DEFAULT_VIEW, Curve, CurveView, curve_figure
from lab.charts.layout import axis, make_figure, note_figure
from lab.charts.plotly import go
from lab.charts.series import Series
from lab.charts.shares import PATTERNS
from lab.charts.style import GREY, LineStyle, series_style


def named_series(scalars: Mapping[str, Series], before: str) -> tuple[Series, ...]:
    """The series whose name is `before` and one more part, under that part; numbers in their order."""
    found = [
        replace(series, name=name.removeprefix(before))
        for name, series in scalars.items()
        if name.startswith(before) and "/" not in name.removeprefix(before)
    ]
    if all(series.name.isdigit() for series in found):
        found.sort(key=lambda series: int(series.name))
    return tuple(found)


def component_figure(rows: Sequence[ComponentBytes], *, title: str = "", height: int = 420) -> go.Figure:
    """Bars in KiB, the first component on top; the whole model is left out, beside which the others would be small."""
    shown = [row for row in reversed(rows) if row.name != WHOLE]
    if not shown:
        return note_figure("Not measured: it comes with the first step.", height=height, title=title)
    data: list[dict[str, Any]] = []
    for index, (kind, label) in enumerate(KINDS.items()):
        style = series_style(label, index)
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": style.label,
                "y": [row.name for row in shown],
                "x": [asdict(row)[kind] / 1024 for row in shown],
                "marker": {"color": style.color, "pattern": {"shape": PATTERNS[index % len(PATTERNS)]}},
                "hovertemplate": f"%{{y}}, {style.label}: %{{x:,.1f}} KiB<extra></extra>",
            }
        )
    return make_figure(
        data,
        height=height,
        title=title,
        hovermode="closest",
        barmode="group",
        xaxis=axis(title={"text": "KiB", "standoff": 4}),
        yaxis={"type": "category", "showgrid": False, "automargin": True},
    )


def router_figure(
    loads: Sequence[Series], *, view: CurveView = DEFAULT_VIEW, title: str = "", height: int = 320
) -> go.Figure:
    """Share of the pairs of sample and expert that went to each expert, over steps, beside the even share."""
    curves = [
        Curve(series=series, style=series_style(f"expert {series.name}", index)) for index, series in enumerate(loads)
    ]
    if loads and len(loads[0]):
        first = loads[0]
        even = replace(first, name="even", value=first.value * 0 + 1 / len(loads))
        style = LineStyle(label=f"even: 1/{len(loads)}", color=GREY, dash="dot")
        curves.append(Curve(series=even, style=style))
    plain = replace(view, log_y=False)
    return curve_figure(curves, y_title="share of load", view=plain, title=title, height=height, percent=True)


def weight_figure(
    weights: Sequence[Series], *, view: CurveView = DEFAULT_VIEW, title: str = "", height: int = 320
) -> go.Figure:
    """Weight of each loss over steps; their sum is their number."""
    curves = [Curve(series=series, style=series_style(series.name, index)) for index, series in enumerate(weights)]
    plain = replace(view, smoothing=0.0, log_y=False)
    return curve_figure(curves, y_title="weight", view=plain, title=title, height=height)


def task_figure(
    batches: Sequence[Series],
    decisions: Sequence[Series],
    *,
    view: CurveView = DEFAULT_VIEW,
    y_title: str = "loss (nats)",
    title: str = "",
    height: int = 320,
) -> go.Figure:
    """Loss of each task over steps, unweighted: its batches, and the selection split after each epoch.

    Args:
        y_title: what the losses are, with their units.
    """
    names = dict.fromkeys(series.name for series in (*batches, *decisions))
    styles = {name: series_style(name, index) for index, name in enumerate(names)}
    curves = [Curve(series=series, style=styles[series.name]) for series in batches]
    for series in decisions:
        style = replace(styles[series.name], label=f"{series.name}, selection split")
        curves.append(Curve(series=series, style=style, dense=False, joined=not batches))
    return curve_figure(curves, y_title=y_title, view=view, title=title, height=height)
