"""Live tensor bytes against counts by hand; the resident set against a known allocation."""

import pytest
import torch
from torch import nn

from lab.device import tensor_bytes


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_parameters_gradients_buffers_and_optimizer_state_count_once_each():
    model = nn.Sequential(nn.Linear(256, 64), nn.BatchNorm1d(64), nn.Linear(64, 10))
    buffers = 2 * 64 * 4 + 8
    assert tensor_bytes(model) == 4 * count(model) + buffers
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(4, 256)).sum().backward()
    assert tensor_bytes(model) == 8 * count(model) + buffers
    optimizer.step()
    steps = 4 * len(list(model.parameters()))
    assert tensor_bytes([model, optimizer]) == 16 * count(model) + buffers + steps
    assert tensor_bytes({"a": [model, model], "b": (optimizer, 3, "text")}) == 16 * count(model) + buffers + steps


def test_a_view_counts_its_whole_storage_and_only_once():
    table = torch.zeros(1000, dtype=torch.float64)
    assert tensor_bytes(table[:10]) == 8000
    assert tensor_bytes([table[:10], table[500:], table]) == 8000


def test_tied_weights_count_once():
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10, bias=False))
    assert tensor_bytes(model) == 320
    model[1].weight = model[0].weight
    assert tensor_bytes(model) == 160


def test_plain_attributes_count():
    model = nn.Linear(2, 2)
    model.cache = [torch.zeros(100)]
    assert tensor_bytes(model) == 24 + 400


@pytest.mark.parametrize(
    ("tensor", "size"),
    [
        (torch.zeros(10, device="meta"), 0),
        (nn.parameter.UninitializedParameter(), 0),
        (torch.eye(4).to_sparse(), 4 * 4 + 2 * 4 * 8),
        (torch.zeros(0), 0),
    ],
)
def test_tensors_of_other_kinds_count_what_they_hold(tensor, size):
    assert tensor_bytes(tensor) == size


def test_an_object_without_tensors_counts_nothing():
    assert tensor_bytes({"a": 1, "b": None}) == 0


GROWTH = """
import torch
from lab.device.footprint import process_memory

before = process_memory()
tensor = torch.ones(50_000_000)
grown = process_memory() - before
assert 0.9 * tensor.nbytes < grown < 1.5 * tensor.nbytes, grown
"""


def test_the_resident_set_grows_by_a_tensor_that_is_written(run_code):
    # In a process of its own: the allocator of this one may have kept as much from an earlier test.
    code, output = run_code(GROWTH)
    assert code == 0, output
