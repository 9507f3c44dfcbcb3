"""Graphs that are walked a second time."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lab.doctor import faults

from .case import Program, case

FAMILY = "second backward"


@case(
    family=FAMILY,
    report="MorvanZhou/PyTorch-Tutorial#57",
    seen="a recurrent net raises when the hidden state of the last batch is used again",
    instrument="explain_backward",
    kind=faults.CARRIED,
)
def hidden_state_of_the_last_batch() -> Program:
    model = nn.RNNCell(2, 3)

    def step() -> None:
        hidden = torch.zeros(1, 3)
        for _ in range(2):
            hidden = model(torch.ones(1, 2), hidden)  # fault
            hidden.sum().backward()

    return Program(model=model, step=step)


@case(
    family=FAMILY,
    report="norse/norse#131",
    seen="a neuron keeps its state between batches with the graph that made it",
    instrument="explain_backward",
    kind=faults.CARRIED,
    tensor="voltage",
)
def neuron_keeps_its_voltage() -> Program:
    class Neuron(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(3, 3)
            self.register_buffer("voltage", torch.zeros(3))

        def forward(self, x: Tensor) -> Tensor:
            self.voltage = 0.5 * self.voltage + self.mix(x).mean(0)  # fault
            return torch.sigmoid(self.voltage)

    model = Neuron()

    def step() -> None:
        for _ in range(2):
            model(torch.ones(2, 3)).sum().backward()

    return Program(model=model, step=step)


@case(
    family=FAMILY,
    report="davda54/sam#45",
    seen="the second pass of a two-pass optimizer goes through the first pass's output",
    instrument="explain_backward",
    kind=faults.CARRIED,
)
def second_pass_without_a_forward() -> Program:
    model = nn.Sequential(nn.Linear(3, 3), nn.Sigmoid())

    def step() -> None:
        output = model(torch.ones(2, 3))  # fault
        F.mse_loss(output, torch.zeros(2, 3)).backward()
        F.mse_loss(output, torch.zeros(2, 3)).backward()

    return Program(model=model, step=step)


@case(
    family=FAMILY,
    report="junyanz/pytorch-CycleGAN-and-pix2pix#356",
    seen="the discriminator's backward raises: the graph was walked already",
    instrument="explain_backward",
    kind=faults.CARRIED,
)
def fake_is_not_detached() -> Program:
    model = nn.ModuleDict({"draw": nn.Linear(3, 3), "judge": nn.Linear(3, 1)})

    def step() -> None:
        fake = torch.tanh(model["draw"](torch.ones(2, 3)))  # fault
        model["judge"](fake).mean().backward()
        (1 - model["judge"](fake)).square().mean().backward()

    return Program(model=model, step=step)


@case(
    family=FAMILY,
    report="chxy95/Deep-Mutual-Learning#5",
    seen="two networks teach each other and neither's output is detached",
    instrument="explain_backward",
    kind=faults.CARRIED,
)
def teachers_of_each_other() -> Program:
    model = nn.ModuleDict({"one": nn.Linear(3, 3), "two": nn.Linear(3, 3)})

    def step() -> None:
        x = torch.ones(2, 3)
        one, two = model["one"](x).log_softmax(1), model["two"](x).log_softmax(1)  # fault
        F.kl_div(one, two, log_target=True, reduction="batchmean").backward()
        F.kl_div(two, one, log_target=True, reduction="batchmean").backward()

    return Program(model=model, step=step)


@case(
    family=FAMILY,
    report="naver-ai/StyleMapGAN#16",
    seen="the adversarial and the reconstruction loss each call backward on one code",
    instrument="explain_backward",
    kind=faults.SHARED,
)
def two_losses_on_one_code() -> Program:
    model = nn.ModuleDict({"encode": nn.Linear(3, 3), "decode": nn.Linear(3, 3)})

    def step() -> None:
        code = model["encode"](torch.ones(2, 3)).sigmoid()  # fault
        shown, kept = model["decode"](code).mean(), (code - 1).square().mean()
        shown.backward()
        kept.backward()

    return Program(model=model, step=step)


@case(
    family=FAMILY,
    report="karpathy/nn-zero-to-hero#31",
    seen="backward raises in a notebook whose forward stands in a cell of its own",
    instrument="explain_backward",
    kind=faults.REPEATED,
)
def backward_cell_run_again() -> Program:
    weight = nn.Parameter(torch.ones(3, 3))

    def step() -> None:
        logits = torch.ones(2, 3) @ weight
        loss = -logits.log_softmax(1)[:, 0].mean()  # fault
        loss.backward()
        loss.backward()

    return Program(step=step)


@case(
    family=FAMILY,
    seen="a scale that depends on a parameter is computed once, before the loop",
    instrument="explain_backward",
    kind=faults.CARRIED,
)
def scale_computed_before_the_loop() -> Program:
    model = nn.Linear(3, 3)
    gain = nn.Parameter(torch.zeros(3))

    def step() -> None:
        scale = gain.exp()  # fault
        for _ in range(2):
            (model(torch.ones(2, 3)) * scale).sum().backward()

    return Program(model=model, step=step)
