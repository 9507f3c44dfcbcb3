"""Healthy programs that keep something: statistics, queues, caches, masks, states."""

import copy
import functools
from collections import deque

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .case import Program, healthy


def _trained(model: nn.Module, x: Tensor) -> Program:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Program(model=model, step=lambda: model(x).square().mean(), optimizer=optimizer, batch=x)


@functools.cache
def _frequencies(width: int) -> Tensor:
    return 1.0 / (100 ** (torch.arange(width) / width))


@healthy("running statistics are written in forward, from detached values")
def statistics_of_its_own() -> Program:
    class Centre(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(3, 3)
            self.register_buffer("mean", torch.zeros(3))

        def forward(self, x: Tensor) -> Tensor:
            h = self.mix(x)
            with torch.no_grad():
                self.mean.lerp_(h.mean(0), 0.1)
            return h - self.mean.clone()

    return _trained(Centre(), torch.randn(4, 3))


@healthy("the state of the last chunk is carried, without its graph")
def state_carried_without_its_graph() -> Program:
    model = nn.RNNCell(2, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def loop() -> None:
        hidden = torch.zeros(1, 3)
        for _ in range(3):
            hidden = model(torch.ones(1, 2), hidden.detach())
            hidden.sum().backward()
            optimizer.step()

    x = torch.ones(1, 2)
    return Program(model=model, step=lambda: model(x).sum(), optimizer=optimizer, loop=loop)


@healthy("a queue of old keys is a buffer that each step writes to")
def queue_of_keys() -> Program:
    class Contrast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(3, 2)
            self.register_buffer("keys", F.normalize(torch.randn(6, 2)))

        def forward(self, x: Tensor) -> Tensor:
            query = F.normalize(self.mix(x))
            out = query @ self.keys.clone().t()
            with torch.no_grad():
                self.keys.copy_(torch.cat((query, self.keys))[:6])
            return out

    return _trained(Contrast(), torch.randn(2, 3))


@healthy("a table is kept for each device")
def table_for_each_device() -> Program:
    tables: dict[torch.device, Tensor] = {}

    class Rotate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            if x.device not in tables:
                tables[x.device] = torch.arange(3, device=x.device) + 1.0
            return self.mix(x) * tables[x.device]

    return _trained(Rotate(), torch.randn(2, 3))


@healthy("a cached function's table is moved to the input's device at each call")
def cached_table_that_is_moved() -> Program:
    class Wave(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.mix(x) * _frequencies(4).to(x.device)

    return _trained(Wave(), torch.randn(2, 4))


@healthy("a copy of the weights is kept and averaged beside the training")
def average_beside_the_training() -> Program:
    model = nn.Linear(3, 2)
    average, x = copy.deepcopy(model).requires_grad_(False), torch.randn(4, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)

    def loop() -> None:
        for _ in range(2):
            model(x).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
                slow.lerp_(fast.detach(), 0.1)

    return Program(model=model, step=lambda: model(x).square().mean(), optimizer=optimizer, loop=loop)


@healthy("the last losses are kept as numbers, in a window", instrument="measure_leak")
def window_of_numbers() -> Program:
    model, window = nn.Linear(3, 2), deque(maxlen=4)

    def step() -> None:
        loss = model(torch.ones(2, 3)).square().mean()
        loss.backward()
        window.append(loss.item())

    return Program(step=step)


@healthy("the optimizer's state is made at the first step", instrument="measure_leak")
def state_of_the_optimizer() -> Program:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)

    def step() -> None:
        optimizer.zero_grad()
        model(torch.ones(2, 3)).square().mean().backward()
        optimizer.step()

    return Program(step=step)


@healthy("a count of steps is an integer buffer")
def count_of_steps() -> Program:
    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(3, 3)
            self.register_buffer("steps", torch.zeros((), dtype=torch.long))

        def forward(self, x: Tensor) -> Tensor:
            self.steps += 1
            return self.mix(x) * (1 - 0.5 ** self.steps.float())

    return _trained(Counted(), torch.randn(2, 3))


@healthy("a list of module names, numbers and a reference to a registered layer beside the registered ones")
def names_of_layers_in_a_list() -> Program:
    class Chosen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(2))
            self.order = [self.layers[1], self.layers[0]]
            self.names = ["second", "first"]

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.order:
                x = layer(x).tanh()
            return x

    return _trained(Chosen(), torch.randn(2, 3))


@healthy("a residual is added in place to what no backward needs")
def residual_in_place_where_it_may_be() -> Program:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix, self.norm = nn.Conv1d(2, 2, 3, padding=1, bias=False), nn.BatchNorm1d(2)

        def forward(self, x: Tensor) -> Tensor:
            out = self.norm(self.mix(x))
            out += x
            return F.relu(out, inplace=True)

    return _trained(Block(), torch.randn(3, 2, 5))
