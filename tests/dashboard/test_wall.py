"""The wall: what it says of a run, by recipe, and beside which fixed network."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from components.feed import SnapshotFeed
from components.story import latest_story

from lab.store import ActionEvent, GrowthEvent, InterventionEvent, RollbackEvent

AREAS = {"main", "side", "left", "middle", "right"}


def wall(page: Any) -> dict[str, Any]:
    """What the wall was told."""
    (found,) = [each.proto for each in page.app.get("bidi_component") if each.proto.component_name == "lab_wall"]
    data: dict[str, Any] = json.loads(found.json)
    return data


def panels(page: Any) -> dict[str, dict[str, Any]]:
    return {each["area"]: {**each, "figure": page.figure(each)} for each in wall(page)["panels"]}


def names(panel: dict[str, Any]) -> list[str]:
    return [trace.get("name", "") for trace in panel["figure"]["data"]]


def test_a_search_shows_cell_sentence_numbers_and_four_curves(page: Any, recorder: Callable[..., Any]) -> None:
    run = recorder()
    run.search()
    run.steps(30, 1, beta=0.4)
    page.open(view="wall")
    told, drawn = wall(page), panels(page)
    assert drawn.keys() == AREAS
    assert told["facts"] == [
        ["Phase · cycle 1", "retraining"],
        ["Epoch", "3"],
        ["Decision accuracy", "75.0%"],
        ["Stability", "0.90 steady"],
    ]
    assert told["sign"] == "●"
    assert told["story"].startswith("Step 20: mutation 1 is applied (edge 0→2: conv 3×3 → skip), due by the schedule;")
    assert told["now"] == "Retraining trains the weights of the changed network."
    assert drawn["main"]["title"] == "Genotype: transition 40%"
    assert any("· 40%" in note["text"] for note in drawn["main"]["figure"]["layout"]["annotations"])
    assert "0→2 skip_connect" in drawn["main"]["label"]


def test_the_accuracy_stands_beside_a_fixed_network_where_there_is_one(
    page: Any, recorder: Callable[..., Any], root: Path
) -> None:
    recorder("run").search()
    assert not [name for name in names(panels(page.open("run", view="wall"))["left"]) if "fixed" in name]
    fixed = recorder("run-fixed", recipe="fixed")
    fixed.run.scalars(20, {"decision/accuracy": 0.5})
    fixed.run.scalars(60, {"decision/accuracy": 0.625})
    fixed.run.finish()
    recorder("run-earlier", recipe="agent").epoch(20, 0)
    left = panels(page.tick())["left"]
    assert names(left)[-1] == "fixed network"
    # No further than the run itself has come.
    assert "beside the fixed network run-fixed, at the same step 50.0%" in left["label"]


def test_the_address_can_name_the_fixed_network(page: Any, recorder: Callable[..., Any]) -> None:
    recorder("run").search()
    recorder("baseline", recipe="fixed").epoch(20, 0)
    page.open("run", view="wall")
    assert "fixed network" not in names(panels(page)["left"])
    page.open("run", view="wall", beside="baseline")
    assert names(panels(page)["left"])[-1] == "fixed network"


def test_before_the_first_step_the_wall_stands(page: Any, recorder: Callable[..., Any]) -> None:
    recorder()
    assert wall(page.open(view="wall"))["story"] == "Nothing has changed in this run."
    assert panels(page).keys() == AREAS


@pytest.mark.parametrize(
    ("recipe", "title"), [("agent", "Actions of the agent"), ("multitask", "Router load"), ("text", "Loss")]
)
def test_every_recipe_has_a_wall(page: Any, recorder: Callable[..., Any], recipe: str, title: str) -> None:
    run = recorder(recipe=recipe)
    run.steps(0, 5)
    run.epoch(5, 0)
    assert panels(page.open(view="wall")).keys() == AREAS
    assert panels(page)["main"]["title"] == title


def test_the_live_page_leads_to_the_wall_and_back(page: Any, recorder: Callable[..., Any]) -> None:
    recorder("run").search()
    page.open("run")
    (link,) = [each.proto for each in page.app.get("link_button")]
    assert link.url == "./?run=run&view=wall"
    assert wall(page.open("run", view="wall"))["live"] == "./?run=run"


def test_the_sentence_is_of_the_latest_change_with_its_reason(recorder: Callable[..., Any], rejection: Any) -> None:
    run = recorder()

    def told() -> tuple[str, str]:
        story = latest_story(SnapshotFeed(run.path).refresh())
        return story.sign, story.text

    assert told() == ("○", "Nothing has changed in this run.")
    run.phase(0, "arch_training")
    assert told() == ("○", "Architecture trains the architecture parameters alone; the weights stand still.")
    growth = GrowthEvent(what="width", where="stem", parameters_before=1000, parameters_after=1500, difference=0.0)
    run.record(1, growth)
    text = "Step 1: the network grows in width at stem: 1,000 → 1,500 parameters; output changed by 0.0e+00."
    assert told() == ("⬆", text)
    run.record(2, rejection)
    text = "Step 2: mutation 1 is rejected (edge 0→2: conv 3×3 → skip): made up for a test."
    assert told() == ("✘", text)
    run.record(3, RollbackEvent(reason="loss is NaN", to_step=2))
    assert told() == ("↺", "Step 3: the network goes back to step 2: loss is NaN.")
    run.record(4, InterventionEvent(action="reduce_lr", reason="the loss swings", before=0.1, after=0.05))
    assert told() == ("⚑", "Step 4: the trainer acts, reduce lr (0.1 → 0.05): the loss swings.")
    info = {"measured": False, "error": "over the limit", "masked": {}}
    run.record(5, ActionEvent(action="branch", applied=True, accepted=False, reward=None, info=info))
    assert told()[1].startswith("Step 5: action 1, branch ")
