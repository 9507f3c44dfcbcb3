"""Models of torchvision and transformers have no placement fault."""

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import nn

from lab.doctor import simulate

TORCHVISION = {
    "resnet18": (torchvision.models.resnet18, 64),
    "mobilenet_v3_small": (torchvision.models.mobilenet_v3_small, 64),
    "densenet121": (torchvision.models.densenet121, 64),
    "vit_b_32": (torchvision.models.vit_b_32, 224),
    "swin_t": (torchvision.models.swin_t, 64),
}
LONG = ("mobilenet_v3_small", "densenet121", "swin_t")
"""What stays is one with maps and one with tokens."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.large if name in LONG else ()) for name in TORCHVISION]
)
def test_models_of_torchvision_are_ok(name: str) -> None:
    make, size = TORCHVISION[name]
    report = simulate(make(), torch.randn(2, 3, size, size), device="cuda:1")
    assert report.ok, str(report)


@pytest.mark.parametrize("follow_data", [False, True])
@pytest.mark.parametrize("name", ["roberta", "gpt2", "deberta", "llama"])
def test_models_of_transformers_are_ok(name: str, follow_data: bool, pretrained: Callable[[str], nn.Module]) -> None:
    batch = {"input_ids": torch.tensor([[5, 6, 7, 8, 9]] * 2), "attention_mask": torch.ones(2, 5, dtype=torch.long)}
    report = simulate(pretrained(name), kwargs=batch, follow_data=follow_data)
    assert report.ok, str(report)
