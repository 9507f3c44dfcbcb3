"""Planted silent faults: torch raises nothing and the gradients are wrong. `# culprit` marks the line that writes."""

import ctypes
import inspect
import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lab.doctor import BackwardFinding, WatchConfig, explain_backward

Case = Callable[[], object]


def _line(case: Case, mark: str) -> int:
    lines, start = inspect.getsourcelines(case)
    (found,) = [number for number, line in enumerate(lines, start) if line.rstrip().endswith(f"# {mark}")]
    return found


def data_write() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x.exp()
    y.data.mul_(2)  # culprit
    y.sum().backward()


def data_assignment() -> None:
    scale = nn.LayerNorm(3)
    y = torch.ones(2, 3, requires_grad=True) * scale.weight
    scale.weight.data = torch.full((3,), 7.0)  # culprit
    y.sum().backward()


def data_weights() -> None:
    layer = nn.Linear(3, 3)
    y = layer(torch.ones(2, 3, requires_grad=True))
    layer.weight.data.clamp_(-0.01, 0.01)  # culprit
    y.sum().backward()


def fused_step() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1, fused=True)
    out = net(torch.ones(2, 3))
    first, second = out.sum(), out.square().sum()
    first.backward(retain_graph=True)
    optimizer.step()  # culprit
    second.backward()


def fused_sgd_step() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, fused=True)
    out = net(torch.ones(2, 3))
    first, second = out.sum(), out.square().sum()
    first.backward(retain_graph=True)
    optimizer.step()  # culprit
    second.backward()


@pytest.mark.parametrize(
    ("case", "category", "tensor"),
    [
        (data_write, "write through .data", "variable y"),
        (data_assignment, "assignment to .data", "parameter scale.weight"),
        (data_weights, "write through .data", "parameter layer.weight"),
        (fused_step, "fused optimizer step", "parameter net.2.weight"),
        (fused_sgd_step, "fused optimizer step", "parameter net.2.weight"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_write_that_torch_does_not_count_is_found_with_its_line(case: Case, category: str, tensor: str) -> None:
    report = explain_backward(case)
    found = {finding.tensor: finding for finding in report.findings}
    assert tensor in found, report
    for finding in found.values():
        assert finding.silent
        assert finding.category == category
        assert finding.culprit is not None
        assert (finding.culprit.path, finding.culprit.line) == (__file__, _line(case, "culprit"))


def another_part_first() -> None:
    table = torch.ones(6, 4)
    w = torch.ones(6, requires_grad=True)
    y = (table.narrow(0, 0, 3) * w[:, None][:3]).sum()
    table.data[4:] = 7.0
    table.data[1] = 7.0  # culprit
    y.backward()


def written_then_assigned() -> None:
    scale = nn.LayerNorm(3)
    y = torch.ones(2, 3, requires_grad=True) * scale.weight
    scale.weight.data.mul_(2)
    scale.weight.data = torch.full((3,), 7.0)  # culprit
    y.sum().backward()


@pytest.mark.parametrize("case", [another_part_first, written_then_assigned], ids=lambda case: case.__name__)
def test_of_several_writes_the_one_that_did_it_is_named(case: Case) -> None:
    (finding,) = explain_backward(case).findings
    assert finding.culprit is not None
    assert finding.culprit.line == _line(case, "culprit")


def test_the_gradients_of_a_silent_fault_are_indeed_wrong() -> None:
    x = torch.ones(3, requires_grad=True)

    def run() -> None:
        y = x.exp()
        y.data.mul_(2)
        y.sum().backward()

    assert not explain_backward(run).ok
    assert x.grad is not None
    assert torch.allclose(x.grad, 2 * torch.e * torch.ones(3))


def numpy_alias() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x.exp()
    z = y * 2  # after
    y.detach().numpy()[0] = 50.0  # culprit
    z = z + 1  # before
    z.sum().backward()


def numpy_alias_made_earlier() -> None:
    shared = torch.ones(4, 3)
    array = shared.numpy()
    w = torch.ones(3, requires_grad=True)
    y = (shared * w).sum()
    y = y + 1  # after
    np.multiply(array, 3, out=array)  # culprit
    y = y * 2  # before
    y.backward()


def from_numpy() -> None:
    array = np.ones((4, 3), np.float32)
    w = torch.ones(3, requires_grad=True)
    y = torch.from_numpy(array) @ w  # after
    array[1:3, 0] = 9  # culprit
    y.sum().backward()  # before


def shuffled_in_place() -> None:
    array = np.arange(12, dtype=np.float32).reshape(4, 3)
    w = torch.ones(3, requires_grad=True)
    y = torch.from_numpy(array) @ w  # after
    array[:] = array[::-1].copy()  # culprit
    y.sum().backward()  # before


def written_through_dlpack() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x.exp()  # after
    np.from_dlpack(y.detach())[:] = 4.0  # culprit
    y.sum().backward()  # before


def strided_part() -> None:
    table = torch.ones(6, 4)
    w = torch.ones(6, requires_grad=True)
    y = (table[:, 1] * w).sum()  # after
    table.numpy()[2, 1] = 5.0  # culprit
    y.backward()  # before


OUTSIDE = {
    numpy_alias: "variable y",
    numpy_alias_made_earlier: "variable shared",
    from_numpy: "numpy array array",
    shuffled_in_place: "numpy array array",
    written_through_dlpack: "variable y",
    strided_part: "variable table",
}


@pytest.mark.parametrize("case", OUTSIDE, ids=lambda case: case.__name__)
def test_a_write_outside_torch_is_bracketed_between_two_operations(case: Case) -> None:
    report = explain_backward(case)
    assert not report.ok
    for finding in report.findings:
        assert finding.category == "write outside torch"
        assert finding.silent
        assert finding.culprit is None
        assert finding.tensor == OUTSIDE[case]
        after, before = _bracket(finding)
        assert after == _line(case, "after") or after == _line(case, "culprit")
        assert before == _line(case, "before")
        assert after <= _line(case, "culprit") <= before


def _bracket(finding: BackwardFinding) -> tuple[int, int]:
    assert finding.bracket_places is not None
    after, before = finding.bracket_places
    assert after is not None
    assert before is not None
    return after.line, before.line


@pytest.mark.parametrize(("patrol_tensors", "width"), [(64, 3), (1, 30)])
def test_a_write_to_memory_not_known_to_be_shared_is_bracketed_by_the_patrol(patrol_tensors: int, width: int) -> None:
    def run() -> None:
        kept = [torch.ones(50, requires_grad=True).exp() for _ in range(20)]
        address = kept[3].untyped_storage().data_ptr()
        torch.ones(3) + 1
        ctypes.memset(address, 1, 8)
        for _ in range(40):
            torch.ones(3) + 1
        torch.stack(kept).sum().backward()

    config = WatchConfig(patrol_tensors=patrol_tensors)
    (finding,) = explain_backward(run, config=config).findings
    assert finding.category == "write outside torch"
    assert finding.bracket_places is not None
    after, before = _bracket(finding)
    lines, start = inspect.getsourcelines(run)
    (written,) = [number for number, line in enumerate(lines, start) if "memset" in line]
    assert after <= written <= before
    assert before - after <= width
    assert (after, before) == (written - 1, written + 2) or patrol_tensors == 1


@pytest.mark.parametrize("shared_first", [True, False])
def test_memory_that_numpy_shares_is_looked_at_before_every_operation(shared_first: bool) -> None:
    def run() -> None:
        kept = [torch.ones(50, requires_grad=True).exp() for _ in range(200)]
        if shared_first:
            array = np.ones(50, np.float32)
            last = torch.from_numpy(array) * torch.ones(50, requires_grad=True)
        else:
            last = torch.ones(50, requires_grad=True).exp()
            array = last.detach().numpy()
        first = torch.ones(3) + 1
        array[7] = 4.0
        second = first * 2
        (torch.stack([*kept, last]).sum() + second.sum()).backward()

    (finding,) = explain_backward(run).findings
    after, before = _bracket(finding)
    assert before - after == 2


def test_assigning_data_is_no_fault_where_the_graph_keeps_the_old_memory() -> None:
    layer = nn.Linear(3, 3)
    x = torch.ones(2, 3, requires_grad=True)
    weight = layer.weight.detach().clone()

    def run() -> None:
        y = layer(x)
        layer.weight.data = torch.full((3, 3), 7.0)
        y.sum().backward()

    assert explain_backward(run).ok
    assert x.grad is not None
    assert torch.allclose(x.grad, weight.sum(0).expand(2, 3))


def test_writes_to_another_part_of_the_memory_are_no_fault() -> None:
    def run() -> None:
        table = torch.ones(6, 4)
        w = torch.ones(6, requires_grad=True)
        y = (table[:, 1] * w).sum()
        table.data[:, 2] = 7.0
        table.numpy()[:, 3] = 5.0
        y.backward()

    assert explain_backward(run).ok


class Memory(nn.Module):
    """A buffer that forward reads and updates; the four forms in which that goes wrong."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.mix = nn.Linear(4, 4)
        self.register_buffer("mem", torch.ones(4))
        self.form = form

    def forward(self, x: Tensor) -> Tensor:
        out = self.mix(x) * self.mem
        new = 0.9 * self.mem + 0.1 * out.mean(0)
        if self.form == "rebind":
            self.mem = new
        elif self.form == "copy_":
            self.mem.copy_(new)
        elif self.form == "copy_ under no_grad":
            with torch.no_grad():
                self.mem.copy_(new)
        elif self.form == ".data.copy_":
            self.mem.data.copy_(new)
        else:
            self.mem = new.detach()
        return out


def _train(model: nn.Module) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(torch.ones(2, 4)).square().mean()
        loss.backward()
        assert torch.isfinite(loss)
        optimizer.step()


@pytest.mark.parametrize(
    ("form", "category", "silent", "text"),
    [
        ("rebind", "carried state", False, "new = 0.9 * self.mem + 0.1 * out.mean(0)"),
        ("copy_", "buffer update", False, "self.mem.copy_(new)"),
        ("copy_ under no_grad", "buffer update", False, "self.mem.copy_(new)"),
        (".data.copy_", "write through .data", True, "self.mem.data.copy_(new)"),
    ],
)
def test_the_four_faulty_buffer_updates_are_told_apart(form: str, category: str, silent: bool, text: str) -> None:
    model = Memory(form)
    report = explain_backward(lambda: _train(model), model=model)
    assert report.findings
    for finding in report.findings:
        assert finding.category == category
        assert finding.silent is silent
        assert finding.tensor == "persistent buffer mem"
        assert finding.culprit is not None
        assert finding.culprit.text == text
        assert finding.culprit.function.endswith("Memory.forward")


def test_the_buffer_update_that_holds_is_no_fault() -> None:
    model = Memory("detached value")
    assert explain_backward(lambda: _train(model), model=model).ok


@pytest.mark.parametrize("method", ["hook", "walk"])
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("stepped", [True, False])
def test_weights_of_a_checkpointed_part_written_before_it_is_run_again_are_named(
    reentrant: bool, method: str, stepped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradients are those of other weights than the loss had; torch says nothing."""
    if method == "walk":
        monkeypatch.delattr(torch.autograd.graph, "node_creation_hook", raising=False)
    part = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    optimizer = torch.optim.SGD([part[0].weight], lr=0.1)

    def loop() -> None:
        x = torch.ones(2, 3, requires_grad=True)
        y = checkpoint(part, x, use_reentrant=reentrant)  # victim
        if stepped:
            part(x).sum().backward()
            optimizer.step()  # step
        else:
            with torch.no_grad():
                part[0].weight.mul_(2.0)  # write
        y.sum().backward()

    report = explain_backward(loop, model=part)
    assert {finding.tensor for finding in report.findings} == {"parameter 0.weight"}
    lines, start = inspect.getsourcelines(loop)
    mark = "# step" if stepped else "# write"
    written = next(number for number, line in enumerate(lines, start) if line.rstrip().endswith(mark))
    for finding in report.findings:
        assert finding.silent
        assert finding.category == ("optimizer step" if stepped else "parameter update")
        assert finding.culprit is not None
        assert (finding.culprit.path, finding.culprit.line) == (__file__, written)
        assert finding.victim is not None
        assert finding.victim.text.endswith("# victim")
    assert report.unwatched == 1 if reentrant else report.unwatched >= 2
    assert f"{report.unwatched} nodes were not watched" in str(report)


@pytest.mark.parametrize("reentrant", [True, False])
def test_weights_of_a_checkpointed_part_written_after_backward_are_no_fault(reentrant: bool) -> None:
    part, other = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout()), nn.Linear(3, 3)

    def loop() -> None:
        for _ in range(2):
            x = torch.ones(4, 3, requires_grad=True)
            y = checkpoint(part, x, use_reentrant=reentrant)
            with torch.no_grad():
                for average, weight in zip(other.parameters(), part[0].parameters(), strict=True):
                    average.lerp_(weight, 0.1)
            y.sum().backward()
            with torch.no_grad():
                part[0].weight.mul_(2.0)

    assert explain_backward(loop, model=part).ok


def test_a_bracket_is_plain_data() -> None:
    data = json.loads(explain_backward(numpy_alias).to_json())
    after, before = data["findings"][0]["bracket_places"]
    assert after["line"] < before["line"]


def test_rows_that_change_places_are_found_with_a_bracket_that_holds_the_write() -> None:
    rows = np.arange(64 * 32, dtype=np.float32).reshape(64, 32)
    weight = torch.ones(32, requires_grad=True)

    def step() -> None:
        out = torch.from_numpy(rows) @ weight
        early = out.square()
        rows[[0, 1]] = rows[[1, 0]]
        late = early.sum()
        late.backward()

    report = explain_backward(step)
    assert len(report.findings) == 1, str(report)
    places = report.findings[0].bracket_places
    assert places is not None
    after, before = places
    assert after is not None
    assert before is not None
    assert after.text in ("out = torch.from_numpy(rows) @ weight", "early = out.square()")
    assert before.text in ("late = early.sum()", "late.backward()")
    assert "numpy array rows" in report.findings[0].tensor
