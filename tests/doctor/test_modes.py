"""Where the watch pauses, nothing that it should see is lost: planted faults beside each kind of pause."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack

from lab.doctor import explain_backward

needs_hook = pytest.mark.skipif(
    not hasattr(torch.autograd.graph, "node_creation_hook"), reason="this torch has no node_creation_hook"
)


def _spoil(y: Tensor) -> None:
    y.data.mul_(2)  # written here


def _by_leaf_hook(x: Tensor) -> None:
    y = x.exp()
    z = x.new_ones(3).requires_grad_()
    z.register_hook(lambda _: _spoil(y))
    # The node of z is run first.
    (y + (z * 2)).sum().backward()


def _by_custom_function(x: Tensor) -> None:
    class Spoils(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, value: Tensor, saved: Tensor) -> Tensor:
            ctx.saved = saved
            return value * 1

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
            _spoil(ctx.saved)
            return gradient, None

    y = x.exp()
    Spoils.apply(y, y.detach()).sum().backward()


def _by_module_hook(x: Tensor) -> None:
    layer = nn.Linear(3, 3)
    y = x.exp()
    layer.register_full_backward_hook(lambda *_: _spoil(y))
    layer(y).sum().backward()


def _by_result_hook(x: Tensor) -> None:
    y = x.exp()
    z = y * 2
    z.register_hook(lambda _: _spoil(y))
    z.sum().backward()


@pytest.mark.parametrize(
    "case", [_by_leaf_hook, _by_custom_function, _by_module_hook, _by_result_hook], ids=lambda case: case.__name__
)
def test_a_write_by_python_that_backward_runs_is_named_with_its_line(case: Callable[[Tensor], None]) -> None:
    report = explain_backward(lambda: case(torch.ones(3, requires_grad=True)))
    assert report.findings, str(report)
    assert {finding.category for finding in report.findings} == {"write through .data"}
    assert {finding.culprit.text for finding in report.findings if finding.culprit} == {
        "y.data.mul_(2)  # written here"
    }


def test_a_hook_from_before_the_run_is_known() -> None:
    weight = nn.Parameter(torch.ones(3))
    kept: list[Tensor] = []
    weight.register_post_accumulate_grad_hook(lambda _: _spoil(kept[0]))

    def run() -> None:
        x = torch.ones(3, requires_grad=True)
        kept.append(x.exp())
        (kept[0] + weight * 2).sum().backward()

    (finding,) = explain_backward(run).findings
    assert finding.culprit is not None
    assert finding.culprit.text.startswith("y.data.mul_(2)")


@needs_hook
def test_a_step_with_nothing_to_spoil_is_not_watched_and_one_with_something_is() -> None:
    layer = nn.Linear(3, 3)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(2, 3)).sum().backward()
    held: list[Tensor] = []

    def steps() -> None:
        for _ in range(50):
            optimizer.step()

    def beside_a_graph() -> None:
        held.append(layer(torch.ones(2, 3)).square().sum())
        steps()

    # Only the marks that every step leaves for the profiler, before the pause and after it.
    assert explain_backward(steps).operations <= 100
    assert explain_backward(beside_a_graph).operations > 500


class _Refused(torch.optim.SGD):
    pass


@pytest.mark.parametrize("own", [False, True])
def test_after_a_step_that_raised_the_next_forward_is_watched(own: bool) -> None:
    layer = nn.Linear(3, 3)
    optimizer = (_Refused if own else torch.optim.SGD)(layer.parameters(), lr=0.1)
    optimizer.register_step_pre_hook(_raise)

    def run() -> None:
        with pytest.raises(ArithmeticError, match="stopped"):
            optimizer.step()
        y = layer(torch.ones(2, 3)).exp()
        y.data.mul_(2)
        y.sum().backward()

    (finding,) = explain_backward(run).findings
    assert finding.culprit is not None
    assert finding.culprit.text == "y.data.mul_(2)"
    assert not _get_current_dispatch_mode_stack()
    assert not torch.overrides._get_current_function_mode_stack()


def _raise(*_: object) -> None:
    raise ArithmeticError("stopped")


class _Counts(TorchDispatchMode):
    """A mode of the user's."""

    seen = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen += 1
        return func(*args, **(kwargs or {}))


def test_a_mode_of_the_users_sees_every_operation_of_the_step() -> None:
    layer = nn.Linear(3, 3)
    optimizer = torch.optim.AdamW(layer.parameters())

    def run() -> int:
        with _Counts() as mode:
            layer(torch.ones(2, 3)).sum().backward()
            optimizer.step()
            return mode.seen

    run()
    alone, watched = run(), []
    assert explain_backward(lambda: watched.append(run())).ok
    assert watched == [alone]


@pytest.mark.parametrize("shape", [(3, 4), (64, 64)])
def test_rows_that_torch_moves_through_data_are_found(shape: tuple[int, int]) -> None:
    """Sums of the bytes are the same before and after."""

    def run() -> None:
        y = torch.arange(float(shape[0] * shape[1])).div(999).view(shape).requires_grad_().exp()
        y.data[:2].copy_(y.detach()[:2].flip(0))
        y.sum().backward()

    (finding,) = explain_backward(run).findings
    assert finding.category == "write through .data"
    assert finding.culprit is not None
    assert finding.culprit.text == "y.data[:2].copy_(y.detach()[:2].flip(0))"


def test_the_same_values_written_again_are_no_fault() -> None:
    def run() -> None:
        y = torch.ones(64, 64, requires_grad=True).exp()
        y.data.copy_(y.detach().clone())
        y.sum().backward()

    assert explain_backward(run).ok
