"""The arms of the ablation are what they say, cost what they should, and are measured once."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from lab.base import ConfigError
from lab.cli import main
from lab.datasets import DataConfig
from lab.experiments import ablation
from lab.experiments.ablation import ABLATION_ARMS, AblationBench, measure, search_of
from lab.experiments.weights import draw_again

FULL = AblationBench()


@pytest.fixture
def tiny(tmp_path):
    return AblationBench(
        train_limit=300,
        seeds=2,
        channels=2,
        cycles=2,
        warmup_epochs=2,
        arch_training_epochs=1,
        weight_training_epochs=1,
        folder=tmp_path / "pieces",
    )


def weight_epochs(search):
    """Epochs, one of arch_training counted as the share of images that it reads."""
    data = DataConfig()
    cost = data.search_share / data.train_share
    arch, retraining = search.arch_training_epochs, search.weight_training_epochs
    return search.warmup_epochs + search.total_cycles * (cost * arch + retraining)


@pytest.mark.parametrize("arm", ABLATION_ARMS)
def test_every_arm_reads_as_many_images_as_the_whole_search(arm):
    assert weight_epochs(search_of(FULL, arm)) == pytest.approx(weight_epochs(search_of(FULL, "whole")), rel=0.02)


@pytest.mark.parametrize(
    ("arm", "field", "value"),
    [
        ("no_warmup", "warmup_epochs", 0),
        ("no_arch_training", "arch_training_epochs", 0),
        ("no_weight_retraining", "weight_training_epochs", 0),
        ("swap_at_once", "preserve_function", False),
        ("fresh_child", "preserve_function", False),
    ],
)
def test_an_arm_lacks_what_its_name_says_and_the_whole_search_does_not(arm, field, value):
    assert getattr(search_of(FULL, arm), field) == value
    assert getattr(search_of(FULL, "whole"), field) != value


def test_the_arms_run_through_the_real_strategy(tiny):
    rows = {arm: measure(tiny, arm, 0) for arm in ABLATION_ARMS}
    assert rows["whole"]["mutations"]["applied"] == 1
    assert rows["whole"]["largest_difference"] <= 1e-5, "the transition begins without a jump"
    assert rows["no_mutation"]["mutations"]["applied"] == 0
    assert rows["swap_at_once"]["largest_difference"] > 1e-3, "without it there is one"
    assert rows["no_weight_retraining"]["curve"] == []
    assert rows["no_warmup"]["test_accuracy"] != rows["whole"]["test_accuracy"]
    assert rows["fresh_child"]["test_loss"] != rows["swap_at_once"]["test_loss"]
    assert all(row["cpu_seconds"] > 0 and 0 <= row["test_accuracy"] <= 1 for row in rows.values())
    again = measure(tiny, "fresh_child", 0)
    assert again["test_loss"] == rows["fresh_child"]["test_loss"], "a run is a function of its seed"


def test_what_was_measured_is_not_measured_again(tiny, monkeypatch):
    config = replace(tiny, arms=("whole", "no_mutation"))
    first = ablation.run(config)
    monkeypatch.setattr(ablation, "measure", lambda *arguments: pytest.fail("measured again"))
    second = ablation.run(config)
    assert second["results"] == first["results"]
    assert sorted(path.name for path in tiny.folder.iterdir()) == [
        "no_mutation_0.json",
        "no_mutation_1.json",
        "whole_0.json",
        "whole_1.json",
    ]
    arms = first["results"]["arms"]
    gaps = [b - a for a, b in zip(arms["whole"]["accuracies"], arms["no_mutation"]["accuracies"], strict=True)]
    assert arms["no_mutation"]["difference"] == pytest.approx(sum(gaps) / 2)
    assert "the first cell is kept" in str(ablation.summary(first))
    assert ablation.figure(first).count("<circle") == 4, "a dot for each run"


def test_an_unknown_arm_is_refused():
    with pytest.raises(ConfigError, match="no_luck"):
        AblationBench(arms=("no_luck",))


def test_weights_drawn_again_are_those_of_a_new_network_and_leave_the_stream_alone():
    torch.manual_seed(3)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network(torch.ones(2, 1, 4, 4)).sum().backward()
    optimizer.step()
    before, stream = network[0].weight.detach().clone(), torch.get_rng_state()
    draw_again(network, 5, optimizer)
    assert torch.equal(torch.get_rng_state(), stream)
    assert not torch.equal(network[0].weight, before)
    assert torch.equal(network[1].running_mean, torch.zeros(4))
    assert not optimizer.state
    torch.manual_seed(5)
    assert torch.equal(network[0].weight, nn.Conv2d(1, 4, 3).weight)


def test_the_command_takes_its_settings(tiny, capsys):
    flags = ["--train-limit", "300", "--channels", "2", "--cycles", "1", "--seeds", "1", "--arms", "no_mutation"]
    flags += ["--warmup-epochs", "1", "--arch-training-epochs", "1", "--weight-training-epochs", "1"]
    flags += ["--folder", str(tiny.folder), "--out", str(tiny.folder / "out"), "--json"]
    assert main(["bench", "ablation", *flags]) == 0
    assert list(json.loads(capsys.readouterr().out)["results"]["arms"]) == ["no_mutation"]
    assert sorted(path.name for path in (tiny.folder / "out").iterdir()) == ["ablation.json", "ablation.svg"]
