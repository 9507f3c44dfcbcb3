"""`lab runs show` of a run that the evolution agent worked on."""

import json

import pytest

from lab.cli import main
from lab.store import ActionEvent, RunWriter


def action(name, *, applied=True, accepted=False, **info):
    reward = 0.125 if applied else None
    return ActionEvent(action=name, applied=applied, accepted=accepted, reward=reward, info=info)


TRIED = {
    "changes": ["widen {'layer': 'features.conv3', 'width': 48}"],
    "measured": True,
    "loss_change": -0.0072,
    "loss_error": 0.0037,
    "max_difference": 2.4e-16,
    "exact": True,
    "probe_steps": 12,
    "parameters": [13994, 19418],
    "reason": "held-out loss -0.0072 +- 0.0037, reward +0.125",
}


@pytest.fixture
def evolved(tmp_path):
    """A run whose agent kept a change, took one back and was refused one."""
    with RunWriter(tmp_path, "evolved", {"recipe": "agent"}) as run:
        run.scalars(0, {"agent/parameters": 13994.0})
        run.record(10, action("expand", accepted=True, **TRIED))
        run.record(10, action("expand", **TRIED))
        run.record(20, action("branch", applied=False, error="over the limit", masked={"branch": "over the limit"}))
    return tmp_path / "evolved"


def test_show_lists_the_actions_in_order_with_what_was_measured(evolved, capsys):
    assert main(["runs", "show", str(evolved)]) == 0
    text = capsys.readouterr().out
    assert text.isascii(), "any terminal can write it"
    head, *rows = text[text.index("actions of the agent") :].splitlines()[1:6]
    assert head.split("  ")[0] == "step"
    payload = (
        "expand  kept         widen (width 48)  features.conv3  -0.0072 +- 0.0037  +0.125  13,994 -> 19,418  2.4e-16"
    )
    assert rows[1] == f"10    {payload}"
    assert "expand  rolled back  widen" in rows[2]
    assert rows[3].split() == ["20", "branch", "refused", "over", "the", "limit"]


def test_show_counts_outcomes_and_says_what_is_masked_and_that_there_is_no_cell(evolved, capsys):
    main(["runs", "show", str(evolved)])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "actions 1 kept, 1 rolled back, 1 refused" in lines
    assert "not possible now branch: over the limit" in lines
    assert "cell now none: recipe agent changes the layers of a live network" in lines
    assert not any(line.startswith("mutations") for line in lines)


def test_the_json_form_holds_the_whole_action(evolved, capsys):
    assert main(["runs", "show", str(evolved), "--json"]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert payload["recipe"] == "agent"
    first = payload["actions"][0]
    assert (first["step"], first["outcome"], first["probe_steps"]) == (10, "kept", 12)
    assert (first["exact"], first["loss_change"], first["loss_error"]) == (True, -0.0072, 0.0037)
    assert first["surgeries"] == [{"operation": "widen", "layer": "features.conv3", "detail": "width 48"}]


def test_a_search_is_told_by_its_cell_and_has_no_actions(tmp_path, capsys):
    with RunWriter(tmp_path, "searched", {"recipe": "aso-se"}) as run:
        run.scalars(0, {"loss": 1.0})
    main(["runs", "show", str(tmp_path / "searched")])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "cell now none yet" in lines
    assert "mutations 0 applied, 0 accepted, 0 rejected" in lines
    assert not any(line.startswith("actions") for line in lines)
