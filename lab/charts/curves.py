"""Curves over the steps of a run: loss, accuracy, health, memory, and one scalar of several runs.

Raw points are drawn thin and pale behind their exponential moving average. Values that are NaN or infinite are drawn as
crosses at the height of the last number before them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lab.base import require_range
from lab.charts.layout import axis, make_figure, mark_labels, mark_shapes, note_figure, step_title
from lab.charts.lazy import LazyFigure, figure_spec
from lab.charts.marks import Mark, shown_marks
from lab.charts.plotly import go
from lab.charts.series import Series, count_note, thin
from lab.charts.style import RED, LineStyle, series_style


@dataclass(frozen=True, kw_only=True)
class CurveView:
    """What part of the curves is drawn, and how."""

    smoothing: float = 0.6
    """Weight of the past in the moving average, in [0, 0.999]; 0 draws raw values alone."""
    log_y: bool = False
    """Logarithmic value axis; values <= 0 have no place on it and are left out."""
    robust_y: bool = False
    """Value axis without the few values far from all others, see `robust_range`."""
    last: int = 0
    """Number of latest steps to draw; 0 draws all."""
    limit: int = 2000
    """Largest number of points for each line, >= 4."""

    def __post_init__(self) -> None:
        require_range("smoothing", self.smoothing, 0.0, 0.999)
        require_range("last", self.last, 0)
        require_range("limit", self.limit, 4)


DEFAULT_VIEW = CurveView()
QUANTILES = (0.02, 0.98)
"""Shares of a curve's values below the ends of a robust axis."""
NEAR = 0.5
"""How far beyond these ends the smallest and the largest value may lie to be on it, in its lengths."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A series and how it looks."""

    series: Series
    style: LineStyle
    dense: bool = True
    """True for a value at every step (smoothed); False for one at each epoch (drawn with points, never smoothed)."""
    joined: bool = True
    """False for points with gaps between them, which no line may bridge."""


def step_range(curves: Sequence[Series], view: CurveView) -> tuple[int, int]:
    """First and last step that `view` shows of these curves; from 0 where there is one step, or none."""
    ends = [(int(curve.step[0]), int(curve.step[-1])) for curve in curves if len(curve)]
    if not ends:
        return 0, 1
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    if low == high:
        # An axis that begins at the only point tells nothing of where in the run it is.
        low = 0
    if view.last:
        low = max(low, high - view.last)
    return low, max(high, low + 1)


def curve_figure(
    curves: Sequence[Curve],
    *,
    y_title: str,
    view: CurveView = DEFAULT_VIEW,
    marks: Sequence[Mark] = (),
    title: str = "",
    height: int = 320,
    percent: bool = False,
    y_range: tuple[float, float] | None = None,
) -> go.Figure:
    """Curves over steps with a legend that names each, marks as vertical lines, and NaN as crosses.

    Args:
        percent: the values are shares and are written as percentages.
        y_range: fixed value axis; None fits it to what is shown. A logarithmic axis is always fitted.
    """
    if not any(len(curve.series) for curve in curves):
        return note_figure("No values: the first one comes with the first step.", height=height, title=title)
    low, high = step_range([curve.series for curve in curves], view)
    data: list[dict[str, Any]] = []
    shown = total = 0
    beyond = ""
    for curve in curves:
        traces, points = _traces(curve, low, view)
        data += traces
        shown, total = shown + points[0], total + points[1]
    y_axis = axis(title={"text": y_title, "standoff": 10}, type="log" if view.log_y else "linear", **_of_sign(curves))
    if percent:
        y_axis["tickformat"] = ".0%"
    if y_range is not None and not view.log_y:
        y_axis["range"] = list(y_range)
    elif view.robust_y:
        y_axis["range"], outside = robust_range([curve.series.since(low) for curve in curves], log=view.log_y)
        beyond = f"off the axis: {outside:,}" if outside else ""
    marks, few = shown_marks(marks, low, high)
    return make_figure(
        data,
        height=height,
        title=title,
        xaxis=axis(title=step_title(count_note(shown, total), few, beyond), range=[low, high]),
        yaxis=y_axis,
        shapes=mark_shapes(marks),
        annotations=mark_labels(marks, high - low),
    )


def _of_sign(curves: Sequence[Curve]) -> dict[str, Any]:
    """An axis that does not go below 0 where no value does: no memory and no accuracy is there."""
    least = min((float(np.fmin.reduce(curve.series.value)) for curve in curves if len(curve.series)), default=0.0)
    return {} if least < 0.0 else {"rangemode": "nonnegative"}


def _traces(curve: Curve, low: int, view: CurveView) -> tuple[list[dict[str, Any]], tuple[int, int]]:
    """Traces of one curve from step `low` on; points shown and points there."""
    numbers = curve.series.finite
    averaged = numbers
    if curve.dense and view.smoothing > 0:
        # Averaged over the whole history before the window is cut, so that the window's start is no new beginning.
        averaged = numbers.averaged(view.smoothing)
    numbers, averaged = numbers.since(low), averaged.since(low)
    raw, line = thin(numbers, view.limit), thin(averaged, view.limit)
    style = curve.style
    traces: list[dict[str, Any]] = []
    common = {"type": "scatter", "legendgroup": style.label}
    if averaged is not numbers and curve.dense and view.smoothing > 0:
        pale = {"color": style.color, "width": 1}
        traces.append(
            common
            | {"x": raw.step, "y": _positive(raw.value, view), "mode": "lines", "line": pale, "opacity": 0.28}
            | {"name": f"{style.label} (raw)", "hoverinfo": "skip", "showlegend": False}
        )
    # A line of one point cannot be seen.
    lines = "lines" if curve.dense and len(line) > 1 else "lines+markers" if curve.joined else "markers"
    marker = {
        "size": 7 if len(line) <= 60 else 4,
        "color": style.color,
        "symbol": "circle" if curve.joined else "diamond",
    }
    traces.append(
        common
        | {"x": line.step, "y": _positive(line.value, view), "mode": lines, "name": style.label}
        | {"line": {"color": style.color, "width": 2.5, "dash": style.dash}, "marker": marker}
    )
    broken = curve.series.since(low).broken
    if len(broken):
        traces.append(_broken_trace(numbers, broken, style, view, more="at least " if curve.series.thinned else ""))
    return traces, (len(raw), numbers.rows)


def robust_range(curves: Sequence[Series], *, log: bool = False) -> tuple[list[float] | None, int]:
    """A value axis that a few values far from all others do not stretch.

    It holds the values between the quantiles `QUANTILES` of each curve and the median of its latest five: a spike is
    left out, a loss that stays high is not. A curve of less than ten values is held whole. The smallest and the largest
    value are on the axis too where they lie no further away than `NEAR` of its length: without a spike all is drawn.

    Args:
        curves: what is drawn; NaN and infinity have no place on an axis.
        log: the axis is logarithmic, where values <= 0 have no place.

    Returns:
        The ends of the axis (powers of ten where it is logarithmic), None where no value is there; how many values lie
        outside.
    """
    columns = [curve.finite.value for curve in curves]
    if log:
        columns = [np.log10(column[column > 0]) for column in columns]
    columns = [column for column in columns if len(column)]
    if not columns:
        return None, 0
    inner = np.array([_bulk(column) for column in columns])
    low, high = float(inner[:, 0].min()), float(inner[:, 1].max())
    whole = np.concatenate(columns)
    least, most = float(whole.min()), float(whole.max())
    reach = NEAR * (high - low)
    low, high = (least if low - least <= reach else low), (most if most - high <= reach else high)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = low - room, high + room
    return [low, high], int(np.count_nonzero((whole < low) | (whole > high)))


def _bulk(values: np.ndarray) -> tuple[float, float]:
    """Lowest and highest value of the bulk of these (N,)."""
    if len(values) < 10:
        return float(values.min()), float(values.max())
    recent = float(np.median(values[-5:]))
    low = np.quantile(values, QUANTILES[0], method="higher")
    return min(float(low), recent), max(float(np.quantile(values, QUANTILES[1], method="lower")), recent)


def _positive(values: np.ndarray, view: CurveView) -> np.ndarray:
    return np.where(values > 0, values, np.nan) if view.log_y else values


def _broken_trace(numbers: Series, broken: np.ndarray, style: LineStyle, view: CurveView, more: str) -> dict[str, Any]:
    # Every k-th where there are too many to draw; the legend has their number.
    total, broken = len(broken), broken[:: max(1, -(-len(broken) // view.limit))]
    # Where no number came before: 1, which a logarithmic axis has too.
    heights = np.ones(len(broken))
    if len(numbers):
        place = np.clip(np.searchsorted(numbers.step, broken) - 1, 0, len(numbers) - 1)
        heights = numbers.value[place]
    return {
        "type": "scatter",
        "legendgroup": style.label,
        "x": broken,
        "y": heights,
        "mode": "markers",
        "name": f"{style.label}: NaN or Inf ({more}{total})",
        "marker": {"symbol": "x", "size": 9, "color": RED},
        "hovertemplate": "not a number<extra></extra>",
    }


def compare_figure(
    curves: Sequence[tuple[str, Series]],
    *,
    y_title: str,
    view: CurveView = DEFAULT_VIEW,
    title: str = "",
    height: int = 420,
    dense: bool = True,
) -> go.Figure:
    """The same scalar of several runs, each run by colour, dash and name."""
    drawn = [
        Curve(series=curve, style=series_style(name, index), dense=dense) for index, (name, curve) in enumerate(curves)
    ]
    return curve_figure(drawn, y_title=y_title, view=view, title=title, height=height)


def memory_figure(
    lines: Sequence[Series],
    *,
    marks: Sequence[Mark] = (),
    view: CurveView = DEFAULT_VIEW,
    title: str = "",
    height: int = 320,
) -> go.Figure:
    """Memory in MiB over steps; `lines` are in bytes and named after what they count.

    Each line has an axis of its own, one under the other: a few MiB would be a line at 0 under a process's hundreds.
    """
    drawn = [
        Curve(series=replace(line, value=line.value / 2**20), style=series_style(line.name, index))
        for index, line in enumerate(lines)
    ]
    # Each line has an axis of its own.
    plain = replace(view, smoothing=0.0, robust_y=False)
    figure = curve_figure(drawn, y_title="MiB", view=plain, marks=marks, title=title, height=height)
    data, layout = figure_spec(figure)
    if len(drawn) < 2 or not data:
        return figure
    room = 1.0 / len(drawn)
    places = {curve.style.label: index for index, curve in enumerate(drawn)}
    traces = [{**trace, "yaxis": _place(places[trace["legendgroup"]], "y")} for trace in data]
    axes: dict[str, Any] = {"xaxis": {**layout["xaxis"], "anchor": _place(len(drawn) - 1, "y")}}
    for index in range(len(drawn)):
        top = 1.0 - index * room
        ends = [top - room + (0.12 if top > room else 0.0), top]
        axes[_place(index, "yaxis")] = axis(title={"text": "MiB", "standoff": 10}, domain=ends, rangemode="nonnegative")
    return LazyFigure(traces, {**layout, **axes})


def _place(index: int, name: str) -> str:
    """Name of the `index`-th of several axes: y, y2, ..."""
    return name if index == 0 else f"{name}{index + 1}"
