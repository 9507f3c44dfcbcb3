"""Tasks of lesson 02: what has no values, the fate of a tensor, a fill that keeps every object."""

import torch
from torch import Tensor, nn

from lab.lesson.check import CheckResult, check
from lab.lesson.exercise import Answer, Exercise


class _Partial(nn.Module):
    """A head with values, an encoder and a buffer without, in this order."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.encoder = nn.Linear(4, 4, device="meta")
        self.tail = nn.Linear(2, 2)
        self.register_buffer("positions", torch.empty(3, device="meta"))


def _without_values(answer: Answer) -> list[CheckResult]:
    got = answer(_Partial())
    names = sorted(got) if isinstance(got, list | set | tuple) else got
    wanted = ["encoder.bias", "encoder.weight", "positions"]
    return [check("names", names, wanted, meaning="every parameter and every buffer on meta is wanted, and no other")]


def _parameters(model: nn.Module) -> list[str]:
    return [name for name, parameter in model.named_parameters() if parameter.is_meta]


WITHOUT_VALUES = Exercise(
    "what has no values",
    hints=("tensor.is_meta tells.", "named_parameters() and named_buffers() give pairs of a name and a tensor."),
    compare=_without_values,
    mistakes={
        "the buffer positions is missing: buffers can be on meta too": _parameters,
        "the state dict's first entry alone is looked at, and the first one has values": lambda model: (
            [] if not next(model.parameters()).is_meta else [name for name, _ in model.named_parameters()]
        ),
        "those with values are listed too": lambda model: [
            name for name, _ in [*model.named_parameters(), *model.named_buffers()]
        ],
    },
)


def _fates(answer: Answer) -> list[CheckResult]:
    before = torch.tensor([0.5, -1.0, 2.0])
    cases = {
        "kept": before.clone(),
        "changed": torch.tensor([0.5, 3.0, 2.0]),
        "garbage": torch.tensor([0.5, float("nan"), 2.0]),
        "still on meta": torch.empty(3, device="meta"),
    }
    meanings = {
        "kept": "every value is as it was: that is kept",
        "changed": "one value differs, and all are numbers: that is changed",
        "garbage": "a NaN among the values: that is garbage",
        "still on meta": "a tensor on meta has no values to compare: ask is_meta first",
    }
    return [check(want, answer(now, before), want, meaning=meanings[want]) for want, now in cases.items()]


def _fate(now: Tensor, before: Tensor) -> str:
    if now.is_meta:
        return "still on meta"
    if now.isnan().any():
        return "garbage"
    return "kept" if torch.equal(now, before) else "changed"


def _no_garbage(now: Tensor, before: Tensor) -> str:
    found = _fate(now, before)
    return "changed" if found == "garbage" else found


def _any_equal(now: Tensor, before: Tensor) -> str:
    found = _fate(now, before)
    return "kept" if found == "changed" else found


FATE = Exercise(
    "the fate of a tensor",
    hints=(
        "In which order must you ask? A tensor on meta cannot be compared.",
        "is_meta, then isnan().any(), then torch.equal(now, before).",
    ),
    compare=_fates,
    mistakes={
        "a tensor with NaN in it is called changed: it is garbage": _no_garbage,
        "one equal value is not enough: all of them must be as they were": _any_equal,
    },
)


class _Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.words = nn.Embedding(5, 4, device="meta")
        self.decode = nn.Linear(4, 5, bias=False, device="meta")
        self.decode.weight = self.words.weight


def _fill(answer: Answer) -> list[CheckResult]:
    model, words = _Tied(), torch.linspace(-1, 1, 20).reshape(5, 4)
    head, optimizer = model.head.weight.detach().clone(), torch.optim.SGD(model.parameters(), lr=0.1)
    state = {"head.weight": torch.zeros(2, 4), "head.bias": torch.zeros(2), "words.weight": words}
    filled = answer(model, {**state, "decode.weight": words})
    own = [any(p is q for q in filled.parameters()) for p in optimizer.param_groups[0]["params"]]
    return [
        check("values from the state", filled.words.weight, words, meaning="what was on meta lacks the state's values"),
        check(
            "the head keeps its values",
            torch.equal(filled.head.weight, head),
            True,
            meaning="the head had values, and they are gone: fill only what is on meta",
        ),
        check(
            "words and decode are one tensor",
            filled.decode.weight is filled.words.weight,
            True,
            meaning="the tied pair has come apart: a new Parameter was set under one of its names",
        ),
        check(
            "the optimizer holds the model's tensors",
            own,
            [True] * 3,
            meaning="the optimizer holds objects that the model has dropped: keep the object, exchange its contents",
        ),
    ]


FILL = Exercise(
    "fill what has no values",
    hints=(
        "named_parameters() gives names and tensors; parameter.is_meta tells which have no values.",
        "Setting model.words.weight makes a new object, and the pair comes apart. Which call keeps the object?",
        "torch.utils.swap_tensors(parameter, nn.Parameter(value)) does. A clone leaves the state its own tensor.",
    ),
    compare=_fill,
)
