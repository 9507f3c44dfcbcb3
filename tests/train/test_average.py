"""The running average of the weights: a training that does not notice it, readings, rollback, resumption."""

import json
import math
import signal

import pytest
import torch

from lab.base import ConfigError
from lab.checkpoint import load_checkpoint
from lab.export import export_run
from lab.morph.average import named_tensors
from lab.runs import Run, build, find_checkpoint, restore_network, saved_config
from lab.state import state_digest
from lab.store import RunReader
from lab.train import OptimizerConfig, Rollback, Split, StrategyState, evaluate, serve

KILLED = """
import json, os, signal, sys
from lab.runs import Run, RunConfig

class Killer:
    def on_step(self, epoch, epochs, phase, number, batches, loss):
        if (epoch, number) == (1, 3):
            os.kill(os.getpid(), signal.SIGKILL)
    def on_text(self, text):
        pass

Run(RunConfig.from_json(json.loads(sys.argv[2])), save_dir=sys.argv[1], name="run", observer=Killer()).execute()
"""


@pytest.fixture
def make_fixed(make_config):
    def make(average, **fields):
        return make_config({"weight_average": average}, **({"recipe": "fixed", "epochs": 3} | fields))

    return make


def run(config, folder, name="run"):
    made = Run(config, save_dir=folder, name=name)
    return made, made.execute()


def trained(made):
    trainer = made.parts.strategy.trainer
    return state_digest({"network": trainer.network.state_dict(), "optimizer": trainer.optimizer.state_dict()})


@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5, math.nan])
def test_a_decay_outside_its_range_is_refused(value):
    with pytest.raises(ConfigError, match=f"weight_average >= 0 and < 1, got weight_average = {value}"):
        OptimizerConfig(weight_average=value)


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_the_weights_train_to_the_same_bits_as_without(make_fixed, tmp_path, schedule):
    fields = {"weight_schedule": schedule, "rate_patience": 1, "epochs": 4, "weight_lr": 1.0}
    plain, without = run(make_fixed(0.0, **fields), tmp_path, "plain")
    kept, averaged = run(make_fixed(0.9, **fields), tmp_path, "averaged")
    assert trained(kept) == trained(plain)
    if schedule == "plateau":
        rates = [made.parts.strategy.trainer.rate for made in (plain, kept)]
        assert rates[0].scale < 1.0, "a schedule that did nothing says nothing"
        assert rates[0].state_dict() == rates[1].state_dict()
    assert [row["loss"] for row in averaged.history] == [row["loss"] for row in without.history]
    assert all(
        one["decision_loss"] != other["decision_loss"]
        for one, other in zip(averaged.history, without.history, strict=True)
    )
    assert "average" not in plain.parts.strategy.state().tensors
    assert without.network.keys() == averaged.network.keys() - {"weight_average"}


def test_readings_and_the_network_that_is_kept_are_those_of_the_average(make_fixed, tmp_path):
    made, report = run(make_fixed(0.9), tmp_path)
    data, strategy = made.parts.data, made.parts.strategy
    averaged = strategy.state().averaged
    assert averaged is strategy.trainer.average.network
    assert averaged is not strategy.network
    for split, told in ((data.selection(), report.decision_loss), (data.test(), report.test_loss)):
        assert evaluate(averaged, split).loss == told
    assert evaluate(strategy.network, data.test()).loss != report.test_loss
    assert report.history[-1]["decision_loss"] == report.decision_loss
    restored = restore_network(load_checkpoint(find_checkpoint(report.run_dir, tmp_path)))
    assert all(map(torch.equal, named_tensors(restored).values(), named_tensors(averaged).values()))
    exported = export_run(tmp_path / "run", "state")
    stored = torch.load(exported.files[0], weights_only=True)
    bits = {tensor.sum().item() for tensor in stored.values()}
    assert averaged.backbone.classifier.weight.sum().item() in bits
    assert strategy.network.backbone.classifier.weight.sum().item() not in bits


def test_a_run_says_that_it_reads_an_average(make_fixed, tmp_path):
    _, report = run(make_fixed(0.9, epochs=2), tmp_path)
    alerts = [event.payload for event in RunReader(tmp_path / "run").events(kinds=("alert",)).events]
    told = [alert["text"] for alert in alerts if alert["title"] == "Averaged weights"]
    assert len(told) == 1
    assert "decay 0.9 per step" in told[0]
    assert report.network["weight_average"] == {"decay": 0.9, "steps": report.steps}
    assert "running average, decay 0.9" in str(report)


@pytest.mark.slow
def test_a_run_that_was_killed_ends_with_the_same_bits_of_weights_and_average(make_fixed, tmp_path, run_code):
    config = make_fixed(0.9)
    whole, report = run(config, tmp_path, "whole")
    status, output = run_code(KILLED, tmp_path, json.dumps(config.to_json()))
    assert status == -signal.SIGKILL, output
    path = find_checkpoint(str(tmp_path / "run"), tmp_path)
    resumed = Run(saved_config(path), save_dir=tmp_path, resume=path)
    again = resumed.execute()
    states = [made.parts.strategy.trainer.average.state_dict() for made in (whole, resumed)]
    assert state_digest(states[0]) == state_digest(states[1])
    assert (again.digest, again.test_loss) == (report.digest, report.test_loss)


def started(config):
    parts = build(config)
    parts.strategy.begin_epoch(0, 0, parts.data)
    for inputs, targets in parts.data.batches(Split.TRAIN, 0):
        parts.strategy.step(inputs, targets)
    return parts


def test_a_rollback_takes_the_average_back_as_well(make_fixed):
    parts = started(make_fixed(0.9))
    strategy, average = parts.strategy, parts.strategy.trainer.average
    strategy.begin_epoch(1, 1, parts.data)
    before = state_digest(average.state_dict())
    strategy.step(*next(parts.data.batches(Split.TRAIN, 1)))
    assert state_digest(average.state_dict()) != before
    serve(strategy.offers, Rollback(reason="a test"), None)
    assert state_digest(average.state_dict()) == before


def test_a_checkpoint_without_an_average_begins_one(make_fixed):
    state = started(make_fixed(0.0)).strategy.state().tensors
    parts = build(make_fixed(0.9))
    parts.strategy.restore(StrategyState.saved(state))
    average = parts.strategy.trainer.average
    assert average.count == 0
    own = named_tensors(parts.strategy.network)
    assert all(torch.equal(tensor, own[name]) for name, tensor in named_tensors(average.network).items())
