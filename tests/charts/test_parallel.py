"""Parallel coordinates of runs: numbers on their own scale, texts at even places, every run a line."""

import pytest

from lab.base import ConfigError
from lab.charts import parallel_figure

COLUMNS = {
    "run": ["one", "two", "three"],
    "lr": [0.1, 0.001, 0.01],
    "layers": [3.0, 5.0, 3.0],
    "growth": ["none", "width", "none"],
    "mixed": [1.0, "none", 2.0],
    "loss": [0.5, 0.25, 1.0],
}


COLORS = ["#2f7ef0", "#d9720a", "#0d9488"]


def axes(columns=COLUMNS):
    count = len(next(iter(columns.values())))
    (trace,) = parallel_figure(columns, colors=COLORS[:count]).data
    return {each.label: each for each in trace.dimensions}, trace


def test_each_column_is_an_axis_and_each_run_a_line():
    found, _ = axes()
    assert list(found) == list(COLUMNS)
    assert list(found["loss"].values) == [0.5, 0.25, 1.0]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_run_has_the_colour_that_it_is_given(count):
    (trace,) = parallel_figure({"loss": [0.5, 0.25, 1.0][:count]}, colors=COLORS[:count]).data
    places = dict(trace.line.colorscale)
    shown = [places[value / trace.line.cmax] for value in trace.line.color]
    assert shown == COLORS[:count]
    assert trace.line.cmin == 0


def test_texts_lie_at_even_places_and_a_column_with_one_text_is_one_of_texts():
    found, _ = axes()
    assert list(found["growth"].values) == [0, 1, 0]
    assert list(found["growth"].ticktext) == ["none", "width"]
    assert list(found["mixed"].ticktext) == ["1", "none", "2"]


def test_numbers_that_lie_far_apart_are_on_a_logarithmic_axis():
    found, _ = axes({"lr": [0.1, 0.001], "near": [1.0, 0.5], "loss": [1.0, 2.0]})
    assert list(found["lr"].values) == pytest.approx([-1.0, -3.0])
    assert "0.001" in found["lr"].ticktext
    assert list(found["near"].values) == [1.0, 0.5]


@pytest.mark.parametrize("value", [0.0, 3.0, -2.0])
def test_an_axis_of_one_value_has_two_ends(value):
    found, _ = axes({"same": [value, value], "loss": [1.0, 2.0]})
    low, high = found["same"].range
    assert low < value < high


def test_a_long_name_keeps_its_end_and_stays_a_place_of_its_own():
    names = [f"a-very-long-name-of-a-run-{number}" for number in range(2)]
    found, _ = axes({"run": names, "loss": [1.0, 2.0]})
    assert list(found["run"].values) == [0, 1]
    assert [text[0] + text[-2:] for text in found["run"].ticktext] == ["…-0", "…-1"]


def test_no_run_at_all_is_a_sentence():
    figure = parallel_figure({"run": [], "loss": []}, colors=[])
    assert "Nothing to show" in figure.layout.annotations[0].text


@pytest.mark.parametrize("columns", [{"a": [1.0], "loss": [1.0, 2.0]}, {"loss": [1.0]}])
def test_columns_and_colours_of_unequal_length_are_refused(columns):
    with pytest.raises(ConfigError, match="one value and one colour of each run"):
        parallel_figure(columns, colors=COLORS[:2])
