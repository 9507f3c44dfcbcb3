import copy
import dataclasses

import pytest
import torch
from torch import nn

from lab.base import MorphError
from lab.device import measure_leak, tensor_bytes
from lab.morph import (
    AddBranch,
    Deepen,
    InsertResidual,
    Prune,
    SetDilation,
    SetGroups,
    SetKernel,
    Widen,
    apply,
    rollback,
    verify,
)

OPS = (
    Widen("features.conv2", 20),
    Prune("features.conv2", 10),
    InsertResidual("features"),
    Deepen("features.relu1"),
    SetKernel("features.conv2", (5, 1)),
    SetDilation("features.conv2", 2),
    SetGroups("features.conv2", 4),
)
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-4),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-3, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-3),
}


@pytest.mark.parametrize("op", OPS, ids=str)
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_after_training_everything_comes_back_bit_by_bit(narrow, images, state, same, train, op, kind):
    optimizer = OPTIMIZERS[kind](narrow.parameters())
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    train(narrow, optimizer, images)
    scheduler.step()
    held = narrow(images).sum()
    before = state(narrow, optimizer)
    gradients = [p.grad.clone() for p in narrow.parameters()]
    report = apply(op.plan(narrow, images), narrow, optimizer)
    train(narrow, optimizer, images)
    torch.rand(3)
    rollback(report)
    del held
    narrow.train()
    assert same(state(narrow, optimizer), before)
    assert all(torch.equal(p.grad, g) for p, g in zip(narrow.parameters(), gradients, strict=True))
    assert scheduler.optimizer.param_groups[0] is optimizer.param_groups[0]


def test_the_run_goes_on_as_if_nothing_had_been(narrow, images, train):
    twin = copy.deepcopy(narrow)
    optimizer, other = (OPTIMIZERS["sgd"](model.parameters()) for model in (narrow, twin))
    train(narrow, optimizer, images)
    train(twin, other, images)
    report = apply(Widen("features.conv1", 10).plan(narrow, images), narrow, optimizer)
    train(narrow, optimizer, images)
    rollback(report)
    train(narrow, optimizer, images)
    train(twin, other, images)
    assert all(torch.equal(a, b) for a, b in zip(narrow.parameters(), twin.parameters(), strict=True))


def test_changes_are_taken_back_last_in_first_out(narrow, images, state, same):
    states, reports = [], []
    for op in (Widen("features.conv2", 20), Prune("features.conv2", 16), Widen("features.conv2", 20)):
        states.append(state(narrow))
        reports.append(apply(op.plan(narrow, images), narrow))
    with pytest.raises(MorphError, match="the last change of the model, came change 1 of 3|change 1 of 3"):
        rollback(reports[0])
    for report, before in zip(reversed(reports), reversed(states), strict=True):
        rollback(report)
        assert same(state(narrow), before)


def test_a_released_change_cannot_be_taken_back_or_verified(narrow, images):
    report = apply(Deepen("features.relu1").plan(narrow, images), narrow)
    report.release()
    with pytest.raises(MorphError, match="released or rolled back"):
        rollback(report)
    with pytest.raises(MorphError, match="released or rolled back"):
        verify(report, images)


def test_a_change_is_taken_back_once(narrow, images):
    report = apply(Deepen("features.relu1").plan(narrow, images), narrow)
    rollback(report)
    with pytest.raises(MorphError, match="released or rolled back"):
        rollback(report)


def test_verify_sees_what_training_did_and_touches_nothing(narrow, images, state, same, train):
    optimizer = OPTIMIZERS["sgd"](narrow.parameters())
    report = apply(AddBranch("features.conv3").plan(narrow, images), narrow, optimizer)
    assert verify(report, images) == 0.0
    train(narrow, optimizer, images)
    before = state(narrow, optimizer)
    assert verify(report, images) > 1e-3
    assert same(state(narrow, optimizer), before)


def test_a_change_that_fails_half_way_leaves_the_model_as_it_was(narrow, images, state, same, monkeypatch):
    plan = Widen("features.conv2", 20).plan(narrow, images)
    before = state(narrow)

    def fail(*args):
        raise RuntimeError("power cut")

    monkeypatch.setattr(nn.Module, "get_submodule", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        apply(plan, narrow)
    monkeypatch.undo()
    assert same(state(narrow), before)


def test_a_change_of_nothing_is_not_called_applied(narrow, images):
    plan = dataclasses.replace(Prune("features.conv2", 10).plan(narrow, images), steps=())
    report = apply(plan, narrow)
    assert not report.applied
    assert not report.digests.changed
    assert "NOT applied: nothing is different" in str(report)


def test_memory_is_back_at_its_start_after_a_roll_back(narrow, images, train):
    optimizer = OPTIMIZERS["adam"](narrow.parameters())
    train(narrow, optimizer, images)
    plan = InsertResidual("features").plan(narrow, images)

    def there_and_back():
        report = apply(plan, narrow, optimizer)
        train(narrow, optimizer, images, 1)
        rollback(report)

    before = tensor_bytes((narrow, optimizer))
    there_and_back()
    assert tensor_bytes((narrow, optimizer)) == before
    leak = measure_leak(there_and_back, calls=8)
    assert leak.ok, leak


def test_the_report_tells_what_was_done(specimen, images):
    report = apply(InsertResidual("features").plan(specimen, images), specimen)
    text = str(report)
    assert "insert_residual" in text
    assert "2,193,674 -> 2,194,442" in text
    assert report.to_dict()["applied"] is True
    assert "<table>" in report._repr_html_()
