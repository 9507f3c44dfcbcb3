"""What weight decay inside the gradient does to carried moments: the report's figure, against copies that had them."""

import pytest
import torch
from torch import nn

from lab.morph import Deepen, Prune, Widen, apply

DECAY = 0.1
OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.0, momentum=0.9, weight_decay=DECAY),
    "dampened": lambda parameters: torch.optim.SGD(parameters, lr=0.0, momentum=0.9, dampening=0.5, weight_decay=DECAY),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.0, amsgrad=True, weight_decay=DECAY),
    "nadam": lambda parameters: torch.optim.NAdam(parameters, lr=0.0, weight_decay=DECAY),
    "adamax": lambda parameters: torch.optim.Adamax(parameters, lr=0.0, weight_decay=DECAY),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, lr=0.0, centered=True, weight_decay=DECAY),
    "adagrad": lambda parameters: torch.optim.Adagrad(parameters, lr=0.0, weight_decay=DECAY),
}
APART = {
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.0, weight_decay=DECAY),
    "nadam": lambda parameters: torch.optim.NAdam(parameters, weight_decay=DECAY, decoupled_weight_decay=True, lr=0.0),
    "no decay": lambda parameters: torch.optim.SGD(parameters, lr=0.0, momentum=0.9),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, lr=0.0, eps=0.0, momentum=0.9),
}
ROOTS = ("exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum")


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3)).double()


X = torch.randn(16, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def train(model, optimizer, steps):
    noise = torch.Generator().manual_seed(2)
    for _ in range(steps):
        optimizer.zero_grad()
        target = torch.randn(16, 3, dtype=torch.float64, generator=noise)
        (model(X) - target).square().mean().backward()
        optimizer.step()


def gap(carried, own):
    """Largest relative difference of two optimizers' moments, roots taken of sums of squares."""
    worst = 0.0
    pairs = zip(carried.param_groups[0]["params"], own.param_groups[0]["params"], strict=True)
    for state, other in ((carried.state[p], own.state[q]) for p, q in pairs):
        for key, value in state.items():
            if torch.is_tensor(value) and value.dim():
                one, two = (value.sqrt(), other[key].sqrt()) if key in ROOTS else (value, other[key])
                worst = max(worst, float((one - two).abs().max() / one.abs().max()))
    return worst


def both(make, steps):
    """The report of widening after `steps` steps, and how far the moments are from those of widening before them."""
    first, second = network(), network()
    one, two = make(first.parameters()), make(second.parameters())
    plan = Widen("2", 12).plan(first, X)
    train(first, one, steps)
    report = apply(plan, first, one)
    apply(plan, second, two)
    train(second, two, steps)
    return report, gap(one, two)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_moments_of_copies_are_off_by_no_more_than_the_report_says(name):
    report, off = both(OPTIMIZERS[name], 60)
    assert off > 1e-3
    assert off <= report.moment_difference * (1 + 1e-9) <= 20 * off
    assert "adds weight decay to the gradient" in str(report)


def test_the_figure_is_sharp_for_the_momentum_of_sgd():
    report, off = both(OPTIMIZERS["sgd"], 60)
    assert report.moment_difference <= 1.01 * off


@pytest.mark.parametrize("name", APART)
def test_moments_of_copies_are_exact_where_decay_is_in_no_gradient(name):
    report, off = both(APART[name], 20)
    assert report.moment_difference == 0.0
    assert off < 1e-9
    assert "weight decay" not in str(report)


@pytest.mark.parametrize("op", [Prune("2", 3), Deepen("0"), Widen("2", 12, units="drawn")], ids=str)
def test_nothing_is_said_of_decay_where_no_unit_is_copied(op):
    model = network()
    optimizer = OPTIMIZERS["adam"](model.parameters())
    train(model, optimizer, 5)
    assert apply(op.plan(model, X), model, optimizer).moment_difference == 0.0
