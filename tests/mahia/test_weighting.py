import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.base import ConfigError, TrainingError
from lab.mahia import DynamicWeightAveraging, GradNorm, weighted_sum

positive = st.floats(1e-3, 1e3)


def test_the_weights_are_those_of_the_published_rule():
    rule = DynamicWeightAveraging(2)
    rule.update([2.0, 1.0])
    weights = rule.update([1.0, 1.0])
    assert weights.tolist() == pytest.approx([0.8756, 1.1244], abs=5e-5)


def test_the_first_two_epochs_weigh_all_losses_alike():
    rule = DynamicWeightAveraging(3)
    assert rule.weights.tolist() == [1, 1, 1]
    assert rule.update([5.0, 1.0, 0.1]).tolist() == [1, 1, 1]
    assert rule.update([1.0, 1.0, 1.0]).tolist() != [1, 1, 1]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(positive, positive, positive), min_size=1, max_size=5))
def test_the_weights_add_up_to_their_number_and_do_not_depend_on_units(rows):
    plain, scaled = DynamicWeightAveraging(len(rows)), DynamicWeightAveraging(len(rows))
    for epoch in (0, 1):
        plain.update([row[epoch] for row in rows])
        scaled.update([row[epoch] * row[2] for row in rows])
    assert float(plain.weights.sum()) == pytest.approx(len(rows), rel=1e-5)
    assert scaled.weights.tolist() == pytest.approx(plain.weights.tolist(), rel=1e-4, abs=1e-6)


def test_only_the_last_two_epochs_count():
    one, two = DynamicWeightAveraging(2), DynamicWeightAveraging(2)
    for losses in ([9.0, 1.0], [2.0, 1.0], [1.0, 1.0]):
        one.update(losses)
    for losses in ([2.0, 1.0], [1.0, 1.0]):
        two.update(losses)
    assert torch.equal(one.weights, two.weights)


def test_live_losses_leave_no_graph_behind():
    rule, scale = DynamicWeightAveraging(2), torch.ones(2, requires_grad=True)
    for _ in range(3):
        losses = scale * torch.tensor([0.5, 2.0])
        weights = rule.update(losses)
        assert not weights.requires_grad
        scale.grad = None
        weighted_sum(list(losses), weights).backward()
    assert scale.grad.tolist() == pytest.approx((weights * torch.tensor([0.5, 2.0])).tolist())


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ([1.0], "2 losses, got 1."),
        ([1.0, float("nan")], "finite losses, got nan at position 1"),
        ([0.0, 1.0], "losses > 0, got 0.0 at position 0"),
    ],
)
def test_losses_without_a_ratio_are_refused_and_nothing_is_remembered(losses, message):
    rule = DynamicWeightAveraging(2)
    rule.update([2.0, 1.0])
    with pytest.raises(TrainingError, match=message):
        rule.update(losses)
    assert rule.update([1.0, 1.0]).tolist() == pytest.approx([0.8756, 1.1244], abs=5e-5)


def by_hand(weights, losses, first, norms, alpha, lr):
    """One step of the paper's algorithm, with the gradient taken by autograd."""
    w = torch.tensor(weights, dtype=torch.float64, requires_grad=True)
    sizes = w * torch.tensor(norms, dtype=torch.float64)
    rates = torch.tensor(losses, dtype=torch.float64) / torch.tensor(first, dtype=torch.float64)
    target = (sizes.mean() * (rates / rates.mean()) ** alpha).detach()
    (sizes - target).abs().sum().backward()
    moved = w.detach() - lr * w.grad
    return (moved * len(moved) / moved.sum()).tolist()


@pytest.mark.parametrize("alpha", [0.0, 0.5, 3.0])
def test_gradnorm_takes_the_papers_step(alpha):
    numbers = torch.Generator().manual_seed(0)
    rule, weights = GradNorm(3, alpha, lr=0.05), [1.0, 1.0, 1.0]
    first = [2.0, 1.0, 3.0]
    for step in range(8):
        losses, norms = (torch.rand(2, 3, generator=numbers) + 0.5).tolist() if step else (first, [1.0, 4.0, 0.5])
        weights = by_hand(weights, losses, first, norms, alpha, 0.05)
        assert rule.update(losses, norms).tolist() == pytest.approx(weights, rel=1e-6)
    assert float(rule.weights.sum()) == pytest.approx(3)


def test_gradnorm_lowers_a_loud_gradient_until_the_sizes_are_near():
    rule, norms = GradNorm(2, 0.0, lr=0.02), [1.0, 3.0]
    for _ in range(300):
        weights = rule.update([1.0, 1.0], norms).tolist()
    assert weights[0] * 1.0 == pytest.approx(weights[1] * 3.0, rel=0.1)


def test_a_weight_stays_positive():
    rule = GradNorm(2, lr=10.0)
    assert min(rule.update([1.0, 1.0], [1.0, 1000.0]).tolist()) > 0


def test_rules_go_on_from_their_state_through_json():
    for rule, other, call in (
        (DynamicWeightAveraging(2), DynamicWeightAveraging(2), lambda r, a: r.update(a)),
        (GradNorm(2), GradNorm(2), lambda r, a: r.update(a, [2.0, 1.0])),
    ):
        call(rule, [2.0, 1.0])
        call(rule, [1.5, 0.9])
        other.load_state_dict(json.loads(json.dumps(rule.state_dict())))
        assert torch.equal(call(other, [1.0, 0.5]), call(rule, [1.0, 0.5]))


@pytest.mark.parametrize("kind", [DynamicWeightAveraging, GradNorm])
def test_the_state_of_another_number_of_losses_is_refused(kind):
    rule = kind(3)
    rule.update(*([[1.0, 1.0, 1.0]] * (1 if kind is DynamicWeightAveraging else 2)))
    with pytest.raises(ConfigError, match="the state of 2 losses, got one of 3"):
        kind(2).load_state_dict(rule.state_dict())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DynamicWeightAveraging(0), "num_losses >= 1, got num_losses = 0"),
        (lambda: DynamicWeightAveraging(2, 0.0), "temperature > 0, got temperature = 0"),
        (lambda: GradNorm(2, -1.0), "alpha >= 0, got alpha = -1"),
    ],
)
def test_settings_outside_their_range_are_refused(build, message):
    with pytest.raises(ConfigError, match=message):
        build()


@pytest.mark.parametrize(
    ("losses", "weights", "message"),
    [
        ([], None, "at least one loss, found none"),
        ([torch.ones(2)], None, r"scalar losses, got shape \(2,\) at position 0"),
        ([torch.ones(())], torch.ones(2), r"1 weights, got shape \(2,\)"),
    ],
)
def test_a_sum_names_what_does_not_fit(losses, weights, message):
    with pytest.raises(TrainingError, match=message):
        weighted_sum(losses, weights)


def test_a_sum_gives_its_weights_no_gradient():
    weights, loss = torch.ones(1, requires_grad=True), torch.ones((), requires_grad=True)
    weighted_sum([loss], weights).backward()
    assert weights.grad is None
    assert float(loss.grad) == 1
