"""Search charts: phases, temperature beside entropy, stability."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from lab.charts import (
    Curve,
    Mark,
    curve_figure,
    entropy_series,
    health_word,
    hold_marks,
    make_series,
    mutation_marks,
    series_style,
    stability_figure,
    temperature_figure,
    timeline_figure,
)


def test_phases_become_segments_that_touch(history: list[Any]) -> None:
    figure = timeline_figure(history, 50)
    bars = [trace for trace in figure.data if trace.type == "bar"]
    assert [(bar.name, bar.base[0], bar.x[0]) for bar in bars] == [
        ("warm-up", 0, 10),
        ("architecture", 10, 10),
        ("retraining", 20, 30),
    ]


def test_a_mutation_is_a_moment_on_the_timeline(history: list[Any]) -> None:
    marker = next(trace for trace in timeline_figure(history, 50).data if trace.type == "scatter")
    assert list(marker.x) == [20]
    assert marker.name == "mutation"


def test_phases_differ_by_pattern_and_text_beside_colour(history: list[Any]) -> None:
    bars = [trace for trace in timeline_figure(history, 50).data if trace.type == "bar"]
    assert len({bar.marker.pattern.shape for bar in bars}) == 3
    assert [bar.text[0] for bar in bars] == ["warm-up", "architecture", "retraining"]


def test_a_run_without_a_phase_says_so() -> None:
    assert "No phase" in timeline_figure([], 0).layout.annotations[0].text


def test_a_phase_that_has_just_begun_is_no_error(history: list[Any]) -> None:
    assert timeline_figure(history[:1], 0).layout.xaxis.range[1] == 1


def test_marks_carry_number_and_latest_status_at_the_step_of_the_change(history: list[Any]) -> None:
    marks = mutation_marks(history)
    assert [(mark.step, mark.text) for mark in marks] == [(20, "M1 ✔"), (40, "M2 ●")]


def test_a_hold_is_marked_once_where_it_begins_and_where_it_ends(make_event: Callable[..., Any]) -> None:
    told = [(1, 3.0, None), (4, 1.0, True), (6, 1.0, True), (8, 0.25, True), (9, 2.0, False), (12, 1.9, False)]
    events = [
        make_event(step, "temperature", temperature=value, schedule="any", **({} if held is None else {"held": held}))
        for step, value, held in told
    ]
    assert [(mark.step, mark.text) for mark in hold_marks(events)] == [
        (4, "τ held at 1.0"),
        (8, "τ held at 0.25"),
        (9, "τ released"),
    ]


def test_temperature_and_entropy_share_one_step_axis(history: list[Any]) -> None:
    figure = temperature_figure(
        make_series("temperature", [0, 50], [5.0, 0.1]),
        make_series("entropy", [10, 50], [1.6, 0.2]),
        marks=mutation_marks(history),
        entropy_limit=1.609,
    )
    warm, spread = figure.data
    assert warm.xaxis is None
    assert spread.xaxis is None
    assert spread.yaxis == "y2"
    lines = [shape for shape in figure.layout.shapes if shape.yref == "paper"]
    assert [(line.x0, line.y0, line.y1) for line in lines] == [(20, 0, 1), (40, 0, 1)]
    assert figure.layout.yaxis.domain[0] > figure.layout.yaxis2.domain[1]


def test_before_the_architecture_phase_there_is_a_sentence() -> None:
    nothing = make_series("temperature", [], [])
    assert "architecture phase" in temperature_figure(nothing, nothing).layout.annotations[0].text


def test_entropy_is_the_mean_over_the_edges_of_each_snapshot(make_event: Callable[..., Any]) -> None:
    events = [
        make_event(3, "genotype", entropy=[1.0, 2.0], genotype={"space": "nb201"}),
        make_event(4, "phase"),
        make_event(9, "genotype", entropy=[]),
    ]
    found = entropy_series(events)
    assert (found.step.tolist(), found.value.tolist()) == ([3], [1.5])


def test_health_has_three_named_bands() -> None:
    figure = stability_figure(make_series("health", [0, 10], [1.0, 0.5]))
    assert {note.text for note in figure.layout.annotations} == {"critical", "shaky", "steady"}


@pytest.mark.parametrize(
    ("health", "word"), [(0.0, "critical"), (float("nan"), "critical"), (0.5, "shaky"), (1.0, "steady")]
)
def test_a_score_has_a_word(health: float, word: str) -> None:
    assert health_word(health) == word


def test_interventions_and_rollbacks_have_signs_of_their_own(make_event: Callable[..., Any]) -> None:
    events = [
        make_event(3, "intervention", action="reduce_lr", reason="sawtooth"),
        make_event(5, "rollback", reason="NaN", to_step=2),
    ]
    figure = stability_figure(make_series("health", [0, 10], [1.0, 0.5]), events)
    assert [(trace.name, trace.marker.symbol, list(trace.x)) for trace in figure.data[1:]] == [
        ("intervention", "triangle-down", [3]),
        ("rollback", "star", [5]),
    ]


def test_a_score_that_does_not_exist_yet_is_a_sentence() -> None:
    assert "No stability score" in stability_figure(make_series("health", [], [])).layout.annotations[0].text


@pytest.fixture
def forty(make_event: Callable[..., Any]) -> list[Any]:
    """A run of 40 cycles of 25 steps with a mutation in each."""
    events = [make_event(0, "phase", phase="warmup", epoch=0, epochs=1, cycle=0)]
    for cycle in range(40):
        phase = {"epoch": cycle, "epochs": 1, "cycle": cycle}
        events.append(make_event(100 + 25 * cycle, "phase", phase="mutation", **phase))
        events.append(make_event(100 + 25 * cycle, "phase", phase="weight_retraining", **phase))
    return events


def test_mutations_leave_the_names_of_the_phases_free(forty: list[Any]) -> None:
    figure = timeline_figure(forty, 1100)
    (markers,) = [trace for trace in figure.data if trace.type == "scatter"]
    bars = [trace for trace in figure.data if trace.type == "bar"]
    assert bars[0].text[0] == "warm-up"
    assert {trace.y[0] for trace in bars} == {0}
    # A bar is one high, less the gap: from -0.375 to 0.375.
    assert max(markers.y) < -0.5 > figure.layout.yaxis.range[0]


def test_mutations_that_would_touch_share_a_marker_with_their_number(forty: list[Any]) -> None:
    (markers,) = [trace for trace in timeline_figure(forty, 1100).data if trace.type == "scatter"]
    gaps = [later - earlier for earlier, later in itertools.pairwise(markers.x)]
    assert min(gaps) >= 1100 / 30
    assert sum(int(text or 1) for text in markers.text) == 40
    assert markers.customdata[0] == "2 mutations, steps 100 to 125"


def test_labels_of_marks_stand_apart_by_their_length() -> None:
    marks = [Mark(step=25 * number, text=f"M{number} ✔", color="red") for number in range(1, 41)]
    held = Mark(step=600, text="τ held at 1.0", color="orange", always=True)
    figure = curve_figure(
        [Curve(series=make_series("a", [0, 1000], [0.0, 1.0]), style=series_style("a", 0))],
        y_title="a",
        marks=[*marks, held],
    )
    pixels = [(note.x * 400 / 1000, 7.5 * len(note.text)) for note in figure.layout.annotations]
    ends = sorted((place - width / 2, place + width / 2) for place, width in pixels)
    assert len(ends) > 4
    assert "τ held at 1.0" in [note.text for note in figure.layout.annotations]
    assert all(right < left for (_, right), (left, _) in itertools.pairwise(ends))


def test_a_hold_keeps_its_line_among_thousands_of_mutations(make_event: Callable[..., Any]) -> None:
    marks = [Mark(step=step, text=f"M{step}", color="red") for step in range(1000)]
    (held,) = hold_marks([make_event(500, "temperature", temperature=1.0, schedule="control", held=True)])
    curve = Curve(series=make_series("a", [0, 999], [0.0, 1.0]), style=series_style("a", 0))
    figure = curve_figure([curve], y_title="a", marks=[held, *marks])
    assert [shape.x0 for shape in figure.layout.shapes if shape.line.dash == "solid"] == [500]
    assert f"{len(figure.layout.shapes)} of 1,001 marks" in figure.layout.xaxis.title.text
