"""Tasks of lesson 05: bytes that a kept loss holds, an optimizer that lets an old model go, a batch in parts."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lab.lesson.check import CheckResult, check
from lab.lesson.exercise import Answer, Exercise

CLASSES = 10


def _bytes_kept(answer: Answer) -> list[CheckResult]:
    meaning = "kept are the hidden layer's output, the log-probabilities and two single numbers, 4 bytes each"
    return [
        check(
            f"{rows} rows, {width} wide", answer(rows, width), 4 * (rows * width + rows * CLASSES + 2), meaning=meaning
        )
        for rows, width in ((64, 8192), (3, 5))
    ]


BYTES_KEPT = Exercise(
    "bytes that a kept loss holds",
    hints=("The hidden layer's output has rows * width numbers.", "Count the numbers, then times 4 bytes."),
    compare=_bytes_kept,
    mistakes={
        "numbers were counted, not bytes: each has 4 bytes": lambda rows, width: rows * width + rows * CLASSES + 2,
        "the log-probabilities and the two numbers are missing": lambda rows, width: 4 * rows * width,
        "the two single numbers are missing: the loss and the count of labels": lambda rows, width: (
            4 * (rows * width + rows * CLASSES)
        ),
    },
)


def _let_go(answer: Answer) -> list[CheckResult]:
    old, new = nn.Linear(4, 3), nn.Linear(4, 5)
    optimizer = torch.optim.Adam(old.parameters(), lr=0.001)
    old(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    changed = answer(old, new, optimizer)
    held = [each for group in changed.param_groups for each in group["params"]]
    return [
        check(
            "parameters that the optimizer steps",
            [any(each is own for own in new.parameters()) for each in held],
            [True, True],
            meaning="the optimizer must hold the new model's parameters, and no others",
        ),
        check(
            "what it remembers of the old model",
            sum(each in changed.state for each in old.parameters()),
            0,
            meaning="the optimizer's state still holds the old parameters, and with them Adam's two averages of each",
        ),
        check(
            "the same optimizer",
            changed is optimizer,
            True,
            meaning="another optimizer: a schedule that holds the one that was there would go on steering nothing",
        ),
    ]


def _exchanged(old: nn.Module, new: nn.Module, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    optimizer.param_groups[0]["params"] = list(new.parameters())
    return optimizer


def _forgotten(old: nn.Module, new: nn.Module, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    optimizer.state.clear()
    return optimizer


LET_GO = Exercise(
    "an optimizer that lets an old model go",
    hints=(
        "optimizer.param_groups[0]['params'] is what it steps; optimizer.state is what it remembers.",
        "Pop every old parameter out of optimizer.state.",
    ),
    compare=_let_go,
    mistakes={
        "the new parameters are stepped, and Adam's memory of the old ones is still held": _exchanged,
        "the memory is gone, and the old parameters are still held and stepped": _forgotten,
    },
)


def _padded(answer: Answer) -> list[CheckResult]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net, x, y = nn.Linear(6, 4), torch.randn(11, 6), torch.randint(4, (11,))
    y[[1, 4, 5, 6, 7, 10]] = -100
    whole = cross_entropy(net(x), y)
    want = torch.autograd.grad(whole, list(net.parameters()))
    rows: list[int] = []
    net.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    value = answer(net, x, y, 4)
    got = [torch.zeros_like(each) if each.grad is None else each.grad for each in net.parameters()]
    number = float(value.detach()) if isinstance(value, Tensor) else float(value)
    return [
        check(
            "gradient",
            got,
            list(want),
            atol=1e-6,
            meaning="the gradients of the parts must add up to that of the mean over all labels that count",
        ),
        check("loss", number, whole.item(), atol=1e-6, meaning="the loss is the mean over all labels that count"),
        check("most rows at a time", max(rows, default=0), 4, meaning="more rows at a time than `size` allows"),
        check(
            "a graph hangs on the result",
            isinstance(value, Tensor) and value.requires_grad,
            False,
            meaning="the result still holds the graphs of all the parts: return a number",
        ),
    ]


def _parts(net: nn.Module, x: Tensor, y: Tensor, size: int, kind: str) -> float:
    """Typical wrong steps: `equal` shares, shares by `rows`, or the whole batch at once."""
    starts = range(0, len(y), size)
    total = 0.0
    for start in starts:
        part = slice(start, start + size)
        if kind == "equal" or (y[part] != -100).any():
            share = 1 / len(starts) if kind == "equal" else len(y[part]) / len(y)
            loss = cross_entropy(net(x[part]), y[part]) * share
            loss.backward()
            total += loss.item()
    return total


def _whole(net: nn.Module, x: Tensor, y: Tensor, size: int) -> float:
    loss = cross_entropy(net(x), y)
    loss.backward()
    return loss.item()


PADDED_STEP = Exercise(
    "a batch with padding, in parts",
    hints=(
        "The share of a part is its number of labels that count, by the number of all that count: (y != -100).sum().",
        "Is everything NaN? One part has no label that counts, and the mean of nothing is NaN. A sum of nothing is 0.",
        'cross_entropy(..., reduction="sum") / count_of_all is one line for both. Return a number: loss.item().',
    ),
    compare=_padded,
    mistakes={
        "one part has no label that counts, and the mean of nothing is NaN": lambda net, x, y, size: _parts(
            net, x, y, size, "equal"
        ),
        "the parts count by their rows: they must count by their labels that count": lambda net, x, y, size: _parts(
            net, x, y, size, "rows"
        ),
        "the whole batch at once: it would not fit": _whole,
    },
)
