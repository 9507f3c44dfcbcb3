"""Another measure below a figure than its steps: epochs, seconds of training, or steps on a logarithmic axis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lab.base import require
from lab.charts.plotly import go
from lab.charts.series import Floats, Series, Steps, make_series


@dataclass(frozen=True, kw_only=True)
class StepScale:
    """Where each step of a run lies on another axis: known at some steps, straight lines between them."""

    title: str
    """What the axis measures, with its unit."""
    step: Steps
    """(N,) in strictly rising order, N >= 2."""
    position: Floats
    """(N,) never falling; above 0 where the axis is logarithmic."""
    log: bool = False
    """Whether the axis is logarithmic."""

    def __post_init__(self) -> None:
        shapes = self.step.shape, self.position.shape
        rises = len(self.step) > 1 and shapes[0] == shapes[1] and bool((np.diff(self.step) > 0).all())
        require(
            rises and bool((np.diff(self.position) >= 0).all()),
            expected="at least two steps in rising order, and as many positions that never fall",
            got=f"{len(self.step)} steps and {len(self.position)} positions",
            hint="make the scale by epoch_scale or time_scale",
        )

    def at(self, steps: ArrayLike) -> Floats:
        """The positions of `steps` (N,); outside the known ones the first or the last straight line goes on."""
        asked = np.asarray(steps, dtype=float)
        inside = np.interp(asked, self.step, self.position)
        for end, other in ((0, 1), (-1, -2)):
            slope = (self.position[end] - self.position[other]) / float(self.step[end] - self.step[other])
            outside = asked < self.step[0] if end == 0 else asked > self.step[-1]
            inside = np.where(outside, self.position[end] + slope * (asked - self.step[end]), inside)
        return inside


def epoch_scale(epoch: Series) -> StepScale | None:
    """Steps as epochs that are done; None before the first one has ended.

    Args:
        epoch: the number of each epoch, counted from 0, at the step at which it ended.
    """
    ends = epoch.finite.where(epoch.finite.step > 0)
    return _scale("epochs", ends.step, ends.value + 1.0)


def time_scale(seconds: Series) -> StepScale | None:
    """Steps as time of training in seconds; None where no time has passed yet.

    Args:
        seconds: seconds of training before each of some steps.
    """
    passed = seconds.finite.where((seconds.finite.step > 0) & (seconds.finite.value > 0))
    return _scale("training time (s)", passed.step, passed.value)


def log_scale() -> StepScale:
    """Steps on a logarithmic axis. A run begins with step 0, which has no place there, so that each is one more."""
    return StepScale(title="step + 1", step=np.array([0, 1]), position=np.array([1.0, 2.0]), log=True)


def _scale(title: str, step: Steps, position: Floats) -> StepScale | None:
    """From 0 at step 0 through these points; of several at one step the last."""
    if not len(step):
        return None
    last = np.r_[step[1:] != step[:-1], True]
    joined = make_series(title, np.r_[0, step[last]], np.r_[0.0, position[last]])
    return StepScale(title=title, step=joined.step, position=np.maximum.accumulate(joined.value))


def rescale_steps(figure: go.Figure, scale: StepScale) -> go.Figure:
    """Move everything of a figure over steps to another scale, in place: points, bars, marks, labels, axis and title.

    Returns:
        The figure.
    """
    for trace in figure.data:
        if trace.type == "bar":
            ends = scale.at(np.asarray(trace.base, dtype=float) + np.asarray(trace.x, dtype=float))
            trace.base = scale.at(trace.base)
            trace.x = ends - trace.base
        elif trace.x is not None:
            trace.x = scale.at(trace.x)
    for shape in figure.layout.shapes:
        if shape.xref in (None, "x"):
            shape.x0, shape.x1 = scale.at([shape.x0, shape.x1]).tolist()
    for note in figure.layout.annotations:
        if note.xref in (None, "x"):
            # Of all that stands on a logarithmic axis, Plotly takes notes alone by their exponents.
            note.x = float(np.log10(scale.at(note.x)) if scale.log else scale.at(note.x))
    axis = figure.layout.xaxis
    if axis.range is not None:
        axis.range = _ends(axis.range, scale)
    _describe(axis, scale)
    return figure


def rescale_runs(figure: go.Figure, scales: Mapping[str, StepScale]) -> go.Figure:
    """Move a figure that compares runs over steps to another scale, in place: each run's points by its own.

    Args:
        figure: of `compare_figure`; the traces of a run are a group of the legend with the run's name.
        scales: name of a run -> its scale, at least one; traces of other runs are left out.

    Returns:
        The figure.
    """
    require(bool(scales), expected="the scale of a run", got="none", hint="leave the figure over steps")
    figure.data = [trace for trace in figure.data if trace.legendgroup in scales]
    for trace in figure.data:
        trace.x = scales[trace.legendgroup].at(trace.x)
    figure.layout.xaxis.range = None
    _describe(figure.layout.xaxis, next(iter(scales.values())))
    return figure


def _describe(axis: Any, scale: StepScale) -> None:
    """What an axis says, and of which kind it is."""
    axis.type = "log" if scale.log else "linear"
    axis.hoverformat = ",d" if scale.log else ".2f"
    if axis.title.text:
        axis.title.text = axis.title.text.replace("step", scale.title, 1)


def _ends(ends: Sequence[Any], scale: StepScale) -> list[float]:
    low, high = scale.at(ends).tolist()
    # Steps that took no time would be an axis of no length.
    high = high if high > low else low + 1.0
    return [float(np.log10(low)), float(np.log10(high))] if scale.log else [low, high]
