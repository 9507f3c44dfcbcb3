"""Growth against the final architecture from scratch: equal compute, the same architecture, measured once."""

import pytest
import torch

from lab.base import ConfigError
from lab.datasets import DataConfig
from lab.experiments import growth
from lab.experiments.growth import GrowthBench, settings_of
from lab.results.record import Records

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return GrowthBench(
        dataset="digits",
        train_limit=800,
        channels=2,
        cycles=3,
        cycle_epochs=2,
        seeds=1,
        folder=tmp_path_factory.mktemp("growth") / "pieces",
    )


@pytest.fixture(scope="module")
def result(tiny):
    return growth.run(tiny)


def test_both_arms_end_with_one_architecture_at_equal_compute(result):
    grown, scratch = result["results"]["grown"], result["results"]["scratch"]
    small, large = grown["parameters"]
    assert large > small, "it grew"
    assert scratch["parameters"] == [large, large]
    assert scratch["epochs"] < grown["epochs"]
    one_epoch = scratch["compute"] / scratch["epochs"]
    assert abs(scratch["compute"] - grown["compute"]) <= one_epoch / 2 + 1
    start, longer = result["results"]["start"], result["results"]["longer"]
    assert start["parameters"] == [small, small]
    assert start["compute"] == pytest.approx(grown["compute"], rel=0.1)
    assert (longer["parameters"], longer["epochs"]) == ([large, large], grown["epochs"])
    assert longer["compute"] == pytest.approx(longer["epochs"] * one_epoch)


def test_the_grown_networks_compute_rises_with_its_size(result):
    (curve,) = result["results"]["grown"]["curves"]
    costs = [b[0] - a[0] for a, b in zip([[0, 0], *curve], curve, strict=False)]
    assert len(curve) == 6
    assert costs[0] == pytest.approx(costs[1], abs=2e-3), "within a cycle nothing grows"
    assert costs[-1] > costs[0]


def test_nothing_mutates_and_the_scratch_network_is_new(tiny, result):
    grown = Records(tiny.folder, settings_of(tiny)).read("grown_0")
    assert grown["mutations"]["applied"] == 0
    assert [step["kind"] for step in grown["plans"] if step["kind"] != "finalize"] == ["depth", "width"]
    scratch = Records(tiny.folder, settings_of(tiny)).read("scratch_0")
    assert scratch["curve"][0][1] < grown["curve"][-1][1], "it begins with fresh weights"


def test_levels_say_what_each_arm_needs_and_pieces_are_found_again(tiny, result, monkeypatch):
    rows = {
        "grown": [{"curve": [[1.0, 0.5, 9], [2.0, 0.8, 9]]}],
        "scratch": [{"curve": [[2.0, 0.7, 9], [4.0, 0.9, 9]]}, {"curve": [[4.0, 0.75, 9]]}],
    }
    levels = {level["accuracy"]: (level["grown"], level["scratch"]) for level in growth._levels(rows)}
    assert levels[0.7] == (2.0, 3.0)
    assert levels[0.8] == (2.0, None), "one of two seeds never gets there"
    monkeypatch.setattr(growth, "measure_grown", lambda *arguments: pytest.fail("measured again"))
    assert growth.run(tiny)["results"] == result["results"]
    assert "TFLOP to reach" in str(growth.summary(result))
    assert growth.figure(result).count("<polyline") == len(growth.GROWTH_ARMS)


def test_the_curves_are_read_on_a_split_that_trains_nothing(tiny):
    _, parts = growth._parts(tiny, 0)
    splits = parts.streams.splits
    assert not set(splits.train.tolist()) & set(splits.selection.tolist())
    assert len(splits.selection) > len(splits.search)
    assert parts.streams.bundle.name == DataConfig().name
    assert torch.equal(parts.strategy.explorer.alpha.argmax(-1), torch.tensor([3, 0, 3, 1, 0, 3]))


def test_the_grown_arm_is_always_one():
    with pytest.raises(ConfigError, match="grown among the arms"):
        GrowthBench(arms=("scratch",))
    with pytest.raises(ConfigError, match="luck"):
        GrowthBench(arms=("grown", "luck"))
