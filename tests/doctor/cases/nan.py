"""Values and gradients that are not finite."""

import torch
from torch import Tensor, nn

from . import kinds
from .case import Program, case

FAMILY = "NaN"


def _trained(model: nn.Module, x: Tensor) -> Program:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Program(model=model, step=lambda: model(x).sum(), optimizer=optimizer, batch=x)


def _constant(size: int, value: float) -> nn.Linear:
    layer = nn.Linear(size, size)
    nn.init.constant_(layer.weight, value)
    nn.init.zeros_(layer.bias)
    return layer


@case(
    family=FAMILY,
    report="pytorch/pytorch#187297",
    seen="where takes the other branch, and the gradient of sqrt is NaN all the same",
    instrument="explain_training",
    kind=kinds.NAN_GRADIENT,
)
def sqrt_in_the_branch_not_taken() -> Program:
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = _constant(2, 0.0)

        def forward(self, x: Tensor) -> Tensor:
            h = self.mix(x)
            root = h.sqrt()  # fault
            return torch.where(h > 0, root, h)

    return _trained(Root(), torch.ones(3, 2))


@case(
    family=FAMILY,
    report="pytorch/pytorch#68425",
    seen="exp overflows in the branch that where does not take; the output is finite, the gradient NaN",
    instrument="explain_training",
    kind=kinds.NAN_GRADIENT,
)
def exp_in_the_branch_not_taken() -> Program:
    class Soft(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = _constant(2, 60.0)

        def forward(self, x: Tensor) -> Tensor:
            h = self.mix(x)
            low = h.exp()  # fault
            return torch.where(h <= 0, low, h + 1)

    return _trained(Soft(), torch.ones(3, 2))


@case(
    family=FAMILY,
    report="pytorch/pytorch#108618",
    seen="log2 of zero stands in the branch not taken",
    instrument="explain_training",
    kind=kinds.NAN_GRADIENT,
)
def logarithm_in_the_branch_not_taken() -> Program:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = _constant(2, 0.0)

        def forward(self, x: Tensor) -> Tensor:
            h = self.mix(x)
            return torch.where(h > 2, torch.log2(h), 2 * h)  # fault

    return _trained(Scale(), torch.ones(3, 2))


@case(
    family=FAMILY,
    report="akanazawa/cmr#11",
    seen="a loss over edge lengths turns NaN where two points meet",
    instrument="explain_training",
    kind=kinds.NAN_GRADIENT,
)
def length_of_an_edge_that_vanished() -> Program:
    class Edges(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = _constant(2, 1.0)

        def forward(self, x: Tensor) -> Tensor:
            points = self.mix(x)
            edges = points[1:] - points[:-1]
            return edges.square().sum(1).sqrt()  # fault

    return _trained(Edges(), torch.ones(3, 2))


@case(
    family=FAMILY,
    report="allenai/allennlp#890",
    seen="a row that the mask covers whole comes out of the softmax as NaN",
    instrument="explain_training",
    kind=kinds.NON_FINITE,
)
def row_that_is_masked_whole() -> Program:
    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.score = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            hidden = torch.tensor([[False, False, True], [True, True, True]])
            scores = self.score(x).masked_fill(hidden, -torch.inf)
            return scores.softmax(1)  # fault

    return _trained(Attend(), torch.ones(2, 3))


@case(
    family=FAMILY,
    report="huggingface/transformers#5651",
    seen="in half precision a feed-forward layer gives inf, the loss is NaN some layers later",
    instrument="explain_training",
    kind=kinds.OVERFLOW,
)
def feed_forward_over_the_largest_half() -> Program:
    class Feed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide, self.back = _constant(4, 50.0), _constant(4, 200.0)

        def forward(self, x: Tensor) -> Tensor:
            h = self.wide(x)
            h = self.back(h)  # fault
            return h - h.mean(1, keepdim=True)

    return _trained(Feed().half(), torch.ones(2, 4, dtype=torch.float16))


@case(
    family=FAMILY,
    seen="a chance that has become 0 is put into a logarithm",
    instrument="explain_training",
    kind=kinds.NON_FINITE,
)
def logarithm_of_a_chance() -> Program:
    class Entropy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(2, 2)
            nn.init.constant_(self.mix.weight, 0.0)
            self.mix.bias.data = torch.tensor([200.0, -200.0])

        def forward(self, x: Tensor) -> Tensor:
            chance = self.mix(x).softmax(1)
            return chance * chance.log()  # fault

    return _trained(Entropy(), torch.ones(3, 2))


@case(
    family=FAMILY,
    seen="a checkpoint brought a running variance of NaN; in eval mode everything behind it is NaN",
    instrument="explain_training",
    kind=kinds.BUFFER,
    marker="",
    tensor="1.running_var",
)
def running_variance_of_nan() -> Program:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    model[1].running_var.fill_(torch.nan)
    return _trained(model, torch.randn(4, 3))


@case(
    family=FAMILY,
    seen="a weight was made with torch.empty and never filled",
    instrument="explain_training",
    kind=kinds.PARAMETER,
    marker="",
    tensor="0.weight",
)
def weight_that_nobody_filled() -> Program:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    model[0].weight = nn.Parameter(torch.full((3, 3), torch.nan))
    return _trained(model, torch.randn(4, 3))
