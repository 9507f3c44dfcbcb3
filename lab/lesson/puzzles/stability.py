"""Tasks of lesson 09: the first loss that is no number, the way back, the share of a level that is lost."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from lab.lesson.check import CheckResult, check
from lab.lesson.exercise import Answer, Exercise

NAN, INF = math.nan, math.inf


def _first_bad(answer: Answer) -> list[CheckResult]:
    runs = {
        "a sound run": ([2.3, 1.0, 0.5], 3, "where each loss is finite, the number of all losses is wanted"),
        "NaN from the third loss on": ([2.3, 40.0, NAN, NAN], 2, "the first loss that is no number is wanted"),
        "infinite, then NaN": ([2.3, 1e30, INF, NAN, NAN], 2, "infinite is not finite: ask math.isfinite"),
        "minus infinite": ([-INF, NAN], 0, "minus infinite is not finite: ask math.isfinite"),
    }
    return [check(name, int(answer(list(losses))), want, meaning=text) for name, (losses, want, text) in runs.items()]


def _first(losses: Sequence[float], bad: Answer) -> int:
    return next((number for number, loss in enumerate(losses) if bad(loss)), len(losses))


FIRST_BAD = Exercise(
    "the first loss that is no finite number",
    hints=("No comparison finds NaN: use math.isfinite.", "next((n for n, ... in enumerate(losses) if ...), default)"),
    compare=_first_bad,
    mistakes={
        "NaN is equal to nothing, not even to itself: a comparison with it never holds": lambda losses: _first(
            losses, lambda loss: loss == NAN
        ),
        "infinite losses are passed over: they are no finite numbers": lambda losses: _first(losses, math.isnan),
        "NaN is not larger than any number: it is passed over": lambda losses: _first(
            losses, lambda loss: abs(loss) > 1e38
        ),
        "it is counted from 1: the first loss has the number 0": lambda losses: (
            _first(losses, lambda loss: not math.isfinite(loss)) + 1
        ),
    },
)


def _step(net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    net(torch.ones(2, 3)).square().sum().backward()
    optimizer.step()


def _momentum(optimizer: torch.optim.Optimizer) -> torch.Tensor:
    found = [entry["momentum_buffer"].flatten() for entry in optimizer.state.values()]
    return torch.cat(found).clone()


def _go_back(answer: Answer) -> list[CheckResult]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    _step(net, optimizer)
    kept: dict[str, Any] = copy.deepcopy({"net": net.state_dict(), "optimizer": optimizer.state_dict()})
    weight, momentum = net.weight.detach().clone(), _momentum(optimizer)
    results = []
    for number, rate in enumerate((0.01, 0.001), start=1):
        _step(net, optimizer)
        answer(net, optimizer, kept, rate)
        again = "the second time: what is kept was changed by the step after the first way back; give a copy of it away"
        back = "what was kept must be put back, in the network and in the optimizer" if number == 1 else again
        results += [
            check(f"weights, time {number}", net.weight.detach().clone(), weight, meaning=back),
            check(f"momentum, time {number}", _momentum(optimizer), momentum, meaning=back),
            check(f"rate, time {number}", optimizer.param_groups[0]["lr"], rate, meaning="the new rate must be set"),
        ]
    return results


def _put_back(parts: str, *, copied: bool = True, late: bool = True) -> Answer:
    """Goes back in `parts`, with a copy of the momentum or without, and sets the rate last or first."""

    def go_back(net: nn.Module, optimizer: torch.optim.Optimizer, kept: dict[str, Any], rate: float) -> Any:
        if not late:
            optimizer.param_groups[0]["lr"] = rate
        if "net" in parts:
            net.load_state_dict(kept["net"])
        if "optimizer" in parts:
            optimizer.load_state_dict(copy.deepcopy(kept["optimizer"]) if copied else kept["optimizer"])
        if late:
            optimizer.param_groups[0]["lr"] = rate
        return optimizer

    return go_back


GO_BACK = Exercise(
    "the way back",
    hints=(
        "load_state_dict for both. The rate is a part of the optimizer's state.",
        "Set optimizer.param_groups[0]['lr'] last.",
        "Wrong the second time only? optimizer.load_state_dict takes the tensors themselves: copy.deepcopy them.",
    ),
    compare=_go_back,
    mistakes={
        "the momentum still drives in the old direction: the optimizer goes back, too": _put_back("net"),
        "the network has not gone back": _put_back("optimizer"),
        "the rate is a part of the optimizer's state: set it after that was put back": _put_back(
            "net, optimizer", late=False
        ),
        "the optimizer took the kept momentum itself, and the next step changed it: give a copy away": _put_back(
            "net, optimizer", copied=False
        ),
    },
)


def _lost(answer: Answer) -> list[CheckResult]:
    runs: dict[str, tuple[list[float], float, str]] = {
        "from 10 % up to 60 %, then 20 %": ([0.1, 0.3, 0.6, 0.6, 0.6, 0.2, 0.2, 0.2], 2 / 3, "the best level is 0.6"),
        "still climbing": ([0.1, 0.2, 0.3, 0.4, 0.5], 0.0, "nothing is lost while it climbs"),
        "one bad epoch": ([0.6, 0.6, 0.6, 0.1, 0.6], 0.0, "one epoch is no level: take the median of three"),
        "one lucky epoch": ([0.5, 0.5, 0.9, 0.5, 0.5], 0.0, "one epoch is no level: take the median of three"),
        "NaN at the end": ([0.6, 0.6, 0.6, NAN, NAN], 1.0, "a NaN among the last three: all is lost"),
        "NaN just once": ([0.6, 0.6, 0.6, NAN, 0.6], 1.0, "a NaN among the last three: all is lost"),
    }
    return [
        check(name, float(answer(list(values))), want, atol=1e-9, meaning=text)
        for name, (values, want, text) in runs.items()
    ]


def _nan_among(values: Sequence[float]) -> bool:
    return any(math.isnan(value) for value in values)


def _by_levels(accuracies: Sequence[float], middle: Answer, last: int) -> float:
    if _nan_among(accuracies[-last:]):
        return 1.0
    levels = [middle(sorted(accuracies[start : start + 3])) for start in range(len(accuracies) - 2)]
    return float((max(levels) - levels[-1]) / max(levels))


def _by_epochs(accuracies: Sequence[float]) -> float:
    return 1.0 if _nan_among(accuracies[-3:]) else (max(accuracies) - accuracies[-1]) / max(accuracies)


LOST = Exercise(
    "what is lost",
    hints=(
        "Levels: sorted(accuracies[i : i + 3])[1] for every i. Now is the last of them; which one is the best?",
        "What is lost is (best - now) / best.",
        "max() and sorted() give nonsense where a NaN is among the values. Ask math.isnan first.",
    ),
    compare=_lost,
    mistakes={
        "it is compared with the first epoch: compare with the best level": lambda accuracies: max(
            0.0, (accuracies[0] - accuracies[-1]) / accuracies[0]
        ),
        "single epochs are compared: one lucky epoch is no level": _by_epochs,
        "a mean is moved by a single epoch: take the median of three": lambda accuracies: _by_levels(
            accuracies, lambda three: sum(three) / 3, 3
        ),
        "a NaN two epochs ago is passed over": lambda accuracies: _by_levels(accuracies, lambda three: three[1], 1),
    },
)
