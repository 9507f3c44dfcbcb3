"""Tasks of lesson 03: the shape of a shortcut, an optimizer that holds it, a shortcut that adds nothing at first."""

import copy

import torch
from torch import Tensor, nn

from lab.lesson.check import CheckResult, check
from lab.lesson.exercise import Answer, Exercise


def _shape(answer: Answer) -> list[CheckResult]:
    cases = {"as in this lesson": ((16, 3, 32, 32), (16, 128, 8, 8)), "another": ((2, 5, 12, 12), (2, 7, 4, 4))}
    wanted = {name: (into[1], out[1], into[2] // out[2]) for name, (into, out) in cases.items()}
    return [
        check(
            name,
            list(answer(torch.Size(into), torch.Size(out))),
            list(wanted[name]),
            meaning="wanted are the channels before, the channels behind, and how many pixels before make one behind",
        )
        for name, (into, out) in cases.items()
    ]


SHORTCUT_SHAPE = Exercise(
    "what a shortcut must bridge",
    hints=("A batch of images has the shape (images, channels, height, width).", "into[1], out[1], into[2] // out[2]"),
    compare=_shape,
    mistakes={
        "the first dimension counts the images: channels are the second": lambda into, out: (
            into[0],
            out[0],
            into[2] // out[2],
        ),
        "the stride is upside down: it is the size before divided by the size behind": lambda into, out: (
            into[1],
            out[1],
            out[2] // into[2],
        ),
        "the last number is a difference of sizes: a stride is their ratio": lambda into, out: (
            into[1],
            out[1],
            into[2] - out[2],
        ),
    },
)


def _learns(answer: Answer) -> list[CheckResult]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        old, added = nn.Linear(3, 3), nn.Linear(3, 3)
    optimizer = torch.optim.SGD(old.parameters(), lr=0.1, momentum=0.9)
    old(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    momentum = optimizer.state[old.weight]["momentum_buffer"].clone()
    changed = answer(optimizer, added)
    held = [id(each) for group in changed.param_groups for each in group["params"]]
    kept = changed.state.get(old.weight, {}).get("momentum_buffer", torch.zeros_like(momentum))
    return [
        check(
            "the added tensors are held",
            [held.count(id(each)) for each in added.parameters()],
            [1, 1],
            meaning="the added module's weight and bias must be in the optimizer, each once",
        ),
        check(
            "the others are still held",
            [held.count(id(each)) for each in old.parameters()],
            [1, 1],
            meaning="what the optimizer held before must stay in it",
        ),
        check("momentum of the old weight", kept, momentum, meaning="the momentum that it had gathered is gone"),
    ]


def _anew(optimizer: torch.optim.SGD, added: nn.Module) -> torch.optim.SGD:
    old = [each for group in optimizer.param_groups for each in group["params"]]
    return torch.optim.SGD([*old, *added.parameters()], lr=0.1, momentum=0.9)


JOIN = Exercise(
    "tell the optimizer",
    hints=("An optimizer has a method that takes more parameters.", 'optimizer.add_param_group({"params": [...]})'),
    compare=_learns,
    mistakes={
        "the optimizer is as it was: no step will ever change the added module": lambda optimizer, added: optimizer,
        "an optimizer made anew has forgotten its momentum: add to the one that is there": _anew,
        "an optimizer of the added module alone: the rest of the network would stop learning": lambda o, added: (
            torch.optim.SGD(added.parameters(), lr=0.1, momentum=0.9)
        ),
    },
)


def _imitate(shortcut: nn.Module, x: Tensor, wanted: Tensor, steps: int, lr: float) -> Tensor:
    """What `shortcut` gives after it has been trained to give `wanted`."""
    shortcut = copy.deepcopy(shortcut).train()
    optimizer = torch.optim.SGD(shortcut.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        (shortcut(x) - wanted).square().mean().backward()
        optimizer.step()
    found: Tensor = shortcut(x).detach()
    return found


def _size(part: Tensor, whole: Tensor) -> float:
    return (part.norm() / whole.norm()).item()


def _make_shortcut(answer: Answer) -> list[CheckResult]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        shortcut, x = answer(3, 8, 2), torch.randn(16, 3, 12, 12)
        wanted = nn.Conv2d(3, 8, 1, stride=2)(x).detach()
    zeros = [
        check(
            f"adds nothing, train({mode})",
            shortcut.train(mode)(x),
            wanted * 0,
            meaning="it must give exactly 0 at first, in maps of the wanted shape",
        )
        for mode in (True, False)
    ]
    if any(zero.max_difference is None for zero in zeros):  # another shape
        return zeros
    little, left = _imitate(shortcut, x, wanted, 1, 0.001), wanted - _imitate(shortcut, x, wanted, 300, 0.5)
    return [
        *zeros,
        check(
            "size after one small step, as a share",
            _size(little, wanted),
            0.0,
            atol=0.1,
            meaning="one small step makes its output jump: BatchNorm blows up what is nearly 0",
        ),
        check(
            "what is missing after 300 steps, as a share",
            _size(left, wanted),
            0.0,
            atol=0.3,
            meaning="it does not learn: two factors of 0 hide each other's gradient",
        ),
    ]


MAKE_SHORTCUT = Exercise(
    "a shortcut that adds nothing",
    hints=(
        "A convolution with a kernel of 1 and this stride makes the shape. What can you multiply its output by?",
        "One factor for each channel, which is 0 at first and learns: BatchNorm's weight is one.",
        "If it gives 0 and does not learn, there are two factors of 0: each hides the other's gradient. Keep one.",
    ),
    compare=_make_shortcut,
)
