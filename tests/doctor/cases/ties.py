"""Weights that should be one tensor and are two, or the other way round."""

import copy

import torch
from torch import Tensor, nn

from . import kinds
from .case import Program, case

FAMILY = "ties"
_NAMES = ("embed.weight", "head.weight")


class _Language(nn.Module):
    def __init__(self, tied: bool = True) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(6, 4), nn.Linear(4, 6, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.embed(ids))


class _Declared(_Language):
    _tied_weights_keys = {"head.weight": "embed.weight"}  # noqa: RUF012


def _trained(model: nn.Module) -> Program:
    ids = torch.tensor([1, 2, 3])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Program(model=model, step=lambda: model(ids).square().mean(), optimizer=optimizer)


@case(
    family=FAMILY,
    report="pytorch/pytorch#188346",
    seen="after a load with assign=True the shared weight is stepped twice",
    instrument="explain_training",
    kind=kinds.TWICE,
    marker="",
    tensor="head.weight",
)
def loaded_with_assign() -> Program:
    model = _Language()
    model.load_state_dict(_Language().state_dict(), assign=True)
    return _trained(model)


@case(
    family=FAMILY,
    report="pytorch/xla#2719",
    seen="the weights were tied through `.data`: two parameters over one memory",
    instrument="explain_training",
    kind=kinds.TWICE,
    marker="",
    tensor="head.weight",
)
def tied_through_data() -> Program:
    model = _Language(tied=False)
    model.head.weight.data = model.embed.weight.data
    return _trained(model)


@case(
    family=FAMILY,
    report="pytorch/pytorch#62264",
    seen="a checkpoint has two values for what the model holds once; the later one wins without a word",
    instrument="transfer_state",
    kind=kinds.REFUSED,
    marker="",
    tensor="head.weight",
)
def two_values_for_one_tensor() -> Program:
    return Program(model=_Language(), source=_Language(tied=False))


@case(
    family=FAMILY,
    report="Modalities/modalities#357",
    seen="embedding and head differ after the model was built on meta and filled",
    instrument="audit",
    kind=kinds.BROKEN_TIE,
    marker="",
    tensor="head.weight",
)
def filled_apart_after_meta() -> Program:
    model = _Language()
    for name in ("embed", "head"):
        getattr(model, name).weight = nn.Parameter(torch.randn(6, 4))
    return Program(model=model, options={"ties": [_NAMES]})


@case(
    family=FAMILY,
    report="huggingface/accelerate#3668",
    seen="an assignment that ties two weights makes a new one under an empty-init context",
    instrument="audit",
    kind=kinds.BROKEN_TIE,
    marker="",
    tensor="head.weight",
)
def untied_while_being_registered() -> Program:
    model = _Declared(tied=False)
    model.head.register_parameter("weight", nn.Parameter(model.embed.weight.detach().clone()))
    return Program(model=model)


@case(
    family=FAMILY,
    report="huggingface/accelerate#1000",
    seen="spreading a model over devices gives each name a weight of its own",
    instrument="audit",
    kind=kinds.BROKEN_TIE,
    marker="",
    tensor="head.weight",
)
def spread_part_by_part() -> Program:
    model = _Declared()
    model.head = copy.deepcopy(model.head)
    return Program(model=model)


@case(
    family=FAMILY,
    report="huggingface/transformers#1730",
    seen="the vocabulary grew in the embedding, and the output layer went its own way",
    instrument="audit",
    kind=kinds.BROKEN_TIE,
    marker="",
    tensor="head.weight",
)
def vocabulary_grown_on_one_side() -> Program:
    model = _Declared()
    model.embed = nn.Embedding(8, 4)
    return Program(model=model)
