"""Tasks of lesson 16: name the silence of a parameter, keep a root away from 0, rows of length 1."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lab.lesson.check import CheckResult, check
from lab.lesson.exercise import Answer, Exercise

KINDS = ("missing", "not a number", "zero", "not stepped", "fine")


def _parameter(gradient: list[float] | None) -> nn.Parameter:
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = None if gradient is None else torch.tensor(gradient)
    return parameter


def _silence(answer: Answer) -> list[CheckResult]:
    nan = float("nan")
    gradients = (None, [1.0, nan], [0.0, 0.0], [1.0, 2.0], [0.0, 2.0])
    parameters = [_parameter(gradient) for gradient in gradients]
    stepped = [each for each, kind in zip(parameters, KINDS, strict=True) if kind != "not stepped"]
    return [
        check(
            f"a parameter with the gradient {gradient}" + ("" if kind != "not stepped" else ", in no optimizer"),
            answer(parameter, stepped),
            kind,
            meaning=f"wanted is {kind!r} for the gradient {gradient}",
        )
        for parameter, gradient, kind in zip(parameters, gradients, KINDS, strict=True)
    ]


def _named(parameter: Tensor, stepped: Iterable[Tensor], *, nan: bool = True, any_zero: bool = False) -> str:
    """Typical wrong answers: NaN overlooked, or one zero among other numbers taken for silence."""
    gradient = parameter.grad
    if gradient is None:
        return "missing"
    if nan and gradient.isnan().any():
        return "not a number"
    if (gradient == 0).any() if any_zero else not gradient.any():
        return "zero"
    return "fine" if any(parameter is each for each in stepped) else "not stepped"


SILENCE = Exercise(
    "which silence is it",
    hints=(
        "Ask in this order: is the gradient None, is one number in it NaN, is all of it 0, is the parameter stepped?",
        "gradient.isnan().any() and not gradient.any() are two of the questions. Compare tensors by `is`.",
    ),
    compare=_silence,
    mistakes={
        "NaN is overlooked: it is not None and not 0, so it needs a question of its own": lambda parameter, stepped: (
            _named(parameter, stepped, nan=False)
        ),
        "one 0 among other numbers is no silence: all of them must be 0": lambda parameter, stepped: _named(
            parameter, stepped, any_zero=True
        ),
        "nobody asked whether an optimizer holds it": lambda parameter, stepped: _named(parameter, [parameter]),
    },
)


def _root(answer: Answer) -> list[CheckResult]:
    x = torch.tensor([0.0, 4.0, 9.0], dtype=torch.float64, requires_grad=True)
    roots = answer(x)
    graph = isinstance(roots, Tensor) and roots.requires_grad
    slopes = torch.autograd.grad(roots.sum(), x)[0] if graph else torch.zeros_like(x)
    values = torch.tensor([0.0, 2.0, 3.0], dtype=torch.float64)
    wanted = torch.tensor([0.0, 1 / 4, 1 / 6], dtype=torch.float64)
    return [
        check("the roots", roots, values, meaning="the values must be those of the root, and exactly 0 at 0"),
        check("their slopes", slopes, wanted, atol=1e-12, meaning="wanted is 0 at 0, and 1 / (2 * root) elsewhere"),
    ]


def _hidden_root(x: Tensor) -> Tensor:
    return torch.where(x > 0, x.sqrt(), 0.0)


def _detached_root(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 1.0).sqrt().detach() * (x > 0)


ROOT = Exercise(
    "a root with a slope everywhere",
    hints=(
        "torch.where computes both branches. The root must not see the 0 at all.",
        "Give it 1 there: torch.where(x > 0, x, 1.0).sqrt(). Which value belongs there in the end?",
    ),
    compare=_root,
    mistakes={
        "the root still sees the 0: torch.where hides its value, and not its slope": _hidden_root,
        "a little more under the root: the slope is finite, and all the values are off": lambda x: (x + 1e-8).sqrt(),
        "the root of 1 is left where 0 belongs: choose the result as well": lambda x: torch.where(x > 0, x, 1.0).sqrt(),
        "detach() takes every slope away": _detached_root,
    },
)


def _unit(answer: Answer) -> list[CheckResult]:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, -1.0]], dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=torch.float64)
    half = 0.5**0.5
    wanted = torch.tensor([[0.6, 0.8], [0.0, 0.0], [half, -half]], dtype=torch.float64)
    # By hand, for a row x with unit row u and weights w: (w - (w . u) u) / |x|.
    slopes = torch.tensor([[-0.064, 0.048], [0.0, 0.0], [5.5 * half, 5.5 * half]], dtype=torch.float64)
    rows = answer(x)
    gradient = torch.autograd.grad((rows * weights).sum(), x)[0]
    return [
        check(
            "the rows", rows, wanted, atol=1e-9, meaning="wanted are rows of length 1, and zeros for the row of zeros"
        ),
        check("the gradient", gradient, slopes, atol=1e-9, meaning="the rows are right and their gradient is not"),
    ]


def _squared(x: Tensor) -> Tensor:
    return x.square().sum(-1, keepdim=True)


UNIT_ROWS = Exercise(
    "unit rows",
    hints=(
        "The length of a row is a root. Which rows must never reach it?",
        "Let the root see 1 where the row is zero: torch.where(there, squared, 1.0).sqrt().",
        "If the gradient alone is off: the length depends on x as well, so it must not be detached.",
    ),
    compare=_unit,
    mistakes={
        "the row of zeros is divided by 0": lambda x: x / _squared(x).sqrt(),
        "the values are saved by torch.where, and the root of 0 still spoils the gradient": lambda x: torch.where(
            _squared(x) > 0, x / _squared(x).sqrt(), 0.0
        ),
        "the row of zeros is a constant here; its gradient must be 0, and is that of x / 1": lambda x: (
            x / torch.where(_squared(x) > 0, _squared(x), 1.0).sqrt()
        ),
        "the length was detached, and it depends on x too": lambda x: torch.where(
            _squared(x) > 0, x / torch.where(_squared(x) > 0, _squared(x), 1.0).sqrt().detach(), 0.0
        ),
    },
)
