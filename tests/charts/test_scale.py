"""Another axis than steps: each point moves to where its step lies."""

import numpy as np
import pytest

from lab.base import ConfigError
from lab.charts import (
    Curve,
    CurveView,
    Mark,
    StepScale,
    compare_figure,
    curve_figure,
    epoch_scale,
    log_scale,
    make_series,
    memory_figure,
    rescale_runs,
    rescale_steps,
    series_style,
    time_scale,
    timeline_figure,
)

TENTHS = StepScale(title="epochs", step=np.array([0, 10, 30]), position=np.array([0.0, 1.0, 2.0]))


def test_a_step_between_known_ones_lies_on_a_straight_line_which_goes_on_outside() -> None:
    np.testing.assert_allclose(TENTHS.at([0, 5, 10, 20, 30, 40, -10]), [0, 0.5, 1, 1.5, 2, 2.5, -1])


def test_epochs_are_counted_when_they_have_ended() -> None:
    scale = epoch_scale(make_series("epoch", [10, 20, 20], [0, 1, 2]))
    assert scale is not None
    np.testing.assert_allclose(scale.at([10, 20]), [1, 3])
    assert epoch_scale(make_series("epoch", [], [])) is None


def test_time_that_has_not_passed_is_no_axis() -> None:
    assert time_scale(make_series("seconds", [0, 5], [0.0, 0.0])) is None
    scale = time_scale(make_series("seconds", [0, 5, 9], [0.0, 2.0, 2.0]))
    assert scale is not None
    np.testing.assert_allclose(scale.at([5, 9, 12]), [2, 2, 2])


@pytest.mark.parametrize(("steps", "positions"), [([0], [0.0]), ([0, 0], [0.0, 1.0]), ([0, 1], [1.0, 0.0])])
def test_a_scale_that_does_not_rise_is_refused(steps: list[int], positions: list[float]) -> None:
    with pytest.raises(ConfigError, match="two steps in rising order"):
        StepScale(title="x", step=np.array(steps), position=np.array(positions))


def test_points_marks_labels_and_axis_move_together() -> None:
    curve = Curve(series=make_series("loss", [0, 10, 30], [3.0, 2.0, 1.0]), style=series_style("loss", 0))
    mark = Mark(step=20, text="M1", color="#7f8896")
    plain = curve_figure([curve], y_title="loss", view=CurveView(smoothing=0.0), marks=[mark])
    figure = rescale_steps(plain, TENTHS)
    np.testing.assert_allclose(figure.data[0].x, [0, 1, 2])
    np.testing.assert_allclose(figure.data[0].y, [3, 2, 1])
    assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].x1) == (1.5, 1.5)
    assert figure.layout.annotations[0].x == 1.5
    assert list(figure.layout.xaxis.range) == [0, 2]
    assert figure.layout.xaxis.title.text == "epochs"


def test_lines_on_the_paper_stay_and_phases_keep_their_ends() -> None:
    class Event:
        id, kind = 1, "phase"

        def __init__(self, step: int, phase: str) -> None:
            self.step, self.payload = step, {"phase": phase, "epoch": 0, "epochs": 1, "cycle": 0}

    figure = rescale_steps(timeline_figure([Event(0, "warmup"), Event(10, "arch_training")], 30), TENTHS)
    bars = [(float(bar.base[0]), float(bar.x[0])) for bar in figure.data]
    assert bars == [(0, 1), (1, 1)]
    empty = rescale_steps(memory_figure([]), TENTHS)
    assert empty.layout.annotations[0].x == 0.5


def test_runs_that_are_compared_move_each_to_its_own_scale_with_their_gaps() -> None:
    broken = make_series("loss", [0, 10, 20], [1.0, float("nan"), 2.0])
    curves = [("one", broken), ("two", make_series("loss", [0, 10], [1.0, 2.0])), ("three", broken)]
    figure = compare_figure(curves, y_title="loss", view=CurveView(smoothing=0.0))
    late = StepScale(title="epochs", step=np.array([0, 10]), position=np.array([0.0, 5.0]))
    rescale_runs(figure, {"one": TENTHS, "two": late})
    found = {trace.name: list(trace.x) for trace in figure.data}
    assert found == {"one": [0, 1.5], "one: NaN or Inf (1)": [1], "two": [0, 5]}
    assert figure.layout.xaxis.title.text == "epochs"
    assert figure.layout.xaxis.range is None
    with pytest.raises(ConfigError, match="the scale of a run"):
        rescale_runs(figure, {})


def test_steps_on_a_logarithmic_axis_are_one_more_and_marks_stand_at_their_step() -> None:
    curve = Curve(series=make_series("loss", [0, 9, 99], [3.0, 2.0, 1.0]), style=series_style("loss", 0))
    mark = Mark(step=9, text="M1", color="#7f8896")
    plain = curve_figure([curve], y_title="loss", view=CurveView(smoothing=0.0), marks=[mark])
    layout = rescale_steps(plain, log_scale()).layout
    np.testing.assert_allclose(plain.data[0].x, [1, 10, 100])
    assert (layout.xaxis.type, layout.xaxis.title.text) == ("log", "step + 1")
    np.testing.assert_allclose(layout.xaxis.range, [0, 2])
    assert layout.shapes[0].x0 == 10.0
    assert layout.annotations[0].x == 1.0
