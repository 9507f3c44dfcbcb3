"""Tasks of lesson 00: an edge between two operations, what a swap costs, which tensors have a twin."""

import torch
from torch import nn

from lab.lesson.check import CheckResult, check
from lab.lesson.exercise import Answer, Exercise


def _largest(answer: Answer) -> list[CheckResult]:
    a, b = torch.tensor([[0.5, 2.0], [-3.0, 1.0]]), torch.tensor([[0.25, 2.0], [1.0, 1.5]])
    meaning = "the largest of the absolute differences, over all elements"
    return [
        check("two outputs", float(answer(a, b)), 4.0, meaning=meaning),
        check("the same output twice", float(answer(a, a)), 0.0, meaning=meaning),
    ]


LARGEST_DIFFERENCE = Exercise(
    "how far an output moved",
    hints=("Take the difference, then its absolute value.", "(a - b).abs().max()"),
    compare=_largest,
    mistakes={
        "the sign counts: a difference of -4 is larger than one of 0.25. Take the absolute value": lambda a, b: (
            a - b
        ).max(),
        "the mean hides one element that is far off: take the largest": lambda a, b: (a - b).abs().mean(),
    },
)


def _twins(answer: Answer) -> list[CheckResult]:
    old = {"stem.weight": torch.zeros(4, 1), "head.weight": torch.zeros(10, 4), "gone": torch.zeros(1)}
    grown = {"stem.weight": torch.ones(4, 1), "head.weight": torch.ones(10, 8), "edge.weight": torch.ones(4)}
    meaning = "a twin has the same name and the same shape in both networks"
    got = answer(old, grown)
    return [
        check("names", sorted(got) if isinstance(got, list | set | tuple) else got, ["stem.weight"], meaning=meaning)
    ]


TWINS = Exercise(
    "the tensors that parameter transfer copies",
    hints=(
        "Go over the names of the grown network and keep those that the old one has.",
        "[name for name in grown if name in old and old[name].shape == grown[name].shape]",
    ),
    compare=_twins,
    mistakes={
        "head.weight has another shape in the grown network: compare the shapes too": lambda old, grown: [
            name for name in grown if name in old
        ],
        "gone is no tensor of the grown network: go over the names of both": lambda old, grown: list(old),
    },
)


def _edge(answer: Answer) -> list[CheckResult]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        old, new, x = nn.Linear(6, 6), nn.Linear(6, 6), torch.randn(64, 6)
    a, b = old(x), new(x)
    return [
        check("beta 0 is old, exactly", answer(old, new, x, 0.0), a, meaning="at beta 0 nothing of new may show"),
        check("beta 1 is new, exactly", answer(old, new, x, 1.0), b, meaning="at beta 1 nothing of old may be left"),
        check(
            "a quarter of the way",
            answer(old, new, x, 0.25),
            0.75 * a + 0.25 * b,
            atol=1e-6,
            meaning="at beta 0.25 three quarters of the old output and one quarter of the new one are wanted",
        ),
    ]


HAND_OVER = Exercise(
    "hand over an edge",
    hints=(
        "At beta 0.25 three quarters of the old output and one quarter of the new one are left.",
        "Weights that add up to 1: one of them is beta.",
        "If only beta 1 is off, and by about 1e-7: a + beta * (b - a) rounds twice. Weigh the two outputs instead.",
    ),
    compare=_edge,
    mistakes={
        "old and new are exchanged": lambda old, new, x, beta: beta * old(x) + (1 - beta) * new(x),
        "the new output comes on top of the whole old one": lambda old, new, x, beta: old(x) + beta * new(x),
        "a + beta * (b - a) rounds twice, so that beta 1 is not exactly new": lambda old, new, x, beta: (
            old(x) + beta * (new(x) - old(x))
        ),
    },
)
