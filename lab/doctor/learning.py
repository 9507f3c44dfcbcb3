"""What one step did: the gradients that the optimizer met, what moved, in which mode it ran."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils import _pytree as pytree

from lab.device import named_tensors
from lab.doctor.calls import CallWatch
from lab.doctor.kept import KeptStep
from lab.doctor.values import FINITE, CallRecord, kind_of_values, spread

NONE = "none"
MOVED, STILL, OUTSIDE, FROZEN = "moved", "unchanged", "in no optimizer", "frozen"


@dataclass(frozen=True, kw_only=True)
class LearningRow:
    """What a step did with one parameter."""

    name: str
    """Full name in the model, or its place in the optimizer."""
    gradient: str
    """none, zero, nan, inf or finite; empty where it is frozen."""
    step: str
    """moved, unchanged, in no optimizer or frozen."""
    because: str
    """The operation and the line that made it so; empty where all is as it should be."""

    def to_dict(self) -> dict[str, str]:
        """The row as JSON-ready data."""
        return asdict(self)


class StepFacts:
    """Facts of one step, told by hooks on the model and the optimizers while `following`.

    Args:
        model: its parameters, and those of the optimizers, are looked at.
        optimizers: their steps are met.
        step: the user's function, searched for the loss's own modules.
    """

    watch: CallWatch

    def __init__(self, model: nn.Module, optimizers: Sequence[Optimizer], step: Callable[[], Any]) -> None:
        self.model, self.optimizers, self.step = model, optimizers, step
        self.groups: dict[int, dict[str, Any]] = {}
        names = {id(parameter): (name, parameter) for name, parameter in reversed(list(model.named_parameters()))}
        self.parameters: dict[int, tuple[str, Tensor]] = dict(reversed(names.items()))
        self.owned = frozenset(self.parameters)
        for number, optimizer in enumerate(optimizers):
            prefix = f"optimizers[{number}]." if len(optimizers) > 1 else ""
            for index, group in enumerate(optimizer.param_groups):
                for position, item in enumerate(group["params"]):
                    self.groups[id(item)] = group
                    name = f"{prefix}param_groups[{index}]['params'][{position}]"
                    self.parameters.setdefault(id(item), (name, item))
        self.trainable = {key for key, (_, item) in self.parameters.items() if item.requires_grad}
        self.kinds: dict[int, str] = {}
        """Gradient at the optimizer's step: none, zero, nan, inf or finite."""
        self.changed: set[int] = set()
        self.spoiled: dict[int, str] = {}
        """Parameters that the step left with values that are not finite."""
        self.steps = 0
        self._at_work: AbstractContextManager[None] | None = None
        self.rates: dict[int, float] = {}
        """Learning rate of each parameter's group at the step."""
        self.outputs: list[CallRecord] = []
        """What the model's forward gave."""
        self.in_train_mode: bool | None = None
        self.without_graph = False
        self.loss: float | None = None
        self.loss_record: CallRecord | None = None
        self.buffers = dict(model.named_buffers())
        self.buffers_before = {name: kind_of_values(item) for name, item in self.buffers.items()}
        self.buffers_after: dict[str, str] = {}

    @property
    def calls(self) -> int:
        """Calls of torch in the step."""
        return self.watch.calls

    @contextmanager
    def following(self, watch: CallWatch) -> Iterator[None]:
        """Inside, hooks tell of the model's outputs and of the optimizers' steps."""
        self.watch = watch
        with ExitStack() as stack:
            stack.callback(self._end)
            # scripted modules take no hooks
            if not isinstance(self.model, torch.jit.ScriptModule):
                stack.callback(self.model.register_forward_hook(self._ran).remove)
            for optimizer in self.optimizers:
                stack.callback(optimizer.register_step_pre_hook(self._begin).remove)
                stack.callback(optimizer.register_step_post_hook(self._end).remove)
            yield

    def note_loss(self, loss: Tensor) -> None:
        """The step gave this loss."""
        if loss.numel() == 1:
            self.loss = float(loss.detach())
            self.loss_record = self.watch.values.of(loss)

    def finish(self, kept: KeptStep) -> None:
        """The step is over: look at what no optimizer met, and at what moved."""
        with torch._C.DisableTorchFunction():
            for key, (_, item) in self.parameters.items():
                if key in self.trainable and key not in self.kinds:
                    self.kinds[key] = _gradient(item)
            self.changed = {key for key, tensor in kept.tensors.items() if tensor.changed}
            self.spoiled = {
                key: found
                for key in self.parameters
                if key in self.changed and (found := spread(kept.tensors[key].tensor)) != FINITE
            }
            if self.buffers:
                self.buffers_after = {name: kind_of_values(item) for name, item in self.model.named_buffers()}

    def _ran(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self.in_train_mode = module.training
        tensors = [tensor for _, tensor in named_tensors(output)] or [
            leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)
        ]
        self.outputs += [self.watch.values.of(tensor) for tensor in tensors]

    def _begin(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.steps += 1
        if any(map(callable, (*args, *kwargs.values()))):
            # it computes the loss itself
            return
        with torch._C.DisableTorchFunction():
            for group in optimizer.param_groups:
                for item in group["params"]:
                    if id(item) in self.trainable:
                        self.kinds[id(item)] = _gradient(item)
                        self.rates[id(item)] = float(group.get("lr", 1.0))
        self._at_work = self.watch.paused()
        self._at_work.__enter__()

    def _end(self, *_: Any) -> None:
        if self._at_work is not None:
            self._at_work.__exit__(None, None, None)
            self._at_work = None


def _gradient(parameter: Tensor) -> str:
    return NONE if parameter.grad is None else kind_of_values(parameter.grad)


def rows_of(facts: StepFacts, because: Mapping[int, str]) -> list[LearningRow]:
    """A row for each parameter; `because`: the reason, by identity."""
    return [
        LearningRow(
            name=name,
            gradient=facts.kinds.get(key, "") if key in facts.trainable else "",
            step=_moved(facts, key),
            because=because.get(key, ""),
        )
        for key, (name, _) in facts.parameters.items()
    ]


def _moved(facts: StepFacts, key: int) -> str:
    if key in facts.changed:
        return MOVED
    if key not in facts.trainable:
        return FROZEN
    return STILL if key in facts.groups else OUTSIDE
