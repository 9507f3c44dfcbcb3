from types import SimpleNamespace

import pytest
import torch
from torch import nn

import lab.asose.compute as compute
from lab.asose.compute import ComputeMeter
from lab.asose.live_network import Discrete
from lab.nn import EvolvableNetwork, SuperNet, measure_flops, six_convolutions
from lab.space import NB201, Genotype
from lab.train import Split

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


def spending(meter, share, batch=8):
    """Spend so much of the budget in steps, and say how many there were."""
    steps = 0
    while meter.spent < share * meter.budget:
        meter.step(torch.zeros(batch))
        steps += 1
    return steps


@pytest.fixture
def budgeted(meter):
    meter = ComputeMeter(1000.0, 10, 1)
    meter.forward = 1.0
    meter.set_rate(SimpleNamespace(begin=lambda *args, **named: None), PHASES, 0, TRAINED, Split.TRAIN)
    return meter


PHASES = SimpleNamespace(share=0.0, epoch_share=0.1)
# Five batches of eight an epoch: 120 operations of the thousand.
TRAINED = SimpleNamespace(
    selection=DATA.selection,
    batches=lambda split, epoch: iter([(torch.zeros(8, 1, 8, 8), torch.zeros(8))]),
    length=lambda split: 5,
)


def test_a_budget_is_spent_to_the_last_step_that_leaves_a_reading(budgeted):
    # A step costs 24, a reading 4: after 41 steps there is room for one more, not for the reading behind it.
    budgeted.budget = 42 * 24.0 + 3
    while not budgeted.is_spent:
        budgeted.step(torch.zeros(8))
    assert budgeted.spent == 41 * 24
    assert not budgeted.has_epoch_left(TRAINED)


def test_the_share_of_a_run_is_that_of_its_budget(budgeted):
    spending(budgeted, 0.3)
    assert budgeted.share(7, TRAINED) == budgeted.spent / 1000.0
    assert budgeted.share(7, TRAINED, more=120.0) == (budgeted.spent + 120.0) / 1000.0


def test_epochs_that_end_a_run_before_its_budget_count(budgeted):
    budgeted.epochs = 5
    spending(budgeted, 0.3)
    assert budgeted.share(4, TRAINED) == 0.8


def test_a_run_of_whole_epochs_ends_with_the_last_that_is_paid_for():
    meter = ComputeMeter(1000.0, 10, 1, whole_epochs=True)
    meter.forward = 1.0
    spending(meter, 0.88)
    assert meter.has_epoch_left(TRAINED) is (meter.spent + 120.0 <= 1000.0)
    spending(meter, 1.0)
    assert not meter.has_epoch_left(TRAINED)
    assert not meter.is_spent, "an epoch that was begun is trained to its end"


def test_what_was_counted_comes_back_with_the_size_of_a_step(budgeted):
    spending(budgeted, 0.98)
    again = ComputeMeter(1000.0, 10, 1)
    again.load_state_dict(budgeted.state_dict())
    assert again.is_spent is budgeted.is_spent is True
