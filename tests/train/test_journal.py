"""What the loop tells of a run beside its epochs' numbers: when memory and layers are measured."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lab.train import EpochReport, Split
from lab.train.journal import LAYERS_EVERY, MEMORY_EVERY, Journal
from lab.train.sink import SilentObserver


def told_at(sink, steps):
    """The steps of `steps`, each with what holds memory then, at which a journal tells the memory."""
    journal = Journal(sink, SilentObserver(), None)
    report = EpochReport(epoch=0, phase="training", steps=1, loss=1.0, accuracy=0.5)
    for step, roots in steps:
        journal.epoch(step, report, None, roots)
    return [step for step, record in sink.records if record.kind == "memory"]


def test_the_memory_is_measured_at_the_first_epoch_and_every_so_many_steps(sink):
    roots = (nn.Linear(3, 3),)
    steps = [1, MEMORY_EVERY, MEMORY_EVERY + 1, MEMORY_EVERY + 2, 3 * MEMORY_EVERY]
    assert told_at(sink, [(step, roots) for step in steps]) == [1, MEMORY_EVERY + 1, 3 * MEMORY_EVERY]
    rows = dict(sink.rows)
    assert rows[1]["memory/tensors"] == 48
    assert "memory/tensors" not in rows[MEMORY_EVERY]
    assert rows[MEMORY_EVERY]["train/loss"] == 1.0


def test_the_memory_is_measured_at_once_where_other_objects_hold_it(sink):
    small, large = nn.Linear(3, 3), nn.Linear(30, 30)
    optimizer = torch.optim.SGD(large.parameters(), lr=0.1)
    steps = [(1, (small,)), (2, (large,)), (3, (large,)), (4, (large, optimizer))]
    assert told_at(sink, steps) == [1, 2, 4]


def looked_at(journal, steps, split=Split.TRAIN):
    strategy = SimpleNamespace(network=nn.Linear(3, 3))
    return [step for step in steps if journal.layer_probe(step, strategy, split) is not None]


@pytest.mark.parametrize("stopped_at", [1, LAYERS_EVERY, LAYERS_EVERY + 1])
def test_the_layers_are_looked_at_every_so_many_steps_of_weights_also_when_resumed(sink, stopped_at):
    whole = looked_at(Journal(sink, SilentObserver(), None), range(3 * LAYERS_EVERY))
    assert whole == [0, LAYERS_EVERY, 2 * LAYERS_EVERY]
    first, second = Journal(sink, SilentObserver(), None), Journal(sink, SilentObserver(), None)
    before = looked_at(first, range(stopped_at))
    second.load_state_dict(first.state_dict(stopped_at), stopped_at)
    assert before + looked_at(second, range(stopped_at, 3 * LAYERS_EVERY)) == whole


def test_the_layers_wait_for_a_step_that_trains_weights(sink):
    journal = Journal(sink, SilentObserver(), None)
    assert looked_at(journal, range(9), Split.SEARCH) == []
    assert looked_at(journal, [9, 10]) == [9]
