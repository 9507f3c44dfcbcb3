"""Tasks of lesson 07: the chances of a draw at a temperature, its gradient, a rule that cools."""

import random

import torch
from torch import Tensor

from lab.explore import AdaptiveSchedule
from lab.lesson.check import CheckResult, check
from lab.lesson.exercise import Answer, Exercise

FIRST, LAST, RATE = 5.0, 0.1, 0.98


def _alpha() -> Tensor:
    return torch.tensor([[1.0, 0.2, -0.6, 0.5], [0.0, 2.0, 0.3, -1.0]], dtype=torch.float64)


def _chances(answer: Answer) -> list[CheckResult]:
    meaning = "the temperature divides alpha, and the softmax over the operations of an edge gives the chances"
    return [
        check(
            f"chances at temperature {tau:g}",
            answer(_alpha(), tau),
            (_alpha() / tau).softmax(-1),
            atol=1e-9,
            meaning=meaning,
        )
        for tau in (0.5, 1.0, 50.0)
    ]


CHANCES = Exercise(
    "the chances of a draw",
    hints=(
        "The largest of l + g is the k-th with probability softmax(l)_k. Which l has the temperature in it?",
        "(alpha / tau).softmax(...): over which of the two dimensions do the chances add up to 1?",
    ),
    compare=_chances,
    mistakes={
        "the temperature is not used: these are the chances at temperature 1": lambda alpha, tau: alpha.softmax(-1),
        "alpha is multiplied by the temperature: a high one must make the chances alike": lambda alpha, tau: (
            alpha * tau
        ).softmax(-1),
        "the softmax goes over the edges: the operations of one edge must add up to 1": lambda alpha, tau: (
            alpha / tau
        ).softmax(0),
        "the softmax is divided by the temperature: its chances do not add up to 1": lambda alpha, tau: (
            alpha.softmax(-1) / tau
        ),
    },
)


def _slope(answer: Answer) -> list[CheckResult]:
    noise = torch.tensor([0.3, -0.4, 1.1, 0.0], dtype=torch.float64)
    found = []
    for k, tau in ((2, 0.5), (0, 4.0)):
        alpha = _alpha()[0].requires_grad_()
        soft = (alpha / tau + noise).softmax(-1)
        (want,) = torch.autograd.grad(soft[k], alpha)
        meaning = "the gradient of a softmax's k-th output: its own number and all the others take part"
        got = answer(soft.detach().clone(), k, tau)
        found.append(check(f"operation {k} at temperature {tau:g}", got, want, atol=1e-9, meaning=meaning))
    return found


def _one_hot(soft: Tensor, k: int) -> Tensor:
    return torch.eye(len(soft), dtype=soft.dtype)[k]


TEMPERATURE_SLOPE = Exercise(
    "the gradient of a draw",
    hints=(
        "Without a temperature the gradient of softmax is y_k * (1 - y_k) for j = k, and -y_k * y_j for the others.",
        "Both in one: y_k * (d - y), where d is 1 at k and 0 elsewhere.",
        "alpha stands divided by tau inside the softmax: the chain rule brings a factor.",
    ),
    compare=_slope,
    mistakes={
        "the temperature is missing: alpha stands divided by it": lambda soft, k, tau: (
            soft[k] * (_one_hot(soft, k) - soft)
        ),
        "the gradient is multiplied by the temperature: it must be divided by it": lambda soft, k, tau: (
            soft[k] * (_one_hot(soft, k) - soft) * tau
        ),
        "the operation's own number is missing: raising alpha_k must raise y_k": lambda soft, k, tau: (
            -soft[k] * soft / tau
        ),
        "the other operations are missing: raising one of them lowers y_k": lambda soft, k, tau: (
            _one_hot(soft, k) * soft * (1 - soft) / tau
        ),
    },
)


def _cooling(answer: Answer) -> list[CheckResult]:
    coin = random.Random(3)
    searches = {
        "always better, 200 epochs": ([True] * 199, "down by 0.98 after a better epoch, and never below 0.1"),
        "never better, 40 epochs": ([False] * 39, "never above the straight line, which ends at 0.1 in the last epoch"),
        "a coin, 200 epochs": (
            [coin.random() < 0.5 for _ in range(199)],
            "down by 0.98, up by 1 / 0.98, and never above the straight line",
        ),
    }
    alone = "one epoch is the first and the last one: it must have the last temperature"
    results = [check("one epoch", answer(FIRST, True, 0, 1), LAST, atol=1e-12, meaning=alone)]
    for name, (verdicts, meaning) in searches.items():
        epochs = len(verdicts) + 1
        schedule = AdaptiveSchedule(initial_temp=FIRST, min_temp=LAST, epochs=epochs, anneal_rate=RATE)
        got = want = FIRST
        courses: tuple[list[float], list[float]] = ([], [])
        for epoch, better in enumerate(verdicts, start=1):
            got, want = answer(got, better, epoch, epochs), schedule.advise(epoch, want, improved=better)
            courses[0].append(got)
            courses[1].append(want)
        results.append(check(name, *courses, atol=1e-9, meaning=meaning))
    return results


def _ruled(up: float, progress: str) -> Answer:
    """A rule with the factor `up` after an epoch that is not better, and a typical way to count how far it is."""

    def rule(temperature: float, better: bool, epoch: int, epochs: int) -> float:
        ways = {
            "no line": 0.0,
            "by epochs": epoch / epochs,
            "first": epoch / max(epochs - 1, 1),
            "right": 1.0 if epochs == 1 else epoch / (epochs - 1),
        }
        line = FIRST * (1 - ways[progress]) + LAST * ways[progress]
        return max(LAST, min(temperature * (RATE if better else up), line))

    return rule


COOLING = Exercise(
    "a rule that cools",
    hints=(
        "First the factor, then two bounds: the line from above, 0.1 from below.",
        "On the line the temperature is 5.0 * (1 - p) + 0.1 * p, and p is 1 in the last epoch.",
        "With one epoch, the first epoch is the last one: p must be 1, and epochs - 1 is 0.",
    ),
    compare=_cooling,
    mistakes={
        "nothing bounds the temperature from above but its start: it cools only where most epochs are better": _ruled(
            1.05, "no line"
        ),
        "the line is counted by epoch / epochs, so that it has not ended in the last epoch": _ruled(
            1 / RATE, "by epochs"
        ),
        "with one epoch the first is the last one: the line must have ended there": _ruled(1 / RATE, "first"),
        "up goes by 1.05: after a better and a worse epoch the temperature is not what it was": _ruled(1.05, "right"),
    },
)
