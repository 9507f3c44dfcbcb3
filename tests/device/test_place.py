"""Placing nested data: every tensor moves, every type stays."""

import array
import collections
import copy
import dataclasses
import importlib
from collections import OrderedDict, defaultdict, deque, namedtuple
from types import MappingProxyType, SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from lab.base import MaterializeError, PlacementError
from lab.device import place

Pair = namedtuple("Pair", ["image", "label"])


@dataclasses.dataclass
class Batch:
    x: torch.Tensor
    names: list


@dataclasses.dataclass(frozen=True)
class FrozenBatch:
    x: torch.Tensor
    size: int = 3
    derived: int = dataclasses.field(init=False, default=7)


class Items(list):
    pass


@pytest.fixture
def move_to_meta(monkeypatch):
    """The only device besides the CPU that every machine has: a move to it can be seen without a GPU."""
    module = importlib.import_module("lab.device.place")
    monkeypatch.setattr(module, "require_device", torch.device)
    return torch.device("meta")


def tensors_in(data):
    if isinstance(data, torch.Tensor):
        return [data]
    if isinstance(data, nn.Module):
        return [*data.parameters(), *data.buffers()]
    if dataclasses.is_dataclass(data) and not isinstance(data, dict):
        return [t for f in dataclasses.fields(data) for t in tensors_in(getattr(data, f.name))]
    if isinstance(data, collections.abc.Mapping):
        return [t for value in data.values() for t in tensors_in(value)]
    if isinstance(data, list | tuple | set | frozenset | deque):
        return [t for value in data for t in tensors_in(value)]
    return []


def x():
    return torch.ones(2)


CASES = [
    x(),
    nn.BatchNorm1d(2),
    [x(), [x()]],
    (x(), 1, "a", None),
    Pair(x(), 3),
    {"a": x(), "b": {"c": x()}},
    OrderedDict(a=x()),
    defaultdict(list, {"a": [x()]}),
    MappingProxyType({"a": x()}),
    deque([x()], maxlen=4),
    Items([x()]),
    {x()},
    frozenset({x()}),
    Batch(x(), ["n"]),
    FrozenBatch(x()),
    pack_sequence([torch.ones(3), torch.ones(1)]),
]


@pytest.mark.parametrize("data", CASES, ids=lambda data: type(data).__name__)
def test_every_tensor_moves_and_the_type_stays(data, move_to_meta):
    data = data if isinstance(data, MappingProxyType) else copy.deepcopy(data)
    count = len(tensors_in(data))
    moved = place(data, "meta")
    assert type(moved) is type(data)
    assert count == len(tensors_in(moved)) > 0
    if isinstance(data, PackedSequence):
        assert moved.data.device == move_to_meta
    else:
        assert {tensor.device for tensor in tensors_in(moved)} == {move_to_meta}


@pytest.mark.usefixtures("move_to_meta")
def test_the_callers_containers_stay_as_they_were():
    data = {"a": [x()], "batch": Batch(x(), [])}
    moved = place(data, "meta")
    assert {tensor.device.type for tensor in tensors_in(data)} == {"cpu"}
    assert {tensor.device.type for tensor in tensors_in(moved)} == {"meta"}


def test_a_tokenizers_batch_and_a_models_output_move_and_the_callers_stay(move_to_meta):
    transformers = pytest.importorskip("transformers")
    batch = transformers.BatchEncoding({"ids": x(), "mask": x()})
    moved = place(batch, "meta")
    assert type(moved) is type(batch)
    assert [tensor.device for tensor in moved.values()] == [move_to_meta] * 2
    assert [tensor.device.type for tensor in batch.values()] == ["cpu"] * 2
    output = transformers.modeling_outputs.BaseModelOutput(last_hidden_state=x(), hidden_states=(x(), x()))
    moved = place(output, "meta")
    assert type(moved) is type(output)
    assert [moved[0].device, moved["last_hidden_state"].device, moved.hidden_states[1].device] == [move_to_meta] * 3
    assert output.last_hidden_state.device.type == "cpu"


@pytest.mark.usefixtures("move_to_meta")
def test_a_tensor_that_occurs_twice_occurs_twice_in_the_result():
    shared = x()
    moved = place({"a": shared, "b": [shared, x()]}, "meta")
    assert moved["a"] is moved["b"][0]
    assert moved["a"] is not moved["b"][1]


@pytest.mark.usefixtures("move_to_meta")
def test_fields_beside_the_tensors_stay():
    moved = place(FrozenBatch(x(), size=5), "meta")
    assert (moved.size, moved.derived) == (5, 7)
    kept = deque([x()], maxlen=4)
    assert place(kept, "meta").maxlen == 4
    assert place(defaultdict(list), "meta").default_factory is list


@pytest.mark.parametrize("data", [3, "text", b"bytes", None, 2.5, bytearray(b"a"), array.array("i", [1]), range(3)])
def test_data_without_tensors_comes_back_as_it_is(data):
    assert place(data, "cpu") is data


def test_a_module_moves_in_place():
    model = nn.Linear(2, 2)
    assert place(model, "cpu") is model


def test_a_plain_object_comes_back_as_it_is():
    thing = SimpleNamespace(a=1)
    assert place(thing, "cpu") is thing


def test_a_module_with_meta_tensors_is_refused_with_every_name_and_stays_as_it_was():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, device="meta"))
    before = model[0].weight
    with pytest.raises(MaterializeError, match=r"5 meta tensors: 1\.weight, 1\.bias, 1\.running_mean, 1\.running_var"):
        place([model], "cpu")
    assert model[0].weight is before


def test_a_meta_tensor_is_refused():
    with pytest.raises(PlacementError, match=r"got a meta tensor of shape \(2, 3\)"):
        place({"a": torch.empty(2, 3, device="meta")}, "cpu")


def test_an_iterator_is_refused_because_it_would_be_used_up():
    batches = (batch for batch in [x()])
    with pytest.raises(PlacementError, match="an iterator"):
        place(batches, "cpu")
    assert len(list(batches)) == 1


@pytest.mark.gpu
@pytest.mark.parametrize("data", CASES, ids=lambda data: type(data).__name__)
def test_on_cuda_every_tensor_lands_there(data):
    moved = place(data, "cuda")
    if isinstance(moved, PackedSequence):
        assert moved.data.is_cuda
    else:
        assert all(tensor.is_cuda for tensor in tensors_in(moved))
