"""Policies on a live network at equal compute, on the smallest runs."""

import json

import pytest

from lab.base import ConfigError
from lab.experiments import policies
from lab.experiments.policies import EvolveBench, run, summary


@pytest.fixture
def config(tmp_path):
    return EvolveBench(
        dataset="digits",
        train_limit=200,
        start_epochs=8,
        evolve_every=1,
        probe_steps=2,
        trial_share=100.0,
        least_effect=1e9,
        seeds=2,
        folder=tmp_path / "pieces",
    )


@pytest.mark.slow
def test_every_policy_spends_the_same_compute_and_a_repeated_call_trains_nothing(config, monkeypatch):
    result = run(config)
    figures = result["results"]
    assert list(figures) == ["agent", "unfitted", "random", "schedule", "none"]
    for own in figures.values():
        assert len(own["accuracies"]) == 2
        # A run ends with the epoch in which its compute is spent.
        assert 1.0 <= own["compute"] < 1.8
    assert figures["none"]["tried"] == figures["none"]["kept"] == 0
    assert figures["none"]["epochs"] == 8
    assert figures["schedule"]["kept"] == figures["schedule"]["tried"] > 0
    assert figures["unfitted"]["tried"] > 0
    assert figures["unfitted"]["epochs"] < figures["none"]["epochs"], "trials cost nothing"
    # The compute of eight epochs, where a plan gives twenty.
    assert max(figures["agent"]["parameters"]) < min(figures["none"]["parameters"])
    monkeypatch.setattr(policies, "measure", None)
    assert json.dumps(run(config)["results"]) == json.dumps(figures)
    assert "never changed" in str(summary(result))


def test_other_settings_do_not_take_the_same_pieces(config):
    run(EvolveBench(**{**vars(config), "policies": ("none",)}))
    with pytest.raises(ConfigError, match="another weight_lr"):
        run(EvolveBench(**{**vars(config), "policies": ("none",), "weight_lr": 0.1}))


def test_settings_outside_their_range_are_refused():
    with pytest.raises(ConfigError, match="policy to be one of"):
        EvolveBench(policies=("best",))
