"""Scores against measured gains, on the smallest networks."""

import json
from random import Random

import pytest
import torch

from lab.agent import LAYER_SCORES, UNIT_SCORES
from lab.base import ConfigError
from lab.experiments import scores
from lab.experiments.scores import ScoresBench, plain_network, run, summary
from lab.morph import Widen


@pytest.fixture
def config(tmp_path):
    return ScoresBench(depth=3, epochs=(1,), probe_steps=2, networks=2, train_limit=300, folder=tmp_path / "pieces")


@pytest.mark.slow
def test_every_score_is_given_for_every_action_and_a_repeated_call_measures_nothing(config, monkeypatch):
    result = run(config)
    assert result["results"]["situations"] == 2
    for action, found in result["results"]["layers"].items():
        gates = {"gate_gradient"} if action in ("branch", "attention", "residual") else set()
        if found:
            assert set(found) == set(LAYER_SCORES) | gates
            assert all(-1.0 <= value["rho"] <= 1.0 for value in found.values())
    assert {"prune", "expand"} <= {action for action, found in result["results"]["layers"].items() if found}
    assert set(result["results"]["units"]) == set(UNIT_SCORES)
    assert result["results"]["units"]["random"]["over_random"] == 0.0
    monkeypatch.setattr(scores, "_TrackedNetwork", None)
    assert json.dumps(run(config)["results"]) == json.dumps(result["results"])
    assert "gain over random units" in str(summary(result))


def test_a_network_that_is_measured_is_as_it_was(config):
    tracked = scores._TrackedNetwork(config, 0)
    moment = tracked._moment(0)
    before = [p.detach().clone() for p in tracked.model.parameters()]
    gains = [tracked._effect(Widen(name, 40)) for name in list(moment["scores"]["width"])[:2]]
    assert all(torch.equal(p, b) for p, b in zip(tracked.model.parameters(), before, strict=True))
    # An exact change and its control copy have learnt from the same batches: they differ, and not by much.
    assert all(gain is not None and 0.0 < abs(gain) < 1.0 for gain in gains)
    assert tracked._effect(Widen("13", 40)) is None, "the logits cannot be widened"


def test_a_correlation_is_one_of_ranks():
    assert scores._rank_correlation([(1.0, 2.0), (2.0, 30.0), (3.0, 31.0), (9.0, 32.0)]) == pytest.approx(1.0)
    assert scores._rank_correlation([(1.0, 2.0), (1.0, 30.0), (1.0, 3.0)]) == 0.0


def test_the_networks_differ_in_their_widths():
    nets = [plain_network(4, 1, 8, 10, Random(seed)) for seed in range(4)]
    assert all(net(torch.zeros(2, 1, 8, 8)).shape == (2, 10) for net in nets)
    assert len({sum(p.numel() for p in net.parameters()) for net in nets}) == 4


def test_settings_outside_their_range_are_refused():
    with pytest.raises(ConfigError, match="networks"):
        ScoresBench(networks=1)
