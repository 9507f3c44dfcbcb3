"""Tensors of two devices in one operation, found without a GPU."""

import torch
from torch import Tensor, nn

from . import kinds
from .case import Program, case

FAMILY = "device"


@case(
    family=FAMILY,
    report="kornia/kornia#666",
    seen="a transform's angle stays on the CPU after `to('cuda')`",
    instrument="simulate",
    kind=kinds.ATTRIBUTE,
    tensor="angle",
)
def angle_is_a_plain_tensor() -> Program:
    class Turn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(4, 4)
            self.angle = torch.full((4,), 30.0)

        def forward(self, x: Tensor) -> Tensor:
            return self.mix(x) * self.angle  # fault

    return Program(model=Turn(), batch=torch.ones(2, 4))


@case(
    family=FAMILY,
    report="pytorch/pytorch#8017",
    seen="convolutions that a loop appended to a list are still on the CPU",
    instrument="simulate",
    kind=kinds.HIDDEN,
    tensor="stack[0].weight",
)
def layers_in_a_python_list() -> Program:
    class Stack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(8, 2)
            self.stack = [nn.Conv1d(1, 2, 1)]

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.stack:
                x = layer(x)  # fault
            return self.head(x.flatten(1))

    return Program(model=Stack(), batch=torch.ones(2, 1, 4))


@case(
    family=FAMILY,
    report="pytorch/pytorch#15005",
    seen="the task heads kept in a container never reach the GPU",
    instrument="audit",
    kind=kinds.HIDDEN,
    marker="",
    tensor="heads['colour']",
)
def task_heads_in_a_dict() -> Program:
    class Tasks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = nn.Linear(4, 4)
            self.heads = {"colour": nn.Linear(4, 3)}

    return Program(model=Tasks())


@case(
    family=FAMILY,
    report="sipie800/ComfyUI-PuLID-Flux-Enhanced#35",
    seen="layer_norm finds its weight on the CPU: the module sits in an object that is no module",
    instrument="simulate",
    kind=kinds.IN_OBJECT,
    tensor="kit.norm",
)
def norm_in_a_plain_object() -> Program:
    class Kit:
        def __init__(self) -> None:
            self.norm = nn.LayerNorm(4)

    class Patched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(4, 4)
            self.kit = Kit()

        def forward(self, x: Tensor) -> Tensor:
            return self.kit.norm(self.mix(x))  # fault

    return Program(model=Patched(), batch=torch.ones(2, 4))


@case(
    family=FAMILY,
    report="huggingface/transformers#23534",
    seen="the model is on cuda:6 and a tensor made in forward on cuda:0",
    instrument="simulate",
    kind=kinds.MADE,
)
def floor_made_on_the_first_gpu() -> Program:
    class Scores(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            scores = self.query(x)
            lowest = torch.full((4,), -1e4, device="cuda:0")
            return torch.maximum(scores, lowest)  # fault

    return Program(model=Scores(), batch=torch.ones(2, 4), options={"device": "cuda:6"})


@case(
    family=FAMILY,
    report="asahi417/lmppl#12",
    seen="the encoded text is on the CPU, the model on cuda:0",
    instrument="simulate",
    kind=kinds.INPUT,
    tensor="input",
)
def batch_left_behind() -> Program:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(5, 4)

        def forward(self, ids: Tensor) -> Tensor:
            return self.embed(ids)  # fault

    return Program(model=Plain(), batch=torch.tensor([1, 2]), options={"input_device": "cpu"})


@case(
    family=FAMILY,
    report="InternLM/InternLM#810",
    seen="gather: the hidden states came from cuda:1, the positions from cuda:0",
    instrument="simulate",
    kind=kinds.CROSSING,
)
def gather_across_two_parts() -> Program:
    class Reward(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.score = nn.Embedding(5, 4), nn.Linear(4, 1)

        def forward(self, ids: Tensor) -> Tensor:
            ends = (ids > 0).sum(1, keepdim=True) - 1
            values = self.score(self.embed(ids).to("cuda:1")).squeeze(-1)
            return torch.gather(values, 1, ends)  # fault

    placement = {"embed": "cuda:0", "score": "cuda:1"}
    return Program(model=Reward(), batch=torch.tensor([[1, 2, 0]]), options={"placement": placement})


@case(
    family=FAMILY,
    seen="the mask is kept by its length only: the second part gets the one of the first part's GPU",
    instrument="simulate",
    kind=kinds.CACHED,
)
def mask_cached_by_length() -> Program:
    masks: dict[int, Tensor] = {}

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            if len(x) not in masks:
                masks[len(x)] = torch.ones(4, device=x.device)
            return self.mix(x) * masks[len(x)]  # fault

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.front, self.back = Block(), Block()

        def forward(self, x: Tensor) -> Tensor:
            return self.back(self.front(x).to("cuda:1"))

    placement = {"front": "cuda:0", "back": "cuda:1"}
    return Program(model=Pair(), batch=torch.ones(2, 4), options={"placement": placement})


@case(
    family=FAMILY,
    seen="the constructor wrote down the device, and the model was moved afterwards",
    instrument="simulate",
    kind=kinds.STALE,
)
def device_written_down() -> Program:
    class Start(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(4, 4)
            self.device = torch.device("cpu")

        def forward(self, x: Tensor) -> Tensor:
            state = torch.zeros(2, 4, device=self.device)
            return self.mix(x) + state  # fault

    return Program(model=Start(), batch=torch.ones(2, 4))
