"""Planted second backwards, and writes to leaves. `# carrier` marks the line that made the value carried over."""

import inspect
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lab.doctor import explain_backward

Case = Callable[[], object]


def _line(case: Case, mark: str) -> int:
    lines, start = inspect.getsourcelines(case)
    (found,) = [number for number, line in enumerate(lines, start) if line.rstrip().endswith(f"# {mark}")]
    return found


class Memory(nn.Module):
    """Keeps a state from call to call, by rebinding it to a live tensor."""

    def __init__(self, keep: str) -> None:
        super().__init__()
        self.mix = nn.Linear(4, 4)
        self.register_buffer("mem", torch.zeros(4))
        self.keep = keep
        self.history: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        out = torch.tanh(self.mix(x + self.mem))
        new = 0.9 * self.mem + 0.1 * out.mean(0)
        if self.keep == "buffer":
            self.mem = new
        else:
            self.history.append(new)
        return out if self.keep == "buffer" or len(self.history) < 2 else out + self.history[-2]


def _train(model: nn.Module, steps: int = 3) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(2, 4)).sum().backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("keep", "holder"), [("buffer", "persistent buffer mem"), ("list", "plain attribute history[0]")]
)
@pytest.mark.parametrize("named", [True, False])
def test_a_state_that_carries_its_graph_is_named_with_the_line_that_made_it(
    keep: str, holder: str, named: bool
) -> None:
    model = Memory(keep)
    report = explain_backward(lambda: _train(model), model=model if named else None)
    (finding,) = report.findings
    assert finding.category == "carried state"
    kind, name = holder.rsplit(" ", 1)
    assert finding.tensor == holder if named else finding.tensor == f"{kind} model.{name}"
    assert finding.culprit is not None
    assert finding.culprit.text == "new = 0.9 * self.mem + 0.1 * out.mean(0)"
    assert finding.freed_by is not None
    assert finding.freed_by.text == "model(torch.ones(2, 4)).sum().backward()"
    assert "state.detach()" in finding.fix
    assert "second time" in finding.message


def test_a_detached_state_is_no_fault() -> None:
    model = Memory("buffer")

    def train() -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(2, 4)).sum().backward()
            optimizer.step()
            model.mem = model.mem.detach()

    assert explain_backward(train, model=model).ok


def recurrent_state() -> None:
    cell = nn.GRUCell(3, 3)
    h = torch.zeros(2, 3)
    for _ in range(3):
        h = cell(torch.ones(2, 3), h)  # carrier
        h.sum().backward()


def computed_outside_the_loop() -> None:
    w = nn.Parameter(torch.ones(3))
    scale = w.exp()  # carrier
    for _ in range(2):
        (scale * torch.ones(3)).sum().backward()


def kept_losses() -> None:
    w = nn.Parameter(torch.ones(3))
    total = torch.zeros(())
    for _ in range(2):
        total = total + (w * w).sum()  # carrier
        total.backward()


@pytest.mark.parametrize(
    ("case", "tensor"),
    [
        (recurrent_state, "variable h"),
        (computed_outside_the_loop, "variable scale"),
        (kept_losses, "a tensor without a name"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_value_carried_over_is_named_with_its_line(case: Case, tensor: str) -> None:
    (finding,) = explain_backward(case).findings
    assert finding.category == "carried state"
    assert finding.culprit is not None
    assert (finding.culprit.path, finding.culprit.line) == (__file__, _line(case, "carrier"))
    assert finding.tensor == tensor


def two_losses() -> None:
    layer = nn.Linear(3, 3)
    shared = layer(torch.ones(2, 3)).tanh()  # carrier
    first, second = shared.sum(), shared.square().sum()
    first.backward()
    second.backward()


def one_loss_twice() -> None:
    layer = nn.Linear(3, 3)
    loss = layer(torch.ones(2, 3)).tanh().sum()  # carrier
    for _ in range(2):
        loss.backward()


def gradient_twice() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x.exp()  # carrier
    torch.autograd.grad(y.sum(), x)
    torch.autograd.grad(y.square().sum(), x)


@pytest.mark.parametrize(
    ("case", "category"),
    [
        (two_losses, "two backwards through one graph"),
        (one_loss_twice, "same loss twice"),
        (gradient_twice, "carried state"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_shared_node_is_named_with_its_line(case: Case, category: str) -> None:
    (finding,) = explain_backward(case).findings
    assert finding.category == category
    assert finding.culprit is not None
    assert (finding.culprit.path, finding.culprit.line) == (__file__, _line(case, "carrier"))
    assert finding.backward is not None
    assert "backward" in finding.backward.text or "autograd.grad" in finding.backward.text
    assert finding.freed_by is not None


@pytest.mark.parametrize("method", ["hook", "walk"])
def test_a_custom_function_that_is_the_loss_itself_is_known(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class SquareSum(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x.square().sum()

        @staticmethod
        def backward(ctx, gradient: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return 2 * x * gradient

    def run() -> None:
        loss = SquareSum.apply(torch.ones(3, requires_grad=True))
        loss.backward()
        loss.backward()

    if method == "walk":
        monkeypatch.delattr(torch.autograd.graph, "node_creation_hook", raising=False)
    (finding,) = explain_backward(run).findings
    assert finding.category == "same loss twice"


def leaf_write() -> None:
    w = nn.Parameter(torch.ones(3))
    w.add_(1)  # culprit


def view_of_a_leaf() -> None:
    w = torch.ones(3, requires_grad=True)
    w[0] = 2.0  # culprit


def one_of_several_views() -> None:
    x = torch.ones(4, requires_grad=True) * 1
    first, _ = x.chunk(2)
    first.mul_(2)  # culprit


@pytest.mark.parametrize("case", [leaf_write, view_of_a_leaf, one_of_several_views], ids=lambda case: case.__name__)
def test_a_write_that_torch_refuses_at_once_is_explained_with_its_line(case: Case) -> None:
    (finding,) = explain_backward(case).findings
    assert finding.category == "in-place on a leaf"
    assert finding.culprit is not None
    assert (finding.culprit.path, finding.culprit.line) == (__file__, _line(case, "culprit"))
    assert finding.tensor in ("parameter w", "variable w", "variable x", "variable first")


def test_a_parameter_that_is_written_in_forward_is_named_by_the_model() -> None:
    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.slots = nn.Parameter(torch.zeros(4, 3))

        def forward(self, x: Tensor) -> Tensor:
            self.slots[0] = x
            return self.slots

    model = Tiny()
    (finding,) = explain_backward(lambda: model(torch.ones(3)).sum().backward(), model=model).findings
    assert finding.tensor == "parameter slots"
    assert finding.culprit_operation == "__setitem__"


@pytest.mark.skipif(
    not hasattr(torch.autograd.graph, "node_creation_hook"), reason="this torch has no node_creation_hook"
)
def test_a_graph_from_before_the_run_is_said_to_be_one() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x.exp()
    y.add_(1)
    (finding,) = explain_backward(lambda: y.sum().backward()).findings
    assert finding.category == "graph from before the run"
    assert finding.culprit is None


def test_a_meta_parameter_is_named_where_backward_says_only_device() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3, bias=False))
    model[1].weight = nn.Parameter(model[1].weight.to("meta"))
    (finding,) = explain_backward(lambda: model(torch.ones(2, 3)).sum().backward(), model=model).findings
    assert finding.category == "meta parameter"
    assert finding.tensor == "parameter 1.weight"


@pytest.mark.parametrize("error", [ValueError("no"), RuntimeError("shapes"), KeyboardInterrupt()])
def test_errors_of_another_kind_pass_through_unchanged(error: BaseException) -> None:
    def fail() -> None:
        torch.ones(3, requires_grad=True).exp().sum().backward()
        raise error

    with pytest.raises(type(error)) as caught:
        explain_backward(fail)
    assert caught.value is error
