"""Trials on the smallest runs: every piece is kept, costs are counted, the table says what was found."""

import json
import os
from dataclasses import replace

import pytest

from lab.base import ConfigError
from lab.experiments import trials
from lab.experiments.trial_network import CellChange, TrialNetwork
from lab.experiments.trial_settings import TRIAL_SETTINGS, TrialBench
from lab.experiments.trials import run, summary
from lab.space import neighbours
from lab.state import state_digest

LARGE = bool(os.environ.get("LAB_LARGE"))


@pytest.fixture
def config(tmp_path):
    return TrialBench(
        settings=("digits",),
        decided=("digits",),
        steps=4,
        run_steps=4,
        share=1.0,
        seeds=2,
        folder=tmp_path / "pieces",
    )


@pytest.fixture
def small(monkeypatch):
    setting = replace(TRIAL_SETTINGS["digits"], channels=2, compute=0.4e9)
    monkeypatch.setattr(trials, "TRIAL_SETTINGS", {"digits": setting})
    return setting


@pytest.mark.slow
def test_trials_are_judged_and_a_repeated_call_measures_nothing(config, small, monkeypatch):
    if not LARGE:
        # Every sixth; the long form tries all 24.
        monkeypatch.setattr(trials, "neighbours", lambda cell: neighbours(cell)[::6])
    result = run(config)
    found = result["results"]["neighbours"]["digits"]
    assert (found["cells"]["count"], found["widths"]["count"]) == (24 if LARGE else 4, 6)
    assert 0.0 <= found["cells"]["sign"] <= 1.0
    assert found["held_out"] == 216
    assert "216 held-out samples" in found["refused"]
    decided = result["results"]["decided"]["digits"]
    assert list(decided) == ["never", "always", "trial"]
    assert len(set(decided["never"]["cells"])) == 1
    assert decided["always"]["cells"][0] not in decided["never"]["cells"]
    for own in decided.values():
        assert 1.0 <= own["compute"] / small.compute < 1.1
    assert 0.0 < decided["trial"]["trials"] <= 1.0
    assert decided["never"]["trials"] == decided["always"]["trials"] == 0.0
    monkeypatch.setattr(trials, "TrialNetwork", None)
    assert json.dumps(run(config)["results"]) == json.dumps(result["results"])
    assert "never keep" in str(summary(result))


def test_a_change_moves_copies_alone_and_ends_as_the_cell_that_was_asked_for(config, small):
    network = TrialNetwork(small, config, 0)
    before, start = state_digest(network.arm.model.state_dict()), network.genotype
    target = neighbours(start)[7]
    change = CellChange(network, target, steps=2, number=0)
    arm, again = network.arm.copy(), network.arm.copy()
    for copy in (arm, again):
        change.apply(copy)
    assert arm.model.transitions
    assert state_digest(arm.model.state_dict()) == state_digest(again.model.state_dict())
    for number, batch in zip(range(4), network.batches(), strict=False):
        change.before_step(arm, number)
        network.step(arm, batch)
    assert not arm.model.transitions
    assert arm.model.genotype == target
    held = {id(p) for group in arm.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in arm.model.parameters()}
    assert state_digest(network.arm.model.state_dict()) == before
    assert network.genotype == start


def test_a_setting_whose_file_was_not_given_is_refused(config):
    with pytest.raises(ConfigError, match="--pixels with an .npz file"):
        run(replace(config, settings=("pixels",)))
    with pytest.raises(ConfigError, match="six digits from 0 to 4"):
        replace(config, cell="33313")
