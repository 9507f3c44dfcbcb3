"""Ask the class: what is asked, and that nothing on the page tells an outcome before it is revealed."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from components.ask import REVEALED_SECONDS, Question, pick_question, questions_of
from components.feed import SnapshotFeed

from lab.store import ActionEvent, AlertEvent

TELLING = ("accepted", "rejected", "✔", "✘", "kept in the end", "taken back by the test")
"""What only a page that tells an outcome says of the run that `decided` writes."""


def asked_of(run: Any) -> tuple[Question, ...]:
    return questions_of(SnapshotFeed(run.path).refresh())


def test_a_mutation_is_asked_about_until_it_is_decided(recorder: Callable[..., Any], rejection: Any) -> None:
    run = recorder()
    assert asked_of(run) == ()
    run.search()
    (asked,) = asked_of(run)
    assert asked.text == "Mutation 1 at step 20: edge 0→2: conv 3×3 → skip."
    assert (asked.verdict, asked.reason, asked.decided) == ("", "", None)
    run.record(31, rejection)
    (decided,) = asked_of(run)
    assert decided.id == asked.id
    assert (decided.verdict, decided.reason, decided.decided) == ("taken back", "made up for a test", 31)


def question(number: int, decided: int | None = None) -> Question:
    verdict = "" if decided is None else "kept"
    return Question(id=f"m{number}", run="run", text="", verdict=verdict, reason="", decided=decided)


@pytest.mark.parametrize(
    ("questions", "revealed", "asked", "until"),
    [
        ([], {}, None, None),
        ([question(1)], {}, "m1", None),
        ([question(1, 9)], {}, "m1", 8),
        ([question(1, 9)], {"m1": 100.0}, "m1", None),
        ([question(1, 9), question(2)], {}, "m1", 8),
        ([question(1, 9), question(2)], {"m1": 0.0}, "m2", None),
        ([question(1, 9), question(2, 30)], {"m1": 100.0 - REVEALED_SECONDS / 2}, "m1", 29),
        ([question(1, 9), question(2, 30)], {"m1": 100.0 - 2 * REVEALED_SECONDS}, "m2", 29),
        ([question(2, 30), question(3, 20)], {}, "m2", 19),
    ],
)
def test_the_first_outcome_that_is_not_revealed_is_held_back(
    questions: list[Question], revealed: dict[str, float], asked: str | None, until: int | None
) -> None:
    found = pick_question(questions, revealed, 100.0)
    assert (found.question and found.question.id) == asked
    assert found.until == until
    assert found.revealed is (asked in revealed)


def everything(page: Any) -> str:
    """All that the page says or draws, but for what the script of the question holds until it is pressed."""
    shown = [page.text, json.dumps(page.charts, ensure_ascii=False)]
    shown += [metric.label + metric.value for metric in page.app.metric]
    shown += [table.to_string() for table in page.tables]
    components = page.app.get("bidi_component")
    others = [each.proto.json for each in components if each.proto.component_name not in ("lab_ask", "lab_chart")]
    shown += [json.dumps(json.loads(text or "{}"), ensure_ascii=False) for text in others]
    return "\n".join(shown)


def question_shown(page: Any) -> dict[str, Any]:
    (found,) = [each for each in page.app.get("bidi_component") if each.proto.component_name == "lab_ask"]
    return json.loads(found.proto.json)


def decide(run: Any, rejection: Any) -> None:
    """The first mutation is taken back, and much else tells so."""
    run.record(31, rejection)
    run.record(31, AlertEvent(level="info", title="Mutation 1", text="taken back by the test"))
    run.steps(31, 5)
    run.epoch(36, 3)


def test_nothing_tells_how_a_change_ended_before_it_is_revealed(
    page: Any, recorder: Callable[..., Any], rejection: Any
) -> None:
    run = recorder()
    run.search()
    page.open(ask="true")
    assert question_shown(page)["verdict"] == ""
    decide(run, rejection)
    told = everything(page.tick())
    assert not [word for word in TELLING if word in told]
    assert "an outcome is held back" in page.text
    assert page.kpis["Step"] == "30"
    assert (question_shown(page)["verdict"], question_shown(page)["revealed"]) == ("taken back", False)
    # What the button Reveal sends.
    from components import ask

    page.app.session_state["revealed_changes"][str(run.path)][question_shown(page)["id"]] = ask.time.time()
    told = everything(page.tick())
    assert {"rejected", "✘", "taken back by the test"} <= {word for word in TELLING if word in told}
    assert "an outcome is held back" not in page.text
    assert page.kpis["Step"] == "36"
    assert question_shown(page)["revealed"] is True


def test_a_page_that_does_not_ask_shows_all_and_asks_about_the_latest_when_it_does(
    page: Any, recorder: Callable[..., Any], rejection: Any
) -> None:
    run = recorder()
    run.search()
    decide(run, rejection)
    page.open()
    assert "✘ rejected" in page.text
    assert "Switch Ask the class on" in page.text.replace("*", "")
    page.app.toggle(key="ask").set_value(True)
    assert "rejected" not in page.tick().text
    page.app.toggle(key="ask").set_value(False)
    assert "✘ rejected" in page.tick().text


def test_an_action_of_the_agent_is_asked_about_before_anything_tells_of_it(
    page: Any, recorder: Callable[..., Any]
) -> None:
    run = recorder(recipe="agent")
    run.steps(0, 5)
    run.record(
        4, ActionEvent(action="widen", applied=True, accepted=True, reward=0.1, info={"reason": "kept in the end"})
    )
    page.open(ask="true")
    assert "kept in the end" not in everything(page)
    assert question_shown(page)["text"].startswith("Action 1 at step 4, widen")
    assert page.kpis["Actions kept"] == "0 of 0"
    page.app.toggle(key="ask").set_value(False)
    assert page.tick().kpis["Actions kept"] == "1 of 1"


@pytest.mark.parametrize("recipe", ["fixed", "multitask", "text"])
def test_a_run_that_keeps_its_network_asks_nothing(page: Any, recorder: Callable[..., Any], recipe: str) -> None:
    recorder(recipe=recipe).steps(0, 3)
    assert "ask" not in [toggle.key for toggle in page.open(ask="true").app.toggle]
