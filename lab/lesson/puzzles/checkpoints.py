"""Tasks of lesson 06: bytes of a nested state, a file that is whole, a snapshot that training does not change."""

import copy
import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from lab.lesson.check import CheckResult, check
from lab.lesson.exercise import Answer, Exercise


def _state() -> dict[str, Any]:
    return {
        "weight": torch.zeros(3, 4),
        "groups": [{"lr": 0.1, "params": [0, 1]}, {"momentum": (torch.zeros(5, dtype=torch.float64), None)}],
        "name": "sgd",
        "steps": torch.tensor(7),
    }


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return sum(_bytes(item) for item in items)


def _bytes_in(answer: Answer) -> list[CheckResult]:
    state = _state()
    return [
        check("one tensor", answer(state["weight"]), 48, meaning="twelve numbers of 4 bytes each"),
        check("a dict of one tensor", answer({"a": state["weight"]}), 48, meaning="go into the values of a dict"),
        check("a whole state", answer(state), _bytes(state), meaning="go into dicts, lists and tuples to any depth"),
        check("a text", answer("text"), 0, meaning="what is neither a tensor nor a container has no bytes here"),
    ]


def _counted(value: Any, size: int, deep: bool) -> int:
    if isinstance(value, Tensor):
        return value.numel() * (size or value.element_size())
    items = value.values() if isinstance(value, dict) else value if deep and isinstance(value, list | tuple) else ()
    return sum(_counted(item, size, deep) for item in items)


BYTES_IN = Exercise(
    "bytes of all tensors in a state",
    hints=(
        "Three cases: a tensor, a container, anything else. A function may call itself.",
        "A tensor has value.numel() * value.element_size() bytes; a dict has value.values().",
    ),
    compare=_bytes_in,
    mistakes={
        "numbers are counted, not bytes: use element_size()": lambda value: _counted(value, 1, True),
        "not every number has 4 bytes: ask the tensor for its element_size()": lambda value: _counted(value, 4, True),
        "lists and tuples are passed over: an optimizer keeps its parts in them": lambda value: _counted(
            value, 0, False
        ),
    },
)


def _is_whole(answer: Answer) -> list[CheckResult]:
    content = bytes(range(256)) * 4
    digest = hashlib.sha256(content).hexdigest()
    turned = bytes([content[0] ^ 1]) + content[1:]
    return [
        check("the whole file", answer(content, digest), True, meaning="the same bytes have the same digest"),
        check("half of it", answer(content[:512], digest), False, meaning="a file that was cut off is not whole"),
        check("one bit has turned", answer(turned, digest), False, meaning="every byte counts, not only their number"),
        check("another digest", answer(content, digest[:-1] + "x"), False, meaning="every digit of the digest counts"),
    ]


IS_WHOLE = Exercise(
    "is the file whole",
    hints=("hashlib.sha256(content) has the digest of the bytes.", ".hexdigest() gives it in hexadecimal digits."),
    compare=_is_whole,
    mistakes={
        "digest() gives bytes, and bytes are never equal to a text: use hexdigest()": lambda content, digest: (
            hashlib.sha256(content).digest() == digest
        ),
        "the size says nothing of what the bytes are": lambda content, digest: len(content) == 1024,
        "only the first digits of the digest are compared": lambda content, digest: (
            hashlib.sha256(content).hexdigest()[:8] == digest[:8]
        ),
    },
)


def _five_steps(
    net: nn.Module, optimizer: torch.optim.Optimizer, scheduler: torch.optim.lr_scheduler.LRScheduler
) -> list[float]:
    losses = []
    for _ in range(5):
        x = torch.randn(16, 8)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), x.argmax(1) % 4)
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return losses


def _twice(answer: Answer) -> tuple[list[str], list[float], list[float]]:
    """The keys of a snapshot, the five losses after it, and those after it was put back."""
    torch.manual_seed(2)
    net = nn.Linear(8, 4)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)
    _five_steps(net, optimizer, scheduler)
    state = answer(net, optimizer, scheduler)
    first = _five_steps(net, optimizer, scheduler)
    for name, part in (("net", net), ("optimizer", optimizer), ("scheduler", scheduler)):
        if name in state:
            part.load_state_dict(state[name])
    if "rng" in state:
        torch.set_rng_state(state["rng"])
    return sorted(state), first, _five_steps(net, optimizer, scheduler)


def _snapshot(answer: Answer) -> list[CheckResult]:
    with torch.random.fork_rng(devices=[]):
        keys, first, second = _twice(answer)
    live = "what was put back is not what was there: state_dict() gives the live tensors, which go on changing"
    return [
        check("keys", keys, ["net", "optimizer", "rng", "scheduler"], meaning="the four keys are part of the task"),
        check("loss of the first step", second[0], first[0], meaning=live),
        check("all five losses", torch.tensor(second), torch.tensor(first), meaning=live),
    ]


def _parts(net: nn.Module, optimizer: Any, scheduler: Any) -> dict[str, Any]:
    parts = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    return {**parts, "rng": torch.get_rng_state()}


def _without(name: str) -> Answer:
    def snapshot(net: nn.Module, optimizer: Any, scheduler: Any) -> dict[str, Any]:
        state = copy.deepcopy(_parts(net, optimizer, scheduler))
        return {key: value for key, value in state.items() if key != name}

    return snapshot


def _weights_copied(net: nn.Module, optimizer: Any, scheduler: Any) -> dict[str, Any]:
    state = _parts(net, optimizer, scheduler)
    return {**state, "net": copy.deepcopy(state["net"])}


SNAPSHOT = Exercise(
    "a snapshot in memory",
    hints=(
        "Each of the three has a state_dict(); torch.get_rng_state() gives the fourth part.",
        "The keys are right and the first loss is wrong? Look at a tensor of your snapshot before and after a step.",
        "state_dict() gives the live tensors, which go on changing. copy.deepcopy makes copies of all of it.",
    ),
    compare=_snapshot,
    mistakes={
        "the random numbers are missing: the second time other batches are drawn": _without("rng"),
        "the optimizer is missing: its momentum is not put back": _without("optimizer"),
        "the scheduler is missing: the rate goes on falling from where it was": _without("scheduler"),
        "state_dict() gives the live tensors, which training goes on changing: copy them": _parts,
        "the weights are copied, the momentum is not: the optimizer's state has live tensors too": _weights_copied,
    },
)
