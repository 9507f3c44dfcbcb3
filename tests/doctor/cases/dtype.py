"""Numbers of two kinds in one operation."""

import torch
from torch import Tensor, nn

from . import kinds
from .case import Program, case

FAMILY = "dtype"


@case(
    family=FAMILY,
    report="OpenBMB/MiniCPM-V#234",
    seen="fine-tuning stops: mat1 and mat2 must have the same dtype, but got Float and Half",
    instrument="simulate",
    kind=kinds.RAISES,
    tensor="1.weight",
)
def half_layer_behind_a_float_one() -> Program:
    class Joined(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return self[1](self[0](x))  # fault

    model = Joined(nn.Linear(4, 4), nn.Linear(4, 4).half())
    return Program(model=model, batch=torch.ones(2, 4))


@case(
    family=FAMILY,
    report="timeseriesAI/tsai#468",
    seen="the input came from numpy as float64, the convolution's weight is float32",
    instrument="simulate",
    kind=kinds.RAISES,
    tensor="input",
)
def series_of_doubles() -> Program:
    class Series(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.filter = nn.Conv1d(1, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.filter(x)  # fault

    return Program(model=Series(), batch=torch.ones(2, 1, 6, dtype=torch.float64))


@case(
    family=FAMILY,
    report="OUCMachineLearning/OUCML#24",
    seen="torch.mm meets features of numpy's default type",
    instrument="simulate",
    kind=kinds.RAISES,
    tensor="weight",
)
def regression_on_numpy_features() -> Program:
    class Regression(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3, 1))

        def forward(self, x: Tensor) -> Tensor:
            return torch.mm(x, self.weight)  # fault

    return Program(model=Regression(), batch=torch.ones(2, 3, dtype=torch.float64))


@case(
    family=FAMILY,
    report="ToTheBeginning/PuLID#162",
    seen="a product of float features with weights in half precision",
    instrument="simulate",
    kind=kinds.RAISES,
    tensor="project.weight",
)
def features_for_a_half_projection() -> Program:
    class Face(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Linear(4, 4, dtype=torch.float16)

        def forward(self, x: Tensor) -> Tensor:
            features = x / x.norm(dim=1, keepdim=True)
            return self.project(features)  # fault

    return Program(model=Face(), batch=torch.ones(2, 4))


@case(
    family=FAMILY,
    seen="token numbers are fed to a layer that wants features",
    instrument="simulate",
    kind=kinds.RAISES,
    tensor="input",
)
def tokens_without_an_embedding() -> Program:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(4, 4)

        def forward(self, ids: Tensor) -> Tensor:
            return self.mix(ids)  # fault

    return Program(model=Tokens(), batch=torch.ones(2, 4, dtype=torch.int64))


@case(
    family=FAMILY,
    seen="a converter left the bias behind",
    instrument="audit",
    kind=kinds.MIXED_DTYPE,
    marker="",
    tensor="0",
)
def bias_left_in_float() -> Program:
    model = nn.Sequential(nn.Linear(4, 4))
    model[0].weight.data = model[0].weight.data.half()
    return Program(model=model)


@case(
    family=FAMILY,
    seen="a script that needs doubles changed the default for everybody after it",
    instrument="process_check",
    kind=kinds.DEFAULT_DTYPE,
    marker="",
    tensor="torch.get_default_dtype()",
)
def default_changed_for_all() -> Program:
    return Program(
        step=lambda: torch.set_default_dtype(torch.float64), clean_up=lambda: torch.set_default_dtype(torch.float32)
    )
