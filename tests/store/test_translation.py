"""Settings that an earlier version stored, in today's words."""

import json
from pathlib import Path

import pytest

from lab.runs import RunConfig
from lab.store import RunReader, RunWriter, translate_config

STORED = Path(__file__).resolve().parents[1] / "stored"
PLAN = {"warmup_epochs": 2, "arch_training_epochs": 1, "weight_training_epochs": 3, "total_cycles": 2}


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
