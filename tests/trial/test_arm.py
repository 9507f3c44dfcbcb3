"""A copy in a trial: averaged weights, BatchNorm of the last batches, nothing of the model changed by a reading."""

import copy

import pytest
import torch
from torch import nn

from lab.base import TrainingError
from lab.nn import recalibrate_batchnorm
from lab.state import state_digest
from lab.trial import TrialConfig


def digest(arm):
    return state_digest({"model": arm.model.state_dict(), "optimizer": arm.optimizer.state_dict()})


def trained(training, steps=12, looks=1):
    batches = [training.batch(0, number) for number in range(steps)]
    weights = []
    for number, batch in enumerate(batches):
        training.arm.train(training.step, batch, number, TrialConfig(steps=steps, looks=looks))
        weights.append(training.arm.model.features.weight.detach().clone())
    return batches, weights


def test_weights_are_averaged_over_the_half_before_the_look(make_training):
    training = make_training()
    _, weights = trained(training)
    mean = torch.stack(weights[6:]).mean(0)
    assert torch.allclose(training.arm.average.mean["features.weight"], mean, atol=1e-6)
    assert not torch.allclose(mean, weights[-1], atol=1e-4)
    _, weights = trained(make_training(), looks=2)
    assert training.arm.average.count == 6


def test_a_reading_is_of_the_averages_and_leaves_every_bit(make_training):
    training = make_training()
    batches, _ = trained(training)
    arm, before, random = training.arm, digest(training.arm), torch.get_rng_state()
    momentum = arm.model.norm.momentum
    reading = arm.read(training.read, lambda model, batch: model(batch[0]), batches[-10:])
    assert digest(arm) == before
    assert torch.equal(torch.get_rng_state(), random)
    assert arm.model.norm.momentum == momentum
    assert arm.model.training
    by_hand = copy.deepcopy(arm.model)
    by_hand.load_state_dict({**by_hand.state_dict(), **arm.average.mean})
    recalibrate_batchnorm(by_hand, [x for x, _ in batches[-10:]])
    assert torch.equal(reading.losses_N, training.read(by_hand).losses_N)
    assert not torch.equal(reading.losses_N, training.read(arm.model).losses_N)


def test_a_frozen_normalisation_keeps_its_statistics_in_training_and_reading(make_training):
    training = make_training()
    norm = training.arm.model.norm.eval()
    before = {name: value.clone() for name, value in norm.named_buffers()}
    batches, _ = trained(training)
    seen = []

    def read(model):
        seen.append({name: value.clone() for name, value in model.norm.named_buffers()})
        return training.read(model)

    training.arm.read(read, lambda model, batch: model(batch[0]), batches[-10:])
    assert not norm.training
    for name, value in norm.named_buffers():
        assert torch.equal(value, before[name])
        assert torch.equal(seen[0][name], before[name])


def test_a_copy_shares_nothing_but_what_it_shared(make_training):
    training = make_training()
    tied = nn.ModuleList([training.arm.model.features])
    training.arm.more = tied
    other = training.arm.copy()
    assert other.more[0] is other.model.features
    assert other.optimizer.param_groups[0]["params"][0] is other.model.features.weight
    assert other.model.features.weight is not training.arm.model.features.weight
    training.arm.model.features.derived = training.arm.model.features.weight * 2
    with pytest.raises(TrainingError, match="a network that can be copied for a trial"):
        training.arm.copy()


def test_an_arm_takes_another_whole_and_refuses_another_structure(make_training):
    training = make_training(adam=True)
    other = training.arm.copy()
    for number in range(3):
        training.step(other, training.batch(0, number))
    other.model.norm.eval()
    training.arm.take(other)
    assert digest(training.arm) == digest(other)
    assert not training.arm.model.norm.training
    other.model.classifier = nn.Linear(12, 4)
    before = digest(training.arm)
    with pytest.raises(TrainingError, match="the same structure"):
        training.arm.take(other)
    assert digest(training.arm) == before
