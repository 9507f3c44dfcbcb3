"""Tasks of the lesson "Build it": the noise, the draw, the transition."""

import torch
from torch import Tensor, nn

from lab.lesson.check import CheckResult, check
from lab.lesson.exercise import Answer, Exercise


def _uniform() -> Tensor:
    return torch.linspace(0.05, 0.95, 7, dtype=torch.float64)


def _noise(answer: Answer) -> list[CheckResult]:
    u = _uniform()
    return [
        check(
            "the noise",
            answer(u),
            -torch.log(-torch.log(u)),
            atol=1e-9,
            meaning="the noise is -log(-log(u)): the logarithm twice, and a minus before each",
        )
    ]


GUMBEL_NOISE = Exercise(
    "Gumbel noise",
    hints=("Start from the inside: the logarithm of u is negative.", "A minus before each of the two logarithms."),
    compare=_noise,
    mistakes={
        "one logarithm is missing: -log(u) is exponential noise, which never goes below 0": lambda u: -torch.log(u),
        "the sign in front is missing: log(-log(u)) is the noise mirrored": lambda u: torch.log(-torch.log(u)),
    },
)


def _draw_of(answer: Answer, tau: float) -> tuple[Tensor, Tensor]:
    alpha = torch.tensor([0.2, 1.0, -0.5], dtype=torch.float64, requires_grad=True)
    noise = torch.tensor([0.9, -0.3, 0.1], dtype=torch.float64)
    value = answer(alpha, tau, noise)
    if not value.requires_grad:
        return value, torch.zeros_like(alpha)
    (gradient,) = torch.autograd.grad((value * torch.tensor([1.0, 2.0, 4.0], dtype=value.dtype)).sum(), alpha)
    return value, gradient


def _straight_through(alpha: Tensor, tau: float, noise: Tensor) -> Tensor:
    soft = (alpha / tau + noise).softmax(-1)
    hard = nn.functional.one_hot(soft.argmax(-1), soft.shape[-1]).to(soft.dtype)
    return hard + soft - soft.detach()


def _draw(answer: Answer) -> list[CheckResult]:
    found = []
    for tau in (0.25, 4.0):
        value, gradient = _draw_of(answer, tau)
        want, slope = _draw_of(_straight_through, tau)
        found += [
            check(
                f"the draw at temperature {tau:g}",
                value,
                want,
                atol=1e-12,
                meaning="the draw is one operation: 1 at the largest of alpha / tau + noise, 0 elsewhere",
            ),
            check(
                f"gradient of alpha at temperature {tau:g}",
                gradient,
                slope,
                atol=1e-9,
                meaning="the gradient is that of softmax(alpha / tau + noise)",
            ),
        ]
    return found


STRAIGHT_THROUGH = Exercise(
    "a draw with a gradient",
    hints=(
        "soft = softmax(alpha / tau + noise); hard has a 1 where soft is largest.",
        "Give the value of hard and the gradient of soft: add something whose value is 0 and whose gradient is soft's.",
        "hard + soft - soft.detach()",
    ),
    compare=_draw,
    mistakes={
        "that is the soft mixture: every operation takes part, and none is chosen": lambda alpha, tau, noise: (
            alpha / tau + noise
        ).softmax(-1),
        "the choice is right and alpha gets no gradient: argmax passes none": lambda alpha, tau, noise: (
            nn.functional.one_hot((alpha / tau + noise).argmax(-1), 3).to(alpha.dtype)
        ),
        "the noise is divided by the temperature too: then no temperature changes what is drawn": lambda a, tau, g: (
            _straight_through((a + g) / tau, 1.0, torch.zeros_like(g))
        ),
    },
)


def _transition(answer: Answer) -> list[CheckResult]:
    old = torch.tensor([0.1, 0.7, -2.3, 1e-3])
    new = torch.tensor([1.9, -0.4, 0.3, 7.7])
    steps = (0.0, 0.25, 1.0)
    meanings = (
        "at beta 0 the network must be the old one, to the last bit",
        "at beta 0.25 three quarters of the old output are left and one quarter of the new one has come",
        "at beta 1 the network must be the new one, to the last bit",
    )
    return [
        check(
            f"beta {beta:g}",
            answer(old, new, beta),
            old * (1 - beta) + new * beta,
            atol=1e-6 if beta == 0.25 else 0.0,
            meaning=meaning,
        )
        for beta, meaning in zip(steps, meanings, strict=True)
    ]


TRANSITION = Exercise(
    "a transition",
    hints=("Two weights that add up to 1.", "The weight of the new output is beta."),
    compare=_transition,
    mistakes={
        "old and new are exchanged: at beta 0 it gives the new output": lambda old, new, beta: (
            beta * old + (1 - beta) * new
        ),
        "the new output is added on top: at beta 1 the old one is still there in full": lambda old, new, beta: (
            old + beta * new
        ),
        "old + beta * (new - old) rounds twice: at beta 1 it is not exactly new": lambda old, new, beta: (
            old + beta * (new - old)
        ),
    },
)
