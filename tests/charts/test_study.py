"""A study as figures."""

from collections.abc import Callable
from typing import Any

import pytest

from lab.charts import (
    StudyTrial,
    best_trial,
    coordinates_figure,
    front_figure,
    front_trials,
    importance_figure,
    logical_trials,
    study_figure,
    study_trials,
)

SPACE = [
    {"field": "rate", "low": 1e-3, "high": 1e-1, "log": True, "choices": []},
    {"field": "size", "low": None, "high": None, "log": False, "choices": [16, 32]},
    {"field": "drop", "low": 0.0, "high": 0.5, "log": False, "choices": []},
]


def told(number: int, value: float | None, *, root: int | None = None, state: str = "complete") -> dict[str, Any]:
    """An event's payload: made-up numbers."""
    return {
        "number": number,
        "root": number if root is None else root,
        "attempt": 0 if root is None else 1,
        "state": state,
        "params": {"rate": 0.01, "size": 32, "drop": 0.25},
        "values": {} if value is None else {"accuracy": value},
        "reports": 0,
        "cause": "",
        "reason": "",
        "retried": False,
        "run": f"trials/trial-{number:04d}",
        "seconds": 1.0,
        "supervisor": 0,
    }


@pytest.fixture
def trials(make_event: Callable[..., Any]) -> tuple[StudyTrial, ...]:
    """0.5, 0.7, one that failed and its retry with 0.6, one pruned; the first is told twice."""
    rows = [
        told(0, None, state="running"),
        told(1, 0.7),
        told(0, 0.5),
        told(2, None, state="failed"),
        told(3, 0.6, root=2),
        told(4, None, state="pruned"),
    ]
    return study_trials([make_event(step, "trial", **row) for step, row in enumerate(rows)])


def test_the_latest_event_of_a_number_holds(trials: tuple[StudyTrial, ...]) -> None:
    assert [(trial.number, trial.state) for trial in trials][:2] == [(0, "complete"), (1, "complete")]


def test_a_retry_is_no_further_trial(trials: tuple[StudyTrial, ...]) -> None:
    assert [(trial.number, trial.state) for trial in logical_trials(trials)] == [
        (0, "complete"),
        (1, "complete"),
        (3, "complete"),
        (4, "pruned"),
    ]


@pytest.mark.parametrize(("direction", "best"), [("maximize", [0.5, 0.7, 0.7]), ("minimize", [0.5, 0.5, 0.5])])
def test_best_so_far_follows_the_direction(trials: tuple[StudyTrial, ...], direction: str, best: list[float]) -> None:
    points, line = study_figure(trials, "accuracy", direction).data
    assert list(points.x) == [0, 1, 3]
    assert list(points.y) == [0.5, 0.7, 0.6]
    assert list(line.y) == best
    found = best_trial(trials, "accuracy", direction)
    assert found is not None
    assert found.values["accuracy"] == best[-1]


def test_a_study_without_a_complete_trial_says_so() -> None:
    for figure in (study_figure([], "loss", "minimize"), coordinates_figure([], SPACE, "loss", "minimize")):
        assert "no trial is complete" in figure.layout.annotations[0].text
    assert best_trial([], "loss", "minimize") is None


@pytest.mark.parametrize(("least", "mode"), [(0.0, "nonnegative"), (-0.5, None)])
def test_an_axis_goes_below_0_only_where_a_value_does(make_event: Callable[..., Any], least: float, mode: str) -> None:
    trials = study_trials([make_event(0, "trial", **told(0, least)), make_event(1, "trial", **told(1, 0.1))])
    assert study_figure(trials, "accuracy", "maximize").layout.yaxis.rangemode == mode
    both = front_figure(trials, {"accuracy": "maximize"}, "accuracy", "accuracy").layout
    assert (both.xaxis.rangemode, both.yaxis.rangemode) == (mode, mode)


def test_the_largest_importance_stands_on_top() -> None:
    (bars,) = importance_figure({"size": 0.2, "rate": 0.8}).data
    assert list(bars.y) == ["size", "rate"]
    assert list(bars.text) == ["20.0%", "80.0%"]
    assert "several complete trials" in importance_figure({}).layout.annotations[0].text


def test_each_field_is_an_axis_of_its_own_scale(trials: tuple[StudyTrial, ...]) -> None:
    (lines,) = coordinates_figure(trials, SPACE, "accuracy", "maximize").data
    rate, size, drop, value = lines.dimensions
    assert list(rate.values) == [-2.0] * 3
    assert list(rate.ticktext) == ["0.001", "0.01", "0.1"]
    assert list(size.values) == [1] * 3
    assert list(size.ticktext) == ["16", "32"]
    assert list(drop.range) == [0.0, 0.5]
    assert list(value.values) == [0.5, 0.7, 0.6]


def test_a_wide_logarithmic_axis_has_few_ticks(trials: tuple[StudyTrial, ...]) -> None:
    wide = [{**SPACE[0], "low": 1e-12, "high": 1.0}]
    (lines,) = coordinates_figure(trials, wide, "accuracy", "maximize").data
    ticks = list(lines.dimensions[0].tickvals)
    assert len(ticks) <= 6
    assert (ticks[0], ticks[-1]) == (-12.0, 0.0)


@pytest.mark.parametrize(("direction", "turned"), [("maximize", False), ("minimize", True)])
def test_the_better_end_has_one_colour(trials: tuple[StudyTrial, ...], direction: str, turned: bool) -> None:
    assert coordinates_figure(trials, SPACE, "accuracy", direction).data[0].line.reversescale is turned


def test_the_front_has_the_trials_that_none_beats_whatever_the_directions(make_event: Callable[..., Any]) -> None:
    points = [(0.5, 10.0), (0.75, 30.0), (0.4, 20.0), (0.75, 30.0), (0.9, float("nan"))]
    rows = [told(n, None) | {"values": {"accuracy": a, "parameters": p}} for n, (a, p) in enumerate(points)]
    found = study_trials([make_event(step, "trial", **row) for step, row in enumerate(rows)])
    objectives = {"accuracy": "maximize", "parameters": "minimize"}
    # Equal ones do not beat each other; one without a value is in no front.
    assert [trial.number for trial in front_trials(found, objectives)] == [0, 1, 3]
    both = {"accuracy": "maximize", "parameters": "maximize"}
    assert [trial.number for trial in front_trials(found, both)] == [1, 3]
    figure = front_figure(found, objectives, "parameters", "accuracy")
    beaten, front = figure.data
    assert (list(beaten.x), list(front.x)) == ([20.0], [10.0, 30.0, 30.0])
    assert beaten.marker.symbol != front.marker.symbol
    assert front_figure((), objectives, "parameters", "accuracy").layout.annotations
