"""What registries do not lead to: in helper objects, behind an operation, in caches. `# here` marks the line."""

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lab.doctor import audit, simulate

TABLE = torch.ones(4)


class Kit:
    """A helper that is no module."""

    def __init__(self) -> None:
        self.proj = nn.Linear(4, 4)


class Slotted:
    __slots__ = ("gain", "mask", "owner")

    def __init__(self, owner: nn.Module) -> None:
        self.gain = nn.Parameter(torch.ones(4))
        self.mask = torch.ones(4)
        self.owner = [self, owner]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


class WithKit(Net):
    def __init__(self) -> None:
        super().__init__()
        self.kit = Kit()

    def forward(self, x: Tensor) -> Tensor:
        return self.kit.proj(self.fc(x))  # here


class KitInList(Net):
    def __init__(self) -> None:
        super().__init__()
        self.kits = {"a": [Kit()]}

    def forward(self, x: Tensor) -> Tensor:
        return self.kits["a"][0].proj(self.fc(x))  # here


class SlottedMask(Net):
    def __init__(self) -> None:
        super().__init__()
        self.slotted = (Slotted(self), 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) * self.slotted[0].mask  # here


class SlottedGain(SlottedMask):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) * self.slotted[0].gain  # here


class MadeByAnOperation(Net):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(4)).double().float()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) * self.gain  # here


class InAList(Net):
    def __init__(self) -> None:
        super().__init__()
        self.gains = [nn.Parameter(torch.ones(4))]

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) * self.gains[0]  # here


class InAGlobal(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) * TABLE  # here


@functools.lru_cache
def table(size: int) -> Tensor:
    return torch.ones(size)


class InACache(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) * table(4)  # here


UNREGISTERED = "unregistered parameter"
PLANTED: list[tuple[Callable[[], nn.Module], str, str, str]] = [
    (WithKit, "module hidden in a plain object", "kit.proj", "kit.proj.weight"),
    (KitInList, "module hidden in a plain object", "kits['a'][0].proj", "kits['a'][0].proj.weight"),
    (SlottedGain, UNREGISTERED, "slotted[0].gain", "slotted[0].gain"),
    (MadeByAnOperation, UNREGISTERED, "gain", "gain"),
    (InAList, UNREGISTERED, "gains[0]", "gains[0]"),
]


def _line(kind: Any) -> int:
    lines, start = inspect.getsourcelines(kind.forward)
    (found,) = [number for number, line in enumerate(lines, start) if line.rstrip().endswith("# here")]
    return found


@pytest.mark.parametrize("follow_data", [False, True])
@pytest.mark.parametrize(("make", "kind", "name", "operand"), PLANTED)
def test_what_is_hidden_is_named_by_the_audit_and_by_the_simulation(
    make: Callable[[], nn.Module], kind: str, name: str, operand: str, follow_data: bool
) -> None:
    model = make()
    (finding,) = audit(model).findings
    assert (finding.kind, finding.name) == (kind, name)
    assert "register_buffer" not in finding.fix
    report = simulate(model, torch.ones(2, 4), follow_data=follow_data)
    assert (report.verdict, report.cause, report.fix) == ("mismatch", kind, finding.fix)
    assert operand in {operand.name for operand in report.operands}
    assert report.place is not None
    assert report.place.line == _line(make)
    assert not audit(model, torch.optim.SGD(model.parameters(), lr=0.1)).ok


def test_a_parameter_that_an_optimizer_was_given_by_hand_is_trained() -> None:
    model = InAList()
    assert audit(model, torch.optim.SGD([*model.parameters(), *model.gains], lr=0.1)).ok


def test_of_a_model_on_the_cpu_a_note_tells_what_would_stay() -> None:
    model = SlottedMask()
    model.slotted[0].gain = None
    model.scale, model.count, model.same = torch.ones(8), torch.tensor(1.0), model.fc.weight
    report = audit(model)
    assert report.ok, str(report)
    note = next(note for note in report.notes if note.startswith("will stay when the model moves"))
    assert note.endswith(": scale, slotted[0].mask")
    assert not any("will stay" in note for note in audit(Net()).notes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        normed = nn.utils.weight_norm(nn.Linear(4, 4))
    assert not any("will stay" in note for note in audit(normed).notes)
    found = {finding.name: finding.kind for finding in audit(model, device="cuda").findings}
    assert found["slotted[0].mask"] == "plain attribute on another device"
    simulated = simulate(model, torch.ones(2, 4))
    assert (simulated.cause, simulated.operands[1].name) == ("plain attribute", "slotted[0].mask")


@pytest.mark.parametrize(("kind", "name"), [(InAGlobal, ".TABLE"), (InACache, ".table(cache)")])
@pytest.mark.parametrize("follow_data", [False, True])
def test_a_tensor_of_a_global_or_a_cache_is_named(kind: type[nn.Module], name: str, follow_data: bool) -> None:
    table(4)
    report = simulate(kind(), torch.ones(2, 4), follow_data=follow_data)
    assert (report.verdict, report.cause) == ("mismatch", "cached on another device")
    assert report.operands[1].name.endswith(name)
    assert report.place is not None
    assert report.place.line == _line(kind)


class Masked(nn.Module):
    """A mask made at the first use, and used on both devices; or the activation itself, kept and not moved."""

    def __init__(self, moves: bool = True) -> None:
        super().__init__()
        self.front, self.back = nn.Linear(4, 4), nn.Linear(4, 4)
        self.masks: dict[int, Tensor] = {}
        self.moves = moves

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.front(x)
        hidden = self.last.to(self.back.weight.device) if self.moves else self.last
        if 4 not in self.masks:
            self.masks[4] = torch.ones(4, device=x.device)
        return self.back(hidden) * self.masks[4][:4]  # here


@pytest.mark.parametrize("follow_data", [False, True])
def test_a_mask_cached_for_one_gpu_and_used_on_another_is_cached(follow_data: bool) -> None:
    placement = {"front": "cuda:0", "back": "cuda:1"}
    report = simulate(Masked(), torch.ones(2, 4), device="cuda:0", placement=placement, follow_data=follow_data)
    assert (report.verdict, report.module) == ("mismatch", "")
    assert "cached" in {operand.kind.split(" ")[0] for operand in report.operands}
    assert report.cause == "cached on another device"
    crossing = simulate(Masked(moves=False), torch.ones(2, 4), device="cuda:0", placement=placement)
    assert crossing.cause == "activation not moved between parts"


class Healthy(Net):
    """Helpers that hold nothing of their own, a parameter of another module, outputs with their graph."""

    def __init__(self) -> None:
        super().__init__()
        self.kit = Kit()
        self.proj = self.kit.proj
        self.kit.home = self
        self.weights = [self.fc.weight, self.fc.weight.t()]
        self.average = [parameter.detach().clone() for parameter in self.fc.parameters()]
        self.frozen = (nn.Parameter(torch.ones(2), requires_grad=False),)
        self.points = torch.linspace(0, 1, 3).requires_grad_()
        self.last = self.fc(torch.ones(1, 4))


def test_helpers_that_hide_nothing_and_kept_outputs_are_no_findings() -> None:
    assert audit(Healthy()).ok, str(audit(Healthy()))


@pytest.mark.parametrize("follow_data", [False, True])
def test_a_cache_in_the_closure_of_a_local_class_is_named_and_put_back(follow_data: bool) -> None:
    masks: dict[int, Tensor] = {}

    class Base(nn.Module):
        def mask(self, x: Tensor) -> Tensor:
            if 4 not in masks:
                masks[4] = torch.ones(4, device=x.device)
            return masks[4]

    class Block(Base):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.mix(x) * self.mask(x)

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.front, self.back = Block(), Block()

        def forward(self, x: Tensor) -> Tensor:
            return self.back(self.front(x).to(self.back.mix.weight.device))

    placement = {"front": "cuda:0", "back": "cuda:1"}
    report = simulate(Pair(), torch.ones(2, 4), device="cuda:0", placement=placement, follow_data=follow_data)
    assert report.cause == "cached on another device"
    assert any("masks[4]" in operand.name for operand in report.operands)
    assert masks == {}
    assert any("masks" in path for path in report.cached)
