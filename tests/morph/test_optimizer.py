"""The optimizer after surgery: folded gradients, carried moments, groups, schedules.

E copies units and weighs the outgoing ones, new weights = E(old); gradients fold back, E^T(new) = old.
"""

import copy

import pytest
import torch
from torch import nn

from lab.base import MorphError
from lab.morph import (
    AddBranch,
    Deepen,
    InsertAttention,
    InsertResidual,
    Prune,
    SetDilation,
    SetGroups,
    SetKernel,
    Widen,
    apply,
)
from lab.nn import small_cnn

KINDS = {
    "sgd": lambda groups: torch.optim.SGD(groups, momentum=0.9),
    "adam": lambda groups: torch.optim.Adam(groups),
    "adamw": lambda groups: torch.optim.AdamW(groups, amsgrad=True),
}


def build(kind, lr=0.01):
    torch.manual_seed(0)
    model = small_cnn(channels=8).double()
    # Decay that the optimizer adds to the gradient is no gradient of the loss, and does not fold.
    decay = 1e-3 if kind == "adamw" else 0.0
    groups = [
        {"params": model.features.parameters(), "lr": lr, "weight_decay": decay},
        {"params": model.classifier.parameters(), "lr": 2 * lr, "weight_decay": 0.0},
    ]
    optimizer = KINDS[kind](groups)
    return model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 5)


def step(model, optimizer, x, count=1):
    model.train()
    for _ in range(count):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()


@pytest.fixture
def x():
    return torch.randn(4, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


def close(a, b):
    return torch.allclose(a, b, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", ["features.conv2", pytest.param("classifier.0", marks=pytest.mark.large)])
def test_steps_without_rate_and_widening_commute(kind, layer, x):
    first, one, _ = build(kind, lr=0.0)
    second, two, _ = build(kind, lr=0.0)
    plan = Widen(layer, 75).plan(first, x)
    step(first, one, x, 5)
    apply(plan, first, one)
    apply(plan, second, two)
    step(second, two, x, 5)
    for (name, p), q in zip(first.named_parameters(), second.parameters(), strict=True):
        assert close(p, q), name
        assert close(p.grad, q.grad), name
        assert one.state[p].keys() == two.state[q].keys()
        for key, value in one.state[p].items():
            if torch.is_tensor(value):
                assert close(value, two.state[q][key]), f"{key} of {name}"


@pytest.mark.parametrize("layer", ["features.conv1", "features.conv3", "classifier.0"])
def test_gradients_fold(layer, x):
    old, _, _ = build("sgd")
    new = copy.deepcopy(old)
    plan = Widen(layer, 100).plan(old, x)
    apply(plan, new)
    for model in (old, new):
        model.train()(x).square().mean().backward()
    shares = torch.tensor(plan.shares, dtype=torch.float64)
    units = torch.tensor(plan.units)
    resizes = {}
    for edit in plan.steps:
        if hasattr(edit, "tensor"):
            resizes.setdefault(edit.tensor, []).append(edit)
    grown = dict(new.named_parameters())
    for name, p in old.named_parameters():
        folded = grown[name].grad
        for edit in resizes.get(name, []):
            index, scale = edit.index(units, plan.old_units), edit.scale(shares)
            shape = [1] * folded.dim()
            shape[edit.dim] = -1
            weighed = folded * scale.reshape(shape) if edit.shared else folded
            size = list(folded.shape)
            size[edit.dim] = p.shape[edit.dim]
            folded = torch.zeros(size, dtype=folded.dtype).index_add(edit.dim, index, weighed)
        assert close(folded, p.grad), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "op",
    [Deepen("features.relu2"), Deepen("features.norm1"), InsertResidual("features"), AddBranch("features.conv2"),
     InsertAttention("features.pool2")],
    ids=str,
)  # fmt: skip
def test_the_next_step_of_every_old_parameter_is_what_it_would_have_been(kind, op, x):
    plain, one, _ = build(kind)
    changed, two, _ = build(kind)
    step(plain, one, x, 2)
    step(changed, two, x, 2)
    old = list(changed.parameters())
    apply(op.plan(changed, x), changed, two)
    step(plain, one, x)
    step(changed, two, x)
    for (name, p), q in zip(plain.named_parameters(), old, strict=True):
        assert close(p, q), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "op",
    [Widen("features.conv2", 20), Prune("features.conv2", 10), InsertResidual("features"), Deepen("classifier.1"),
     SetKernel("features.conv2", 5), SetDilation("features.conv2", 2), SetGroups("features.conv2", 4)],
    ids=str,
)  # fmt: skip
def test_groups_rates_and_the_set_of_parameters_stay_right(kind, op, x):
    model, optimizer, scheduler = build(kind)
    step(model, optimizer, x)
    before = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    apply(op.plan(model, x), model, optimizer)
    after = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    assert after == before
    assert [group["initial_lr"] for group in after] == [0.01, 0.02]
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert len(held) == len(set(held))
    assert set(held) == {id(p) for p in model.parameters() if p.requires_grad}
    feature_group = {id(p) for p in optimizer.param_groups[0]["params"]}
    assert feature_group == {id(p) for p in model.features.parameters()}
    for _ in range(6):
        step(model, optimizer, x)
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.001)


def test_an_optimizer_of_another_model_is_refused(x, state, same):
    model, _, _ = build("sgd")
    _, foreign, _ = build("sgd")
    plan, before = Widen("features.conv2", 20).plan(model, x), state(model)
    with pytest.raises(MorphError, match="an optimizer of every trainable parameter|holds every trainable parameter"):
        apply(plan, model, foreign)
    assert same(state(model), before)


def test_a_state_that_is_not_understood_is_refused_and_nothing_changes(x, state, same):
    model, optimizer, _ = build("sgd")
    step(model, optimizer, x)
    weight = model.features.conv2.weight
    optimizer.state[weight]["curvature"] = torch.ones_like(weight)
    plan, before = Widen("features.conv2", 20).plan(model, x), state(model, optimizer)
    with pytest.raises(MorphError, match="curvature of SGD"):
        apply(plan, model, optimizer)
    assert same(state(model, optimizer), before)


class Quantised(torch.optim.Optimizer):
    """Keeps its moments as bytes with a scale for each block, as 8-bit optimizers do."""

    def __init__(self, params):
        super().__init__(params, {"lr": 0.01})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                blocks = torch.zeros(-(-parameter.numel() // 256))
                self.state[parameter] = {"state1": torch.zeros(parameter.numel(), dtype=torch.uint8), "absmax1": blocks}


class Bytes(torch.Tensor):
    """Moments of the parameter's own shape that allow no clone, as another library's do."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func in (torch.Tensor.clone, torch.clone):
            raise NotImplementedError("aten.clone")
        return super().__torch_function__(func, types, args, kwargs or {})


class Wrapped(torch.optim.Adam):
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter] = {"exp_avg": torch.zeros_like(parameter).as_subclass(Bytes)}


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (Wrapped, "exp_avg of Wrapped, a Bytes"),
        (Quantised, r"state1 of Quantised, torch\.uint8 \(\d+,\) for features\.conv2\.weight"),
        (torch.optim.LBFGS, "LBFGS, whose history is one vector of all parameters"),
        (torch.optim.Adafactor, "row_var of Adafactor"),
    ],
)
def test_an_optimizer_whose_state_cannot_be_carried_is_named_and_nothing_changes(x, state, same, make, match):
    model = small_cnn(channels=8).double()
    optimizer = make(model.parameters())

    def closure():
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    plan, before = Widen("features.conv2", 20).plan(model, x), state(model)
    with pytest.raises(MorphError, match=match):
        apply(plan, model, optimizer)
    assert same(state(model), before)


def test_pruning_keeps_the_moments_of_the_units_that_stay(x):
    model, optimizer, _ = build("adam")
    step(model, optimizer, x, 2)
    moments = optimizer.state[model.features.conv2.weight]["exp_avg"].clone()
    apply(Prune("features.conv2", (1, 5, 9)).plan(model, x), model, optimizer)
    assert torch.equal(optimizer.state[model.features.conv2.weight]["exp_avg"], moments[[1, 5, 9]])


def test_a_frozen_neighbour_still_gets_a_trainable_part(x):
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    apply(Deepen("0").plan(model, torch.randn(4, 4, dtype=torch.float64)), model, optimizer)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in model.parameters() if p.requires_grad}
