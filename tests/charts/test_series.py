"""Series: nothing is lost, nothing is invented."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.base import ConfigError
from lab.charts import count_note, make_series, smooth, thin

numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400)


@settings(max_examples=40, deadline=None)
@given(numbers, st.floats(0.0, 0.99))
def test_smoothing_equals_the_recursion_that_defines_it(values: list[float], weight: float) -> None:
    mean, expected = 0.0, []
    for count, value in enumerate(values, start=1):
        mean = weight * mean + (1 - weight) * value
        expected.append(mean / (1 - weight**count))
    np.testing.assert_allclose(smooth(np.array(values), weight), expected, rtol=1e-9, atol=1e-6)


def test_smoothing_of_a_constant_is_that_constant_from_the_first_point_on() -> None:
    np.testing.assert_allclose(smooth(np.full(300, 7.0), 0.95), 7.0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=70, max_size=400), st.integers(4, 64))
def test_thinning_keeps_the_extremes_and_the_limit(values: list[float], limit: int) -> None:
    curve = make_series("loss", range(len(values)), values)
    few = thin(curve, limit)
    assert len(few) <= limit
    assert few.value.max() == max(values)
    assert few.value.min() == min(values)
    assert (np.diff(few.step) > 0).all()
    assert set(few.step) <= set(curve.step)


def test_old_points_stay_where_they_are_while_new_ones_arrive() -> None:
    values = np.random.default_rng(0).normal(size=1500)
    early = thin(make_series("loss", range(1400), values[:1400]), 200)
    late = thin(make_series("loss", range(1500), values), 200)
    width = 16
    complete = early.step < 1400 // width * width
    np.testing.assert_array_equal(early.step[complete], late.step[: complete.sum()])


def test_nan_and_infinity_are_found_and_never_drawn() -> None:
    curve = make_series("loss", range(5), [1.0, float("nan"), 2.0, float("inf"), 3.0])
    assert curve.broken.tolist() == [1, 3]
    assert curve.finite.step.tolist() == [0, 2, 4]
    assert thin(curve).value.tolist() == [1.0, 2.0, 3.0]


def test_points_are_chosen_by_a_mask() -> None:
    chosen = make_series("loss", [0, 1, 2], [5, 6, 7]).where(np.array([True, False, True]))
    assert (chosen.step.tolist(), chosen.value.tolist()) == ([0, 2], [5.0, 7.0])


def test_a_window_starts_at_its_step() -> None:
    assert make_series("loss", [0, 5, 10], [1, 2, 3]).since(5).step.tolist() == [5, 10]


def test_the_note_counts_only_what_is_hidden() -> None:
    assert count_note(2000, 180_000) == "showing 2,000 of 180,000 points"
    assert count_note(10, 10) == ""


@pytest.mark.parametrize("weight", [-0.1, 1.0, float("nan")])
def test_a_smoothing_weight_outside_its_range_is_refused(weight: float) -> None:
    with pytest.raises(ConfigError, match="weight >= 0"):
        smooth(np.ones(3), weight)


def test_a_series_of_two_lengths_is_refused() -> None:
    with pytest.raises(ConfigError, match="equal length"):
        make_series("loss", [0, 1], [1.0])


def test_a_limit_too_small_to_hold_a_curve_is_refused() -> None:
    with pytest.raises(ConfigError, match="limit >= 4"):
        thin(make_series("loss", range(9), range(9)), 3)


def test_a_series_is_cut_at_a_step_and_what_was_thinned_stays_counted() -> None:
    series = replace(make_series("loss", [1, 2, 2, 5, 8], [1.0, 2.0, 3.0, 4.0, 5.0]), thinned=3, each=10.0)
    cut = series.until(2)
    assert (cut.step.tolist(), cut.thinned, cut.rows) == ([1, 2, 2], 3, 30)
    assert (series.until(5).step.tolist(), series.until(5).rows) == ([1, 2, 2, 5], 31)
    assert (series.until(1).thinned, series.until(1).rows) == (1, 10)
    assert (len(series.until(0)), len(series.until(99))) == (0, 5)
