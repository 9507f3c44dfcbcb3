"""A forward is recorded on the example itself; what depends on values, or writes, is seen."""

import copy

import pytest
import torch
from torch import nn

from lab.base import MorphError
from lab.morph import Prune, Widen, apply, forward, rollback, verify

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


class Two(nn.Module):
    """Two layers; each test's model does something between them."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 8), nn.Linear(8, 3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        return self.two(self.between(x, self.one(x).relu()))

    def between(self, x, h):
        return h


class Branches(Two):
    """Goes by values, read in one way of several."""

    def __init__(self, read):
        super().__init__()
        self.read = read

    def between(self, x, h):
        return h if self.read(h) > 0 else -h


READS = {
    "item": lambda h: h.sum().item(),
    "bool": lambda h: 1 if (h > 0).any() else 0,
    "tolist": lambda h: sum(h[0].tolist()),
    "numpy": lambda h: h.detach().numpy().sum(),
    "equal": lambda h: int(torch.equal(h, h + 1)),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_branch_on_values_is_refused_however_they_are_read(read):
    with pytest.raises(MorphError, match="traced without values"):
        Widen("one", 16).plan(Branches(read), X)


class Constants(Two):
    """Asks for values that every forward has, as transformers' masks do; or for what was written into such."""

    def __init__(self, written=False):
        super().__init__()
        self.written = written

    def between(self, x, h):
        places = torch.zeros(len(x))
        if self.written:
            places[1:].copy_(x[1:, 0])
        return -h if places.sum() > 0 else h


def test_a_branch_on_constants_is_followed_on_the_example():
    assert forward._on_values(Constants(), (X,), {}) is not None


def test_a_constant_that_an_input_was_written_into_is_none():
    assert forward._on_values(Constants(written=True), (X,), {}) is None


class Swallows(Two):
    """Catches whatever the look at a value raises."""

    def between(self, x, h):
        try:
            return h if float(h.sum()) > 0 else -h
        except RuntimeError:
            return h.abs()


def test_a_forward_that_catches_the_refusal_is_not_followed_on_values():
    assert forward._on_values(Swallows(), (X,), {}) is None
    assert forward._on_values(Two(), (X,), {}) is not None


class Writes(Two):
    """Writes to a buffer, a weight and its input, in eval mode too."""

    def between(self, x, h):
        with torch.no_grad():
            self.calls.add_(1)
            self.one.weight.data.mul_(0.5)
            x.mul_(2.0)
        return h


def test_a_trace_writes_to_no_weight_no_buffer_and_no_input():
    torch.manual_seed(0)
    model, x = Writes(), X.clone()
    before = copy.deepcopy(model.state_dict())
    Widen("one", 16).check_steps(model, x)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(x, X)


def test_weights_that_are_given_other_memory_in_the_forward_keep_theirs():
    class Rebinds(Two):
        def between(self, x, h):
            self.two.weight.data = self.two.weight.data.clone()
            return h

    model = Rebinds()
    place = model.two.weight.data_ptr()
    assert Widen("one", 16).plan(model, X).max_difference <= 1e-10
    assert model.two.weight.data_ptr() == place


def test_a_trace_in_inference_mode_is_the_same():
    torch.manual_seed(0)
    model = Two()
    with torch.inference_mode():
        Widen("one", 16).check_steps(model, X.clone())
    assert Widen("one", 16).plan(model, X).max_difference <= 1e-10


class Experts(nn.Module):
    """A router before experts that are modules of their own, as Mixtral's was: each gets the tokens that chose it."""

    def __init__(self, skips=False):
        super().__init__()
        self.gate = nn.Linear(6, 3, bias=False)
        self.experts = nn.ModuleList(Expert() for _ in range(3))
        self.skips = skips

    def forward(self, x):
        x_TD = x.reshape(-1, x.shape[-1])
        weights_TK, chosen_TK = self.gate(x_TD).softmax(-1).topk(2)
        masks_EKT = nn.functional.one_hot(chosen_TK, num_classes=3).permute(2, 1, 0)
        out_TD = torch.zeros_like(x_TD)
        for expert, mask_KT in zip(self.experts, masks_EKT, strict=True):
            place, token = torch.where(mask_KT)
            if self.skips and not len(token):
                continue
            rows = x_TD[None, token].reshape(-1, x_TD.shape[-1])
            out_TD.index_add_(0, token, expert(rows) * weights_TK[token, place, None])
        return out_TD.reshape(x.shape)


class Expert(nn.Module):
    def __init__(self):
        super().__init__()
        self.w1, self.w2, self.w3 = nn.Linear(6, 8), nn.Linear(8, 6), nn.Linear(6, 8)

    def forward(self, x):
        return self.w2(nn.functional.silu(self.w1(x)) * self.w3(x))


@pytest.fixture
def routed():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 6), Experts(), nn.Linear(6, 2))


TOKENS = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(1))
OTHERS = torch.randn(3, 7, 6, generator=torch.Generator().manual_seed(2))


def test_one_expert_is_widened_and_the_others_stay(routed):
    optimizer = torch.optim.Adam(routed.parameters())
    plan = Widen("1.experts.1.w1", 11).plan(routed, TOKENS)
    assert plan.max_difference <= 1e-10
    report = apply(plan, routed, optimizer)
    assert [expert.w1.out_features for expert in routed[1].experts] == [8, 11, 8]
    assert routed[1].experts[1].w3.out_features == routed[1].experts[1].w2.in_features == 11
    # Other tokens choose other experts.
    assert verify(report, OTHERS) <= 1e-6
    routed(OTHERS).sum().backward()
    optimizer.step()
    rollback(report)
    assert routed[1].experts[1].w1.out_features == 8


def test_one_expert_is_pruned_and_the_others_stay(routed):
    apply(Prune("1.experts.2.w3", 5).plan(routed, TOKENS), routed).release()
    assert [expert.w2.in_features for expert in routed[1].experts] == [8, 8, 5]
    assert routed(OTHERS).shape == (3, 7, 2)


def test_the_stream_that_experts_share_is_one_width_where_one_gets_no_token(routed):
    with torch.no_grad():
        # One before the softmax, that no token chooses among the first two.
        routed[1].gate.weight[2] = 0.0
        routed[1].gate.weight[:2] = 0.0
    plan = Widen("1.experts.2.w1", 16).plan(routed, TOKENS)
    apply(plan, routed).release()
    assert routed[1].experts[2].w2.in_features == 16


def test_an_expert_that_the_example_leaves_out_is_not_followed_by_halves():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), Experts(skips=True))
    with torch.no_grad():
        model[1].gate.weight.zero_()
    with pytest.raises(MorphError, match="traced without values"):
        Widen("1.experts.2.w1", 16).plan(model, TOKENS)


class Grouped(nn.Module):
    """Four heads of queries over two of keys and values, which torch's attention repeats itself."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(*sizes) for sizes in ((8, 12), (8, 6), (8, 6), (12, 8)))

    def forward(self, x):
        q, k, v = (part(x).unflatten(-1, (-1, 3)).transpose(1, 2) for part in (self.q, self.k, self.v))
        y = nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
        return self.o(y.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("op", [Widen("q", 18), Prune("k", 3)], ids=str)
def test_heads_that_attention_repeats_are_changed_by_groups(op):
    torch.manual_seed(0)
    model, x = nn.Sequential(Grouped(), nn.Linear(8, 2)), torch.randn(2, 5, 8)
    op = type(op)(f"0.{op.layer}", op.width if isinstance(op, Widen) else op.keep)
    plan = op.plan(model, x)
    assert plan.max_difference <= 1e-10 or not plan.exact
    apply(plan, model).release()
    q, k = model[0].q.out_features, model[0].k.out_features
    assert (q, k, model[0].v.out_features, model[0].o.in_features) == (2 * k, k, k, q)
    assert model(x).shape == (2, 5, 2)
