"""The evolution agent as figures: its actions in order, their trials, the network's size, how it learns."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lab.charts.actions import OUTCOME_STYLES, Action
from lab.charts.curves import DEFAULT_VIEW, Curve, CurveView, curve_figure, step_range
from lab.charts.layout import axis, make_figure, mark_labels, mark_shapes, note_figure, step_title
from lab.charts.marks import Mark, shown_marks
from lab.charts.plotly import go
from lab.charts.series import Series, thin
from lab.charts.style import BLUE, GREY, INDIGO, ORANGE, RED, TEAL, LineStyle

ACTION_ORDER = ("prune", "expand", "mutate", "branch", "attention", "hybrid", "residual")
"""Rows of the timeline from below; an action of another name stands above them."""
LINEAR = 0.003
"""Nats around zero within which the axis of loss changes is even."""


def _markers(found: Sequence[Action], heights: Sequence[Any], outcome: str, **more: Any) -> dict[str, Any]:
    """The points of one outcome, named after it in the legend."""
    style = OUTCOME_STYLES[outcome]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [action.number for action in found],
        "y": list(heights),
        "name": f"{style.sign} {outcome} ({len(found)})",
        "legendgroup": outcome,
        "marker": {
            "symbol": style.symbol,
            "size": 11,
            "color": style.color,
            "line": {"width": 2, "color": style.color},
        },
        **more,
    }


def action_figure(found: Sequence[Action], *, title: str = "", height: int = 320) -> go.Figure:
    """The actions in order: one row for each kind, kept ones as circles, rolled back as crosses, refused as squares."""
    if not found:
        return note_figure("No action: the agent acts between epochs.", height=height, title=title)
    others = sorted({action.action for action in found} - set(ACTION_ORDER))
    data = []
    for outcome in OUTCOME_STYLES:
        chosen = [action for action in found if action.outcome == outcome]
        if chosen:
            texts = [f"{action.heading}<br>{_layers(action)}" for action in chosen]
            trace = _markers(chosen, [action.action for action in chosen], outcome, text=texts)
            data.append({**trace, "hovertemplate": "%{text}<extra></extra>"})
    return make_figure(
        data,
        height=height,
        title=title,
        hovermode="closest",
        xaxis=_number_axis(found),
        yaxis=axis(type="category", categoryorder="array", categoryarray=[*ACTION_ORDER, *others])
        | {"range": [-0.5, len(ACTION_ORDER) + len(others) - 0.5]},
    )


def _layers(action: Action) -> str:
    return "; ".join(f"{part.text} {part.layer}" for part in action.surgeries) or action.reason


def _number_axis(found: Sequence[Action], **more: Any) -> dict[str, Any]:
    # Room for eight actions: a single one would stand alone in the middle of nothing.
    ends = [found[0].number - 0.5, max(found[-1].number, found[0].number + 7) + 0.5]
    return axis(title={"text": "action", "standoff": 4}, range=ends, tickformat="d", **more)


def trial_figure(found: Sequence[Action], *, title: str = "", height: int = 440) -> go.Figure:
    """Held-out loss change of each measured action with one standard error above, its reward below.

    Below the line of zero loss change the change helped. The axis of the loss change is asinh(x / `LINEAR`): even near
    zero, logarithmic far from it on both sides, so that one bad action does not flatten the others. A loss that is no
    number stands on the line of zero as a cross in a circle.
    """
    tried = [action for action in found if action.loss_change is not None]
    if not tried:
        text = "No measured action: a change is measured once it has been<br>trained beside its control copy."
        return note_figure(text, height=height, title=title)
    data: list[dict[str, Any]] = []
    for outcome in ("kept", "rolled back"):
        if chosen := [action for action in tried if action.outcome == outcome and _finite(action)]:
            data += _trials(chosen, outcome)
    if broken := [action for action in tried if not _finite(action)]:
        name = f"loss is NaN or Inf ({len(broken)})"
        marker = {"symbol": "circle-x-open", "size": 12, "color": RED}
        data.append({**_markers(broken, [0.0] * len(broken), "rolled back"), "name": name, "marker": marker})
    flat = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 0, "y1": 0, "line": {"color": GREY, "width": 1}}
    return make_figure(
        data,
        height=height,
        title=title,
        hovermode="closest",
        xaxis=_number_axis(found, anchor="y2"),
        yaxis=axis(title={"text": "loss change (nats)", "standoff": 10}, domain=[0.42, 1.0], **_ticks(tried)),
        yaxis2=axis(title={"text": "reward", "standoff": 10}, domain=[0.0, 0.32]),
        shapes=[{**flat, "yref": "y"}, {**flat, "yref": "y2"}],
    )


def _ticks(tried: Sequence[Action]) -> dict[str, Any]:
    """Zero and the powers of ten of nats that lie apart from it on an axis as long as these trials need."""
    ends = [abs(action.loss_change or 0.0) + (action.loss_error or 0.0) for action in tried if _finite(action)]
    least = _squeeze(max(ends, default=1.0)) / 7
    powers = [10.0**power for power in range(-9, 3) if _squeeze(10.0**power) >= least]
    values = [*(-value for value in reversed(powers)), 0.0, *powers]
    return {
        "tickvals": [_squeeze(value) for value in values],
        "ticktext": [f"{value:+g}" if value else "0" for value in values],
    }


def _squeeze(value: float) -> float:
    return math.asinh(value / LINEAR)


def _trials(chosen: Sequence[Action], outcome: str) -> list[dict[str, Any]]:
    """Loss changes with error bars, and rewards, of the actions of one outcome."""
    measured = [(action.loss_change or 0.0, action.loss_error or 0.0) for action in chosen]
    bars = {
        "type": "data",
        # The axis is no linear one: the two halves of a bar differ in length.
        "symmetric": False,
        "array": [_squeeze(mean + error) - _squeeze(mean) for mean, error in measured],
        "arrayminus": [_squeeze(mean) - _squeeze(mean - error) for mean, error in measured],
        "color": OUTCOME_STYLES[outcome].color,
    }
    text = [f"{action.number} {action.outcome_text}: {action.loss_text} nats" for action in chosen]
    changes = _markers(
        chosen,
        [_squeeze(mean) for mean, _ in measured],
        outcome,
        error_y=bars,
        text=text,
        hovertemplate="%{text}<extra></extra>",
    )
    text = [f"{action.number} {action.outcome_text}: reward" for action in chosen]
    rewards = _markers(
        chosen,
        [action.reward for action in chosen],
        outcome,
        yaxis="y2",
        showlegend=False,
        text=text,
        hovertemplate="%{text} %{y:+.3f}<extra></extra>",
    )
    return [changes, rewards]


def _finite(action: Action) -> bool:
    return action.loss_change is not None and math.isfinite(action.loss_change)


def parameter_figure(
    parameters: Series,
    *,
    marks: Sequence[Mark] = (),
    view: CurveView = DEFAULT_VIEW,
    title: str = "",
    height: int = 400,
) -> go.Figure:
    """Parameters of the live network over steps, kept changes marked."""
    curve = Curve(series=parameters, style=LineStyle(label="parameters", color=BLUE, dash="solid"))
    plain = replace(view, smoothing=0.0, log_y=False)
    return curve_figure([curve], y_title="parameters", view=plain, marks=marks, title=title, height=height)


def learning_figure(
    accept_rate: Series,
    epsilon: Series,
    regret: Series,
    *,
    marks: Sequence[Mark] = (),
    view: CurveView = DEFAULT_VIEW,
    title: str = "",
    height: int = 400,
) -> go.Figure:
    """Accept rate and exploration above, regret so far in nats below, on one step axis."""
    lines = (
        (accept_rate, "accept rate, last ten", "y", {"color": TEAL, "width": 2.5, "shape": "hv"}),
        (epsilon, "exploration ε", "y", {"color": ORANGE, "width": 2.5, "shape": "hv", "dash": "dash"}),
        (regret, "regret so far", "y2", {"color": INDIGO, "width": 2.5, "shape": "hv", "dash": "dashdot"}),
    )
    if not any(len(series) for series, *_ in lines):
        return note_figure("No values: the first one comes with the first step.", height=height, title=title)
    low, high = step_range([series for series, *_ in lines], view)
    data: list[dict[str, Any]] = []
    for series, name, place, line in lines:
        shown = thin(series.since(low), view.limit)
        trace = {"type": "scatter", "x": shown.step, "y": shown.value, "mode": "lines", "name": name}
        data.append({**trace, "yaxis": place, "line": line})
    marks, few = shown_marks(marks, low, high)
    return make_figure(
        data,
        height=height,
        title=title,
        xaxis=axis(title=step_title(few), range=[low, high], anchor="y2"),
        yaxis=axis(title={"text": "share", "standoff": 10}, domain=[0.55, 1.0], range=[-0.03, 1.03], tickformat=".0%"),
        yaxis2=axis(title={"text": "regret (nats)", "standoff": 10}, domain=[0.0, 0.44], rangemode="tozero"),
        shapes=mark_shapes(marks),
        annotations=mark_labels(marks, high - low),
    )
