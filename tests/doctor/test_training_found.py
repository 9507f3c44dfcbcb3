"""`explain_training` names what keeps a parameter from learning, with the operation and the line."""

import copy
import json
import linecache
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lab.base import ConfigError
from lab.doctor import LearningReport, explain_training
from lab.doctor import training_faults as kinds

X = torch.linspace(-1, 1, 12).reshape(4, 3)


class Net(nn.Module):
    """A layer, something between, a layer."""

    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last, self.between = nn.Linear(3, 3), nn.Linear(3, 2), between

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.last(self.between(h))


def _explain(model: nn.Module, step: Callable[[], Any] | None = None, **kwargs: Any) -> LearningReport:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return explain_training(model, step or (lambda: model(X).square().mean()), optimizer, **kwargs)


def _only(report: LearningReport, category: str, operation: str, line: str) -> tuple[str, ...]:
    """The names of the one finding, which is of the category, the operation and the line."""
    assert [finding.category for finding in report.findings] == [category], str(report)
    finding = report.findings[0]
    assert operation in finding.operation
    assert finding.place is not None
    assert line in finding.place.text
    return finding.names


def _row(report: LearningReport, name: str) -> tuple[str, str, str]:
    row = next(row for row in report.parameters if row.name == name)
    return row.gradient, row.step, row.because


BOTH = ("first.weight", "first.bias")


def test_sqrt_behind_where_a_finite_forward_with_a_gradient_that_is_nan() -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.unused = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = self.layer(x)
            return torch.where(h > 0, h.sqrt(), h)

    report = _explain(Hidden())
    by_kind = {finding.category: finding for finding in report.findings}
    assert set(by_kind) == {kinds.BACKWARD, kinds.UNREAD}
    assert by_kind[kinds.UNREAD].names == ("unused.weight", "unused.bias")
    found = by_kind[kinds.BACKWARD]
    assert found.names == ("layer.weight", "layer.bias")
    assert found.operation.startswith("sqrt")
    assert found.place is not None
    assert found.place.text == "return torch.where(h > 0, h.sqrt(), h)"
    assert report.loss is not None
    assert np.isfinite(report.loss)
    gradient, _, because = _row(report, "layer.weight")
    assert gradient == "nan"
    assert "h.sqrt()" in because
    assert _row(report, "unused.weight") == ("none", "unchanged", "no operation read it")


def test_the_first_value_that_is_not_finite_in_forward() -> None:
    def between(h: Tensor) -> Tensor:
        shifted = h - 10
        logs = shifted.log()
        return logs + 1

    assert _only(_explain(Net(between)), kinds.FORWARD, "log", "logs = shifted.log()") == ("loss",)


def test_an_infinity_that_becomes_nan_later_is_followed_to_where_it_came_from() -> None:
    def between(h: Tensor) -> Tensor:
        large = (h + 1000).exp()
        return large - large

    _only(_explain(Net(between)), kinds.FORWARD, "exp", "large = (h + 1000).exp()")


def test_a_mask_over_everything_is_named_at_the_softmax() -> None:
    def between(h: Tensor) -> Tensor:
        scores = h.masked_fill(torch.ones_like(h, dtype=torch.bool), float("-inf"))
        return torch.softmax(scores, dim=1)

    _only(_explain(Net(between)), kinds.FORWARD, "softmax", "return torch.softmax(scores, dim=1)")


def test_values_from_outside_that_are_not_finite() -> None:
    model = Net(torch.relu)
    bad = X.clone()
    bad[0, 0] = float("nan")
    report = _explain(model, lambda: model(bad).mean())
    assert [finding.category for finding in report.findings] == [kinds.INPUT]
    model.first.weight.data[0, 0] = float("inf")
    report = _explain(model)
    assert [(finding.category, finding.names) for finding in report.findings] == [(kinds.PARAMETER, ("first.weight",))]


def test_float16_overflow_in_forward() -> None:
    def between(h: Tensor) -> Tensor:
        return ((h + 300).half() * 300).float()

    _only(_explain(Net(between)), kinds.OVERFLOW, "mul", "((h + 300).half() * 300)")


def test_float16_overflow_in_backward() -> None:
    def between(h: Tensor) -> Tensor:
        low = h.half()
        return low.float() * 1e5

    names = _only(_explain(Net(between)), kinds.OVERFLOW, "", "return low.float() * 1e5")
    assert names == BOTH


CUTS: dict[str, tuple[Callable[[Tensor], Tensor], str, str]] = {}


def cut(category: str, operation: str) -> Callable[[Callable[[Tensor], Tensor]], Callable[[Tensor], Tensor]]:
    def register(between: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        CUTS[between.__name__] = (between, category, operation)
        return between

    return register


@cut(kinds.CUTS["detach"], "detach")
def detached(h: Tensor) -> Tensor:
    return h.detach()  # here


@cut(kinds.CUTS["detach"], "data")
def through_data(h: Tensor) -> Tensor:
    return h.data * 2  # here


@cut(kinds.CUTS["no_grad"], "relu")
def without_gradient(h: Tensor) -> Tensor:
    with torch.no_grad():
        return h.relu()  # here


@cut(kinds.CUTS["a value taken to Python"], "tolist")
def through_a_list(h: Tensor) -> Tensor:
    numbers = h.tolist()  # here
    return torch.tensor(numbers)


@cut(kinds.CUTS["a value taken to Python"], "item")
def through_numbers(h: Tensor) -> Tensor:
    return torch.tensor([[h[0, 0].item()] * 3])  # here


@cut(kinds.CUTS["detach"], "detach")
def through_numpy(h: Tensor) -> Tensor:
    array = h.detach().numpy()  # here
    return torch.from_numpy(np.tanh(array))


@cut(kinds.CUTS["a cast to whole numbers"], "long")
def as_whole_numbers(h: Tensor) -> Tensor:
    return (h * 9).long().float()  # here


@cut(kinds.CUTS["an operation without a gradient"], "argmax")
def chosen(h: Tensor) -> Tensor:
    best = h.argmax(1)  # here
    return F.one_hot(best, 3).float()


@cut(kinds.CUTS["an operation without a gradient"], "gt")
def compared(h: Tensor) -> Tensor:
    return (h > 0).float()  # here


@cut(kinds.CUTS["detach"], "detach")
def behind_a_mask(h: Tensor) -> Tensor:
    kept = torch.where(h > 0, h, 0.1 * h)  # a comparison, which has no gradient and needs none
    return kept.detach()  # here


@cut(kinds.CUTS["detach"], "detach")
def behind_an_index(h: Tensor) -> Tensor:
    rows = (h.abs().sum(1) * 9).long() % 4
    return h[rows].detach()  # here


@cut(kinds.CUTS["detach"], "detach")
def written_into(h: Tensor) -> Tensor:
    rows = torch.zeros(4, 3)
    for number in range(4):
        rows[number] = h[number].detach()  # here
    return rows


@pytest.mark.parametrize("name", CUTS)
def test_where_the_graph_was_cut(name: str) -> None:
    between, category, operation = CUTS[name]
    report = _explain(Net(between))
    names = _only(report, category, operation, "# here")
    assert names == BOTH
    gradient, moved, because = _row(report, "first.weight")
    assert (gradient, moved) == ("none", "unchanged")
    assert "# here" in because
    assert _row(report, "last.weight")[:2] == ("finite", "moved")


@pytest.mark.parametrize("name", CUTS)
def test_a_loss_without_a_graph_is_explained(name: str) -> None:
    between, category, operation = CUTS[name]
    layer = nn.Linear(3, 3)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)

    def step() -> None:
        optimizer.zero_grad()
        between(layer(X)).sum().backward()
        optimizer.step()

    report = explain_training(layer, step, optimizer)
    assert set(_only(report, category, operation, "# here")) == {"weight", "bias"}
    assert "element 0 of tensors does not require grad" in str(report)


def test_each_parameter_is_cut_at_its_own_line() -> None:
    one, other = nn.Linear(3, 3), nn.Linear(3, 3)
    model = nn.ModuleList([one, other])

    def step() -> Tensor:
        first = one(X).detach()  # one
        return (first + other(X)).mean().detach()  # other

    report = explain_training(model, step, torch.optim.SGD(model.parameters(), lr=0.1))
    found = {finding.place.text.split("# ")[1]: finding.names for finding in report.findings if finding.place}
    assert found == {"one": ("0.weight", "0.bias"), "other": ("1.weight", "1.bias")}


def test_a_log_on_the_way_is_not_blamed_for_the_cut() -> None:
    seen: list[float] = []

    def between(h: Tensor) -> Tensor:
        seen.append(h.mean().item())
        best = h.argmax(1, keepdim=True)  # the cut
        return torch.zeros(4, 3).scatter(1, best, 1.0)

    _only(_explain(Net(between)), kinds.CUTS["an operation without a gradient"], "argmax", "# the cut")


def test_a_reentrant_checkpoint_whose_input_needs_no_gradient() -> None:
    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(3, 3), nn.Linear(3, 1)

        def forward(self, x: Tensor) -> Tensor:
            h = checkpoint(self.body, x, use_reentrant=True)
            return self.head(h)

    names = _only(_explain(Part()), kinds.CUTS["a reentrant checkpoint"], "", "checkpoint(self.body")
    assert names == ("body.weight", "body.bias")


def test_a_loss_of_something_else() -> None:
    model = nn.Linear(3, 1)
    report = _explain(model, lambda: (X * 2).sum())
    assert [finding.category for finding in report.findings] == [kinds.NO_GRAPH]


def test_every_parameter_frozen() -> None:
    report = explain_training(nn.Linear(3, 1).requires_grad_(False), lambda: X.sum())
    assert [finding.category for finding in report.findings] == [kinds.FROZEN]


def test_a_copy_is_trained_in_the_place_of_the_model() -> None:
    model = nn.Linear(3, 1)
    other = copy.deepcopy(model)
    report = _explain(model, lambda: other(X).mean())
    found = {finding.category: finding for finding in report.findings}
    assert found[kinds.UNREAD].names == ("weight", "bias")
    assert "another object or a copy" in found[kinds.UNREAD].detail


def test_a_layer_of_a_list_that_forward_leaves_out_though_the_step_logs_its_loss() -> None:
    class Skips(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers[:-1]:
                x = layer(x)
            return x

    model, seen = Skips(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step() -> None:
        loss = model(X).square().mean()
        loss.backward()
        optimizer.step()
        seen.append(loss.item())

    report = explain_training(model, step, optimizer)
    assert [(finding.category, finding.names) for finding in report.findings] == [
        (kinds.UNREAD, ("layers.2.weight", "layers.2.bias"))
    ]


def test_a_result_that_is_thrown_away() -> None:
    class Lost(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = self.first(x)  # noqa: F841 (the fault)
            return self.last(x)

    assert _only(_explain(Lost()), kinds.UNUSED, "linear", "h = self.first(x)") == BOTH


@pytest.mark.parametrize("operation", ["round", "floor", "sign", "ceil", "trunc"])
def test_an_operation_whose_gradient_is_zero(operation: str) -> None:
    report = _explain(Net(lambda h: getattr(h, operation)()))
    assert _only(report, kinds.FLAT, operation, "getattr(h, operation)()") == BOTH
    assert _row(report, "first.weight")[0] == "zero"


def test_a_softmax_over_one_value_has_no_gradient() -> None:
    model = nn.Linear(3, 1)
    target = torch.zeros(4, dtype=torch.long)

    def step() -> Tensor:
        return F.cross_entropy(model(X), target)

    _only(_explain(model, step), kinds.ZERO, "", "F.cross_entropy(model(X), target)")


def test_weights_of_the_loss_outside_the_optimizer() -> None:
    model, criterion = nn.Linear(3, 2), nn.Linear(2, 1)
    report = _explain(model, lambda: criterion(model(X)).mean())
    assert [(finding.category, finding.names) for finding in report.findings] == [
        (kinds.OF_LOSS, ("criterion.weight", "criterion.bias"))
    ]


def test_weights_of_the_loss_stand_in_the_order_of_their_reading() -> None:
    model, criterion = nn.Linear(3, 2), nn.Sequential(*(nn.Linear(2, 2) for _ in range(12)))
    (finding,) = _explain(model, lambda: criterion(model(X)).mean()).findings
    assert finding.names == tuple(f"criterion.{name}" for name, _ in criterion.named_parameters())


def test_a_parameter_outside_the_optimizer() -> None:
    model = Net(torch.relu)
    optimizer = torch.optim.SGD(model.last.parameters(), lr=0.1)
    report = explain_training(model, lambda: model(X).square().mean(), optimizer)
    assert [(finding.category, finding.names) for finding in report.findings] == [(kinds.UNTRAINED, BOTH)]
    assert _row(report, "first.weight")[1] == "in no optimizer"


def test_two_parameters_over_one_storage() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = nn.Parameter(model[0].weight.data)
    report = _explain(model)
    assert [(finding.category, finding.names) for finding in report.findings] == [
        (kinds.SHARED, ("0.weight, 1.weight",))
    ]


def test_a_buffer_that_is_not_finite() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    model[1].running_var[0] = float("nan")
    report = _explain(model)
    assert [(finding.category, finding.names) for finding in report.findings] == [(kinds.BUFFER, ("1.running_var",))]


def test_batch_norm_that_is_frozen_and_moves() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    model[1].requires_grad_(False)
    report = _explain(model)
    assert [(finding.category, finding.names) for finding in report.findings] == [(kinds.NORM_MOVES, ("1",))]


def test_batch_norm_in_eval_mode_while_trained() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)).eval()
    report = _explain(model)
    assert [(finding.category, finding.names) for finding in report.findings] == [(kinds.NORM_STANDS, ("1",))]
    assert _explain(model, judge_mode=False).ok


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("preserve", [True, False])
def test_dropout_drawn_anew_in_a_recompute(reentrant: bool, preserve: bool) -> None:
    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last, self.drop = nn.Linear(3, 3), nn.Linear(3, 1), nn.Dropout(0.5)

        def body(self, h: Tensor) -> Tensor:
            return self.last(self.drop(h))

        def forward(self, x: Tensor) -> Tensor:
            h = self.first(x)
            return checkpoint(self.body, h, use_reentrant=reentrant, preserve_rng_state=preserve)

    report = _explain(Part())
    if preserve:
        assert report.ok, str(report)
    else:
        _only(report, kinds.REDRAWN, "dropout", "self.last(self.drop(h))")


def test_redrawn_lines_stand_in_the_order_of_forward() -> None:
    lines = "".join(f"    h = torch.dropout(h, 0.5, True)  # {number}\n" for number in range(8))
    names: dict[str, Any] = {"torch": torch}
    exec(compile(f"def dropped(h):\n{lines}    return h\n", "<dropped>", "exec"), names)
    model = nn.Linear(3, 3)

    def step() -> Tensor:
        return checkpoint(names["dropped"], model(X), use_reentrant=False, preserve_rng_state=False).mean()

    report = _explain(model, step)
    assert [finding.category for finding in report.findings] == [kinds.REDRAWN] * 8
    assert [finding.place.line for finding in report.findings if finding.place] == list(range(2, 10))


def test_gradients_erased_before_the_step() -> None:
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step() -> None:
        model(X).mean().backward()
        optimizer.zero_grad()
        optimizer.step()

    report = explain_training(model, step, optimizer)
    _only(report, kinds.ERASED, "", "optimizer.zero_grad()")


def test_steps_that_bfloat16_cannot_hold() -> None:
    model = nn.Linear(3, 1).bfloat16()
    model.weight.data.fill_(1.0)
    model.bias.data.fill_(1.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    report = explain_training(model, lambda: model(X.bfloat16()).float().mean(), optimizer)
    assert [finding.category for finding in report.findings] == [kinds.LOST]


def test_a_report_is_text_html_and_data() -> None:
    report = _explain(Net(detached))
    assert "h.detach()" in report._repr_html_()
    data = json.loads(report.to_json())
    assert data["ok"] is False
    assert data["findings"][0]["place"]["text"] == "return h.detach()  # here"
    assert {row["name"] for row in data["parameters"]} == {*BOTH, "last.weight", "last.bias"}
    linecache.checkcache()


def test_a_step_without_a_loss_is_refused() -> None:
    model = nn.Linear(3, 1)
    with pytest.raises(ConfigError, match="gives the loss"):
        _explain(model, lambda: model(X))
    with pytest.raises(ConfigError, match="meta"):
        _explain(nn.Linear(3, 1, device="meta"))


def test_errors_of_the_step_itself_come_through() -> None:
    model = nn.Linear(3, 1)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        _explain(model, lambda: model(torch.ones(2, 5)).mean())


def test_names_stand_in_the_order_of_the_model() -> None:
    model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(12)), nn.Linear(3, 1))
    report = explain_training(model, lambda: model(X).mean(), torch.optim.SGD(model[-1].parameters(), lr=0.1))
    (finding,) = report.findings
    assert finding.names == tuple(name for name, _ in model[:-1].named_parameters())
