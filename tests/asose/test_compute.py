from types import SimpleNamespace

import pytest
import torch
from torch import nn

import lab.asose.compute as compute
from lab.asose.compute import ComputeMeter
from lab.asose.live_network import Discrete
from lab.nn import EvolvableNetwork, SuperNet, measure_flops, six_convolutions
from lab.space import NB201, Genotype

IMAGE = torch.zeros(1, 1, 8, 8)
DATA = SimpleNamespace(selection=lambda: iter([(torch.zeros(4, 1, 8, 8), torch.zeros(4, dtype=torch.long))]))
SKIPS = Genotype.from_arch_str("|skip_connect~0|+|skip_connect~0|skip_connect~1|+|none~0|none~1|skip_connect~2|")


@pytest.fixture
def meter():
    return ComputeMeter(None, 10, 1)


@pytest.fixture
def counts(monkeypatch):
    """How often a forward was counted."""
    made = []
    monkeypatch.setattr(compute, "measure_flops", lambda *args: made.append(args) or measure_flops(*args))
    return made


def test_a_network_that_stays_as_it_is_is_counted_once(meter, counts):
    network = EvolvableNetwork(six_convolutions(), channels=4, layers=1, num_classes=10, in_channels=1)
    for _ in range(3):
        meter.measure(network, DATA)
    assert len(counts) == 1
    assert meter.forward == measure_flops(network, IMAGE)


@pytest.mark.parametrize("change", [SKIPS, None])
def test_another_cell_or_width_is_counted_again(meter, counts, change):
    network = EvolvableNetwork(six_convolutions(), channels=4, layers=1, num_classes=10, in_channels=1)
    meter.measure(network, DATA)
    other = EvolvableNetwork(
        change or six_convolutions(), channels=4 if change else 8, layers=1, num_classes=10, in_channels=1
    )
    meter.measure(other, DATA)
    assert len(counts) == 2
    assert meter.forward == measure_flops(other, IMAGE) != measure_flops(network, IMAGE)


def test_another_cell_of_the_same_supernet_is_counted_again(meter):
    supernet = SuperNet(NB201, 4, 1, 10, 1)
    meter.measure(Discrete(supernet, six_convolutions()), DATA)
    six = meter.forward
    meter.measure(Discrete(supernet, SKIPS), DATA)
    assert meter.forward == measure_flops(Discrete(supernet, SKIPS), IMAGE) < six


def test_a_module_put_into_the_network_is_counted(meter):
    network = nn.Sequential(nn.Conv2d(1, 2, 3))
    meter.measure(network, DATA)
    network.append(nn.Conv2d(2, 2, 3))
    meter.measure(network, DATA)
    assert meter.forward == measure_flops(network, IMAGE)
