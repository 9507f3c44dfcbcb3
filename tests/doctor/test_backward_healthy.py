"""Ordinary training loops: nothing may be found in them, by either method."""

import copy
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from lab.doctor import explain_backward

Loop = Callable[[], nn.Module]


def _mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Dropout(0.2), nn.Linear(8, 3))


def _batches(count: int = 4) -> Iterator[tuple[Tensor, Tensor]]:
    for _ in range(count):
        yield torch.randn(10, 6), torch.randint(0, 3, (10,))


def _finite(loss: Tensor) -> None:
    assert torch.isfinite(loss).all()


def _loop(model: nn.Module, optimizer: torch.optim.Optimizer) -> nn.Module:
    for x, y in _batches():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        _finite(loss)
    return model


def sgd() -> nn.Module:
    model = _mlp()
    return _loop(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4))


def foreach_adamw() -> nn.Module:
    model = _mlp()
    return _loop(model, torch.optim.AdamW(model.parameters(), lr=0.01, foreach=True, amsgrad=True))


def fused_adam() -> nn.Module:
    model = _mlp()
    return _loop(model, torch.optim.Adam(model.parameters(), lr=0.01, fused=True))


def compiled_optimizer() -> nn.Module:
    # no BatchNorm: the bias before one has no gradient but rounding, which Adam would blow up
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    step = torch.compile(optimizer.step, backend="aot_eager")
    for x, y in _batches():
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        step()
        optimizer.zero_grad()
        _finite(loss)
    return model


def mixed_precision() -> nn.Module:
    model = _mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu")
    for x, y in _batches():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        _finite(loss)
    return model


def checkpointing() -> nn.Module:
    model = _mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in _batches():
        optimizer.zero_grad()
        hidden = checkpoint(model[:3], x, use_reentrant=False)
        loss = F.cross_entropy(checkpoint(model[3:], hidden, use_reentrant=False), y)
        loss.backward()
        optimizer.step()
        _finite(loss)
    return model


def reentrant_checkpointing() -> nn.Module:
    model = _mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in _batches():
        optimizer.zero_grad()
        hidden = checkpoint(model[:2], x.requires_grad_(), use_reentrant=True)
        loss = F.cross_entropy(model[2:](hidden), y)
        loss.backward()
        optimizer.step()
        _finite(loss)
    return model


def accumulated_gradients() -> nn.Module:
    model = _mlp()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01)
    for number, (x, y) in enumerate(_batches(6)):
        (F.cross_entropy(model(x), y) / 3).backward()
        if number % 3 == 2:
            optimizer.step()
            optimizer.zero_grad()
    return model


def gan() -> nn.Module:
    generator, critic = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6)), _mlp()
    of_generator = torch.optim.Adam(generator.parameters(), lr=0.01)
    of_critic = torch.optim.Adam(critic.parameters(), lr=0.01)
    for x, _ in _batches():
        fake = generator(torch.randn(10, 4))
        of_critic.zero_grad()
        (F.softplus(critic(fake.detach())) + F.softplus(-critic(x))).mean().backward()
        of_critic.step()
        of_generator.zero_grad()
        loss = F.softplus(-critic(fake)).mean()
        loss.backward()
        of_generator.step()
        _finite(loss)
    return critic


def moving_average() -> nn.Module:
    model = _mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    average = copy.deepcopy(model).requires_grad_(False)
    for x, _ in _batches():
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), average(x))
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
                slow.mul_(0.9).add_(fast, alpha=0.1)
        _finite(loss)
    return model


def truncated_recurrence() -> nn.Module:
    model = nn.LSTM(6, 5, batch_first=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    state = None
    for _ in range(4):
        optimizer.zero_grad()
        out, state = model(torch.randn(3, 7, 6), state)
        out.square().mean().backward()
        optimizer.step()
        state = tuple(part.detach() for part in state)
    return model


def gradient_penalty() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for x, _ in _batches():
        optimizer.zero_grad()
        x.requires_grad_()
        (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        loss = (slope.norm(dim=1) - 1).square().mean()
        loss.backward()
        optimizer.step()
        _finite(loss)
    return model


def two_losses_one_step() -> nn.Module:
    model = _mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in _batches():
        optimizer.zero_grad()
        out = model(x)
        F.cross_entropy(out, y).backward(retain_graph=True)
        out.square().mean().backward()
        optimizer.step()
    return model


def attention() -> nn.Module:
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(torch.randn(2, 5, 8)).square().mean()
        loss.backward()
        optimizer.step()
        _finite(loss)
    return model


def line_search() -> nn.Module:
    model = nn.Linear(6, 3)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=5, line_search_fn="strong_wolfe")
    x, y = next(_batches())

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)
    return model


def normalised_weights() -> nn.Module:
    model = nn.Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Linear(6, 8)),
        nn.utils.parametrizations.weight_norm(nn.Linear(8, 3)),
    )
    return _loop(model, torch.optim.SGD(model.parameters(), lr=0.1))


def reused_numpy_batch() -> nn.Module:
    model = nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    memory = np.zeros((10, 6), np.float32)
    for x, y in _batches():
        memory[:] = x.numpy()
        optimizer.zero_grad()
        F.cross_entropy(model(torch.from_numpy(memory)), y).backward()
        optimizer.step()
    return model


def bounded_embedding() -> nn.Module:
    model = nn.Sequential(nn.Embedding(20, 4, max_norm=1.0), nn.Linear(4, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randint(0, 20, (7,))).square().mean().backward()
        optimizer.step()
    return model


def offloaded_activations() -> nn.Module:
    model = _mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in _batches():
        optimizer.zero_grad()
        with torch.autograd.graph.save_on_cpu():
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    return model


def validation_between_steps() -> nn.Module:
    model = _mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in _batches():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        with torch.no_grad():
            model(x)
        loss.backward()
        optimizer.step()
        model(x)
    return model


LOOPS: list[Loop] = [
    sgd,
    foreach_adamw,
    fused_adam,
    mixed_precision,
    checkpointing,
    reentrant_checkpointing,
    accumulated_gradients,
    gan,
    moving_average,
    truncated_recurrence,
    gradient_penalty,
    two_losses_one_step,
    attention,
    line_search,
    normalised_weights,
    reused_numpy_batch,
    bounded_embedding,
    offloaded_activations,
    validation_between_steps,
]


@pytest.mark.parametrize("method", ["hook", "walk"])
@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_nothing_is_found_in_a_healthy_loop_and_it_trains_as_without_a_watch(
    loop: Loop, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if method == "walk":
        monkeypatch.delattr(torch.autograd.graph, "node_creation_hook", raising=False)
    torch.manual_seed(7)
    alone = loop()
    kept: list[nn.Module] = []
    torch.manual_seed(7)
    report = explain_backward(lambda: kept.append(loop()))
    assert report.ok, str(report)
    assert report.nodes > 0
    _same(kept[0], alone, tolerance=0.0)


def test_nothing_is_found_with_a_compiled_optimizer_which_runs_uncompiled() -> None:
    torch.manual_seed(7)
    alone = compiled_optimizer()
    kept: list[nn.Module] = []
    torch.manual_seed(7)
    report = explain_backward(lambda: kept.append(compiled_optimizer()))
    assert report.ok, str(report)
    _same(kept[0], alone, tolerance=1e-5)


def _same(model: nn.Module, other: nn.Module, tolerance: float) -> None:
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name], atol=tolerance, rtol=0.0)
        assert not torch.isnan(value.float()).any(), name
