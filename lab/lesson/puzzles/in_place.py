"""Tasks of lesson 11: see a write that nobody counts, measure a slope without autograd, store a row."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lab.lesson.check import CheckResult, check
from lab.lesson.exercise import Answer, Exercise

VALUES = (1.0, -2.0, 0.5)
# Name of an action -> what it does to the numbers of a tensor.
ACTIONS: dict[str, Callable[[Tensor], object]] = {
    "a counted write": lambda tensor: tensor.copy_(tensor + 1),
    "a write through .data": lambda tensor: tensor.data.copy_(tensor + 1),
    "another tensor": lambda tensor: tensor + 1,
}


def _overwritten(answer: Answer) -> list[CheckResult]:
    found = []
    for name, action in ACTIONS.items():
        tensor = torch.tensor(VALUES)
        said = answer(tensor, lambda action=action, tensor=tensor: action(tensor))
        now = tensor.tolist() != list(VALUES)
        wanted = name != "another tensor"
        found.append(check(f"{name} is made", now, wanted, meaning="call action() once: without it nothing is written"))
        found.append(check(f"said of {name}", bool(said), wanted, meaning=f"{name} is taken for something else"))
    return found


def _by_version(tensor: Tensor, action: Callable[[], object]) -> bool:
    before = tensor._version
    action()
    return tensor._version != before


def _by_name(tensor: Tensor, action: Callable[[], object]) -> bool:
    before = tensor
    action()
    return not torch.equal(before, tensor)


OVERWRITTEN = Exercise(
    "were its numbers overwritten",
    hints=(
        "Torch's count does not see .data. Compare the numbers themselves, before and after.",
        "before = tensor.clone(); then action(); then not torch.equal(tensor, before).",
    ),
    compare=_overwritten,
    mistakes={
        "the version counts no write through .data: compare the numbers": _by_version,
        "two names of one tensor are always equal: keep a clone() of the numbers": _by_name,
        "action() was never called, so that nothing was written": lambda tensor, action: False,
    },
)


def _slope(answer: Answer) -> list[CheckResult]:
    cases = {"x * x at 3": (lambda x: x * x, 3.0, 6.0), "exp at 0": (math.exp, 0.0, 1.0)}
    return [
        check(
            f"slope of {name}",
            float(answer(function, at, 1e-4)),
            wanted,
            atol=1e-6,
            meaning="move x by shift up and down, and divide by the distance between the two places",
        )
        for name, (function, at, wanted) in cases.items()
    ]


SLOPE = Exercise(
    "a slope without autograd",
    hints=(
        "A slope is a difference of values, divided by the distance of the two places.",
        "From x - shift to x + shift the distance is 2 * shift.",
    ),
    compare=_slope,
    mistakes={
        "the two places are 2 * shift apart: the slope is twice too large": lambda f, x, shift: (
            (f(x + shift) - f(x - shift)) / shift
        ),
        "one side only: the curve bends away, and the error is as large as shift": lambda f, x, shift: (
            (f(x + shift) - f(x)) / shift
        ),
        "a difference of values is no slope yet: divide it by the distance of the two places": lambda f, x, shift: (
            f(x + shift) - f(x - shift)
        ),
    },
)


def _read(memory: Tensor, query: Tensor) -> Tensor:
    return (torch.softmax(query @ memory.T, dim=-1) @ memory).square().mean()


def _store_row(answer: Answer) -> list[CheckResult]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net, memory, x = nn.Linear(3, 3).double(), torch.randn(4, 3).double(), torch.randn(5, 3).double()
    query, before, count = net(x), memory.clone(), memory._version
    value = query.mean(dim=0)
    (want,) = torch.autograd.grad(_read(before, query), net.weight, retain_graph=True)
    loss = _read(memory, query)
    new = answer(memory, 2, value)
    rows = torch.stack([before[0], before[1], value.detach(), before[3]])
    refused = memory._version != count
    got = torch.zeros_like(want) if refused else torch.autograd.grad(loss, net.weight)[0]
    return [
        check("the new memory", new.detach(), rows, meaning="row 2 must be the value, and the others as they were"),
        check("the new memory has a graph", new.requires_grad, False, meaning="it drags the graph of this step along"),
        check("the old memory", memory, before, meaning="the memory that came in is needed as it was, and has changed"),
        check("backward would refuse", refused, False, meaning="the memory that came in has seen a write"),
        check(
            "the gradient of the read", got, want, atol=1e-12, meaning="backward read other numbers than the forward"
        ),
    ]


def _in_place(memory: Tensor, row: int, value: Tensor) -> Tensor:
    memory[row] = value.detach()
    return memory


def _hidden(memory: Tensor, row: int, value: Tensor) -> Tensor:
    memory.data[row] = value.detach()
    return memory


def _with_graph(memory: Tensor, row: int, value: Tensor) -> Tensor:
    memory = memory.clone()
    memory[row] = value
    return memory


STORE_ROW = Exercise(
    "store a row",
    hints=(
        "Which of the three ways in 'Why' leaves the old tensor alone?",
        "Write to a copy: memory.clone() has the same numbers and memory of its own.",
        "If only the graph is off: value is a result of the forward. value.detach() has the numbers without the graph.",
    ),
    compare=_store_row,
    mistakes={
        "the tensor that came in was written to, and the backward that is still to come will refuse it": _in_place,
        "a write through .data is not counted: the backward takes the new numbers for the old ones": _hidden,
        "value is a result of the forward, and its graph goes on with the memory: detach it": _with_graph,
        "nothing was stored: this is a copy of the old memory": lambda memory, row, value: memory.detach().clone(),
    },
)
