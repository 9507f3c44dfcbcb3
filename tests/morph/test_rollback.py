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
    Widen("features.conv2", 80),
    Prune("features.conv2", 40),
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
def test_after_training_everything_comes_back_bit_by_bit(specimen, images, state, same, train, op, kind):
    optimizer = OPTIMIZERS[kind](specimen.parameters())
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    train(specimen, optimizer, images)
    scheduler.step()
    held = specimen(images).sum()
    before = state(specimen, optimizer)
    gradients = [p.grad.clone() for p in specimen.parameters()]
    report = apply(op.plan(specimen, images), specimen, optimizer)
    train(specimen, optimizer, images)
    torch.rand(3)
    rollback(report)
    del held
    specimen.train()
    assert same(state(specimen, optimizer), before)
    assert all(torch.equal(p.grad, g) for p, g in zip(specimen.parameters(), gradients, strict=True))
    assert scheduler.optimizer.param_groups[0] is optimizer.param_groups[0]


def test_the_run_goes_on_as_if_nothing_had_been(specimen, images, train):
    twin = copy.deepcopy(specimen)
    optimizer, other = (OPTIMIZERS["sgd"](model.parameters()) for model in (specimen, twin))
    train(specimen, optimizer, images)
    train(twin, other, images)
    report = apply(Widen("features.conv1", 40).plan(specimen, images), specimen, optimizer)
    train(specimen, optimizer, images)
    rollback(report)
    train(specimen, optimizer, images)
    train(twin, other, images)
    assert all(torch.equal(a, b) for a, b in zip(specimen.parameters(), twin.parameters(), strict=True))


def test_changes_are_taken_back_last_in_first_out(specimen, images, state, same):
    states, reports = [], []
    for op in (Widen("features.conv2", 80), Prune("features.conv2", 64), Widen("features.conv2", 80)):
        states.append(state(specimen))
        reports.append(apply(op.plan(specimen, images), specimen))
    with pytest.raises(MorphError, match="the last change of the model, came change 1 of 3|change 1 of 3"):
        rollback(reports[0])
    for report, before in zip(reversed(reports), reversed(states), strict=True):
        rollback(report)
        assert same(state(specimen), before)


def test_a_released_change_cannot_be_taken_back_or_verified(specimen, images):
    report = apply(Deepen("features.relu1").plan(specimen, images), specimen)
    report.release()
    with pytest.raises(MorphError, match="released or rolled back"):
        rollback(report)
    with pytest.raises(MorphError, match="released or rolled back"):
        verify(report, images)


def test_a_change_is_taken_back_once(specimen, images):
    report = apply(Deepen("features.relu1").plan(specimen, images), specimen)
    rollback(report)
    with pytest.raises(MorphError, match="released or rolled back"):
        rollback(report)


def test_verify_sees_what_training_did_and_touches_nothing(specimen, images, state, same, train):
    optimizer = OPTIMIZERS["sgd"](specimen.parameters())
    report = apply(AddBranch("features.conv3").plan(specimen, images), specimen, optimizer)
    assert verify(report, images) == 0.0
    train(specimen, optimizer, images)
    before = state(specimen, optimizer)
    assert verify(report, images) > 1e-3
    assert same(state(specimen, optimizer), before)


def test_a_change_that_fails_half_way_leaves_the_model_as_it_was(specimen, images, state, same, monkeypatch):
    plan = Widen("features.conv2", 80).plan(specimen, images)
    before = state(specimen)

    def fail(*args):
        raise RuntimeError("power cut")

    monkeypatch.setattr(nn.Module, "get_submodule", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        apply(plan, specimen)
    monkeypatch.undo()
    assert same(state(specimen), before)


def test_a_change_of_nothing_is_not_called_applied(specimen, images):
    plan = dataclasses.replace(Prune("features.conv2", 40).plan(specimen, images), steps=())
    report = apply(plan, specimen)
    assert not report.applied
    assert not report.digests.changed
    assert "NOT applied: nothing is different" in str(report)


def test_memory_is_back_at_its_start_after_a_roll_back(specimen, images, train):
    optimizer = OPTIMIZERS["adam"](specimen.parameters())
    train(specimen, optimizer, images)
    plan = InsertResidual("features").plan(specimen, images)

    def there_and_back():
        report = apply(plan, specimen, optimizer)
        train(specimen, optimizer, images, 1)
        rollback(report)

    before = tensor_bytes((specimen, optimizer))
    there_and_back()
    assert tensor_bytes((specimen, optimizer)) == before
    leak = measure_leak(there_and_back, calls=8)
    assert leak.ok, leak


def test_the_report_tells_what_was_done(specimen, images):
    report = apply(InsertResidual("features").plan(specimen, images), specimen)
    text = str(report)
    assert "insert_residual" in text
    assert "2,193,674 -> 2,194,442" in text
    assert report.to_dict()["applied"] is True
    assert "<table>" in report._repr_html_()
