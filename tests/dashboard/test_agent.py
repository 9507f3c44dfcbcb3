"""The live page of a run that the evolution agent works on."""

from collections.abc import Callable
from typing import Any

import pytest

from lab.store import ActionEvent, AlertEvent, control

CHARTS = {"actions", "proof", "trials", "parameters", "learning", "loss", "accuracy", "stability", "memory"}


def action(name: str, *, accepted: bool, change: float = -0.01, **more: Any) -> ActionEvent:
    """A change that was tried; made-up numbers."""
    info = {
        "changes": ["widen {'layer': 'features.conv3', 'width': 48}"],
        "measured": True,
        "loss_change": change,
        "loss_error": 0.002,
        "exact": True,
        "max_difference": 2.4e-16,
        "probe_steps": 12,
        "parameters": [1000, 1500],
        "regret": 0.0,
        "reason": f"held-out loss {change:+.4f}",
        "reward_parts": {"accuracy": 0.5, "efficiency": -0.875},
        "state": {"experiences": 9, "updates": 4, "probe_steps": 1056},
        "masked": {},
        **more,
    }
    return ActionEvent(action=name, applied=True, accepted=accepted, reward=0.125, info=info)


def refused(name: str, reason: str) -> ActionEvent:
    info = {"measured": False, "error": reason, "masked": {name: reason}}
    return ActionEvent(action=name, applied=False, accepted=False, reward=None, info=info)


@pytest.fixture
def evolving(recorder: Callable[..., Any]) -> Any:
    """A run in which one action was kept and one rolled back at step 10, and one refused at step 20."""
    run = recorder(recipe="agent", evolve={"policy": "agent"})
    agent = {"agent/accept_rate": 0.5, "agent/epsilon": 0.8, "agent/regret": 0.25}
    run.phase(0, "weight_retraining")
    run.steps(0, 10, **{**agent, "agent/parameters": 1000.0})
    run.epoch(10, 0)
    run.record(10, action("expand", accepted=True))
    run.record(10, action("prune", accepted=False, change=0.3, exact=False))
    run.steps(10, 10, **{**agent, "agent/parameters": 1500.0})
    run.record(20, refused("branch", "over the limit"))
    return run


def test_the_page_shows_the_agents_panels_and_says_that_there_is_no_cell(page: Any, evolving: Any) -> None:
    page.open()
    assert page.charts.keys() == CHARTS
    assert "It has no cell, so there is no genotype" in page.text
    assert page.kpis == {
        "Step": "20",
        "Epoch": "1",
        "Parameters": "1,500",
        "Actions kept": "1 of 2",
        "Accept rate": "50% of last 2",
        "Regret so far": "0.2500",
        "Stability": "0.90 steady",
        "Decision accuracy": "75.0%",
    }


def test_the_charts_say_in_words_what_they_show(page: Any, evolving: Any) -> None:
    charts = page.open().charts
    assert charts["actions"]["label"] == "Actions in order, by kind and outcome: 1 kept, 1 rolled back, 1 refused"
    assert charts["trials"]["label"] == "Loss change and reward of 2 trials; the latest +0.3000 ± 0.0020 nats"
    assert charts["parameters"]["label"] == "Parameters of the network over steps, now 1,500"
    assert "exploration, now 80%" in charts["learning"]["label"]


def test_outcomes_are_told_apart_by_name_and_symbol(page: Any, evolving: Any) -> None:
    traces = page.open().charts["actions"]["data"]
    assert [trace["name"] for trace in traces] == ["✔ kept (1)", "✘ rolled back (1)", "⊘ refused (1)"]
    assert len({trace["marker"]["symbol"] for trace in traces}) == 3


@pytest.mark.parametrize("chart", ["parameters", "learning", "loss", "accuracy", "stability", "memory"])
def test_kept_changes_are_marked_in_every_chart_over_steps(page: Any, evolving: Any, chart: str) -> None:
    notes = [note["text"] for note in page.open().charts[chart]["layout"]["annotations"]]
    assert "A1 ✔" in notes
    assert not any(note.startswith(("A2", "A3")) for note in notes)


def test_the_table_holds_every_action_the_latest_first(page: Any, evolving: Any) -> None:
    (rows,) = [frame.value for frame in page.open().app.dataframe if "operation" in frame.value]
    assert list(rows["outcome"]) == ["⊘ refused", "✘ rolled back", "✔ kept"]
    assert list(rows["exact"]) == ["", "not exact", "exact"]
    kept = rows.iloc[-1]
    assert (kept["operation"], kept["layer"]) == ("widen (width 48)", "features.conv3")
    assert (kept["loss change (nats)"], kept["parameters"]) == ("-0.0100 ± 0.0020", "1,000 → 1,500")
    assert (kept["probe steps"], kept["output difference"]) == ("12", "2.4e-16")


def test_what_is_not_possible_is_told_with_the_reason(page: Any, evolving: Any) -> None:
    (rows,) = [table for table in page.open().tables if list(table) == ["action", "reason"]]
    assert rows.to_dict("records") == [{"action": "branch", "reason": "over the limit"}]
    evolving.record(20, action("expand", accepted=True))
    assert "After action 4 every action is possible." in page.tick().text


def test_the_latest_action_is_told_in_sentences(page: Any, evolving: Any) -> None:
    text = page.open().text
    assert "Action 3 at step 20: ⊘ branch refused" in text
    assert "why: over the limit" in text
    evolving.record(20, action("expand", accepted=False))
    text = page.tick().text
    assert "Action 4 at step 20: ✘ expand rolled back" in text
    assert "widen (width 48) at features.conv3" in text
    assert "exact: output changed by 2.4e-16 at that moment" in text
    assert "loss change -0.0100 ± 0.0020 nats after 12 probe steps beside its control copy" in text
    assert "parameters 1,000 → 1,500, and back" in text
    assert "reward +0.125, weighed from accuracy +0.50, efficiency -0.88" in text


def test_how_much_the_agent_has_learnt_from_is_told(page: Any, evolving: Any) -> None:
    assert "experiences" not in page.open().text
    evolving.record(20, action("expand", accepted=False))
    expected = "After action 4: 9 experiences, 4 updates of its policy, 1,056 training steps in trials."
    assert expected in page.tick().text


def test_a_tick_brings_a_new_action(page: Any, evolving: Any) -> None:
    page.open()
    assert page.kpis["Actions kept"] == "1 of 2"
    evolving.record(20, action("residual", accepted=True))
    assert page.tick().kpis["Actions kept"] == "2 of 3"
    assert page.charts["actions"]["data"][0]["name"] == "✔ kept (2)"


def test_before_the_first_action_the_page_says_so(page: Any, recorder: Callable[..., Any]) -> None:
    recorder(recipe="agent").steps(0, 2)
    page.open()
    assert page.charts.keys() == CHARTS
    assert "No action: the network is as it began." in page.text
    assert "No action" in page.charts["actions"]["layout"]["annotations"][0]["text"]
    assert page.kpis["Parameters"] == "–"


def test_every_word_is_explained_on_the_page_and_on_the_help_page(page: Any, evolving: Any) -> None:
    words = ("rolled back", "Probe steps", "Loss change", "Exact", "Accept rate", "Regret", "Exploration ε")
    page.open()
    assert all(f"{word}**:" in page.text for word in words)
    page.app.switch_page("app_pages/help.py")
    page.tick()
    assert all(f"{word}**:" in page.text for word in words)


def test_the_button_says_that_it_is_one_action_of_the_agent(page: Any, evolving: Any) -> None:
    button = page.open().app.button(key="press_mutate")
    assert button.label == "Mutate now: one action"
    assert "The agent takes one action at the next step" in button.help
    page.press("mutate")
    assert [sent.name for sent in control.poll(evolving.path)] == ["mutate"]
    evolving.answer(21, "mutate", text="expand: kept: held-out loss fell")
    assert "expand: kept: held-out loss fell" in page.tick().text


def test_nothing_of_a_cell_can_be_pressed(page: Any, evolving: Any) -> None:
    page.open()
    popovers = {block.proto.popover.label: block.proto.popover for block in page.app.get("popover")}
    assert popovers["Temperature"].disabled
    assert "there is no temperature to set" in popovers["Temperature"].help
    assert not popovers["Stop"].disabled


def test_a_run_in_which_nobody_acts_says_so_and_takes_no_action(page: Any, recorder: Callable[..., Any]) -> None:
    recorder(recipe="agent", evolve={"policy": "none"}).steps(0, 2)
    page.open()
    assert not page.enabled("mutate")
    assert "uses --policy none" in page.app.button(key="press_mutate").help


def test_a_baseline_is_named(page: Any, recorder: Callable[..., Any]) -> None:
    recorder(recipe="agent", evolve={"policy": "random"}).steps(0, 2)
    assert "Policy random chooses, not the agent: a baseline." in page.open().text


def test_the_window_of_steps_holds_for_actions_too(page: Any, evolving: Any) -> None:
    evolving.steps(20, 300)
    evolving.record(320, action("residual", accepted=True))
    names = [trace["name"] for trace in page.open("run", window="last 200 steps").charts["actions"]["data"]]
    assert names == ["✔ kept (1)"]
    assert page.values("actions", 0, "x") == [4]
    assert page.kpis["Actions kept"] == "2 of 3"


def test_an_alert_of_the_agents_run_is_shown(page: Any, evolving: Any) -> None:
    evolving.record(21, AlertEvent(level="warning", title="No action is possible", text="prune: over the limit"))
    (rows,) = [table for table in page.open().tables if "level" in table]
    assert list(rows["what"]) == ["No action is possible"]


def test_text_of_an_action_cannot_format_the_page(page: Any, evolving: Any) -> None:
    evolving.record(22, refused("branch", ":red[x] **y**"))
    shown = [element.value for element in page.open().app.markdown if "why" in str(element.value)]
    assert r"why\: \:red\[x\] \*\*y\*\*" in shown[0]


def test_a_search_keeps_its_own_panels_and_button(page: Any, recorder: Callable[..., Any]) -> None:
    recorder(recipe="aso-se").search()
    page.open()
    assert {"genotype", "probabilities", "temperature"} <= page.charts.keys()
    assert "It has no cell" not in page.text
    assert page.app.button(key="press_mutate").label == "Mutate now"
