"""`explain_training` finds nothing where nothing is wrong, and leaves no trace."""

import copy
import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lab.doctor import explain_training

X = torch.linspace(-1, 1, 12).reshape(4, 3)
Y = torch.tensor([0, 1, 0, 1])
Case = Callable[[], tuple[nn.Module, Callable[[], Any], torch.optim.Optimizer]]
CASES: dict[str, Case] = {}


def healthy(case: Case) -> Case:
    CASES[case.__name__] = case
    return case


def _adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam([parameter for parameter in model.parameters() if parameter.requires_grad], lr=1e-2)


def _classify(model: nn.Module) -> tuple[nn.Module, Callable[[], Any], torch.optim.Optimizer]:
    optimizer = _adam(model)

    def step() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(X), Y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return model, step, optimizer


@healthy
def mlp() -> Any:
    return _classify(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2)))


@healthy
def frozen_backbone() -> Any:
    model = nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 2))
    model[0].requires_grad_(False)
    return _classify(model)


@healthy
def backbone_without_gradient_and_outside_the_optimizer() -> Any:
    body, head = nn.Linear(3, 8), nn.Linear(8, 2)
    model = nn.ModuleDict({"body": body, "head": head})
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)

    def step() -> Tensor:
        with torch.no_grad():
            h = body(X)
        return F.cross_entropy(head(h), Y)

    return model, step, optimizer


@healthy
def frozen_batch_norm_in_eval_mode() -> Any:
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    model[1].requires_grad_(False).eval()
    return _classify(model)


@healthy
def bias_before_batch_norm() -> Any:
    return _classify(nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)))


@healthy
def embedding_rows_that_no_item_looks_up() -> Any:
    model = nn.Sequential(nn.Embedding(50, 8, padding_idx=0), nn.Flatten(), nn.Linear(16, 2))
    optimizer = _adam(model)
    return model, lambda: F.cross_entropy(model(torch.tensor([[1, 2], [3, 0]])), Y[:2]), optimizer


@healthy
def sparse_embedding() -> Any:
    model = nn.Sequential(nn.Embedding(50, 8, sparse=True), nn.Flatten(), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return model, lambda: F.cross_entropy(model(torch.tensor([[1, 2], [3, 0]])), Y[:2]), optimizer


@healthy
def last_layer_of_zeros() -> Any:
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    nn.init.zeros_(model[2].weight)
    nn.init.zeros_(model[2].bias)
    return _classify(model)


class LowRank(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(3, 2).requires_grad_(False)
        self.a, self.b = nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.zeros(2, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + x @ self.a.T @ self.b.T


@healthy
def low_rank_beside_frozen_weights() -> Any:
    return _classify(LowRank())


class Routed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(3, 4)
        self.experts = nn.ModuleList(nn.Linear(3, 2) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        weight, chosen = torch.softmax(self.router(x), 1).topk(1)
        out = torch.zeros(len(x), 2)
        for number in chosen.unique().tolist():
            mine = chosen[:, 0] == number
            out = out.index_put((mine,), weight[mine] * self.experts[number](x[mine]))
        return out


@healthy
def experts_that_are_not_chosen() -> Any:
    model = Routed()
    model.router.bias.data = torch.tensor([9.0, 0, 0, 0])
    return _classify(model)


@healthy
def gate_that_is_closed() -> Any:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.branch, self.gate = nn.Linear(3, 2), nn.Linear(3, 2), nn.Parameter(torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x) + self.gate * self.branch(x)

    return _classify(Gated())


@healthy
def warmup_with_a_rate_of_zero() -> Any:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)
    return model, lambda: F.cross_entropy(model(X), Y), optimizer


@healthy
def attention_with_a_causal_mask() -> Any:
    class Causal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
            self.into, self.out = nn.Linear(3, 4), nn.Linear(4, 2)
            self.register_buffer("mask", torch.triu(torch.full((4, 4), float("-inf")), 1))

        def forward(self, x: Tensor) -> Tensor:
            h = self.into(x)[None]
            scores = (h @ h.mT + self.mask).masked_fill(self.mask.isinf(), float("-inf")).softmax(-1)
            return self.out(self.attention(scores @ h, h, h, attn_mask=self.mask)[0][0])

    return _classify(Causal())


@healthy
def straight_through_rounding() -> Any:
    class Rounded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            h = self.first(x)
            return self.last(h + (h.round() - h).detach())

    return _classify(Rounded())


@healthy
def target_network_and_running_average() -> Any:
    model = nn.Linear(3, 2)
    teacher = copy.deepcopy(model).requires_grad_(False)
    optimizer = _adam(model)

    def step() -> None:
        optimizer.zero_grad()
        with torch.no_grad():
            target = teacher(X)
        F.mse_loss(model(X + 0.1), target).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            for mine, other in zip(teacher.parameters(), model.parameters(), strict=True):
                mine.lerp_(other, 0.01)

    return model, step, optimizer


@healthy
def stopped_gradient_on_one_of_two_branches() -> Any:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4))
    optimizer = _adam(model)
    return model, lambda: -F.cosine_similarity(model(X), model(X + 0.1).detach()).mean(), optimizer


@healthy
def checkpoints_with_dropout() -> Any:
    model = nn.Sequential(nn.Linear(3, 8), nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 8)), nn.Linear(8, 2))
    optimizer = _adam(model)

    def step() -> Tensor:
        h = model[0](X)
        for reentrant in (True, False, True):
            h = checkpoint(model[1], h, use_reentrant=reentrant)
        return F.cross_entropy(model[2](h), Y)

    return model, step, optimizer


@healthy
def recurrent() -> Any:
    model = nn.ModuleDict({"rnn": nn.LSTM(3, 4, 2, batch_first=True, dropout=0.1), "out": nn.Linear(4, 2)})
    optimizer = _adam(model)
    return model, lambda: F.cross_entropy(model["out"](model["rnn"](X[None])[0][0]), Y), optimizer


@healthy
def custom_function() -> Any:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            ctx.save_for_backward(x, w)
            y = x * w
            return y * 2

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
            x, w = ctx.saved_tensors
            return 2 * g * w, (2 * g * x).sum(0)

    class Custom(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.scale, self.last = nn.Linear(3, 3), nn.Parameter(torch.ones(3)), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(Double.apply(self.first(x), self.scale))

    return _classify(Custom())


@healthy
def gradient_penalty() -> Any:
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = _adam(model)

    def step() -> Tensor:
        x = X.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        return model(X).mean() + (gradient.norm(dim=1) - 1).square().mean()

    return model, step, optimizer


@healthy
def autocast_to_bfloat16() -> Any:
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = _adam(model)

    def step() -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(X)
        return F.cross_entropy(out.float(), Y)

    return model, step, optimizer


@healthy
def gradient_scaler_whose_first_scale_is_too_large() -> Any:
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer, scaler = _adam(model), torch.amp.GradScaler("cpu", init_scale=2.0**24)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = F.cross_entropy(model(X) * 100, Y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return model, step, optimizer


@healthy
def loss_with_its_weights_in_the_optimizer() -> Any:
    model, criterion = nn.Linear(3, 4), nn.Linear(4, 1)
    optimizer = torch.optim.Adam([*model.parameters(), *criterion.parameters()])
    return model, lambda: criterion(model(X)).mean(), optimizer


@healthy
def satisfied_hinge() -> Any:
    model = nn.Linear(3, 1)
    optimizer = _adam(model)
    return model, lambda: F.relu(model(X).abs() - 100).mean(), optimizer


@healthy
def output_that_begins_at_zero_under_a_square() -> Any:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    nn.init.zeros_(model[1].weight)
    nn.init.zeros_(model[1].bias)
    return model, lambda: model(X).square().mean(), _adam(model)


@healthy
def second_order_optimizer() -> Any:
    model = nn.Linear(3, 2)
    return model, lambda: F.cross_entropy(model(X), Y), torch.optim.LBFGS(model.parameters(), max_iter=3)


@healthy
def two_networks_in_turn() -> Any:
    generator, critic = nn.Linear(3, 3), nn.Linear(3, 1)
    first, second = _adam(generator), _adam(critic)

    def step() -> None:
        critic(generator(X).detach()).mean().backward()
        second.step()
        second.zero_grad()
        (-critic(generator(X)).mean()).backward()
        first.step()
        first.zero_grad()

    return nn.ModuleDict({"g": generator, "c": critic}), step, [first, second]  # type: ignore[return-value]


@healthy
def output_of_which_the_loss_uses_a_part() -> Any:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.pooler = nn.Linear(3, 2), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.body(x)
            return h, self.pooler(h)

    model = Two()
    return model, lambda: F.cross_entropy(model(X)[0], Y), _adam(model)


@healthy
def tied_weights() -> Any:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    return _classify(model)


@healthy
def parametrized_weight() -> Any:
    return _classify(nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 8)), nn.Linear(8, 2)))


@healthy
def spectral_norm() -> Any:
    return _classify(nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(3, 8)), nn.Linear(8, 2)))


@healthy
def scripted() -> Any:
    return _classify(torch.jit.script(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))))


@healthy
def compiled() -> Any:
    return _classify(torch.compile(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), backend="eager"))


@healthy
def complex_weights_in_double() -> Any:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.turn = nn.Parameter(torch.randn(3, 2, dtype=torch.complex128))

        def forward(self, x: Tensor) -> Tensor:
            return (x.to(torch.complex128) @ self.turn).abs()

    return _classify(Turned())


@healthy
def state_and_counters_in_the_module() -> Any:
    class Stateful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.calls, self.seen = nn.Linear(3, 2), 0, [0]
            self.register_buffer("memory", torch.zeros(2))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            self.seen.append(self.calls)
            h = self.layer(x)
            self.memory = 0.9 * self.memory + h.mean(0).detach()
            return h + self.memory

    return _classify(Stateful())


@healthy
def functional_call_and_vmap() -> Any:
    model = nn.Linear(3, 2)
    optimizer = _adam(model)

    def step() -> Tensor:
        def one(x: Tensor) -> Tensor:
            return torch.func.functional_call(model, dict(model.named_parameters()), (x,))

        return F.cross_entropy(torch.vmap(one)(X), Y)

    return model, step, optimizer


@pytest.mark.parametrize("name", CASES)
def test_a_healthy_step_has_no_finding_and_leaves_no_trace(name: str) -> None:
    model, step, optimizer = CASES[name]()
    optimizers = [optimizer] if isinstance(optimizer, torch.optim.Optimizer) else list(optimizer)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.full_like(parameter, 0.5)
    before = _state(model, optimizers)
    gradients = [parameter.grad for parameter in model.parameters()]
    report = explain_training(model, step, optimizer)
    assert report.ok, str(report)
    assert _equal(_state(model, optimizers), before)
    assert all(now is then for now, then in zip((p.grad for p in model.parameters()), gradients, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_the_next_real_step_is_the_one_that_would_have_been(name: str) -> None:
    seed = functools.partial(torch.manual_seed, 3)
    states = []
    for examined in (False, True):
        seed()
        model, step, optimizer = CASES[name]()
        optimizers = [optimizer] if isinstance(optimizer, torch.optim.Optimizer) else list(optimizer)
        for _ in range(2):
            if examined and name not in KEEP_STATE_ELSEWHERE:
                explain_training(model, step, optimizer)
            _real_step(step, optimizers)
        states.append(_state(model, optimizers))
    assert _equal(*states)


KEEP_STATE_ELSEWHERE = ("target_network_and_running_average", "gradient_scaler_whose_first_scale_is_too_large")
"""Their steps change a teacher and a scaler, which are no part of the model."""


def _real_step(step: Callable[[], Any], optimizers: list[torch.optim.Optimizer]) -> None:
    loss = step()
    if isinstance(loss, Tensor):
        loss.backward()
        for optimizer in optimizers:
            if not isinstance(optimizer, torch.optim.LBFGS):
                optimizer.step()
            optimizer.zero_grad()


def _state(model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> Any:
    return copy.deepcopy(
        (
            dict(model.state_dict()),
            [parameter.grad for parameter in model.parameters()],
            [parameter.requires_grad for parameter in model.parameters()],
            [module.training for module in model.modules()],
            [sorted(vars(module)) for module in model.modules()],
            [getattr(module, "seen", None) for module in model.modules()],
            [getattr(module, "calls", None) for module in model.modules()],
            [len(module._forward_hooks) for module in model.modules()],
            [optimizer.state_dict() for optimizer in optimizers],
            [sorted(vars(optimizer)) for optimizer in optimizers],
            torch.get_rng_state(),
            random.getstate(),
            np.random.get_state(legacy=True),
        )
    )


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, Tensor):
        return isinstance(right, Tensor) and torch.equal(left.nan_to_num(), right.nan_to_num())
    if isinstance(left, np.ndarray):
        return bool((left == right).all())
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(_equal, left, right))
    return bool(left == right)


@pytest.mark.parametrize("warm", [False, True])
def test_a_step_that_raises_leaves_no_trace(warm: bool) -> None:
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))
    optimizer = _adam(model)
    if warm:
        _real_step(lambda: model(X).mean(), [optimizer])

    def step() -> None:
        model.eval()
        model.train()
        model(X).mean().backward()
        optimizer.step()
        optimizer.param_groups[0]["lr"] = 7.0
        model[0].weight.data = torch.zeros(8, 3)
        model[0].extra = 1
        model[3].requires_grad_(False)
        random.random()
        raise ValueError("on the way")

    before = _state(model, [optimizer])
    with pytest.raises(ValueError, match="on the way"):
        explain_training(model, step, optimizer)
    assert _equal(_state(model, [optimizer]), before)


def test_a_graph_from_before_the_check_can_still_be_run() -> None:
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    optimizer = _adam(model)
    expected = [
        gradient.clone() for gradient in torch.autograd.grad(model(X).square().mean(), list(model.parameters()))
    ]
    loss = model(X).square().mean()
    explain_training(model, lambda: model(X).mean(), optimizer)
    loss.backward()
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), expected, strict=True))


@pytest.mark.parametrize("raises", [False, True])
def test_weights_of_the_loss_get_back_the_gradient_that_they_had(raises: bool) -> None:
    model, criterion = nn.Linear(3, 2), nn.Linear(2, 1)
    criterion.weight.grad = given = torch.ones(1, 2)

    def step() -> None:
        criterion(model(X)).mean().backward()
        if raises:
            raise ValueError("on the way")

    if raises:
        with pytest.raises(ValueError, match="on the way"):
            explain_training(model, step)
    else:
        explain_training(model, step)
    assert criterion.weight.grad is given
    assert torch.equal(given, torch.ones(1, 2))
    assert criterion.bias.grad is None


def test_hooks_of_the_user_can_still_be_removed() -> None:
    model = nn.Linear(3, 2)
    calls: list[int] = []
    handle = model.register_forward_hook(lambda *_: calls.append(1))
    explain_training(model, lambda: model(X).mean())
    handle.remove()
    model(X)
    assert len(calls) == 1


def test_without_an_optimizer_plain_sgd_takes_the_step_and_the_report_says_so() -> None:
    model = nn.Linear(3, 2)
    report = explain_training(model, lambda: model(X).mean())
    assert report.ok
    assert "plain SGD" in report.optimizer
    assert {row.step for row in report.parameters} == {"moved"}
