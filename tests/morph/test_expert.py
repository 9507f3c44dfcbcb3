"""One more expert: nothing moves, the optimizer is carried, and both halves or the fresh expert learn."""

import copy
import pickle

import pytest
import torch
from torch import nn

from lab.base import MorphError
from lab.doctor import audit
from lab.mahia import ExpertRouter, collect_routing
from lab.morph import AddExpert, MorphPlan, Widen, apply, rebuild, rollback, verify

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2),
}
OPS = (AddExpert("1"), AddExpert("1", 0), AddExpert("1", 2))


class Padded(nn.Module):
    """A model that passes a padding mask on."""

    def __init__(self, router):
        super().__init__()
        self.router = router

    def forward(self, x, padding):
        return self.router(x, padding=padding)


def model_of(k=2, **options):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), ExpertRouter(8, 4, k, 12, **options), nn.Linear(8, 3))


@pytest.fixture
def model():
    return model_of()


@pytest.fixture
def x():
    return torch.randn(60, 8, generator=torch.Generator().manual_seed(1))


def routed(model, x):
    with torch.no_grad(), collect_routing(model) as found:
        model(x)
    return next(iter(found.values()))[0]


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("bias_rate", [0.0, 0.01])
@pytest.mark.parametrize("op", OPS, ids=str)
def test_the_output_and_the_losses_of_a_fresh_one_stay_and_no_stream_is_touched(k, bias_rate, op, x):
    model = model_of(k, bias_rate=bias_rate).double()
    x, stream = x.double(), torch.get_rng_state()
    before = routed(model.eval(), x)
    plan = MorphPlan.from_json(op.plan(model, x).to_json())
    report = apply(plan, model)
    assert torch.equal(torch.get_rng_state(), stream)
    assert plan.max_difference <= 1e-14
    assert verify(report, x) <= 1e-14
    assert verify(report, 5.0 * x.flip(0) + 1.0) <= 1e-14, "whatever the tokens are"
    after = routed(model.eval(), x)
    assert torch.allclose(after.y, before.y, rtol=0, atol=1e-14)
    assert torch.equal(after.weights_TK, before.weights_TK)
    assert torch.allclose(after.z_loss, before.z_loss, rtol=1e-14)
    if op.source is None:
        assert torch.equal(after.experts_TK, before.experts_TK)
        assert torch.allclose(after.balance_loss, before.balance_loss, rtol=1e-14)
    else:
        assert torch.equal(torch.where(after.experts_TK == 4, op.source, after.experts_TK), before.experts_TK)
        halves = after.load_E[[op.source, 4]]
        assert halves.sum() == pytest.approx(float(before.load_E[op.source]))
        assert abs(halves[0] - halves[1]) <= 1.01 / before.experts_TK.numel(), "the median halves the tokens"
    assert report.applied
    assert plan.parameters[1] - plan.parameters[0] == 3 * 8 * 12 + 8


@pytest.mark.parametrize("op", OPS, ids=str)
def test_probabilities_of_experts_add_up_to_1(op, model, x):
    apply(op.plan(model, x), model)
    apply(AddExpert("1", 4).plan(model, x), model) if op.source is not None else None
    gate = model[1].gate
    tokens = model[0](x)
    probabilities = gate.probabilities(gate(tokens))
    assert probabilities.shape == (60, model[1].num_experts)
    assert torch.allclose(probabilities.sum(1), torch.ones(60), atol=1e-6)
    if op.source is None:
        assert bool((probabilities[:, 4] == 0).all())


def test_many_additions_in_a_row_move_nothing_and_come_back(x, state, same):
    model = model_of(bias_rate=0.01).double()
    x = x.double()
    optimizer = torch.optim.Adam(model.parameters())
    states, reports = [], []
    for op in (AddExpert("1", 2), AddExpert("1"), AddExpert("1", 2), AddExpert("1", 4), AddExpert("1", 0)):
        model.train()
        model(x).square().sum().backward()
        optimizer.step()
        with torch.no_grad():
            model[1].state.write(selection_bias=torch.randn(model[1].num_experts) * 0.05)
        states.append(state(model, optimizer))
        reports.append(apply(op.plan(model, x), model, optimizer))
        assert verify(reports[-1], x) <= 1e-14
    assert model[1].gate.origins == (-1, -1, -1, -1, 2, -1, 2, 4, 0)
    for report, before in zip(reversed(reports), reversed(states), strict=True):
        rollback(report)
        model.train()
        assert same(state(model, optimizer), before)


def test_plans_build_the_changed_router_anew(model, x):
    plans, first = [], copy.deepcopy(model)
    for op in (AddExpert("1", 1), AddExpert("1")):
        plans.append(op.plan(model, x))
        apply(plans[-1], model)
    plans = tuple(MorphPlan.from_json(plan.to_json()) for plan in plans)
    twin = rebuild(first, plans)
    assert all(torch.equal(a, b) for a, b in zip(twin.parameters(), model.parameters(), strict=True))
    model[1].gate.weight.data += 1.0
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin(x), model(x))
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other.eval()(x), model.eval()(x))


def step(model, optimizer, x, count=1, balance=0.0):
    model.train()
    for _ in range(count):
        optimizer.zero_grad()
        with collect_routing(model) as found:
            y = model(x)
        loss = (y - x[:, :3].tanh()).square().mean() + balance * found["1"][0].balance_loss
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("op", OPS, ids=str)
def test_the_next_step_of_everything_old_is_what_it_would_have_been(kind, op, x):
    x = x.double()
    plain, changed = model_of().double(), model_of().double()
    one, two = (OPTIMIZERS[kind](m.parameters()) for m in (plain, changed))
    for pair in ((plain, one), (changed, two)):
        step(*pair, x, 2)
    apply(op.plan(changed, x), changed, two)
    assert audit(changed, two).ok
    step(plain, one, x)
    step(changed, two, x)
    for (name, p), q in zip(plain.named_parameters(), changed.parameters(), strict=True):
        old = [e for e in range(len(p)) if not name.startswith("1.experts") or e != op.source]
        assert torch.allclose(p[old], q[: len(p)][old], rtol=1e-9, atol=1e-13), name


@pytest.mark.parametrize("source", [0, 2])
def test_gradients_of_the_halves_add_up_to_the_old_one(source, model, x):
    model, x = model.double(), x.double()
    twin = copy.deepcopy(model)
    apply(AddExpert("1", source).plan(twin, x), twin)
    for m in (model, twin):
        m(x).square().sum().backward()
    for name in ("gate_up", "down"):
        old, split = (getattr(m[1].experts, name).grad for m in (model, twin))
        assert bool((split[4] != 0).any())
        folded = split[:4].clone()
        folded[source] += split[4]
        assert torch.allclose(folded, old, rtol=0, atol=1e-10)
    assert torch.allclose(twin[1].gate.weight.grad[:4], model[1].gate.weight.grad, rtol=0, atol=1e-10)
    assert bool((twin[1].gate.weight.grad[4] != 0).any()), "the hyperplane learns"


def test_moments_are_shared_out_and_fresh_experts_start_without(x):
    model = model_of()
    optimizer = torch.optim.Adam(model.parameters())
    step(model, optimizer, x, 3)
    before = {key: value.clone() for key, value in optimizer.state[model[1].experts.down].items()}
    apply(AddExpert("1", 2).plan(model, x), model, optimizer)
    after = optimizer.state[model[1].experts.down]
    assert torch.equal(after["exp_avg"][2], before["exp_avg"][2] / 2)
    assert torch.equal(after["exp_avg"][4], before["exp_avg"][2] / 2)
    assert torch.equal(after["exp_avg_sq"][4], before["exp_avg_sq"][2] / 4)
    assert torch.equal(after["exp_avg"][[0, 1, 3]], before["exp_avg"][[0, 1, 3]])
    assert after["step"] == before["step"]
    apply(AddExpert("1").plan(model, x), model, optimizer)
    assert not bool(optimizer.state[model[1].experts.down]["exp_avg"][5].any())


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_halves_of_a_split_do_not_stay_twins(kind, model, x):
    optimizer = OPTIMIZERS[kind](model.parameters())
    apply(AddExpert("1", 2).plan(model, x), model, optimizer)
    assert torch.equal(model[1].experts.down[2], model[1].experts.down[4])
    step(model, optimizer, x, 20)
    apart = (model[1].experts.down[2] - model[1].experts.down[4]).norm() / model[1].experts.down[2].norm()
    assert float(apart.detach()) > 0.01


def test_a_fresh_expert_opens_in_train_mode_alone_and_is_chosen_in_the_end(model, x):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    apply(AddExpert("1", steps=20).plan(model, x), model, optimizer)
    model.eval()(x)
    state = model[1].gate.state
    assert state.read("opening").tolist() == [1, 1, 1, 1, 0]
    step(model, optimizer, x)
    assert float(state.eval().read("opening")[4]) == pytest.approx(0.05)
    assert float(routed(model.eval(), x).load_E[4]) == 0.0
    step(model, optimizer, x, 120, balance=0.1)
    assert state.eval().read("opening").tolist() == [1, 1, 1, 1, 1]
    assert float(routed(model.eval(), x).load_E[4]) > 0.05


def test_a_closed_expert_is_not_chosen_whatever_its_bias_is(x):
    model = model_of(bias_rate=0.01).eval()
    apply(AddExpert("1").plan(model, x), model)
    model.train()[1].state.write(selection_bias=torch.tensor([-9.0, -9.0, -9.0, -9.0, 9.0]))
    assert float(routed(model.eval(), x).load_E[4]) == 0.0


def test_the_bias_of_a_closed_expert_waits(x):
    model = model_of(bias_rate=0.01)
    apply(AddExpert("1").plan(model, x), model)
    before = routed(model.train(), x)
    bias = model.eval()[1].selection_bias
    assert torch.allclose(bias, torch.cat([0.01 * (0.25 - before.load_E[:4]).sign(), torch.zeros(1)]))
    assert bool((bias[:4] != 0).any())


def test_the_bias_divides_the_tokens_of_a_split_too(x):
    model = model_of(bias_rate=0.01)
    apply(AddExpert("1", 2).plan(model, x), model)
    before = routed(model.eval(), x)
    model.train()[1].state.write(selection_bias=torch.tensor([0.0, 0.0, -1.1, 0.0, 1.1]))
    after = routed(model.eval(), x)
    assert torch.equal(
        torch.where(after.experts_TK == 4, 2, after.experts_TK),
        torch.where(before.experts_TK == 4, 2, before.experts_TK),
    )
    assert float(before.load_E[2]) > 0
    assert float(after.load_E[2]) == 0.0


def test_padding_reaches_no_split(x):
    torch.manual_seed(0)
    model, padding = Padded(ExpertRouter(8, 4, 2, 12)), torch.arange(60) > 30
    example = {"x": x, "padding": padding}
    plan = AddExpert("router", 1).plan(model, example)
    wanted = int((routed_tokens(model, x[~padding]) == 1).any(1).sum())
    assert f"of {wanted} tokens of expert 1" in plan.note
    assert verify(apply(plan, model), example) <= 1e-14


def routed_tokens(model, x):
    return model.router.route(x).experts_TK


def test_the_router_may_be_the_model_itself(x):
    torch.manual_seed(0)
    router = ExpertRouter(8, 4, 2, 12)
    assert verify(apply(AddExpert("", 0).plan(router, x), router), x) <= 1e-14
    assert router.num_experts == 5


@pytest.mark.parametrize(
    ("op", "options", "match"),
    [
        (AddExpert("0"), {}, "the name of an ExpertRouter, got Linear '0'. Name one of '1'"),
        (AddExpert("nowhere"), {}, r"a name from named_modules\(\)"),
        (AddExpert("1", 4), {}, "an expert from 0 to 3, got source = 4"),
        (AddExpert("1", -1), {}, "an expert from 0 to 3, got source = -1"),
        (AddExpert("1", steps=0), {}, "steps >= 1, got steps = 0"),
        (AddExpert("1"), {"capacity_factor": 2.0}, "without a capacity, got capacity_factor = 2.0"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(op, options, match, x, state, same):
    model = model_of(**options)
    before = state(model)
    with pytest.raises(MorphError, match=match):
        op.plan(model, x)
    assert same(state(model), before)


def test_a_split_needs_tokens_of_its_expert(model, x):
    with torch.no_grad():
        model[1].gate.weight[3] = 0.0
        model[1].gate.weight[:3] = torch.eye(8)[:3]
    lonely = torch.linalg.lstsq(model[0].weight, (torch.tensor([[9.0, 9, 1] + [0] * 5]) - model[0].bias).T)
    with pytest.raises(MorphError, match="tokens that go to expert 3, found none does"):
        AddExpert("1", 3).plan(model, lonely.solution.T.detach())


def test_weights_that_two_routers_share_are_refused(x):
    model = nn.Sequential(ExpertRouter(8, 4, 2), ExpertRouter(8, 4, 2))
    model[1].experts = model[0].experts
    with pytest.raises(MorphError, match="weights that one router has, got '1', which shares them"):
        AddExpert("0").plan(model, x)


def test_other_layers_of_a_model_with_a_router_can_still_be_widened(x):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 8), ExpertRouter(8, 4, 2, 12), nn.Linear(8, 3))
    assert Widen("0", 9).plan(model, x).max_difference <= 1e-14
    with pytest.raises(MorphError, match="a width of 2 that can change"):
        Widen("2", 12).plan(model, x)


@pytest.mark.gpu
@pytest.mark.parametrize("op", OPS, ids=str)
def test_on_a_gpu_what_is_added_lies_there_and_moves_nothing(op, x):
    model, x = model_of(bias_rate=0.01).cuda(), x.cuda()
    optimizer = torch.optim.Adam(model.parameters())
    step(model, optimizer, x, 2)
    report = apply(op.plan(model, x), model, optimizer)
    assert {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} == {"cuda"}
    assert verify(report, x) <= 1e-10
    step(model, optimizer, x, 2)
