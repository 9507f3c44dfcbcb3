"""What the loop tells of a run beside its epochs' numbers: when the memory is measured."""

import torch
from torch import nn

from lab.train import EpochReport
from lab.train.journal import MEMORY_EVERY, Journal
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
