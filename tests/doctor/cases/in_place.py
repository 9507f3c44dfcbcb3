"""Values that were overwritten before backward read them."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from lab.doctor import faults

from .case import Program, case

FAMILY = "in-place"


@case(
    family=FAMILY,
    report="pytorch/pytorch#39141",
    seen="a small GAN that trained with torch 1.4 raises in the generator's backward",
    instrument="explain_backward",
    kind=faults.OPTIMIZER_STEP,
    tensor="2.weight",
)
def critic_steps_before_the_generator() -> Program:
    critic = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    generator = nn.Linear(3, 2)
    of_critic = torch.optim.Adam(critic.parameters())

    def step() -> None:
        fake = generator(torch.ones(5, 3))
        verdict = critic(fake)
        critic(fake.detach()).mean().backward()
        of_critic.step()  # fault
        (-verdict.mean()).backward()

    return Program(model=critic, step=step)


@case(
    family=FAMILY,
    report="knazeri/edge-connect#188",
    seen="two losses were computed, then each network steps before the other's backward",
    instrument="explain_backward",
    kind=faults.OPTIMIZER_STEP,
    tensor="value.weight",
)
def value_steps_before_the_policy() -> Program:
    model = nn.ModuleDict({"value": nn.Linear(3, 1), "policy": nn.Linear(3, 3)})
    optimizer = torch.optim.SGD(model["value"].parameters(), lr=0.1)

    def step() -> None:
        plan = torch.tanh(model["policy"](torch.ones(2, 3)))
        gain = model["value"](plan)
        (gain.detach() - model["value"](torch.ones(2, 3))).square().mean().backward()
        optimizer.step()  # fault
        gain.mean().neg().backward()

    return Program(model=model, step=step)


@case(
    family=FAMILY,
    report="pytorch/vision#807",
    seen="a pre-activation block: the sum is written over what relu keeps",
    instrument="explain_backward",
    kind=faults.ARITHMETIC,
)
def residual_added_in_place() -> Program:
    model = nn.Linear(4, 4)

    def step() -> None:
        x = torch.ones(2, 4)
        out = F.relu(model(x))
        out += x  # fault
        out.sum().backward()

    return Program(model=model, step=step)


@case(
    family=FAMILY,
    report="pytorch/pytorch#9391",
    seen="one element of a sigmoid's result is set",
    instrument="explain_backward",
    kind=faults.INDEX,
)
def element_of_a_sigmoid_is_set() -> Program:
    start = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))

    def step() -> None:
        out = start.sigmoid()
        out[1] = 2.0  # fault
        out.sum().backward()

    return Program(step=step)


@case(
    family=FAMILY,
    report="pytorch/pytorch#114505",
    seen="one column is computed from another and written beside it",
    instrument="explain_backward",
    kind=faults.INDEX,
)
def column_written_beside_its_source() -> Program:
    model = nn.Linear(2, 2)

    def step() -> None:
        table = model(torch.ones(3, 2))
        table[:, 1] = F.softplus(table[:, 0])  # fault
        table.sum().backward()

    return Program(model=model, step=step)


@case(
    family=FAMILY,
    report="ultralytics/yolov5#1552",
    seen="the detector's bias is shifted through a view when the model is built",
    instrument="explain_backward",
    kind=faults.LEAF,
)
def bias_shifted_through_a_view() -> Program:
    model = nn.Linear(4, 6)

    def step() -> None:
        anchors = model.bias.view(2, 3)
        anchors[:, 1] += 0.5  # fault
        model(torch.ones(1, 4)).sum().backward()

    return Program(model=model, step=step)


@case(
    family=FAMILY,
    report="pytorch/pytorch#39150",
    seen="a part of a leaf is scaled in place",
    instrument="explain_backward",
    kind=faults.LEAF,
)
def corner_of_a_leaf_is_scaled() -> Program:
    image = nn.Parameter(torch.ones(4, 4))

    def step() -> None:
        corner = image[2:, 2:]
        corner *= 10  # fault
        corner.sum().backward()

    return Program(step=step)


@case(
    family=FAMILY,
    seen="the running mean is updated in the same forward that used it",
    instrument="explain_backward",
    kind=faults.BUFFER_UPDATE,
    tensor="mean",
)
def running_mean_written_after_use() -> Program:
    class Centre(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(3, 3)
            self.register_buffer("mean", torch.ones(3))

        def forward(self, x: Tensor) -> Tensor:
            out = self.mix(x) * self.mean
            self.mean.mul_(0.9)  # fault
            return out

    model = Centre()
    return Program(model=model, step=lambda: model(torch.ones(2, 3)).sum().backward())


@case(
    family=FAMILY,
    seen="nothing is raised; the gradient is off",
    instrument="explain_backward",
    kind=faults.UNCOUNTED,
)
def clamp_through_data() -> Program:
    model = nn.Linear(3, 3)

    def step() -> None:
        out = model(torch.ones(2, 3)).exp()
        out.data.clamp_(max=0.5)  # fault
        out.sum().backward()

    return Program(model=model, step=step)


@case(
    family=FAMILY,
    seen="nothing is raised: a fused step does not count as a write",
    instrument="explain_backward",
    kind=faults.FUSED,
    tensor="1.weight",
)
def fused_step_between_two_backwards() -> Program:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=True)

    def step() -> None:
        first, second = model(torch.ones(2, 3)), model(torch.zeros(2, 3))
        first.sum().backward()
        optimizer.step()  # fault
        second.sum().backward()

    return Program(model=model, step=step)


@case(
    family=FAMILY,
    seen="the loader reuses its numpy array while the step runs",
    instrument="explain_backward",
    kind=faults.UNSEEN,
    marker="# fault: last",
    tensor="rows",
)
def loader_refills_its_array() -> Program:
    model = nn.Linear(3, 1)

    def step() -> None:
        rows = np.ones((4, 3), np.float32)
        out = model(torch.from_numpy(rows))  # fault: last operation that torch saw before the write
        rows[:] = 0.0
        loss = out.square().mean()
        loss.backward()

    return Program(model=model, step=step)


@case(
    family=FAMILY,
    seen="nothing is raised: a reentrant checkpoint computes its part again with the new weights",
    instrument="explain_backward",
    kind=faults.OPTIMIZER_STEP,
    tensor="weight",
)
def step_between_a_reentrant_checkpoint_and_its_backward() -> Program:
    model = nn.Linear(3, 3, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step() -> None:
        x = torch.ones(2, 3, requires_grad=True)
        out = checkpoint(model, x, use_reentrant=True)
        model(torch.ones(2, 3)).sum().backward()
        optimizer.step()  # fault
        out.square().sum().backward()

    return Program(model=model, step=step)
