"""Batches of every usual form, and of none."""

from collections import UserDict, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lab.agent import read_batch, read_loader
from lab.base import DataError

CPU = torch.device("cpu")
Pair = namedtuple("Pair", ["x", "y"])


class Named(nn.Module):
    """Takes two inputs by name and gives an object with logits."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, ids, mask=None):
        return SimpleNamespace(logits=self.layer(ids if mask is None else ids * mask))


@dataclass
class Sample:
    inputs: torch.Tensor
    labels: torch.Tensor


x, y = torch.arange(20.0).reshape(5, 4), torch.tensor([0, 1, 2, 1, 0])
FORMS = {
    "tuple": (x, y),
    "list": [x, y],
    "named tuple": Pair(x, y),
    "dict by name": {"ids": x, "labels": y},
    "dict by place": {"image": x, "label": y},
    "batch encoding": UserDict({"ids": x, "mask": torch.ones_like(x), "labels": y}),
    "dataclass": Sample(x, y),
    "object": SimpleNamespace(inputs=x, targets=y),
}


@pytest.mark.parametrize("name", list(FORMS))
def test_a_batch_of_any_usual_form_is_read_the_same(name):
    model = Named()
    batch = read_batch(FORMS[name], model, CPU)
    assert torch.equal(batch.labels_B, y)
    assert torch.allclose(batch.logits(model), model.layer(x))
    losses_B, _ = batch.losses(model)
    assert torch.allclose(losses_B, nn.functional.cross_entropy(model.layer(x), y, reduction="none"))


@pytest.mark.parametrize(
    ("batch", "text"),
    [
        ((x, y, y), r"a batch \(inputs, labels\).*tuple of 3: Tensor, Tensor, Tensor"),
        (x, r"a batch \(inputs, labels\).*got Tensor"),
        ({"image": x}, "dict of image"),
        ({"image": x, "more": x, "label": y}, "inputs among ids, mask, got image, more besides"),
        ((x, y.float()), r"labels \(B,\) of integers.*float32"),
        ((x[:3], y), "5 inputs, as many as labels, got 3"),
        ((x[:0], y[:0]), "at least one"),
        (object(), "got object"),
    ],
)
def test_a_batch_of_unknown_form_is_an_error_that_names_it(batch, text):
    with pytest.raises(DataError, match=text):
        read_batch(batch, Named(), CPU)


def test_an_output_without_logits_and_an_empty_loader_are_errors():
    with pytest.raises(DataError, match=r"logits \(5, K\)"):
        read_batch((x, y), nn.Flatten(0), CPU).logits(nn.Flatten(0))
    with pytest.raises(DataError, match="a loader with batches"):
        read_loader([], Named(), CPU)
