"""Stored names of earlier versions are read as today's; what has today's names passes unchanged."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lab.charts import agent_actions
from lab.runs import RunConfig
from lab.store import (
    PhaseEvent,
    RunReader,
    RunWriter,
    translate_config,
    translate_event,
    translate_head,
    translate_loop_state,
    translate_piece,
    translate_plan,
    translate_state,
)
from lab.store.translation import EVERY_ACTION, UNPLANNED

STORED = Path(__file__).resolve().parents[1] / "stored"
PLAN = {"warmup_epochs": 2, "arch_training_epochs": 1, "weight_training_epochs": 3, "total_cycles": 2}


def test_settings_of_earlier_versions_have_todays_names():
    old = {
        "recipe": "agent",
        "accumulation": 2,
        "data": {"weights_share": 0.5, "architecture_share": 0.25, "decisions_share": 0.25},
        "search": {"reject_sigmas": 2.0, "weight_lr": 0.1, "total_cycles": 3},
        "evolve": {"policy": "random", "model": "seed_cnn"},
    }
    new = {
        "recipe": "agent",
        "grad_accum_steps": 2,
        "data": {"train_share": 0.5, "search_share": 0.25, "selection_share": 0.25},
        "search": {**UNPLANNED, "reject_z": 2.0, "total_cycles": 3},
        "evolve": {**EVERY_ACTION, "reject_z": 2.0, "policy": "random", "model": "small_cnn"},
        "optimizer": {"weight_lr": 0.1, "weight_schedule_interval": "epoch"},
        "checkpoints": {},
        "devices": {},
    }
    assert translate_config(old) == new
    assert translate_config(new) == new


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("rollback", {"reason": "r", "barred": {"space": "nb201"}}, {"reason": "r", "excluded": {"space": "nb201"}}),
        ("genotype", {"likeliest": {}, "reason": "taken"}, {"argmax_genotype": {}, "reason": "extracted"}),
        ("intervention", {"action": "lower_rate"}, {"action": "reduce_lr"}),
        ("intervention", {"action": "gentler_mutation"}, {"action": "reduce_mutation_strength"}),
        ("stability", {"advice": "lower_rate"}, {"advice": "reduce_lr"}),
        ("oom", {"action": "smaller parts"}, {"action": "smaller micro-batches"}),
        ("action", {"info": {"changes": ["together {'parts': []}"]}}, {"info": {"changes": ["compose {'parts': []}"]}}),
        ("phase", {"phase": "weight_retraining"}, {"phase": "training"}),
        ("alert", {"text": "lower_rate"}, {"text": "lower_rate"}),
    ],
)
def test_events_of_earlier_versions_have_todays_words(kind, old, new):
    assert translate_event(kind, old, "fixed") == new
    assert translate_event(kind, new, "fixed") == new


def test_the_search_keeps_its_phase_names():
    assert translate_event("phase", {"phase": "weight_retraining"}, "aso-se") == {"phase": "weight_retraining"}


def test_heads_and_plans_of_earlier_versions_have_todays_names():
    old = {
        "base": {"config": {"recipe": "fixed"}},
        "morphs": [{"kind": "settle"}, {"kind": "width", "plan": "{}"}],
        "training_history": [{"epoch": 0, "phase": "weight_retraining"}],
    }
    new = {
        "base": {"config": {"recipe": "fixed"}},
        "plans": [{"kind": "finalize"}, {"kind": "width", "plan": "{}"}],
        "training_history": [{"epoch": 0, "phase": "training"}],
    }
    assert translate_head(old) == new
    assert translate_head(new) == new
    plan = {"op": "together", "steps": [{"step": "wrap", "kind": "blend"}, {"step": "resize"}]}
    assert translate_plan(plan) == {
        "op": "compose",
        "steps": [{"step": "wrap", "kind": "interpolated_op"}, {"step": "resize"}],
    }


class Pair(NamedTuple):
    first: Any
    second: Any


def test_states_of_earlier_versions_have_todays_keys_and_modules_keep_their_own():
    class Weight:
        dtype = "float32"

    weight = Weight()
    old = {"explorer": {"asked": True, "barred": weight, "recent": [(1, 2)]}, "live": {"blends": [["cell", 1, 0]]}}
    new = {
        "explorer": {"sampled": True, "excluded": weight, "recent": [(1, 2)]},
        "live": {"transitions": [["cell", 1, 0]]},
    }
    assert translate_state(old) == new
    pair = Pair(first={"asked": True}, second=[1])
    assert translate_state([pair]) == [Pair(first={"sampled": True}, second=[1])]
    assert type(translate_state(pair)) is Pair
    module = {"barred": weight, "asked": weight}
    assert translate_state({"module": module})["module"] is module


def test_pieces_of_earlier_measurements_have_todays_names():
    old = {"settings": {"weights_share": 0.3}, "morphs": [{"kind": "settle"}], "told": []}
    assert translate_piece(old) == {"settings": {"train_share": 0.3}, "plans": [{"kind": "finalize"}], "events": []}


def test_a_reader_gives_a_stored_run_in_todays_words():
    grown, fixed = RunReader(STORED / "aso-se-grown"), RunReader(STORED / "fixed")
    assert "grad_accum_steps" in grown.config()
    assert "reject_z" in grown.config()["search"]
    rollbacks = [event.record() for event in grown.events(kinds=("rollback",)).events]
    assert rollbacks[0].excluded["space"] == "nb201"
    genotypes = [event.record() for event in grown.events(kinds=("genotype",)).events]
    assert "extracted" in {event.reason for event in genotypes}
    assert {event.payload["phase"] for event in fixed.events(kinds=("phase",)).events} <= {"training", "finished"}
    assert {e.payload["phase"] for e in grown.events(kinds=("phase",)).events} >= {"warmup", "weight_retraining"}


def test_charts_read_what_an_earlier_agent_did():
    actions = agent_actions(RunReader(STORED / "agent").events(kinds=("action",)).events)
    assert actions
    assert not any("together" in json.dumps(action.state) for action in actions)


def test_a_run_of_today_is_read_as_it_was_written(tmp_path):
    with RunWriter(tmp_path, "run", {"recipe": "fixed", "grad_accum_steps": 2}) as run:
        run.record(0, PhaseEvent(phase="training", epoch=0, epochs=1, cycle=0))
    reader = RunReader(tmp_path / "run")
    assert reader.config() == {"recipe": "fixed", "grad_accum_steps": 2}
    assert reader.events().events[0].payload["phase"] == "training"


def test_recipe_hybrid_is_called_multitask():
    assert translate_config({"recipe": "hybrid", "hybrid": {"weighting": "dwa"}}) == {
        "recipe": "multitask",
        "multitask": {"weighting": "dwa"},
    }


def test_what_is_in_todays_words_passes_unchanged():
    for recipe in ("aso-se", "fixed", "agent"):
        config = json.loads(json.dumps(RunConfig(recipe=recipe, epochs=500).to_json()))
        assert translate_config(config) == config


@pytest.mark.parametrize(("epochs", "expected"), [(100, 10), (4, 4), (None, None)])
def test_a_plan_of_phases_ended_the_fixed_baseline_of_before(epochs, expected):
    config = {"recipe": "fixed", "epochs": epochs, "search": PLAN, "hybrid": {}}
    assert translate_config(config)["epochs"] == expected
    assert translate_config({**config, "recipe": "agent"})["epochs"] == epochs


@pytest.mark.parametrize("name", sorted(path.name for path in STORED.iterdir()))
def test_the_settings_of_every_stored_run_are_read(name):
    stored = json.loads(next((STORED / name / "checkpoints").glob("*.json")).read_text())["base"]["config"]
    recipe = RunConfig.from_json(stored).recipe
    assert recipe == stored["recipe"].replace("hybrid", "multitask")


def test_the_reader_of_a_run_translates(tmp_path):
    with RunWriter(tmp_path, "a", {"recipe": "hybrid", "hybrid": {"weighting": "dwa"}}) as run:
        run.scalars(0, {"loss": 1.0})
    assert RunReader(tmp_path / "a").config()["multitask"] == {"weighting": "dwa"}


def test_a_run_from_before_images_were_told_tells_them_when_it_goes_on() -> None:
    state = {"strategy": {}, "rng": {}, "split": "train", "numbers": {"batch": 1}, "events": [["alert", {}]]}
    assert translate_loop_state(state)["events"] == {"recent": [["alert", {}]], "images_told": False, "layers_due": 0}
    earlier = {**state, "events": {"recent": [], "images_told": True}}
    assert translate_loop_state(earlier)["events"] == {**earlier["events"], "layers_due": 0}
    present = {**state, "events": {"recent": [], "images_told": True, "layers_due": 64}}
    assert translate_loop_state(present)["events"] == present["events"]
