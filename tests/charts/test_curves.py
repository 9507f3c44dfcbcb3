"""Curves: what is drawn is what was recorded."""

from dataclasses import replace

import numpy as np
import pytest

from lab.base import ConfigError
from lab.charts import (
    Curve,
    CurveView,
    LineStyle,
    Mark,
    compare_figure,
    curve_figure,
    make_series,
    memory_figure,
    step_range,
)

STYLE = LineStyle(label="train", color="#2f7ef0", dash="solid")
RAW = CurveView(smoothing=0.0)


def curve(values: list[float], *, dense: bool = True) -> Curve:
    return Curve(series=make_series("loss", range(len(values)), values), style=STYLE, dense=dense)


def test_raw_values_are_drawn_as_they_are() -> None:
    figure = curve_figure([curve([3.0, 2.0, 1.0])], y_title="loss", view=RAW)
    assert figure.data[0].y.tolist() == [3.0, 2.0, 1.0]
    assert figure.data[0].name == "train"
    assert figure.layout.yaxis.title.text == "loss"


def test_smoothing_draws_the_average_before_the_raw_curve() -> None:
    figure = curve_figure([curve([0.0, 1.0] * 20)], y_title="loss", view=CurveView(smoothing=0.9))
    raw, line = figure.data
    assert raw.opacity < 0.5
    assert set(raw.y) == {0.0, 1.0}
    assert np.ptp(line.y[10:]) < 0.2


def test_points_of_an_epoch_are_never_smoothed() -> None:
    figure = curve_figure([curve([0.0, 1.0, 0.0], dense=False)], y_title="loss", view=CurveView(smoothing=0.9))
    assert [trace.y.tolist() for trace in figure.data] == [[0.0, 1.0, 0.0]]
    assert "markers" in figure.data[0].mode


def test_no_line_bridges_the_gaps_between_points_of_separate_phases() -> None:
    points = Curve(series=make_series("arch/loss", [3, 40], [1.0, 0.5]), style=STYLE, dense=False, joined=False)
    assert curve_figure([points], y_title="loss").data[0].mode == "markers"


def test_the_window_cuts_the_curve_but_not_its_average() -> None:
    values = [100.0] + [0.0] * 99
    whole = curve_figure([curve(values)], y_title="loss", view=CurveView(smoothing=0.9))
    late = curve_figure([curve(values)], y_title="loss", view=CurveView(smoothing=0.9, last=10))
    np.testing.assert_allclose(late.data[1].y, whole.data[1].y[-11:])
    assert list(late.layout.xaxis.range) == [89, 99]


def test_nan_is_shown_as_a_cross_at_the_last_number() -> None:
    figure = curve_figure([curve([3.0, 2.0, float("nan"), 1.0])], y_title="loss", view=RAW)
    line, crosses = figure.data
    assert line.x.tolist() == [0, 1, 3]
    assert crosses.marker.symbol == "x"
    assert (crosses.x.tolist(), crosses.y.tolist()) == ([2], [2.0])
    assert crosses.name == "train: NaN or Inf (1)"


def test_a_curve_of_nan_alone_is_still_shown_and_counted() -> None:
    figure = curve_figure([curve([float("nan")] * 5000)], y_title="loss")
    assert figure.data[-1].name == "train: NaN or Inf (5000)"
    assert 0 < len(figure.data[-1].x) <= 2000


def test_no_values_give_a_sentence() -> None:
    figure = curve_figure([curve([])], y_title="loss")
    assert "No values" in figure.layout.annotations[0].text


def test_one_value_is_visible_as_a_point() -> None:
    figure = curve_figure([curve([2.3])], y_title="loss", view=RAW)
    assert "markers" in figure.data[0].mode
    assert list(figure.layout.xaxis.range) == [0, 1]


def test_the_only_point_of_a_run_stands_where_it_lies_in_the_run() -> None:
    series = make_series("process", [39], [2**20])
    assert list(memory_figure([series]).layout.xaxis.range) == [0, 39]


@pytest.mark.parametrize(("least", "mode"), [(0.0, "nonnegative"), (-1.0, None), (float("nan"), "nonnegative")])
def test_an_axis_of_values_goes_below_0_only_where_one_does(least: float, mode: str | None) -> None:
    assert curve_figure([curve([least, 1.0])], y_title="loss", view=RAW).layout.yaxis.rangemode == mode


def test_a_marker_on_the_edge_of_the_plot_is_drawn_whole() -> None:
    line, points = curve([3.0, 2.0, 1.0]), curve([3.0, 2.0, 1.0], dense=False)
    assert [trace.cliponaxis for trace in curve_figure([line, points], y_title="loss", view=RAW).data] == [None, False]


def test_a_logarithmic_axis_leaves_out_what_has_no_place_on_it() -> None:
    figure = curve_figure([curve([1.0, 0.0, 0.1])], y_title="loss", view=replace(RAW, log_y=True))
    assert figure.layout.yaxis.type == "log"
    assert np.isnan(figure.data[0].y[1])


def test_long_curves_are_thinned_and_say_so() -> None:
    values = np.random.default_rng(0).normal(size=9000).tolist()
    figure = curve_figure([curve(values)], y_title="loss", view=replace(RAW, limit=500))
    assert len(figure.data[0].x) <= 500
    assert f"showing {len(figure.data[0].x)} of 9,000 points" in figure.layout.xaxis.title.text


def test_figures_carry_typed_arrays() -> None:
    figure = curve_figure([curve([3.0, 2.0, 1.0])], y_title="loss")
    assert all(isinstance(trace.x, np.ndarray) and isinstance(trace.y, np.ndarray) for trace in figure.data)


def test_marks_outside_the_window_are_not_drawn() -> None:
    marks = [Mark(step=1, text="M1 ✔", color="#1f9d4d"), Mark(step=95, text="M2 ●", color="#d9720a")]
    figure = curve_figure([curve([1.0] * 100)], y_title="loss", view=CurveView(last=10), marks=marks)
    assert [shape.x0 for shape in figure.layout.shapes] == [95]
    assert [note.text for note in figure.layout.annotations] == ["M2 ●"]


def test_labels_of_crowded_marks_do_not_overlap() -> None:
    marks = [Mark(step=step, text=f"M{step}", color="#1f9d4d") for step in range(50)]
    figure = curve_figure([curve([1.0] * 100)], y_title="loss", marks=marks)
    places = sorted(note.x for note in figure.layout.annotations)
    assert len(figure.layout.shapes) == 50
    # Two letters and the gap of one, of 400 pixels.
    assert np.diff(places).min() >= 99 * 3 * 7.5 / 400 - 1
    assert len(places) < 20
    assert "M49" in [note.text for note in figure.layout.annotations]


def test_runs_are_compared_by_name_colour_and_dash() -> None:
    figure = compare_figure(
        [("one", make_series("a", [0, 1], [1, 2])), ("two", make_series("a", [0, 1], [3, 4]))], y_title="a"
    )
    lines = [trace for trace in figure.data if trace.showlegend is not False]
    assert [line.name for line in lines] == ["one", "two"]
    assert lines[0].line.color != lines[1].line.color
    assert lines[0].line.dash != lines[1].line.dash


def test_memory_is_given_in_mebibytes() -> None:
    figure = memory_figure([make_series("process", [0, 1], [2**20, 3 * 2**20])])
    assert figure.data[0].y.tolist() == [1.0, 3.0]
    assert figure.layout.yaxis.title.text == "MiB"


def test_the_shown_range_covers_all_curves() -> None:
    curves = [make_series("a", [5, 9], [0, 0]), make_series("b", [2], [0]), make_series("c", [], [])]
    assert step_range(curves, CurveView()) == (2, 9)
    assert step_range([], CurveView()) == (0, 1)


@pytest.mark.parametrize("setting", [{"smoothing": 1.0}, {"last": -1}, {"limit": 3}])
def test_a_view_outside_its_range_is_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        CurveView(**setting)


def test_each_kind_of_memory_has_an_axis_of_its_own() -> None:
    """4 MiB of tensors are no line at 0 under a process of 890 MiB."""
    process = make_series("process", [0, 1], [890 * 2**20, 891 * 2**20])
    tensors = make_series("tensors", [0, 1], [4 * 2**20, 4.5 * 2**20])
    figure = memory_figure([process, tensors])
    assert [(trace.name, trace.yaxis) for trace in figure.data] == [("process", "y"), ("tensors", "y2")]
    assert figure.layout.yaxis.domain[0] > figure.layout.yaxis2.domain[1]
    assert (figure.layout.yaxis.range, figure.layout.yaxis2.range) == (None, None)
    assert figure.layout.xaxis.anchor == "y2"


def spiked(count: int = 200, *, spike: float = 900.0) -> list[float]:
    values = [1.0 + 0.5 * (step % 7) / 7 for step in range(count)]
    values[count // 2] = spike
    return values


def test_a_spike_does_not_stretch_a_robust_axis_and_is_told() -> None:
    drawn = curve_figure([curve(spiked())], y_title="loss", view=replace(RAW, robust_y=True))
    low, high = drawn.layout.yaxis.range
    assert 0.8 < low <= 1.0
    assert 1.4 < high < 2.0
    assert drawn.layout.xaxis.title.text == "step (off the axis: 1)"
    assert max(drawn.data[0].y) == 900.0
    assert curve_figure([curve(spiked())], y_title="loss", view=RAW).layout.yaxis.range is None


def test_a_robust_axis_holds_a_curve_without_a_spike_whole() -> None:
    values = [2.3 * 0.98**step for step in range(200)]
    drawn = curve_figure([curve(values)], y_title="loss", view=replace(RAW, robust_y=True))
    low, high = drawn.layout.yaxis.range
    assert low < min(values)
    assert high > max(values)
    assert drawn.layout.xaxis.title.text == "step"


def test_a_robust_axis_goes_along_with_a_loss_that_stays_high() -> None:
    drawn = curve_figure([curve([1.0] * 997 + [50.0] * 3)], y_title="loss", view=replace(RAW, robust_y=True))
    assert drawn.layout.yaxis.range[1] > 50


def test_a_robust_axis_is_of_the_shown_window() -> None:
    view = replace(RAW, robust_y=True, last=50)
    drawn = curve_figure([curve([100.0] * 100 + [1.0, 2.0] * 50)], y_title="loss", view=view)
    assert drawn.layout.yaxis.range[1] < 3


def test_a_robust_axis_may_be_logarithmic_and_ignores_what_is_no_number() -> None:
    view = replace(RAW, robust_y=True, log_y=True)
    values = [float("nan"), -1.0, *([0.1, 1.0] * 100), 1e30, 0.5]
    low, high = curve_figure([curve(values)], y_title="loss", view=view).layout.yaxis.range
    assert -1.5 < low < -1
    assert 0 < high < 1
    nothing = curve_figure([curve([float("nan")])], y_title="loss", view=view)
    assert nothing.layout.yaxis.range is None
