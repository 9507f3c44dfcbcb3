"""Memory that is not given back."""

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from . import kinds
from .case import Program, case

FAMILY = "leak"


@case(
    family=FAMILY,
    report="pytorch/pytorch#1840",
    seen="the sum of the losses keeps the graph of every earlier step",
    instrument="measure_leak",
    kind=kinds.LEAK,
    tensor="run['sum']",
)
def sum_of_losses_keeps_its_graph() -> Program:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    run: dict[str, Any] = {"sum": 0.0}

    def step() -> None:
        loss = model(torch.ones(2, 4)).mean()
        loss.backward()
        run["sum"] = run["sum"] + loss  # fault

    return Program(step=step)


@case(
    family=FAMILY,
    report="IBM/mi-prometheus#111",
    seen="one more tensor is alive after each loss",
    instrument="measure_leak",
    kind=kinds.LEAK,
    tensor="losses",
)
def losses_in_a_list() -> Program:
    model = nn.Linear(4, 4)
    losses: list[Tensor] = []

    def step() -> None:
        loss = model(torch.ones(2, 4)).square().mean()  # fault
        losses.append(loss)

    return Program(step=step)


@case(
    family=FAMILY,
    report="meta-pytorch/opacus#176",
    seen="in an evaluation without gradients, hooks keep activations that no backward takes away",
    instrument="measure_leak",
    kind=kinds.LEAK,
    tensor="kept",
)
def hook_keeps_activations() -> Program:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    kept: list[Tensor] = []

    def keep(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        kept.append(output)

    model[0].register_forward_hook(keep)

    @torch.no_grad()
    def step() -> None:
        model(torch.ones(2, 4))  # fault

    return Program(step=step)


@case(
    family=FAMILY,
    report="pytorch/pytorch#4661",
    seen="backward with create_graph ties a weight and its gradient to each other",
    instrument="measure_leak",
    kind=kinds.LEAK,
    tensor="grad",
)
def gradient_holds_its_weight() -> Program:
    model = nn.Linear(4, 1)
    seen: list[Tensor] = []

    def step() -> None:
        weight = nn.Parameter(torch.ones(4, 4))  # fault
        model(weight.tanh()).sum().backward(create_graph=True)
        seen.append(weight.grad)

    return Program(step=step)


@case(
    family=FAMILY,
    report="huggingface/transformers#45412",
    seen="a cached method keeps tables alive, and the model with them; the memory stops growing at 4 of them",
    instrument="measure_leak",
    kind=kinds.BOUNDED,
    tensor="table",
)
def table_method_with_a_bounded_cache() -> Program:
    class Positions:
        @functools.lru_cache(maxsize=4)  # noqa: B019
        def table(self, start: int) -> Tensor:
            return torch.arange(8) + start  # fault

    positions, starts = Positions(), iter(range(800))
    return Program(step=lambda: positions.table(next(starts)))


@case(
    family=FAMILY,
    report="pytorch/pytorch#149354",
    seen="a cache without a limit on a method keeps every object that the method was called on",
    instrument="measure_leak",
    kind=kinds.LEAK,
    tensor="shape",
)
def method_with_an_unlimited_cache() -> Program:
    class Plan:
        def __init__(self) -> None:
            self.weight = torch.ones(8, 8)  # fault

        @functools.cache  # noqa: B019
        def shape(self) -> tuple[int, ...]:
            return tuple(self.weight.shape)

    plan = Plan
    return Program(step=lambda: plan().shape())


@case(
    family=FAMILY,
    report="pytorch/pytorch#46386",
    seen="a hook that uses `self`: memory falls only when Python collects cycles",
    instrument="measure_leak",
    kind=kinds.CYCLE,
    marker="",
    tensor="Watched",
)
def hook_that_holds_its_module() -> Program:
    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(8, 8))
            self.register_forward_hook(lambda *_: self.weight)

    return Program(step=Watched)


@case(
    family=FAMILY,
    seen="outputs of unequal length are kept in an array of objects",
    instrument="measure_leak",
    kind=kinds.LEAK,
    tensor="table",
)
def outputs_in_an_object_array() -> Program:
    table, places = np.empty(64, dtype=object), iter(range(64))

    def step() -> None:
        table[next(places)] = torch.ones(4, 4) * 2  # fault

    return Program(step=step)
