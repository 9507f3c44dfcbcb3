"""Memory over time against counts by hand, with the lines that allocated."""

import pytest
import torch
from torch import nn
from torch.nn.functional import relu

from lab.device import record_memory

FLOAT = 4


def test_allocations_and_releases_come_in_order_with_their_lines():
    with record_memory() as history:
        first = torch.zeros(100)
        second = torch.zeros(50)
        del first
        third = torch.ones(10)
    assert [change.nbytes for change in history.changes] == [400, 200, -400, 40]
    assert history.live == (0, 400, 600, 200, 240)
    assert history.peak == 600
    lines = [change.line for change in history.changes]
    assert lines[0].endswith("first = torch.zeros(100)")
    assert lines[2] == lines[0], "a release counts for the line that allocated"
    assert lines[3].endswith("third = torch.ones(10)")
    assert history.changes[3].operation.startswith("aten.ones")
    assert (second.nbytes, third.nbytes) == (200, 40)


def test_the_lines_add_up_and_the_largest_comes_first():
    net, x = nn.Linear(8, 8), torch.ones(16, 8)
    with record_memory() as history:
        y = net(x)
        z = relu(torch.cat([y, y]))
        z.sum().backward()
    lines = history.live_by_line()
    sums = tuple(sum(numbers) for numbers in zip(*lines.values(), strict=True))
    assert sums == history.live
    assert next(iter(lines)).endswith("z = relu(torch.cat([y, y]))")
    gradients = sum(parameter.grad.nbytes for parameter in net.parameters())
    assert history.live[-1] == y.nbytes + z.nbytes + gradients == (16 * 8 + 32 * 8 + 8 * 8 + 8) * FLOAT


def test_what_dies_after_the_block_or_was_there_before_is_no_part_of_it():
    before = torch.zeros(100)
    with record_memory() as history:
        del before
        kept = torch.zeros(10)
    del kept
    assert history.live == (0, 40)


def test_a_block_that_ends_by_an_error_is_told_up_to_there():
    def fails():
        with record_memory() as history:
            histories.append(history)
            kept.append(torch.zeros(10))
            raise ValueError("stop")

    histories, kept = [], []
    with pytest.raises(ValueError, match="stop"):
        fails()
    (history,) = histories
    assert history.live == (0, 40)


def test_the_report_counts_allocations_by_line():
    with record_memory() as history:
        for _ in range(3):
            kept = torch.zeros(10)
    (row,) = history.tables()[0].rows
    assert row[:4] == ("3", "120", "80", "40"), "a new tensor is made before the name lets go of the old one"
    assert kept.nbytes == history.to_dict()["live"][-1]
    assert "at once: 80; at the end: 40" in str(history)


def test_a_block_that_allocates_nothing_has_an_empty_report():
    with record_memory() as history:
        pass
    assert (history.live, history.peak, history.live_by_line()) == ((0,), 0, {})
    assert "at once: 0" in str(history)
