"""Weights that get no gradient, or a loss that has none."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from . import kinds
from .case import Program, case

FAMILY = "no gradient"


def _sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


@case(
    family=FAMILY,
    report="isayev/ReLeaSE#39",
    seen="every gradient is None: the log-probability was taken out of the graph as a number",
    instrument="explain_training",
    kind=kinds.CUT_PYTHON,
)
def policy_loss_of_numbers() -> Program:
    policy = nn.Linear(3, 2)

    def step() -> Tensor:
        chances = policy(torch.ones(4, 3)).log_softmax(1)
        loss = torch.zeros((), requires_grad=True)
        for row in range(4):
            loss = loss - chances[row, 0].item() * 0.9  # fault
        return loss

    return Program(model=policy, step=step, optimizer=_sgd(policy))


@case(
    family=FAMILY,
    report="LZGMatrix/BOP19_CDPN_2019ICCV#4",
    seen="element 0 of tensors does not require grad: coordinates were read with argmax",
    instrument="explain_training",
    kind=kinds.CUT_OPERATION,
)
def coordinates_by_argmax() -> Program:
    model = nn.Linear(3, 8)

    def step() -> Tensor:
        bins = model(torch.ones(2, 3))
        place = torch.argmax(bins, dim=1)  # fault
        return (2.0 * place.float() / 7.0 - 1.0).square().mean()

    return Program(model=model, step=step, optimizer=_sgd(model))


@case(
    family=FAMILY,
    report="BindsNET/bindsnet#346",
    seen="the loss counts how many outputs are over the threshold",
    instrument="explain_training",
    kind=kinds.CUT_OPERATION,
)
def spikes_are_counted() -> Program:
    model = nn.Linear(3, 5)

    def step() -> Tensor:
        charge = model(torch.ones(4, 3))
        fired = charge > 0.1  # fault
        rate = fired.float().mean(0)
        return (rate - 0.5).square().sum()

    return Program(model=model, step=step, optimizer=_sgd(model))


@case(
    family=FAMILY,
    report="speechbrain/speechbrain#735",
    seen="the loss is wrapped anew so that backward is quiet, and nothing learns",
    instrument="explain_training",
    kind=kinds.CUT_DETACH,
)
def loss_wrapped_anew() -> Program:
    model = nn.Linear(3, 2)

    def step() -> Tensor:
        loss = F.cross_entropy(model(torch.ones(4, 3)), torch.tensor([0, 1, 0, 1]))
        return loss.data.requires_grad_()  # fault

    return Program(model=model, step=step, optimizer=_sgd(model))


@case(
    family=FAMILY,
    report="huggingface/transformers#23170",
    seen="checkpointed blocks behind a frozen embedding: no gradient anywhere",
    instrument="explain_training",
    kind=kinds.CUT_CHECKPOINT,
)
def checkpoint_behind_a_frozen_embedding() -> Program:
    model = nn.ModuleDict({"embed": nn.Embedding(5, 4), "block": nn.Linear(4, 4), "head": nn.Linear(4, 2)})
    model["embed"].requires_grad_(False)

    def step() -> Tensor:
        hidden = model["embed"](torch.tensor([[1, 2]]))
        hidden = checkpoint(model["block"], hidden, use_reentrant=True)  # fault
        return model["head"](hidden).square().mean()

    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    return Program(model=model, step=step, optimizer=optimizer)


@case(
    family=FAMILY,
    report="lucidrains/CoCa-pytorch#6",
    seen="a wrapper that collects features detaches them: the image encoder stays as it was",
    instrument="explain_training",
    kind=kinds.CUT_DETACH,
)
def extractor_detaches() -> Program:
    class Extractor(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.encoder(x).clone().detach()  # fault

    model = nn.Sequential(Extractor(), nn.Tanh(), nn.Linear(4, 2))
    return Program(model=model, step=lambda: model(torch.ones(2, 3)).square().mean(), optimizer=_sgd(model))


@case(
    family=FAMILY,
    report="Megvii-BaseDetection/YOLOX#885",
    seen="distributed training says that some parameters had no part in the loss",
    instrument="explain_training",
    kind=kinds.UNREAD,
    marker="",
    tensor="spare.weight",
)
def layer_that_forward_forgot() -> Program:
    class Neck(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    model = Neck()
    return Program(model=model, step=lambda: model(torch.ones(2, 3)).square().mean(), optimizer=_sgd(model))


@case(
    family=FAMILY,
    seen="the loss uses a copy of the net: the optimizer's weights take no part",
    instrument="explain_training",
    kind=kinds.UNREAD,
    marker="",
    tensor="weight",
)
def step_uses_a_copy() -> Program:
    model = nn.Linear(3, 2)
    worker = copy.deepcopy(model)
    return Program(model=model, step=lambda: worker(torch.ones(2, 3)).square().mean(), optimizer=_sgd(model))


@case(
    family=FAMILY,
    seen="an encoder runs under no_grad, left over from an evaluation script",
    instrument="explain_training",
    kind=kinds.CUT_NO_GRAD,
)
def encoder_under_no_grad() -> Program:
    model = nn.ModuleDict({"encoder": nn.Linear(3, 4), "head": nn.Linear(4, 2)})

    def step() -> Tensor:
        with torch.no_grad():
            hidden = model["encoder"](torch.ones(2, 3))  # fault
        return model["head"](hidden).square().mean()

    return Program(model=model, step=step, optimizer=_sgd(model))


@case(
    family=FAMILY,
    seen="the output takes a way through numpy",
    instrument="explain_training",
    kind=kinds.CUT_DETACH,
)
def smoothing_in_numpy() -> Program:
    model = nn.Linear(3, 4)

    def step() -> Tensor:
        curve = model(torch.ones(2, 3)).detach().numpy()  # fault
        return torch.from_numpy(curve.cumsum(1)).square().mean()

    return Program(model=model, step=step, optimizer=_sgd(model))


@case(
    family=FAMILY,
    seen="values are rounded on the way to the loss: gradients are there, and all are zero",
    instrument="explain_training",
    kind=kinds.FLAT,
)
def rounded_on_the_way() -> Program:
    model = nn.Linear(3, 4)

    def step() -> Tensor:
        level = (8 * model(torch.ones(2, 3))).round()  # fault
        return (level / 8 - 1).square().mean()

    return Program(model=model, step=step, optimizer=_sgd(model))


@case(
    family=FAMILY,
    report="ImprintLab/MedSegDiff#27",
    seen="some weights of the model take no part in the loss",
    instrument="explain_training",
    kind=kinds.UNUSED,
    marker="",
    tensor="edges.weight",
)
def second_output_forgotten() -> Program:
    model = nn.ModuleDict({"trunk": nn.Linear(3, 3), "mask": nn.Linear(3, 1), "edges": nn.Linear(3, 1)})

    def step() -> Tensor:
        hidden = model["trunk"](torch.ones(2, 3))
        mask, edges = model["mask"](hidden), model["edges"](hidden)
        assert mask.shape == edges.shape
        return mask.square().mean()

    return Program(model=model, step=step, optimizer=_sgd(model))


@case(
    family=FAMILY,
    seen="the checkpointed part draws other dropout in backward: gradients are there, of another function",
    instrument="explain_training",
    kind=kinds.REDRAWN,
)
def dropout_drawn_anew() -> Program:
    model = nn.ModuleDict({"mix": nn.Linear(3, 8), "head": nn.Linear(8, 1)})

    def part(x: Tensor) -> Tensor:
        return F.dropout(model["mix"](x), 0.5)  # fault

    def step() -> Tensor:
        hidden = checkpoint(part, torch.ones(2, 3), use_reentrant=False, preserve_rng_state=False)
        return model["head"](hidden).square().mean()

    return Program(model=model, step=step, optimizer=_sgd(model))


@case(
    family=FAMILY,
    report="RUCAIBox/RecBole#2027",
    seen="the model is one embedding, loaded and frozen: element 0 of tensors does not require grad",
    instrument="explain_training",
    kind=kinds.FROZEN,
    marker="",
    tensor="(the model)",
)
def nothing_is_left_to_train() -> Program:
    model = nn.Embedding.from_pretrained(torch.ones(5, 3))
    return Program(model=model, step=lambda: model(torch.tensor([1, 2])).square().mean())
