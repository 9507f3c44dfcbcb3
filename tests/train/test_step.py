"""The one step on weights: parts, precision, memory, and what it leaves alone."""

import copy
import math

import pytest
import torch
from torch import nn

from lab.mahia import PrecisionManager
from lab.train import WeightStep


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 4)).double()


@pytest.fixture
def batch():
    torch.manual_seed(1)
    return torch.randn(12, 1, 4, 4, dtype=torch.float64), torch.randint(4, (12,))


def sgd(net, lr=0.1):
    return torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)


def weights(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("grad_accum_steps", [1, 2, 5])
def test_parts_take_the_step_of_the_whole_batch(net, batch, grad_accum_steps, adaptive):
    x, y = batch
    reference = copy.deepcopy(net)
    optimizer = sgd(reference)
    nn.functional.cross_entropy(reference(x), y).backward()
    norm = nn.utils.clip_grad_norm_(reference.parameters(), 5.0)
    optimizer.step()
    step = WeightStep(sgd(net), grad_clip=5.0, grad_accum_steps=grad_accum_steps, adaptive=adaptive)
    numbers = step(net, x, y)
    assert (weights(net) - weights(reference)).abs().max() <= 1e-14
    assert numbers.grad_norm == pytest.approx(float(norm), rel=1e-12)


def test_parts_are_really_taken_one_after_the_other(net, batch):
    sizes = []
    net.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    WeightStep(sgd(net), grad_clip=5.0, grad_accum_steps=3, adaptive=True)(net, *batch)
    WeightStep(sgd(net), grad_clip=5.0, grad_accum_steps=4)(net, *batch)
    assert sizes == [4, 4, 4, 3, 3, 3, 3]


def test_loss_and_accuracy_are_the_batchs_whatever_the_parts(net, batch):
    x, y = batch
    with torch.no_grad():
        logits = net(x)
    loss = float(nn.functional.cross_entropy(logits, y))
    accuracy = float((logits.argmax(-1) == y).double().mean())
    for grad_accum_steps in (1, 3, 5):
        numbers = WeightStep(sgd(net, lr=0.0), grad_clip=5.0, grad_accum_steps=grad_accum_steps)(net, x, y)
        assert numbers.loss == pytest.approx(loss, rel=1e-12)
        assert numbers.accuracy == pytest.approx(accuracy, rel=1e-12)


class OutOfMemoryAbove(nn.Module):
    """Says that memory is short for more than `most` samples; the error is injected, the rest is real."""

    def __init__(self, inner, most):
        super().__init__()
        self.inner, self.most = inner, most

    def forward(self, x):
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return self.inner(x)


def test_a_step_without_memory_is_repeated_in_parts_with_the_same_gradient_and_told(net, batch):
    reference = copy.deepcopy(net)
    WeightStep(sgd(reference), grad_clip=5.0)(reference, *batch)
    step = WeightStep(sgd(net), grad_clip=5.0, adaptive=True)
    numbers = step(OutOfMemoryAbove(net, 4), *batch)
    assert (weights(net) - weights(reference)).abs().max() <= 1e-14
    assert math.isfinite(numbers.loss)
    (event,) = step.records
    assert (event.kind, event.micro_batch) == ("oom", 3)


def test_without_adaptive_parts_the_shortage_is_an_error_and_nothing_changes(net, batch):
    before = weights(net).clone()
    with pytest.raises(torch.OutOfMemoryError, match="Tried to allocate"):
        WeightStep(sgd(net), grad_clip=5.0)(OutOfMemoryAbove(net, 4), *batch)
    assert torch.equal(weights(net), before)


def test_the_size_that_fitted_is_kept_in_the_state(net, batch):
    short = OutOfMemoryAbove(net, 4)
    step = WeightStep(sgd(net), grad_clip=5.0, adaptive=True)
    for _ in range(3):
        step(short, *batch)
    other = WeightStep(sgd(net), grad_clip=5.0, adaptive=True)
    other.load_state_dict(step.state_dict())
    other(short, *batch)
    assert other.records == [], "the resumed step tried the whole batch again"
    assert len(step.records) == 3


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_loss_that_is_not_finite_changes_nothing(net, batch, adaptive):
    x, y = batch
    before = weights(net).clone()
    step = WeightStep(sgd(net), grad_clip=5.0, adaptive=adaptive)
    numbers = step(net, x * math.nan, y)
    assert math.isnan(numbers.loss)
    assert torch.equal(weights(net), before)


def test_an_overflow_of_the_scaled_gradient_is_no_failure_and_lowers_the_scale(batch):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
    before = weights(net).clone()
    precision = PrecisionManager("fp16", initial_scale=2.0**100)
    step = WeightStep(sgd(net), grad_clip=5.0, precision=precision)
    x, y = batch[0].float(), batch[1]
    numbers = step(net, x, y)
    assert numbers.grad_norm is None
    assert math.isfinite(numbers.loss)
    assert torch.equal(weights(net), before)
    assert precision.scale == 2.0**99


def test_the_scale_does_not_change_the_step(batch):
    x, y = batch[0].float(), batch[1]
    ends = []
    for scale in (1.0, 2.0**10):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
        WeightStep(sgd(net), grad_clip=5.0, precision=PrecisionManager("fp16", initial_scale=scale))(net, x, y)
        ends.append(weights(net))
    assert (ends[0] - ends[1]).abs().max() <= 1e-3 * ends[0].abs().max()
