"""What the evolution agent did: read from action events, told in words, drawn with more than colour."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from lab.charts import (
    OUTCOME_STYLES,
    action_counts,
    action_figure,
    action_marks,
    action_table,
    agent_actions,
    learning_figure,
    make_series,
    parameter_figure,
    read_change,
    trial_figure,
)

WIDEN = "widen {'layer': 'features.conv3', 'width': 48}"
HYBRID = (
    "together {'parts': [{'op': 'insert_residual', 'span': ['features.conv1', 'features.conv2']}, "
    "{'op': 'insert_attention', 'after': 'features.conv2', 'heads': 0}]}"
)


@pytest.fixture
def act(make_event: Callable[..., Any]) -> Callable[..., Any]:
    """Makes action events of a tried change; `measured` and others go into what is told of it."""

    def make(step: int, action: str, accepted: bool, change: float = -0.01, **more: Any) -> Any:
        info = {
            "measured": True,
            "loss_change": change,
            "loss_error": 0.002,
            "changes": [WIDEN],
            "exact": True,
            "max_difference": 0.0,
            "probe_steps": 12,
            "parameters": [1000, 1500],
            "regret": 0.0,
            "regret_so_far": 0.25,
            "reason": "held-out loss fell",
            "masked": {},
            "state": {"accept_rate": 0.5, "epsilon": 0.8},
            **more,
        }
        return make_event(step, "action", action=action, applied=True, accepted=accepted, reward=0.125, info=info)

    return make


@pytest.fixture
def refusal(make_event: Callable[..., Any]) -> Any:
    info = {"measured": False, "error": "no layer to act on", "masked": {"branch": "no layer to act on"}}
    return make_event(30, "action", action="branch", applied=False, accepted=False, reward=None, info=info)


@pytest.fixture
def acted(act: Callable[..., Any], refusal: Any, make_event: Callable[..., Any]) -> list[Any]:
    """Kept at step 10, rolled back and kept at step 20, refused at step 30; another kind of event between them."""
    between = make_event(15, "checkpoint", path="x")
    return [
        act(10, "expand", True),
        between,
        act(20, "prune", False, 0.3),
        act(20, "hybrid", True, changes=[HYBRID]),
        refusal,
    ]


def test_an_action_is_kept_taken_back_or_refused(acted: list[Any]) -> None:
    found = agent_actions(acted)
    assert [(action.number, action.step, action.outcome) for action in found] == [
        (1, 10, "kept"),
        (2, 20, "rolled back"),
        (3, 20, "kept"),
        (4, 30, "refused"),
    ]
    assert action_counts(found) == {"kept": 2, "rolled back": 1, "refused": 1}
    assert found[0].heading == "Action 1 at step 10: ✔ expand kept"


def test_a_change_is_read_as_operation_layer_and_detail() -> None:
    (widen,) = read_change(WIDEN)
    assert (widen.operation, widen.layer, widen.detail, widen.text) == (
        "widen",
        "features.conv3",
        "width 48",
        "widen (width 48)",
    )
    (prune,) = read_change("prune {'layer': 'classifier.0', 'keep': [0, 2, 5]}")
    assert (prune.layer, prune.detail) == ("classifier.0", "keep 3")


def test_changes_made_together_are_told_one_by_one() -> None:
    first, second = read_change(HYBRID)
    assert (first.text, first.layer) == ("insert residual", "features.conv1 to features.conv2")
    assert (second.text, second.layer) == ("insert attention", "features.conv2")


@pytest.mark.parametrize("text", ["widen", "widen {", "widen {'layer': open('x')}", "widen 3", "widen {}"])
def test_a_change_of_another_form_is_told_whole_and_never_run(text: str) -> None:
    (change,) = read_change(text)
    assert (change.text, change.layer) == (text.replace("_", " "), "")


def test_the_table_holds_what_was_measured_the_latest_first(acted: list[Any]) -> None:
    rows = action_table(agent_actions(acted))
    assert [row["action"] for row in rows] == ["4 branch", "3 hybrid", "2 prune", "1 expand"]
    assert rows[-1] == {
        "action": "1 expand",
        "step": "10",
        "outcome": "✔ kept",
        "operation": "widen (width 48)",
        "layer": "features.conv3",
        "loss change (nats)": "-0.0100 ± 0.0020",
        "reward": "+0.125",
        "parameters": "1,000 → 1,500",
        "exact": "exact",
        "output difference": "0.0e+00",
        "probe steps": "12",
        "regret (nats)": "0.0000",
        "reason": "held-out loss fell",
    }


def test_a_refused_action_claims_no_measurement(acted: list[Any]) -> None:
    row = action_table(agent_actions(acted))[0]
    assert row["reason"] == "no layer to act on"
    empty = {name for name, text in row.items() if not text}
    assert empty >= {"operation", "layer", "loss change (nats)", "reward", "exact", "parameters", "probe steps"}


def test_an_untrained_exact_change_is_said_to_be_not_measured(act: Callable[..., Any]) -> None:
    (action,) = agent_actions([act(5, "expand", True, 0.0, measured=False, probe_steps=0)])
    assert (action.loss_text, action.loss_change, action.reward) == ("not measured", None, None)
    assert "No measured action" in trial_figure([action]).layout.annotations[0].text


def test_a_small_loss_change_keeps_its_digits(act: Callable[..., Any]) -> None:
    (action,) = agent_actions([act(5, "expand", True, 7.9e-7, loss_error=8.4e-7)])
    assert action.loss_text == "+7.9e-07 ± 8.4e-07"


def test_kept_changes_of_one_step_share_a_mark(acted: list[Any], act: Callable[..., Any]) -> None:
    marks = action_marks([*acted, act(40, "mutate", True), act(40, "expand", True)])
    assert [(mark.step, mark.text) for mark in marks] == [(10, "A1 ✔"), (20, "A3 ✔"), (40, "A5 A6 ✔")]


def test_outcomes_differ_in_sign_symbol_and_colour(acted: list[Any]) -> None:
    for field in ("sign", "symbol", "color"):
        assert len({getattr(style, field) for style in OUTCOME_STYLES.values()}) == 3
    traces = action_figure(agent_actions(acted)).data
    assert [trace.name for trace in traces] == ["✔ kept (2)", "✘ rolled back (1)", "⊘ refused (1)"]
    assert len({trace.marker.symbol for trace in traces}) == 3
    assert len({trace.marker.color for trace in traces}) == 3


def test_the_timeline_places_each_action_by_number_and_kind(acted: list[Any]) -> None:
    kept, back, refused = action_figure(agent_actions(acted)).data
    assert (list(kept.x), list(kept.y)) == ([1, 3], ["expand", "hybrid"])
    assert (list(back.x), list(back.y)) == ([2], ["prune"])
    assert (list(refused.x), list(refused.y)) == ([4], ["branch"])
    assert "widen (width 48) features.conv3" in kept.text[0]
    assert "no layer to act on" in refused.text[0]


def test_an_action_of_another_name_has_a_row_of_its_own(act: Callable[..., Any]) -> None:
    figure = action_figure(agent_actions([act(1, "compound", True)]))
    assert list(figure.layout.yaxis.categoryarray)[-1] == "compound"
    assert figure.layout.yaxis.range[1] == 7.5


def test_no_action_is_said() -> None:
    assert "No action" in action_figure([]).layout.annotations[0].text


def test_error_bars_end_one_standard_error_from_the_loss_change(acted: list[Any]) -> None:
    figure = trial_figure(agent_actions(acted))
    back = next(trace for trace in figure.data if trace.name == "✘ rolled back (1)")
    ticks = dict(zip(figure.layout.yaxis.ticktext, figure.layout.yaxis.tickvals, strict=True))
    assert 0.003 * math.sinh(ticks["+0.1"]) == pytest.approx(0.1), "ticks and points are on one scale"
    ends = (back.y[0] - back.error_y.arrayminus[0], back.y[0], back.y[0] + back.error_y.array[0])
    assert [0.003 * math.sinh(end) for end in ends] == pytest.approx([0.298, 0.3, 0.302])
    assert back.text[0] == "2 prune rolled back: +0.3000 ± 0.0020 nats"
    rewards = [trace for trace in figure.data if trace.yaxis == "y2"]
    assert [list(trace.y) for trace in rewards] == [[0.125, 0.125], [0.125]]


@pytest.mark.parametrize(("change", "least"), [(2.5, "+0.01"), (0.3, "+0.01"), (0.001, "+0.001"), (2e-5, "+1e-05")])
def test_the_axis_of_loss_changes_names_values_apart_from_zero(
    act: Callable[..., Any], change: float, least: str
) -> None:
    layout = trial_figure(agent_actions([act(1, "expand", True, change, loss_error=change / 10)])).layout
    names = list(layout.yaxis.ticktext)
    assert names[names.index("0") + 1] == least
    assert names[names.index("0") - 1] == least.replace("+", "-", 1)
    gap = layout.yaxis.tickvals[names.index(least)]
    assert gap > math.asinh(change / 0.003) / 7, "the name has room beside the zero"


def test_a_loss_that_is_no_number_is_drawn_and_named(act: Callable[..., Any]) -> None:
    found = agent_actions([act(1, "expand", False, math.nan), act(2, "prune", True)])
    (broken,) = [trace for trace in trial_figure(found).data if trace.name == "loss is NaN or Inf (1)"]
    assert list(broken.x) == [1]
    assert found[0].loss_text == "not a number"


def test_the_size_is_drawn_unsmoothed_with_the_kept_changes(acted: list[Any]) -> None:
    figure = parameter_figure(make_series("p", [0, 10, 20], [1000, 1500, 1600]), marks=action_marks(acted))
    (line,) = figure.data
    assert list(line.y) == [1000, 1500, 1600]
    assert [note.text for note in figure.layout.annotations] == ["A3 ✔", "A1 ✔"]


def test_learning_lines_differ_in_colour_and_dash_and_share_the_steps() -> None:
    series = [make_series(name, [0, 10], [0.5, 0.25]) for name in ("rate", "epsilon", "regret")]
    figure = learning_figure(*series)
    assert [trace.name for trace in figure.data] == ["accept rate, last ten", "exploration ε", "regret so far"]
    assert len({trace.line.color for trace in figure.data}) == 3
    assert len({trace.line.dash for trace in figure.data}) == 3
    assert [trace.yaxis for trace in figure.data] == ["y", "y", "y2"]
    assert list(figure.layout.xaxis.range) == [0, 10]


def test_learning_without_values_says_so() -> None:
    nothing = make_series("x", [], [])
    assert "No values" in learning_figure(nothing, nothing, nothing).layout.annotations[0].text


def test_a_small_regret_is_written_out_and_not_with_a_prefix() -> None:
    """Plotly's own choice for 0.0006 nats is 600µ."""
    series = [make_series(name, [0, 10], [0.5, 0.0006]) for name in ("rate", "epsilon", "regret")]
    layout = learning_figure(*series).layout
    assert {axis.exponentformat for axis in (layout.xaxis, layout.yaxis, layout.yaxis2)} == {"none"}
