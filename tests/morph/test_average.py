"""The running average of a network's weights: its formula, its state, and that nobody notices it."""

import copy

import pytest
import torch
from torch import nn

from lab.base import CheckpointError, ConfigError
from lab.morph import NetworkAverage
from lab.morph.average import decay_after, named_tensors
from lab.state import state_digest


class Counter(nn.Module):
    """A buffer that is no statistic."""

    def __init__(self):
        super().__init__()
        self.register_buffer("share", torch.zeros(()))

    def forward(self, x):
        return x


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 2), Counter())


def steps_of(network, count):
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(1)
    for number in range(count):
        optimizer.zero_grad()
        network(torch.randn(8, 1, 8, 8, generator=generator)).square().mean().backward()
        optimizer.step()
        network[5].share.fill_(number / count)
        yield


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_the_average_is_that_of_a_plain_loop(network, decay):
    average = NetworkAverage(decay, network)
    expected, largest = {}, 0.0
    for number, _ in enumerate(steps_of(network, 30)):
        average.update(network)
        d = min(decay, (1 + number) / (10 + number))
        for name, tensor in named_tensors(network).items():
            if number == 0 or name in ("1.num_batches_tracked", "5.share"):
                expected[name] = tensor.clone()
            else:
                expected[name] = d * expected[name] + (1 - d) * tensor
    found = named_tensors(average.network)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        largest = max(largest, float((found[name] - tensor).abs().max()))
    assert largest <= 1e-6
    assert average.count == 30
    # It is none of the last weights: a test that compares with itself would say nothing.
    assert float((found["0.weight"] - named_tensors(network)["0.weight"]).abs().max()) > 1e-4


def test_the_decay_warms_up_to_what_was_asked_for():
    assert [decay_after(n, 0.99) for n in (0, 1, 8)] == [0.1, 2 / 11, 0.5]
    assert decay_after(890, 0.99) == 0.99
    assert decay_after(0, 0.05) == 0.05


def test_a_decay_of_one_would_never_move_and_is_refused(network):
    with pytest.raises(ConfigError, match="decay >= 0 and < 1, got decay = 1"):
        NetworkAverage(1, network)


def test_an_average_moves_no_random_stream_and_no_weight(network):
    before, stream = copy.deepcopy(network), torch.get_rng_state()
    average = NetworkAverage(0.9, network)
    average.update(network)
    assert torch.equal(torch.get_rng_state(), stream)
    assert all(map(torch.equal, named_tensors(network).values(), named_tensors(before).values()))
    own = {tensor.data_ptr() for tensor in named_tensors(network).values()}
    assert not own & {tensor.data_ptr() for tensor in named_tensors(average.network).values()}


def test_a_change_that_the_average_was_not_told_of_is_an_error(network):
    average = NetworkAverage(0.9, network)
    network[2] = nn.Sequential(nn.ReLU(), nn.Identity())
    with pytest.raises(ValueError, match="argument 2 is longer"):
        average.update(network)


def test_the_state_goes_on_to_the_same_bits(network):
    average, steps = NetworkAverage(0.9, network), steps_of(network, 8)
    for _ in range(4):
        next(steps)
        average.update(network)
    other = NetworkAverage(0.9)
    assert other.state_dict() is None
    other.load_state_dict(average.state_dict(), network)
    for _ in steps:
        average.update(network)
        other.update(network)
    assert state_digest(other.state_dict()) == state_digest(average.state_dict())


def test_the_average_of_another_network_is_refused_and_none_begins_anew(network):
    state = NetworkAverage(0.9, nn.Sequential(nn.Conv2d(1, 4, 3))).state_dict()
    average = NetworkAverage(0.9)
    with pytest.raises(CheckpointError, match=r"with 0.bias of shape \(3,\), got \(4,\)"):
        average.load_state_dict(state, network)
    average.load_state_dict(None, network)
    assert average.count == 0
    assert all(map(torch.equal, named_tensors(average.network).values(), named_tensors(network).values()))
    average.load_state_dict(None, None)
    assert average.network is None
