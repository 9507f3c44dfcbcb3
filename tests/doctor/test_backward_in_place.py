"""Planted in-place faults: `# culprit` marks the line that writes, `# victim` the line that needs the old value."""

import copy
import inspect
import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional as F

from lab.base import ConfigError
from lab.doctor import WatchConfig, explain_backward

Case = Callable[[], object]


def _line(case: Case, mark: str) -> int | None:
    lines, start = inspect.getsourcelines(case)
    found = [number for number, line in enumerate(lines, start) if line.rstrip().endswith(f"# {mark}")]
    assert len(found) <= 1
    return found[0] if found else None


def arithmetic() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x.exp()  # victim
    y.add_(1)  # culprit
    y.sum().backward()


def operator_assignment() -> None:
    x = torch.ones(3, requires_grad=True)
    y = torch.sigmoid(x)  # victim
    z = y * 3
    y *= 2  # culprit
    (y + z).sum().backward()


def own_input() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x + 1
    y.mul_(y)  # culprit
    y.sum().backward()


def view_write() -> None:
    x = torch.ones(4, 3, requires_grad=True)
    y = x.tanh()  # victim
    row = y[1]
    row.zero_()  # culprit
    y.sum().backward()


def view_of_input() -> None:
    w = torch.ones(3, 3, requires_grad=True)
    x = torch.ones(2, 3)
    y = x @ w  # victim
    x.view(-1).narrow(0, 0, 3).mul_(2)  # culprit
    y.sum().backward()


def index_write() -> None:
    x = torch.ones(4, requires_grad=True)
    y = x.exp()  # victim
    y[2] = 0.0  # culprit
    y.sum().backward()


def mask_write() -> None:
    x = torch.ones(4, requires_grad=True)
    y = x.sqrt()  # victim
    y[y > 0.5] = 0.0  # culprit
    y.sum().backward()


def scatter_write() -> None:
    x = torch.ones(4, requires_grad=True)
    y = x.sigmoid()  # victim
    y.scatter_(0, torch.tensor([1]), 0.0)  # culprit
    y.sum().backward()


def out_write() -> None:
    a = torch.ones(3, requires_grad=True)
    b = torch.full((3,), 2.0)
    y = a * b  # victim
    torch.add(b, 1, out=b)  # culprit
    y.sum().backward()


def in_place_activation() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x.exp()  # victim
    z = F.relu(y, inplace=True)  # culprit
    z.sum().backward()


def in_place_activation_module() -> None:
    layer, act = nn.Linear(3, 3), nn.LeakyReLU(0.1, inplace=True)
    y = layer(torch.ones(2, 3)).tanh()  # victim
    z = act(y)  # culprit
    z.sum().backward()


def in_place_dropout() -> None:
    x = torch.ones(30, requires_grad=True)
    y = x.exp()  # victim
    z = F.dropout(y, 0.5, training=True, inplace=True)  # culprit
    z.sum().backward()


def clamp() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x.exp()  # victim
    y.clamp_(max=2)  # culprit
    y.sum().backward()


def step_between_two_losses() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    out = net(torch.ones(2, 3))  # victim
    first, second = out.sum(), out.square().sum()
    first.backward(retain_graph=True)
    optimizer.step()  # culprit
    second.backward()


def adam_step_between_two_losses() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1, foreach=True)
    out = net(torch.ones(2, 3))  # victim
    first, second = out.sum(), out.square().sum()
    first.backward(retain_graph=True)
    optimizer.step()  # culprit
    second.backward()


def gan_step() -> None:
    generator, critic = nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    of_critic = torch.optim.Adam(critic.parameters())
    fake = generator(torch.ones(5, 2))
    verdict = critic(fake)  # victim
    of_critic.zero_grad()
    (critic(torch.ones(5, 3)).mean() - critic(fake.detach()).mean()).backward()
    of_critic.step()  # culprit
    (-verdict.mean()).backward()


def moving_average() -> None:
    student = nn.Linear(3, 3)
    teacher = copy.deepcopy(student)
    x = student(torch.ones(2, 3))
    target = teacher(x)  # victim
    with torch.no_grad():
        for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
            slow.mul_(0.9).add_(fast, alpha=0.1)  # culprit
    target.sum().backward()


def hand_written_step() -> None:
    w = nn.Parameter(torch.ones(3, 3))
    y = torch.ones(2, 3, requires_grad=True) @ w  # victim
    with torch.no_grad():
        w -= 0.1  # culprit
    y.sum().backward()


def weight_clipping() -> None:
    critic = nn.Linear(3, 1)
    score = critic(torch.ones(2, 3, requires_grad=True))  # victim
    for parameter in critic.parameters():
        with torch.no_grad():
            parameter.clamp_(-0.01, 0.01)  # culprit
    score.sum().backward()


def weight_initialisation_in_the_loop() -> None:
    layer = nn.Linear(3, 3)
    y = layer(torch.ones(2, 3, requires_grad=True))  # victim
    nn.init.normal_(layer.weight)  # culprit
    y.sum().backward()


def recurrent_carry() -> None:
    cell = nn.Linear(3, 3)
    h = torch.zeros(2, 3)
    for _ in range(3):
        new = torch.tanh(cell(h))  # victim
        new += 0.5  # culprit
        h = new
    h.sum().backward()


def residual_sum() -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    x = first(torch.ones(2, 3))
    h = torch.relu(x)
    h += second(h)  # culprit
    h.sum().backward()


def collected_outputs() -> None:
    layer = nn.Linear(3, 3)
    out = torch.zeros(4, 3)
    for step in range(4):
        out[step] = layer(out[step - 1]).tanh()  # culprit
    out.sum().backward()


def normalised_batch() -> None:
    w = torch.ones(3, 3, requires_grad=True)
    batch = torch.arange(6.0).reshape(2, 3)
    y = F.linear(batch, w)  # victim
    batch.sub_(batch.mean(0)).div_(batch.std(0))  # culprit
    y.sum().backward()


def custom_function() -> None:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, gradient: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return 2 * x * gradient

    a = torch.ones(3, requires_grad=True) + 1
    y = Square.apply(a)  # victim
    a.zero_()  # culprit
    y.sum().backward()


def write_through_a_view_node() -> None:
    base = torch.ones(4, requires_grad=True) * 1
    scale = torch.full((2,), 3.0)
    base[:2].mul_(scale)  # victim
    scale.add_(1)  # culprit
    base.sum().backward()


def resized_foreach() -> None:
    x = [torch.ones(3, requires_grad=True) for _ in range(2)]
    y = [item.exp() for item in x]  # victim
    torch._foreach_add_(y, 1.0)  # culprit
    torch.stack(y).sum().backward()


def input_of_a_checkpoint() -> None:
    layer = nn.Linear(3, 3)
    x = torch.ones(2, 3, requires_grad=True) * 1
    y = torch.utils.checkpoint.checkpoint(lambda v: layer(v).tanh(), x, use_reentrant=False)  # victim
    x.add_(1)  # culprit
    y.sum().backward()


CASES: dict[Case, tuple[str, str]] = {
    arithmetic: ("in-place arithmetic", "variable y"),
    operator_assignment: ("in-place arithmetic", "variable y"),
    own_input: ("in-place arithmetic", "variable y"),
    view_write: ("view write", "variable y"),
    view_of_input: ("view write", "variable x"),
    index_write: ("index write", "variable y"),
    mask_write: ("index write", "variable y"),
    scatter_write: ("index write", "variable y"),
    out_write: ("out= write", "variable b"),
    in_place_activation: ("in-place activation", "variable y"),
    in_place_activation_module: ("in-place activation", "variable y"),
    in_place_dropout: ("in-place arithmetic", "variable y"),
    clamp: ("in-place arithmetic", "variable y"),
    step_between_two_losses: ("optimizer step", "parameter net.2.weight"),
    adam_step_between_two_losses: ("optimizer step", "parameter net.2.weight"),
    gan_step: ("optimizer step", "parameter critic.2.weight"),
    moving_average: ("parameter update", "parameter teacher.weight"),
    hand_written_step: ("parameter update", "parameter w"),
    weight_clipping: ("parameter update", "parameter critic.weight"),
    weight_initialisation_in_the_loop: ("parameter update", "parameter layer.weight"),
    recurrent_carry: ("in-place arithmetic", "variable h"),
    residual_sum: ("in-place arithmetic", "variable h"),
    collected_outputs: ("index write", "variable out"),
    normalised_batch: ("in-place arithmetic", "variable batch"),
    custom_function: ("in-place arithmetic", "variable a"),
    write_through_a_view_node: ("in-place arithmetic", "variable scale"),
    resized_foreach: ("in-place arithmetic", "variable y[1]"),
    input_of_a_checkpoint: ("in-place arithmetic", "variable x"),
}


needs_hook = pytest.mark.skipif(
    not hasattr(torch.autograd.graph, "node_creation_hook"), reason="this torch has no node_creation_hook"
)
ONLY_BY_HOOK = (custom_function,)
"""Cases whose victim's line only the hook tells."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_the_writing_line_the_victim_and_the_name_are_found(case: Case) -> None:
    if case in ONLY_BY_HOOK and not hasattr(torch.autograd.graph, "node_creation_hook"):
        pytest.skip("this torch has no node_creation_hook")
    report = explain_backward(case)
    assert not report.ok
    (finding,) = report.findings
    category, tensor = CASES[case]
    assert finding.culprit is not None
    assert (finding.culprit.path, finding.culprit.line) == (__file__, _line(case, "culprit"))
    assert finding.category == category
    assert finding.tensor == tensor
    assert not finding.silent
    assert "modified by an inplace operation" in finding.message
    if _line(case, "victim"):
        assert finding.victim is not None
        assert (finding.victim.path, finding.victim.line) == (__file__, _line(case, "victim"))
    assert finding.backward is not None
    assert "backward(" in finding.backward.text


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_without_the_hook_the_graph_is_walked_and_the_report_says_so(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(torch.autograd.graph, "node_creation_hook", raising=False)
    report = explain_backward(case)
    assert "saved-tensor walk" in report.method
    assert "saved-tensor walk" in str(report)
    (finding,) = report.findings
    assert finding.culprit is not None
    assert (finding.culprit.path, finding.culprit.line) == (__file__, _line(case, "culprit"))
    assert finding.category == CASES[case][0]


@needs_hook
def test_with_the_hook_the_report_names_the_hook() -> None:
    assert explain_backward(arithmetic).method == "node_creation_hook"


def test_under_anomaly_mode_the_writing_line_is_found_as_well() -> None:
    with torch.autograd.set_detect_anomaly(True), pytest.warns(UserWarning, match="Error detected in ExpBackward0"):
        (finding,) = explain_backward(arithmetic).findings
    assert finding.culprit is not None
    assert finding.culprit.line == _line(arithmetic, "culprit")


def test_the_watch_keeps_no_tensor_alive() -> None:
    alive: list[StorageWeakRef] = []

    def run() -> None:
        layer = nn.Linear(3, 3)
        for number in range(4):
            hidden = layer(torch.ones(2, 3)).tanh()
            alive.append(StorageWeakRef(hidden.untyped_storage()))
            if number % 2:
                hidden.sum().backward()
            del hidden
            assert all(storage.expired() for storage in alive)

    assert explain_backward(run).ok
    assert len(alive) == 4


def test_an_ended_watch_leaves_no_trace_in_a_graph_that_lives_on() -> None:
    kept: list[Tensor] = []

    def run() -> None:
        x = torch.ones(3, requires_grad=True)
        kept.append((x.exp() * 2).sum())

    report = explain_backward(run)
    kept[0].backward()
    assert report.ok
    assert report.findings == ()


def test_the_report_is_plain_data() -> None:
    data = json.loads(explain_backward(arithmetic).to_json())
    assert data["ok"] is False
    assert data["findings"][0]["culprit"]["line"] == _line(arithmetic, "culprit")
    assert data["findings"][0]["culprit"]["text"].startswith("y.add_(1)")
    assert "y.add_(1)" in explain_backward(arithmetic)._repr_html_()


@pytest.mark.parametrize(("field", "value"), [("patrol_tensors", -1), ("patrol_bytes", 0)])
def test_a_watch_that_looks_at_nothing_is_refused(field: str, value: int) -> None:
    with pytest.raises(ConfigError, match=field):
        WatchConfig(**{field: value})
