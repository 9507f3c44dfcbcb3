"""Cutting batches: every container keeps its type, every item is in one part."""

import dataclasses
from collections import namedtuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_sequence

from lab.base import DataError
from lab.device import batch_length, batch_part

Pair = namedtuple("Pair", ["x", "y"])


@dataclasses.dataclass(frozen=True)
class Batch:
    x: torch.Tensor
    names: list
    rate: float = 0.5


X = torch.arange(12.0).view(6, 2)
Y = torch.arange(6)


def test_each_kind_of_container_is_cut_and_keeps_its_type():
    names = list("abcdef")
    assert torch.equal(batch_part(X, 1, 3), X[1:3])
    cut = batch_part(Pair(X, Y), 2, 5)
    assert type(cut) is Pair
    assert cut.y.tolist() == [2, 3, 4]
    cut = batch_part({"x": X, "deep": [Y, {"y": Y}], "temperature": torch.tensor(3.0), "names": names}, 4, 6)
    assert cut["deep"][1]["y"].tolist() == [4, 5]
    assert float(cut["temperature"]) == 3.0
    assert cut["names"] == ["e", "f"]
    cut = batch_part(Batch(X, names), 0, 2)
    assert (cut.x.shape[0], cut.names, cut.rate) == (2, ["a", "b"], 0.5)


def test_a_named_tuple_of_as_many_fields_as_the_batch_has_items_is_one_of_fields():
    cut = batch_part({"x": X[:2], "texts": Pair(["a", "b"], ["c", "d"]), "units": Pair("m", "s")}, 0, 1)
    assert (cut["texts"], cut["units"]) == (Pair(["a"], ["c"]), Pair("m", "s"))


@given(st.integers(1, 6))
def test_parts_put_together_are_the_batch(size):
    parts = [batch_part((X, Y), start, min(start + size, 6)) for start in range(0, 6, size)]
    assert torch.equal(torch.cat([part[0] for part in parts]), X)
    assert torch.equal(torch.cat([part[1] for part in parts]), Y)


def test_parts_are_views():
    assert batch_part(X, 2, 4).data_ptr() == X[2:].data_ptr()


@pytest.mark.parametrize(
    ("batch", "got"),
    [
        ((X, Y[:5]), "first dimensions 5, 6"),
        ({"a": 3}, "no tensor in dict"),
        (torch.tensor(1.0), "no tensor in Tensor"),
        (pack_sequence([torch.ones(2)]), "no tensor in PackedSequence"),
    ],
)
def test_a_batch_without_one_first_dimension_is_refused(batch, got):
    with pytest.raises(DataError, match=got):
        batch_length(batch)
