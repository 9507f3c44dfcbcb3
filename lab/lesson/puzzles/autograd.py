"""Tasks of the lesson "Autograd in one picture": a gradient by hand, a write that does no harm, a graph let go."""

import torch
from torch import Tensor

from lab.lesson.check import CheckResult, check
from lab.lesson.exercise import Answer, Exercise


def _by_hand(answer: Answer) -> list[CheckResult]:
    w = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    x = torch.tensor([1.0, 0.5, -0.25], dtype=torch.float64)
    (want,) = torch.autograd.grad((w * x).exp().square().sum(), w)
    meaning = "the gradient of sum(exp(w x)^2) is 2 exp(w x) (the square) times exp(w x) (the exponential) times x"
    return [check("gradient of w", answer(w.detach(), x), want, atol=1e-9, meaning=meaning)]


CHAIN_RULE = Exercise(
    "the gradient by hand",
    hints=(
        "Go from the bottom of the picture to the top: each box has a factor.",
        "The square gives 2 e, the exponential gives e again, the product gives x.",
    ),
    compare=_by_hand,
    mistakes={
        "the factor x of the product is missing": lambda w, x: 2 * (w * x).exp() ** 2,
        "the factor exp(w x) of the exponential is missing": lambda w, x: 2 * (w * x).exp() * x,
        "the factor 2 of the square is missing": lambda w, x: (w * x).exp() ** 2 * x,
    },
)


def _double_first(answer: Answer) -> list[CheckResult]:
    w = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    e = w.exp()
    kept = e.detach().clone()
    out = answer(e)
    want = torch.cat([2 * kept[:1], kept[1:]])
    untouched = check(
        "the given tensor afterwards",
        e,
        kept,
        meaning="the tensor that you were given has changed: exp has saved it for its backward pass",
    )
    value = check("the result", out, want, meaning="the first element doubled, the others as they were")
    if not untouched.ok or not out.requires_grad:
        joined = check(
            "the result hangs on the graph", bool(out.requires_grad), True, meaning="the result has lost its graph"
        )
        return [value, untouched, joined]
    (gradient,) = torch.autograd.grad(out.sum(), w)
    slope = check("gradient of w", gradient, want, atol=1e-12, meaning="the first gradient doubles with its element")
    return [value, untouched, slope]


def _in_place(e: Tensor) -> Tensor:
    with torch.no_grad():
        e[0] *= 2
    return e


DOUBLE_FIRST = Exercise(
    "change one element, without a write in place",
    hints=(
        "Build another tensor: what could you multiply e by?",
        "A tensor of factors: 2 at the first place, 1 elsewhere. Or write into e.clone().",
    ),
    compare=_double_first,
    mistakes={
        "no_grad hides the write from autograd; the saved tensor has changed all the same": _in_place,
        "detach() cuts the result off: w would get no gradient through it": lambda e: torch.cat(
            [2 * e[:1], e[1:]]
        ).detach(),
        "all elements are doubled, not the first alone": lambda e: 2 * e,
    },
)


def _mean_loss(answer: Answer) -> list[CheckResult]:
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    losses = [(w * k).exp().sum() for k in (0.1, 0.2, 0.3)]
    value = answer(losses)
    want = sum(loss.item() for loss in losses) / 3
    number = float(value.detach()) if isinstance(value, Tensor) else float(value)
    held = isinstance(value, Tensor) and value.requires_grad
    return [
        check(
            "the mean", number, want, atol=1e-5, meaning="the mean of the losses is their sum divided by their number"
        ),
        check(
            "a graph hangs on the result",
            held,
            False,
            meaning="the result still holds the graphs of all the losses, and with them every tensor that they saved",
        ),
    ]


MEAN_LOSS = Exercise(
    "a mean that lets the graphs go",
    hints=("A Python number has no graph.", "loss.item() gives the number of a tensor with one element."),
    compare=_mean_loss,
    mistakes={
        "that is the sum: divide by the number of losses": lambda losses: sum(loss.item() for loss in losses),
        "the mean is right; as a tensor it holds all three graphs alive: take the numbers": lambda losses: (
            sum(losses) / len(losses)
        ),
    },
)
