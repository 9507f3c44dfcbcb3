import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import nn

from lab.base import TrainingError
from lab.probe import ProofSamples
from lab.state import rng_state, state_digest


def batches():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(30, 1, 4, 4, generator=generator)
    return list(zip(x.split(8), (torch.arange(30) % 3).split(8), strict=True))


@pytest.fixture
def samples():
    found = ProofSamples()
    found.take(batches)
    return found


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 3))


def test_asking_leaves_modes_buffers_gradients_and_every_stream_as_they_were(samples, network):
    network.train()
    network[1].eval()
    before = state_digest(network.state_dict()), state_digest(rng_state()), [m.training for m in network.modules()]
    assert torch.equal(samples.ask(network), samples.ask(network))
    assert before == (
        state_digest(network.state_dict()),
        state_digest(rng_state()),
        [m.training for m in network.modules()],
    )
    assert all(p.grad is None for p in network.parameters())


def test_a_loader_that_draws_from_the_global_stream_does_not_move_it():
    def drawn():
        torch.rand(3)
        np.random.rand()
        return batches()

    before = state_digest(rng_state())
    ProofSamples().take(drawn)
    assert state_digest(rng_state()) == before


def test_samples_are_taken_once(samples):
    samples.take(lambda: pytest.fail("taken again"))
    assert samples.positions_P.tolist() == list(range(10))


def test_nothing_can_be_asked_about_before_samples_are_taken(network):
    with pytest.raises(TrainingError, match="Call take first"):
        ProofSamples().ask(network)


def test_targets_that_are_no_classes_are_refused():
    with pytest.raises(TrainingError, match="one tensor and its classes"):
        ProofSamples().take(lambda: [(torch.zeros(2, 1), torch.zeros(2))])


def test_a_change_that_moves_nothing_is_proven_bit_for_bit(samples, network):
    before = samples.ask(network)
    event = samples.event(before, samples.ask(network), what="growth", number=1, title="none")
    assert (event.same, event.outputs, event.difference, event.moved) == (30, 30, 0.0, 0.0)
    assert event.before == event.after
    again = torch.tensor(json.loads(json.dumps(asdict(event)))["before"])
    assert torch.equal(again, before.softmax(-1))


def test_a_change_that_moves_an_output_says_by_how_much(samples, network):
    before = samples.ask(network)
    after = before.clone()
    after[2, 1] += 0.5 * before.abs().max()
    event = samples.event(before, after, what="action", number=2, title="prune", exact=False)
    assert event.difference == pytest.approx(0.5)
    assert event.same == 29
    assert event.moved > 0
    assert not event.exact
    assert len(json.dumps(asdict(event))) < 8_000
