"""Healthy training loops that look suspicious: gradients stopped, graphs kept, weights written."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from .case import Program, healthy


def _sgd(model: nn.Module, lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=lr)


def _net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


@healthy("four backwards before one step")
def accumulated_gradients() -> Program:
    model, x = _net(), torch.randn(4, 3)
    optimizer = _sgd(model)

    def loop() -> None:
        for row in x:
            (model(row).square().mean() / 4).backward()
        optimizer.step()
        optimizer.zero_grad()

    return Program(model=model, step=lambda: model(x).square().mean(), optimizer=optimizer, loop=loop)


@healthy("the part is run again in backward, with the same dropout")
def checkpoint_that_draws_again() -> Program:
    model = nn.ModuleDict({"part": nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)), "head": nn.Linear(3, 1)})
    x = torch.randn(4, 3)

    def step() -> Tensor:
        return model["head"](checkpoint(model["part"], x, use_reentrant=False)).square().mean()

    return Program(model=model, step=step, optimizer=_sgd(model))


@healthy("the same with a reentrant checkpoint, whose input needs a gradient")
def reentrant_checkpoint_in_the_middle() -> Program:
    model = nn.ModuleDict({"front": nn.Linear(3, 3), "part": nn.Linear(3, 3)})
    x = torch.randn(4, 3)

    def step() -> Tensor:
        return checkpoint(model["part"], model["front"](x), use_reentrant=True).square().mean()

    return Program(model=model, step=step, optimizer=_sgd(model))


@healthy("some operations are in bfloat16, their weights in float32")
def autocast_region() -> Program:
    model, x = _net(), torch.randn(4, 3)

    def step() -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(x)
        return out.float().square().mean()

    return Program(model=model, step=step, optimizer=_sgd(model))


@healthy("the loss is multiplied by 65536 and the gradients divided")
def scaled_loss() -> Program:
    model, x = _net(), torch.randn(4, 3)
    optimizer, scaler = _sgd(model), torch.amp.GradScaler("cpu")

    def loop() -> None:
        for _ in range(2):
            scaler.scale(model(x).square().mean()).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()

    return Program(model=model, step=lambda: model(x).square().mean(), optimizer=optimizer, loop=loop)


@healthy("gradients are written in place before the step")
def clipped_gradients() -> Program:
    model, x = _net(), torch.randn(4, 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)

    def loop() -> None:
        for _ in range(2):
            model(x).square().mean().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            optimizer.zero_grad()

    return Program(model=model, step=lambda: model(x).square().mean(), optimizer=optimizer, loop=loop)


@healthy("the graph is kept because a second loss needs it, and nothing is written in between")
def kept_graph_with_a_need() -> Program:
    model, x = _net(), torch.randn(4, 3)
    optimizer = _sgd(model)

    def loop() -> None:
        out = model(x)
        out[:, 0].mean().backward(retain_graph=True)
        out[:, 1].square().mean().backward()
        optimizer.step()

    return Program(model=model, step=lambda: model(x).square().mean(), optimizer=optimizer, loop=loop)


@healthy("the gradient of the input is a part of the loss")
def gradient_penalty() -> Program:
    model, x = _net(), torch.randn(4, 3)

    def step() -> Tensor:
        at = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(model(at).sum(), at, create_graph=True)
        return (slope.norm(dim=1) - 1).square().mean()

    return Program(model=model, step=step, optimizer=_sgd(model))


@healthy("the target net has no gradient: it follows the online net by a moving average")
def target_net_that_follows() -> Program:
    model = _net()
    target, x = copy.deepcopy(model).requires_grad_(False), torch.randn(4, 3)
    optimizer = _sgd(model)

    def step() -> Tensor:
        return F.mse_loss(model(x), target(x).detach())

    def loop() -> None:
        for _ in range(2):
            step().backward()
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                for slow, fast in zip(target.parameters(), model.parameters(), strict=True):
                    slow.mul_(0.9).add_(fast, alpha=0.1)

    return Program(model=model, step=step, optimizer=optimizer, loop=loop)


@healthy("each network learns from a detached output of the other")
def adversaries() -> Program:
    draw, judge = nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(0.2, inplace=True), nn.Linear(4, 1))
    of_draw, of_judge = torch.optim.Adam(draw.parameters()), torch.optim.Adam(judge.parameters())
    noise, real = torch.randn(4, 2), torch.randn(4, 3)

    def judged() -> Tensor:
        return F.softplus(judge(draw(noise).detach())).mean() + F.softplus(-judge(real)).mean()

    def loop() -> None:
        for _ in range(2):
            of_judge.zero_grad()
            judged().backward()
            of_judge.step()
            of_draw.zero_grad()
            F.softplus(-judge(draw(noise))).mean().backward()
            of_draw.step()

    return Program(model=judge, step=judged, optimizer=of_judge, loop=loop)


@healthy("the value of the next state is computed without a gradient and chosen by max")
def target_of_the_next_state() -> Program:
    model, x = _net(), torch.randn(4, 3)
    frozen = copy.deepcopy(model)

    def step() -> Tensor:
        chosen = model(x).gather(1, torch.zeros(4, 1, dtype=torch.long))
        with torch.no_grad():
            best = frozen(x + 1).max(1, keepdim=True).values
        return F.smooth_l1_loss(chosen, 1 + 0.9 * best)

    return Program(model=model, step=step, optimizer=_sgd(model))


@healthy("the advantage is a number to the policy")
def advantage_is_detached() -> Program:
    model = nn.ModuleDict({"policy": nn.Linear(3, 2), "value": nn.Linear(3, 1)})
    x, gain = torch.randn(4, 3), torch.randn(4)

    def step() -> Tensor:
        value = model["value"](x).squeeze(1)
        advantage = (gain - value).detach()
        chance = model["policy"](x).log_softmax(1)[:, 0]
        return (value - gain).square().mean() - (chance * advantage).mean()

    return Program(model=model, step=step, optimizer=_sgd(model))


@healthy("accuracy is read from the same output by argmax and written down as a number")
def accuracy_beside_the_loss() -> Program:
    model, x, y = _net(), torch.randn(4, 3), torch.tensor([0, 1, 1, 0])
    log: list[float] = []

    def step() -> Tensor:
        out = model(x)
        loss = F.cross_entropy(out, y)
        log.append(loss.item())
        log.append((out.argmax(1) == y).float().mean().item())
        return loss

    return Program(model=model, step=step, optimizer=_sgd(model))


@healthy("the learning rate is zero at the first step of a warm-up")
def first_step_of_a_warm_up() -> Program:
    model, x = _net(), torch.randn(4, 3)
    return Program(model=model, step=lambda: model(x).square().mean(), optimizer=_sgd(model, lr=0.0))


@healthy("the loss has a temperature of its own, which the optimizer has too")
def learned_temperature() -> Program:
    model, x, y = _net(), torch.randn(4, 3), torch.tensor([0, 1, 1, 0])
    heat = nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([{"params": model.parameters()}, {"params": [heat], "lr": 0.01}], lr=0.1)
    both = nn.ModuleDict({"model": model})
    both.register_parameter("heat", heat)

    def step() -> Tensor:
        return F.cross_entropy(model(x) * heat.exp(), y)

    return Program(model=both, step=step, optimizer=optimizer)


@healthy("the optimizer calls the loss as often as it likes")
def line_search() -> Program:
    model, x = _net(), torch.randn(4, 3)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)

    def loop() -> None:
        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            return loss

        optimizer.step(closure)

    return Program(model=model, loop=loop)
