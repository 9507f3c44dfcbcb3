import json

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from lab.base import TrainingError
from lab.device import measure_memory
from lab.mahia import PCGrad, backward_by_loss, weighted_sum


def test_the_known_conflict_is_solved_as_published():
    assert PCGrad().combine(torch.tensor([[1.0, 0.0], [-1.0, 1.0]])).tolist() == pytest.approx([0.5, 1.5])


def test_gradients_that_agree_are_added():
    rows = torch.tensor([[1.0, 2.0, 0.0], [0.5, 0.0, 3.0], [0.0, 0.0, 0.0]])
    assert torch.equal(PCGrad().combine(rows), rows.sum(0))


@settings(max_examples=30, deadline=None)
@example([[0.0, 0.0, 1.0], [0.0, 0.0, -5e-166]])
@example([[0.0, 1.0, 1.0], [0.0, 0.0, -5e-324]])
@given(st.lists(st.lists(st.floats(-10, 10), min_size=3, max_size=3), min_size=2, max_size=2))
def test_of_two_losses_neither_rises_to_first_order(rows):
    gradients = torch.tensor(rows, dtype=torch.float64)
    step = PCGrad().combine(gradients)
    assert bool((gradients @ step >= -1e-9 * gradients.square().sum()).all())


def test_others_are_projected_as_they_came_and_in_a_seeded_order():
    rows = torch.tensor([[1.0, 0.0], [-1.0, 0.2], [-0.3, -1.0]], dtype=torch.float64)
    seen = {tuple(PCGrad(seed).combine(rows).tolist()) for seed in range(12)}
    assert len(seen) > 1
    expected = set()
    orders = [[[1, 2], [2, 1]], [[0, 2], [2, 0]], [[0, 1], [1, 0]]]
    for a in orders[0]:
        for b in orders[1]:
            for c in orders[2]:
                total = torch.zeros(2, dtype=torch.float64)
                for own, order in enumerate((a, b, c)):
                    g = rows[own].clone()
                    for j in order:
                        if g @ rows[j] < 0:
                            g -= (g @ rows[j]) / rows[j].square().sum() * rows[j]
                    total += g
                expected.add(tuple(round(v, 9) for v in total.tolist()))
    assert {tuple(round(v, 9) for v in combined) for combined in seen} <= expected


def test_the_order_goes_on_from_its_state_through_json():
    rows = torch.tensor([[1.0, 0.0], [-1.0, 0.2], [-0.3, -1.0]])
    rule, other = PCGrad(1), PCGrad(2)
    rule.combine(rows)
    other.load_state_dict(json.loads(json.dumps(rule.state_dict())))
    assert all(torch.equal(rule.combine(rows), other.combine(rows)) for _ in range(8))


def test_gradients_without_rows_are_refused():
    with pytest.raises(TrainingError, match=r"one row for each loss, got shape \(3,\)"):
        PCGrad().combine(torch.ones(3))


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5))
        self.heads = nn.ModuleList([nn.Linear(5, 2), nn.Linear(5, 1)])

    def losses(self, features):
        return [self.heads[0](features).square().mean(), (self.heads[1](features) - 1).square().mean()]


@pytest.fixture
def net():
    torch.manual_seed(0)
    return TwoHeads().double()


def gradients_of(net):
    return [None if p.grad is None else p.grad.clone() for p in net.parameters()]


def test_shared_parameters_get_the_combined_gradient_and_heads_their_own(net):
    x = torch.randn(7, 4, dtype=torch.float64)
    encoder = list(net.encoder.parameters())
    each = []
    for number in range(2):
        loss = net.losses(net.encoder(x))[number]
        each.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, encoder)]))
    expected = PCGrad(3).combine(torch.stack(each))
    net.zero_grad()
    weighted_sum(net.losses(net.encoder(x))).backward()
    heads = [p.grad.clone() for p in net.heads.parameters()]
    net.zero_grad()
    own = PCGrad(3).backward(net.losses(net.encoder(x)), net.parameters())
    assert torch.allclose(own, torch.stack(each), atol=1e-12)
    assert torch.allclose(torch.cat([p.grad.flatten() for p in encoder]), expected, atol=1e-12)
    assert all(torch.allclose(p.grad, g) for p, g in zip(net.heads.parameters(), heads, strict=True))


def test_losses_that_share_nothing_are_refused(net):
    x = torch.randn(7, 4, dtype=torch.float64)
    with pytest.raises(TrainingError, match="that at least two losses reach, got 4 parameters and 2 losses"):
        PCGrad().backward(net.losses(net.encoder(x)), net.heads.parameters())


def test_one_walk_through_the_encoder_gives_the_gradients_of_the_sum(net):
    x = torch.randn(7, 4, dtype=torch.float64)
    weighted_sum(net.losses(net.encoder(x))).backward()
    expected = gradients_of(net)
    net.zero_grad()
    walks = []
    net.encoder[0].weight.register_hook(lambda gradient: walks.append(1))
    values, own = backward_by_loss(net.encoder(x), net.losses)
    assert len(walks) == 1
    assert own.shape == (2, 7, 5)
    assert torch.allclose(values, torch.stack(net.losses(net.encoder(x))).detach())
    assert all((p.grad - g).abs().max() <= 1e-12 for p, g in zip(net.parameters(), expected, strict=True))


def test_the_encoder_gets_what_combine_makes_of_the_losses(net):
    x = torch.randn(7, 4, dtype=torch.float64)
    features = net.encoder(x)
    _, own = backward_by_loss(features, net.losses, lambda g: g[1] * 3)
    got = [p.grad.clone() for p in net.encoder.parameters()]
    net.zero_grad()
    (3 * net.losses(net.encoder(x))[1]).backward()
    assert all(torch.allclose(p.grad, g) for p, g in zip(net.encoder.parameters(), got, strict=True))
    assert not own.requires_grad


def test_a_loss_of_the_encoder_itself_goes_in_the_same_walk(net):
    x = torch.randn(7, 4, dtype=torch.float64)
    hidden = net.encoder[1](net.encoder[0](x))
    weighted_sum([*net.losses(net.encoder[2](hidden)), hidden.square().mean()]).backward()
    expected = gradients_of(net)
    net.zero_grad()
    hidden = net.encoder[1](net.encoder[0](x))
    backward_by_loss(net.encoder[2](hidden), net.losses, of_encoder=[hidden.square().mean()])
    assert all((p.grad - g).abs().max() <= 1e-12 for p, g in zip(net.parameters(), expected, strict=True))


def test_a_loss_that_is_none_of_the_features_is_named(net):
    features = net.encoder(torch.randn(7, 4, dtype=torch.float64))
    with pytest.raises(TrainingError, match="losses of the features, found none at position 1"):
        backward_by_loss(features, lambda f: [f.sum(), net.heads[0].weight.sum()])


def wide(seed):
    torch.manual_seed(seed)
    encoder = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU())
    heads = nn.ModuleList([nn.Linear(512, 10), nn.Linear(512, 10)])
    return nn.ModuleDict({"encoder": encoder, "heads": heads})


def test_one_backward_peaks_below_0_65_of_the_retained_graphs():
    x = torch.randn(256, 64)
    nets = [wide(0), wide(0)]

    def losses(net):
        features = net["encoder"](x)
        return [head(features).square().mean() for head in net["heads"]]

    def retained(net):
        for loss in losses(net):
            loss.backward(retain_graph=True)

    def summed(net):
        weighted_sum(losses(net)).backward()

    peaks = []
    for net, way in zip(nets, (retained, summed), strict=True):
        with measure_memory(roots=(net, x), blame=False) as report:
            way(net)
        peaks.append(report.allocated_peak)
    for one, two in zip(*(net.parameters() for net in nets), strict=True):
        assert torch.allclose(one.grad, two.grad, atol=1e-7)
    assert peaks[1] <= 0.65 * peaks[0]
