"""The router over training steps: balance, room, state, graph and memory."""

import copy

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from lab.base import TrainingError
from lab.device import measure_leak
from lab.doctor import audit, explain_backward
from lab.mahia import ExpertRouter, balance_loss, collect_routing, moved_bias, z_loss


def build(dim=8, experts=6, k=2, hidden=12, **options):
    torch.manual_seed(0)
    return ExpertRouter(dim, experts, k, hidden, **options)


def tokens(*shape, seed=1, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def steer(router, *rows):
    """A gate that sees the first numbers of a token alone."""
    with torch.no_grad():
        router.gate.weight.zero_()
        router.gate.weight[: len(rows), : len(rows[0])] = torch.tensor(rows)


@pytest.mark.parametrize("experts", [2, 6, 64])
def test_the_balance_loss_is_1_at_uniform_load_and_e_at_collapse(experts):
    uniform = torch.full((experts,), 1 / experts)
    assert float(balance_loss(uniform, uniform.expand(5, -1))) == pytest.approx(1.0)
    one = torch.eye(experts)[0]
    assert float(balance_loss(one, one.expand(5, -1))) == experts


@pytest.mark.parametrize(("k", "worst"), [(1, 4.0), (2, 2.0), (4, 1.0)])
def test_a_collapsed_router_has_a_loss_of_experts_over_k(k, worst):
    router = build(experts=4, k=k)
    steer(router, [400.0], [400.0 if k > 1 else 0.0], [400.0 if k > 2 else 0.0], [400.0 if k > 2 else 0.0])
    x = tokens(20, 8)
    x[:, 0] = 1.0
    routing = router.route(x)
    assert routing.balance_loss.item() == pytest.approx(worst)
    assert sorted(routing.load_E.tolist())[-k:] == [1 / k] * k


def test_the_z_loss_is_the_mean_square_of_logsumexp():
    logits = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    log2 = torch.tensor(2.0).log()
    assert float(z_loss(logits)) == pytest.approx(float((log2**2 + (1 + log2) ** 2) / 2))


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_one_step_on_the_balance_loss_lowers_the_largest_load(k, seed):
    router, x = build(k=k), tokens(2000, 8, seed=seed)
    x[:, 0] = 1.0
    with torch.no_grad():
        router.gate.weight[seed, 0] += 0.5
    optimizer = torch.optim.SGD(router.parameters(), lr=0.1)
    before = router.route(x)
    assert int(before.load_E.argmax()) == seed
    before.balance_loss.backward()
    optimizer.step()
    after = router.route(x)
    assert float(after.load_E.max()) < float(before.load_E.max())
    assert after.balance_loss.item() < before.balance_loss.item()


def test_the_selection_bias_moves_by_the_sign_of_the_load_and_never_in_the_weights():
    bias = moved_bias(torch.zeros(3), torch.tensor([0.5, 1 / 3, 1 / 6]), 0.1)
    assert torch.allclose(bias, torch.tensor([-0.1, 0.0, 0.1]))
    router, x = build(bias_rate=0.5), tokens(7, 8)
    plain = router.route(x)
    with torch.no_grad():
        router.state.write(selection_bias=torch.tensor([0.0, 0.0, 0.0, 0.0, 9.0, 5.0]))
    pushed = router.route(x)
    assert torch.equal(pushed.experts_TK, torch.tensor([[4, 5]]).expand(7, 2))
    logits = x @ router.gate.weight.T
    assert torch.allclose(pushed.weights_TK, logits[:, 4:].softmax(-1), atol=1e-6)
    assert not torch.equal(plain.experts_TK, pushed.experts_TK)


@pytest.mark.parametrize("bias_rate", [0.0, 0.1])
def test_eval_mode_writes_no_state_and_train_mode_the_bias_alone(bias_rate):
    router, x = build(bias_rate=bias_rate), tokens(9, 8)
    router.eval()
    before = copy.deepcopy(router.state_dict())
    with collect_routing(router):
        router(x)
    router(x)
    assert all(torch.equal(value, router.state_dict()[name]) for name, value in before.items())
    router.train()(x)
    changed = [name for name, value in before.items() if not torch.equal(value, router.state_dict()[name])]
    assert changed == (["state.selection_bias"] if bias_rate else [])


def load_after_training(balance, bias_rate, seed):
    """Loads, in units of the even one, of a digits classifier around a router of 8 experts."""
    digits = load_digits()
    images, labels = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
    torch.manual_seed(seed)
    router, head = ExpertRouter(64, 8, 2, 32, bias_rate=bias_rate), nn.Linear(64, 10)
    optimizer = torch.optim.Adam([*router.parameters(), *head.parameters()], lr=3e-3)
    for batch in torch.randint(0, len(labels), (200, 128)):
        routing = router.route(images[batch])
        loss = nn.functional.cross_entropy(head(images[batch] + routing.y), labels[batch])
        optimizer.zero_grad()
        (loss + balance * routing.balance_loss).backward()
        optimizer.step()
    return router.eval().route(images).load_E * 8


@pytest.mark.parametrize("seed", [0, 2])
def test_loads_stay_within_2_of_uniform_where_they_collapse_without(seed):
    collapsed = load_after_training(0.0, 0.0, seed)
    assert float(collapsed.max()) > 3.0, "4 is the most that one of two choices can have"
    assert int((collapsed < 0.2).sum()) >= 3
    for balance, bias_rate in ((0.1, 0.0), (0.0, 0.003)):
        balanced = load_after_training(balance, bias_rate, seed)
        assert 0.5 <= float(balanced.min()) <= float(balanced.max()) <= 2.0


def test_without_room_later_ranks_and_later_tokens_are_turned_away_and_counted():
    router, dropless = build(experts=4, capacity_factor=1.0), build(experts=4)
    steer(router, [9.0, 0.0], [8.0, 0.0])
    steer(dropless, [9.0, 0.0], [8.0, 0.0])
    x = tokens(6, 8)
    x[:, 0] = 1.0
    routing, whole = router.route(x), dropless.route(x)
    assert int(routing.dropped) == 6
    assert int(whole.dropped) == 0
    assert routing.load_E.tolist() == [0.5, 0.5, 0.0, 0.0], "what was asked for, not what found room"
    assert torch.allclose(routing.y[:3], whole.y[:3], atol=1e-6)
    assert torch.equal(routing.y[3:], torch.zeros(3, 8))


def test_first_choices_go_before_second_ones():
    router = build(experts=2, k=2, capacity_factor=0.5)
    steer(router, [1.0], [0.0])
    x = tokens(4, 8)
    x[:, 0] = torch.tensor([-1.0, -1.0, 1.0, 1.0])
    routing = router.route(x)
    assert int(routing.dropped) == 4
    wanted = router.experts(x[[2, 3, 0, 1]], torch.tensor([2, 2]))[[2, 3, 0, 1]] * routing.weights_TK[:, :1]
    assert torch.allclose(routing.y, wanted, atol=1e-6), "expert 0 took tokens 2 and 3, expert 1 took 0 and 1"


def test_enough_room_drops_nothing_and_changes_nothing():
    x = tokens(50, 8)
    roomy, dropless = build(capacity_factor=6.0).route(x), build().route(x)
    assert int(roomy.dropped) == 0
    assert torch.equal(roomy.y, dropless.y)


def nodes(y):
    found, waiting = set(), [y.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found.add(node)
            waiting += [following for following, _ in node.next_functions]
    return len(found)


@pytest.mark.parametrize("hidden", [12, 5], ids=["grouped", "loop"])
def test_a_hundred_steps_under_anomaly_detection_keep_the_size_of_the_graph(hidden):
    router = build(hidden=hidden, bias_rate=0.001)
    optimizer = torch.optim.SGD(router.parameters(), lr=0.1, momentum=0.9)
    sizes: dict[tuple[bool, ...], set[int]] = {}
    with torch.autograd.set_detect_anomaly(True):
        for step in range(100):
            optimizer.zero_grad()
            routing = router.route(tokens(4, 8, seed=step))
            loss = routing.y.square().mean() + 0.01 * routing.balance_loss + 0.001 * routing.z_loss
            sizes.setdefault(tuple((routing.load_E > 0).tolist()), set()).add(nodes(loss))
            loss.backward()
            optimizer.step()
    assert len(sizes) > 5
    assert all(len(found) == 1 for found in sizes.values()), "equal active experts, equal graphs"
    if hidden == 12:
        assert len(set.union(*sizes.values())) == 1


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_the_doctor_finds_nothing_and_memory_stays_level():
    router, x = build(bias_rate=0.001), tokens(16, 8)
    optimizer = torch.optim.Adam(router.parameters())

    def step():
        optimizer.zero_grad()
        with collect_routing(router) as found:
            y = router(x)
        (y.square().mean() + found[""][0].balance_loss).backward()
        optimizer.step()

    step()
    assert audit(router, optimizer).ok
    assert explain_backward(lambda: (step(), step()), model=router).ok
    leak = measure_leak(step, calls=8)
    assert leak.ok, leak
    assert leak.slope == 0.0


def test_a_router_with_a_state_is_refused_inside_activation_checkpointing():
    router, x = build(bias_rate=0.1), tokens(9, 8).requires_grad_()
    y = torch.utils.checkpoint.checkpoint(router, x, use_reentrant=False)
    with pytest.raises(TrainingError, match="selection_bias"):
        y.sum().backward()
