"""Tasks of lesson 01: what a move reaches, a list that is registered, a tensor that follows its input."""

import torch
from torch import Tensor, nn

from lab.doctor import audit, simulate
from lab.lesson.check import CheckResult, check
from lab.lesson.exercise import Answer, Exercise


class _Mixed(nn.Module):
    """A parameter, a buffer, a plain tensor and a module in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(2, 2)
        self.register_buffer("mean", torch.zeros(2))
        self.scale = torch.ones(2)
        self.heads = [nn.Linear(2, 1)]


def _reached(answer: Answer) -> list[CheckResult]:
    got = answer(_Mixed())
    names = sorted(got) if isinstance(got, list | set | tuple) else got
    meaning = "a move reaches parameters and buffers, and nothing else"
    return [check("names", names, ["body.bias", "body.weight", "mean"], meaning=meaning)]


REACHED = Exercise(
    "what a move reaches",
    hints=("model.named_parameters() gives pairs of a name and a tensor.", "There is named_buffers() too."),
    compare=_reached,
    mistakes={
        "the buffers are missing: mean is moved too": lambda model: [name for name, _ in model.named_parameters()],
        "scale is a plain attribute: no move reaches it": lambda model: [
            *(name for name, _ in model.named_parameters()),
            *(name for name, _ in model.named_buffers()),
            "scale",
        ],
    },
)


def _two_heads(answer: Answer) -> list[CheckResult]:
    model = answer(3)
    x = torch.ones(2, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1) if list(model.parameters()) else None
    found = [finding.kind for finding in audit(model, optimizer).findings]
    return [
        check("output shape", list(model(x).shape), [2, 3], meaning="the sum of the two heads has one number a class"),
        check(
            "parameters",
            sum(parameter.numel() for parameter in model.parameters()),
            2 * (8 * 3 + 3),
            meaning="both heads must be submodules: a plain Python list registers nothing",
        ),
        check("what audit finds", len(found), 0, meaning=f"audit finds: {', '.join(found)}"),
        check("on a GPU", simulate(model, x, device="cuda:0").verdict, "ok", meaning="it stops on a GPU"),
    ]


class _Listed(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.heads = [nn.Linear(8, classes), nn.Linear(8, classes)]

    def forward(self, x: Tensor) -> Tensor:
        return self.heads[0](x) + self.heads[1](x)


class _OneHead(nn.Linear):
    def __init__(self, classes: int) -> None:
        super().__init__(8, classes)


TWO_HEADS = Exercise(
    "two heads that are registered",
    hints=(
        "nn.ModuleList takes the place of the list.",
        "A class with __init__ and forward.",
    ),
    compare=_two_heads,
    mistakes={
        "the heads stand in a plain list: torch knows nothing of them. Use nn.ModuleList": _Listed,
        "there is one head: two are wanted, and the sum of what they give": _OneHead,
    },
)


class _Following(nn.Module):
    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(x)


def _with_steps(answer: Answer) -> list[CheckResult]:
    x = torch.linspace(-2, 2, 42, dtype=torch.float64).reshape(2, 7, 3)
    steps = torch.linspace(0, 1, 7, dtype=torch.float64)[:, None]
    half = x.bfloat16()
    meaning = "the numbers rise from 0 at the first step to 1 at the last, the same for all of a step's width"
    typed = "the result must have the input's type: give dtype= to the call that makes the numbers"
    placed = "the numbers must be made where the input is: give device= to the call that makes them"
    return [
        check("64 bits", answer(x.clone()), x + steps, atol=1e-12, meaning=meaning),
        check("16 bits", answer(half.clone()), half + steps.bfloat16(), atol=0.02, meaning=typed),
        check("first GPU", simulate(_Following(answer), x, device="cuda:0").verdict, "ok", meaning=placed),
        check("second GPU", simulate(_Following(answer), x, device="cuda:1").verdict, "ok", meaning=placed),
    ]


WITH_STEPS = Exercise(
    "a layer that follows its input",
    hints=(
        "torch.linspace makes evenly spaced numbers. Give it as many as x has steps: x.shape[1].",
        "Every call that makes a tensor takes device= and dtype=. The input knows both.",
        "The numbers have the shape (steps,), and the last dimension of x is the width: add one with [:, None].",
    ),
    compare=_with_steps,
)
