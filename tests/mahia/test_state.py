"""The rules of `State`, and the four updates that break them: `# culprit` marks the line that the doctor must name."""

import copy
import inspect

import pytest
import torch
from torch import Tensor, nn

from lab.base import TrainingError
from lab.doctor import explain_backward
from lab.mahia import GraphDiffusionMemory, State

D, M = 3, 4


class FaultyMemory(nn.Module):
    """A memory as it is often written: nodes that are read live and updated in the forward."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.eye(M) + 0.1)
        self.scale = nn.Parameter(torch.full((D,), 2.0))
        self.register_buffer("nodes", torch.linspace(-1, 1, M * D).reshape(M, D))

    def forward(self, x_BD: Tensor) -> Tensor:
        x_BD = x_BD * self.scale
        read_D = (self.mix.softmax(-1) @ self.nodes).mean(0)
        self.update(0.9 * self.nodes + 0.1 * x_BD.mean(0))
        return x_BD + read_D

    def update(self, moved_MD: Tensor) -> None:
        raise NotImplementedError


class Rebound(FaultyMemory):
    def forward(self, x_BD: Tensor) -> Tensor:
        x_BD = x_BD * self.scale
        read_D = (self.mix.softmax(-1) @ self.nodes).mean(0)
        self.nodes = 0.9 * self.nodes + 0.1 * x_BD.mean(0)  # culprit
        return x_BD + read_D


class Copied(FaultyMemory):
    def update(self, moved_MD: Tensor) -> None:
        self.nodes.copy_(moved_MD)  # culprit


class CopiedWithoutGrad(FaultyMemory):
    @torch.no_grad()
    def update(self, moved_MD: Tensor) -> None:
        self.nodes.copy_(moved_MD)  # culprit


class CopiedThroughData(FaultyMemory):
    def update(self, moved_MD: Tensor) -> None:
        self.nodes.data.copy_(moved_MD)  # culprit


class Kept(FaultyMemory):
    """The same memory, by the rules."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State(nodes_MD=self.nodes)
        del self.nodes

    def forward(self, x_BD: Tensor) -> Tensor:
        x_BD = x_BD * self.scale
        nodes_MD = self.state.read("nodes_MD")
        read_D = (self.mix.softmax(-1) @ nodes_MD).mean(0)
        self.state.write(nodes_MD=0.9 * nodes_MD + 0.1 * x_BD.mean(0))
        return x_BD + read_D


def steps(module: nn.Module, count: int = 3) -> list[Tensor]:
    """Gradients of the mixing weights in `count` ordinary training steps."""
    generator, found = torch.Generator().manual_seed(0), []
    for _ in range(count):
        module.zero_grad()
        module(torch.randn(5, D, generator=generator)).square().sum().backward()
        found.append(module.mix.grad.clone())
        with torch.no_grad():
            for parameter in module.parameters():
                parameter -= 0.01 * parameter.grad
    return found


def culprit_line(kind: type[nn.Module]) -> int:
    lines, start = inspect.getsourcelines(kind)
    (line,) = [number for number, line in enumerate(lines, start) if line.rstrip().endswith("# culprit")]
    return line


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Rebound, "backward through the graph a second time"),
        (Copied, "modified by an inplace operation"),
        (CopiedWithoutGrad, "modified by an inplace operation"),
    ],
)
def test_three_faulty_updates_raise(kind, message):
    with pytest.raises(RuntimeError, match=message):
        steps(kind())


def test_the_fourth_gives_wrong_gradients_without_a_word():
    wrong, right = steps(CopiedThroughData(), 1)[0], steps(Kept(), 1)[0]
    assert (wrong - right).norm() > 0.05 * right.norm()


@pytest.mark.parametrize(
    ("kind", "category", "silent", "tensor"),
    [
        (Rebound, "carried state", False, "nodes"),
        (Copied, "buffer update", False, "nodes"),
        (CopiedWithoutGrad, "buffer update", False, "nodes"),
        (CopiedThroughData, "write through .data", True, "nodes"),
    ],
)
def test_the_doctor_names_the_line_of_each(kind, category, silent, tensor):
    module = kind()
    report = explain_backward(lambda: steps(module), model=module)
    finding = report.findings[0]
    assert finding.category == category
    assert finding.silent is silent
    assert finding.culprit is not None
    assert finding.culprit.line == culprit_line(kind)
    assert tensor in finding.tensor


def test_the_doctor_finds_nothing_where_the_rules_are_kept():
    for module in (Kept(), copy.deepcopy(Kept()).double().float()):
        assert explain_backward(lambda module=module: steps(module), model=module).ok
    memory = GraphDiffusionMemory(D, M)
    memory.mix = memory.adjacency_MM  # the name that `steps` reads
    assert explain_backward(lambda: steps(memory), model=memory).ok


def test_a_read_is_a_copy_and_a_write_goes_into_the_same_buffer():
    state = State(a=torch.zeros(2))
    buffer, read = state.a, state.read("a")
    live = torch.ones(2, requires_grad=True) * 2
    state.write(a=live)
    assert state.a is buffer
    assert not state.a.requires_grad
    assert state.a.tolist() == [2, 2]
    assert read.tolist() == [0, 0]
    given = torch.ones(2)
    state.write(a=given)
    given.mul_(5)
    assert state.a.tolist() == [1, 1]


def test_a_write_of_another_shape_writes_nothing():
    state = State(a=torch.zeros(2), importance=torch.zeros(4))
    with pytest.raises(TrainingError, match=r"shape \(4,\) for the state 'importance', got shape \(1,\)"):
        state.write(a=torch.ones(2), importance=torch.ones(1))
    assert not state.a.any()


def test_eval_mode_writes_nothing():
    state = State(a=torch.zeros(2)).eval()
    state.write(a=torch.ones(2))
    assert not state.a.any()
