"""Tensors that have a shape and no values."""

import torch
from torch import Tensor, nn

from lab.doctor import faults, optimizer_audit

from .case import Program, case

FAMILY = "meta"


@case(
    family=FAMILY,
    report="shibing624/MedicalGPT#346",
    seen="`to(device)` raises: cannot copy out of meta tensor",
    instrument="audit",
    kind="meta parameter",
    marker="",
    tensor="head.weight",
)
def head_that_no_shard_filled() -> Program:
    return Program(model=nn.ModuleDict({"body": nn.Linear(4, 4), "head": nn.Linear(4, 2, device="meta")}))


@case(
    family=FAMILY,
    report="GinnyXiao/OpenWorldSAM#7",
    seen="building the model ends in: cannot copy out of meta tensor",
    instrument="audit",
    kind="meta persistent buffer",
    marker="",
    tensor="pixels.mean",
)
def image_mean_without_values() -> Program:
    pixels = nn.Module()
    pixels.register_buffer("mean", torch.zeros(3, device="meta"))
    return Program(model=nn.ModuleDict({"pixels": pixels, "stem": nn.Linear(3, 3)}))


@case(
    family=FAMILY,
    report="1038lab/ComfyUI-QwenVL#53",
    seen="a model that was loaded refuses to move to its device",
    instrument="audit",
    kind="meta non-persistent buffer",
    marker="",
    tensor="rotary.inv_freq",
)
def rotary_table_that_no_checkpoint_has() -> Program:
    rotary = nn.Module()
    rotary.register_buffer("inv_freq", torch.ones(2, device="meta"), persistent=False)
    return Program(model=nn.ModuleDict({"rotary": rotary, "mix": nn.Linear(2, 2)}))


@case(
    family=FAMILY,
    report="rupeshs/fastsdcpu#209",
    seen="a tensor on meta is not on the expected device cpu",
    instrument="audit",
    kind="meta plain attribute",
    marker="",
    tensor="scale",
)
def plain_table_made_under_a_meta_device() -> Program:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(2, 2, device="cpu")
            self.scale = torch.ones(2)

    with torch.device("meta"):
        model = Scaled()
    return Program(model=model)


@case(
    family=FAMILY,
    report="lm-sys/FastChat#580",
    seen="a tensor on the CPU is not on the expected device meta",
    instrument="explain_backward",
    kind=faults.META,
    tensor="weight",
)
def backward_reaches_a_hollow_weight() -> Program:
    class Gain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(2, 2)
            self.weight = nn.Parameter(torch.ones(2, 2, device="meta"))

        def forward(self, x: Tensor) -> Tensor:
            return self.mix(x) @ self.weight

    model = Gain()

    def step() -> None:
        loss = model(torch.ones(1, 2)).sum()
        loss.backward()  # fault

    return Program(model=model, step=step)


@case(
    family=FAMILY,
    seen="the optimizer was built while the weights were on meta; the model was filled with new ones",
    instrument="audit",
    kind=optimizer_audit.FOREIGN,
    marker="",
    tensor="param_groups[0]['params'][0]",
)
def optimizer_of_hollow_weights() -> Program:
    model = nn.Sequential(nn.Linear(2, 2, device="meta"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model[0] = nn.Linear(2, 2)
    return Program(model=model, optimizer=optimizer)
