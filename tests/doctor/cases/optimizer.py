"""Weights that no step reaches, or that a step should not reach."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.doctor import optimizer_audit

from . import kinds
from .case import Program, case

FAMILY = "optimizer"


def _sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


@case(
    family=FAMILY,
    report="microsoft/nni#4521",
    seen="a pruned model is tuned and stays as it is: its layers are newer than the optimizer",
    instrument="audit",
    kind=optimizer_audit.UNTRAINED,
    marker="",
    tensor="0.weight",
)
def layer_pruned_after_the_optimizer() -> Program:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    optimizer = _sgd(model)
    model[0] = nn.Linear(4, 6)
    return Program(model=model, optimizer=optimizer)


@case(
    family=FAMILY,
    report="meta-pytorch/opacus#432",
    seen="a validator swaps BatchNorm for GroupNorm after the optimizer took the parameters",
    instrument="audit",
    kind=optimizer_audit.FOREIGN,
    marker="",
    tensor="param_groups[0]['params'][2]",
)
def norm_swapped_after_the_optimizer() -> Program:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    optimizer = _sgd(model)
    model[1] = nn.GroupNorm(2, 4)
    return Program(model=model, optimizer=optimizer)


@case(
    family=FAMILY,
    report="4uiiurz1/pytorch-adacos#10",
    seen="the class centres in the loss module stay random",
    instrument="explain_training",
    kind=kinds.OF_LOSS,
    marker="",
    tensor="centres",
)
def class_centres_of_the_loss() -> Program:
    class Margin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.centres = nn.Parameter(torch.randn(3, 4))

        def forward(self, features: Tensor, target: Tensor) -> Tensor:
            return F.cross_entropy(F.normalize(features) @ F.normalize(self.centres).t(), target)

    model, metric = nn.Linear(2, 4), Margin()
    x, y = torch.randn(5, 2), torch.tensor([0, 1, 2, 0, 1])
    return Program(model=model, step=lambda: metric(model(x), y), optimizer=_sgd(model))


@case(
    family=FAMILY,
    report="KaiyangZhou/pytorch-center-loss#22",
    seen="a centre loss beside cross-entropy does not fall",
    instrument="explain_training",
    kind=kinds.OF_LOSS,
    marker="",
    tensor="centers",
)
def centre_loss_beside_another() -> Program:
    class Centre(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.centers = nn.Parameter(torch.randn(2, 3))

        def forward(self, features: Tensor, target: Tensor) -> Tensor:
            return (features - self.centers[target]).square().sum(1).mean()

    model, centre = nn.Linear(4, 3), Centre()
    x, y = torch.randn(6, 4), torch.tensor([0, 1, 0, 1, 0, 1])

    def step() -> Tensor:
        features = model(x)
        return F.cross_entropy(features, y) + 0.1 * centre(features, y)

    return Program(model=model, step=step, optimizer=_sgd(model))


@case(
    family=FAMILY,
    report="pytorch/pytorch#17484",
    seen="`state_dict()` is empty: the parameter was moved in the constructor",
    instrument="audit",
    kind=kinds.UNREGISTERED,
    marker="",
    tensor="gate",
)
def parameter_made_and_scaled() -> Program:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(4, 4)
            # `.to(device)` gives the same on a machine with a GPU: a tensor with a history, no parameter
            self.gate = nn.Parameter(torch.ones(4)) * 1.0

    return Program(model=Gated())


@case(
    family=FAMILY,
    seen="per-layer gains in a Python list are neither moved, trained nor saved",
    instrument="audit",
    kind=kinds.UNREGISTERED,
    marker="",
    tensor="gains[1]",
)
def parameters_in_a_python_list() -> Program:
    class Gains(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(4, 4)
            self.gains = [nn.Parameter(torch.ones(4)) for _ in range(2)]

    return Program(model=Gains())


@case(
    family=FAMILY,
    report="pgniewko/gt-pyg#112",
    seen="the frozen norm's statistics drift: train() put it back into training mode",
    instrument="explain_training",
    kind=kinds.FROZEN_MOVES,
    marker="",
    tensor="1",
)
def frozen_norm_in_training_mode() -> Program:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).train()
    model[1].requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    x = torch.randn(6, 3)
    return Program(model=model, step=lambda: model(x).square().mean(), optimizer=optimizer)


@case(
    family=FAMILY,
    seen="an evaluation in the loop left the model in eval mode: statistics stay those of the start",
    instrument="explain_training",
    kind=kinds.EVAL_TRAINED,
    marker="",
    tensor="1",
)
def norm_trained_in_eval_mode() -> Program:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).eval()
    x = torch.randn(6, 3)
    return Program(model=model, step=lambda: model(x).square().mean(), optimizer=_sgd(model))


@case(
    family=FAMILY,
    report="microsoft/dion#24",
    seen="a layer that began at zero has no gradient yet; the update divides by its norm",
    instrument="explain_training",
    kind=kinds.PARAMETER,
    marker="",
    tensor="0.weight",
)
def update_divided_by_a_norm_of_zero() -> Program:
    class Normed(torch.optim.Optimizer):
        def __init__(self, parameters: object) -> None:
            super().__init__(parameters, {})

        @torch.no_grad()
        def step(self, closure: object = None) -> None:
            for parameter in self.param_groups[0]["params"]:
                parameter.sub_(0.1 * parameter.grad / parameter.grad.norm())

    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    nn.init.zeros_(model[1].weight)
    x = torch.randn(6, 3)
    return Program(model=model, step=lambda: (model(x) - 1).square().mean(), optimizer=Normed(model.parameters()))


@case(
    family=FAMILY,
    seen="the optimizer's state was loaded from a narrower model",
    instrument="audit",
    kind=optimizer_audit.STATE,
    marker="",
    tensor="weight: state['momentum_buffer']",
)
def momentum_of_a_narrower_layer() -> Program:
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    optimizer.state[model.weight]["momentum_buffer"] = torch.zeros(2, 4)
    return Program(model=model, optimizer=optimizer)


@case(
    family=FAMILY,
    seen="gradients are cleared between backward and the step: the loss stands still",
    instrument="explain_training",
    kind=kinds.ERASED,
    marker="",
    tensor="weight",
)
def gradients_cleared_before_the_step() -> Program:
    model = nn.Linear(3, 2)
    optimizer = _sgd(model)

    def step() -> Tensor:
        loss = model(torch.ones(2, 3)).square().mean()
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()
        return loss

    return Program(model=model, step=step, optimizer=optimizer)
