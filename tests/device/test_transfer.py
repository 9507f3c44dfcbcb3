"""Copying values between models of different shapes: every tensor is listed with what became of it."""

import pytest
import torch
from torch import nn

from lab.base import MaterializeError
from lab.device import transfer_state


def test_each_tensor_is_listed_as_copied_sliced_missing_or_unused():
    torch.manual_seed(0)
    source = nn.ModuleDict({"a": nn.Linear(4, 3), "b": nn.Linear(3, 2), "old": nn.Linear(1, 1, bias=False)})
    target = nn.ModuleDict({"a": nn.Linear(4, 3), "b": nn.Linear(5, 2), "new": nn.Linear(1, 1, bias=False)})
    before = target["b"].weight.detach().clone()
    report = transfer_state(source, target)
    assert report.outcomes == {
        "a.weight": "copied",
        "a.bias": "copied",
        "b.weight": "sliced",
        "b.bias": "copied",
        "new.weight": "missing",
        "old.weight": "unused",
    }
    assert not report.ok
    assert torch.equal(target["a"].weight, source["a"].weight)
    assert torch.equal(target["b"].weight[:, :3], source["b"].weight)
    assert torch.equal(target["b"].weight[:, 3:], before[:, 3:])
    assert report.reasons["b.weight"] == "(2, 3) into (2, 5)"
    assert "1 sliced, 1 missing, 1 unused" in str(report)
    assert set(report.to_dict()["reasons"]) == {"b.weight", "new.weight", "old.weight"}


def test_a_larger_source_gives_its_leading_part():
    source, target = nn.Linear(6, 6), nn.Linear(4, 2)
    report = transfer_state(source, target)
    assert report.names("sliced") == ("weight", "bias")
    assert torch.equal(target.weight, source.weight[:2, :4])


def test_the_same_model_is_copied_whole_and_shares_nothing():
    source, target = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    source(torch.randn(4, 3))
    report = transfer_state(source, target)
    assert report.ok
    assert torch.equal(target.running_mean, source.running_mean)
    with torch.no_grad():
        target.weight.zero_()
    assert source.weight.sum() == 3


def test_other_dimensions_and_kinds_are_missing_not_guessed():
    class Count(nn.Module):
        def __init__(self, value):
            super().__init__()
            self.register_buffer("x", value)

    assert transfer_state(Count(torch.ones(2, 2)), Count(torch.ones(4))).outcomes == {"x": "missing"}
    report = transfer_state(Count(torch.ones(2)), Count(torch.ones(2, dtype=torch.int64)))
    assert report.outcomes == {"x": "missing"}
    assert "torch.float32 into torch.int64" in report.reasons["x"]


def test_the_targets_dtype_stays():
    target = nn.Linear(2, 2).double()
    transfer_state(nn.Linear(2, 2), target)
    assert target.weight.dtype == torch.float64


def test_meta_tensors_are_refused_before_anything_is_copied():
    target = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, device="meta"))
    before = target[0].weight.detach().clone()
    with pytest.raises(MaterializeError, match=r"a target with 2 meta tensors: 1\.weight, 1\.bias"):
        transfer_state(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), target)
    with pytest.raises(MaterializeError, match="a source with 2 meta tensors"):
        transfer_state(nn.Linear(2, 2, device="meta"), nn.Linear(2, 2))
    assert torch.equal(target[0].weight, before)


def test_a_tied_target_refuses_two_values_with_both_names_and_takes_one():
    class Tied(nn.Module):
        def __init__(self, tie):
            super().__init__()
            self.embedding, self.head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
            if tie:
                self.head.weight = self.embedding.weight

    source, target = Tied(False), Tied(True)
    before = target.embedding.weight.detach().clone()
    with pytest.raises(MaterializeError, match=r"embedding\.weight and head\.weight"):
        transfer_state(source, target)
    assert torch.equal(target.embedding.weight, before)
    assert transfer_state(Tied(True), target).ok
    with torch.no_grad():
        source.head.weight.copy_(source.embedding.weight)
    assert transfer_state(source, target).ok
    assert torch.equal(target.head.weight, source.head.weight)
    assert transfer_state(target, Tied(False)).ok
