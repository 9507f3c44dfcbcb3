"""`WeightStep`: the one optimizer step on weights that every strategy takes.

Forward pass in the asked precision, gradients of the whole batch or of its parts, the ranks' mean, clipping, update.
B batch, C channels, H height, W width, K classes.
"""

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from lab.device import OOMTransaction
from lab.mahia import PrecisionManager
from lab.store import OomEvent, Record
from lab.train.compile import Compiler
from lab.train.criterion import BatchLoss, Criterion
from lab.train.group import Group, SingleProcess

_NO_NUMBERS = ("more", "ends_epoch")


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """One training step."""

    loss: float
    """Mean loss of the batch, nats."""
    accuracy: float
    """Share of the batch that was classified correctly, in [0, 1]."""
    grad_norm: float | None
    """Norm of the gradient before clipping; None where the loss scale of fp16 was too large and nothing changed."""
    lr: float
    """Learning rate of the parameters that were trained."""
    temperature: float | None = None
    """Gumbel temperature; None where nothing is sampled."""
    beta: float | None = None
    """Share of the new primitives in the latest transition; None where none is live."""
    more: Mapping[str, float] = field(default_factory=dict)
    """What only this kind of training has, by name."""
    ends_epoch: bool = False
    """Whether the epoch ends with this step, though it has batches left: a budget is spent."""

    def scalars(self) -> dict[str, float]:
        """Name -> number, for the store."""
        own = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in _NO_NUMBERS}
        return {name: value for name, value in {**own, **self.more}.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class StepNumbers:
    """What one step measured."""

    loss: float
    """Mean loss of the batch, nats."""
    accuracy: float
    """Share of the batch that was classified correctly, in [0, 1]."""
    grad_norm: float | None
    """Norm of the gradient before clipping; None where the loss scale was too large and the step was left out."""


@dataclass(frozen=True, kw_only=True)
class StepOptions:
    """How a step on weights is taken; see `WeightStep`."""

    precision: PrecisionManager = field(default_factory=PrecisionManager)
    grad_accum_steps: int = 1
    """Micro-batches of a batch, >= 1."""
    adaptive: bool = False
    """Repeat a step that runs out of memory in smaller micro-batches."""
    group: Group = field(default_factory=SingleProcess)
    """The processes that train together."""
    compiler: Compiler | None = None
    """Compiles the live network; None compiles nothing."""
    criterion: BatchLoss | None = None
    """The loss, and what counts as a hit; None for the cross-entropy of logits and labels."""

    def weight_step(self, optimizer: Optimizer, *, grad_clip: float, records: list[Record]) -> "WeightStep":
        """The step of `optimizer`; its events go to `records`."""
        options = {item.name: getattr(self, item.name) for item in fields(self)}
        step = WeightStep(optimizer, grad_clip=grad_clip, **options)
        step.records = records
        return step


class WeightStep:
    """One clipped step on the mean loss. Where loss or gradient is not finite no parameter changes.

    Args:
        optimizer: of the weights.
        grad_clip: largest norm of the gradient, > 0.
        precision: of the forward pass; default float32.
        grad_accum_steps: parts of a batch, >= 1.
        adaptive: repeat a step that runs out of memory in smaller parts; among several ranks it ends the run instead,
            since the others do not repeat it.
        group: the processes that train together.
        compiler: compiles modules that are asked for; None compiles nothing.
        criterion: the loss, and what counts as a hit; default: cross-entropy.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        grad_clip: float,
        precision: PrecisionManager | None = None,
        grad_accum_steps: int = 1,
        adaptive: bool = False,
        group: Group | None = None,
        compiler: Compiler | None = None,
        criterion: BatchLoss | None = None,
    ) -> None:
        self.optimizer = optimizer
        self.criterion: BatchLoss = criterion or Criterion()
        self._hits = _largest_is_label if criterion is None else criterion.hits
        self.grad_clip = grad_clip
        self.precision = precision or PrecisionManager()
        self.grad_accum_steps = grad_accum_steps
        self.group: Group = group or SingleProcess()
        self.adaptive = adaptive and self.group.size == 1
        self.compiler = compiler
        self.records: list[Record] = []
        self._transaction: OOMTransaction | None = None
        self._transaction_of: nn.Module | None = None
        self._memory: dict[str, int | None] = {"in_a_row": 0, "kept": None, "since_whole": 0}
        self._wrapped = _Wrapped(self.group)
        self._parts: list[tuple[int, Tensor, Tensor]] = []

    def __call__(
        self, module: nn.Module, x_BCHW: Tensor, y_B: Tensor, *args: Any, compiled: bool = False
    ) -> StepNumbers:
        """Train `module(x, *args)` on this rank's rows of a batch.

        Raises:
            TrainingError: memory ran out and smaller parts did not help.
        """
        forward = self._wrapped.of(module)
        if compiled and self.compiler is not None:
            forward = self.compiler.of(module, self.records)
        self._parts = []
        with self.group.merged_statistics(module) if self.group.size > 1 else contextlib.nullcontext():
            if self.adaptive:
                self._transact(module, forward, x_BCHW, y_B, args)
            else:
                self._accumulate(forward, x_BCHW, y_B, args)
        return self._update(len(y_B))

    def _loss(self, forward: nn.Module, x_BCHW: Tensor, y_B: Tensor, args: tuple[Any, ...]) -> Tensor:
        with self.precision.autocast():
            logits_BK = forward(x_BCHW, *args)
            loss = self.criterion.mean(logits_BK, y_B)
        with torch.no_grad():
            hits = self._hits(logits_BK, y_B).sum()
        self._parts.append((len(y_B), loss.detach(), hits))
        return self.precision.scaled(loss)

    def _transact(
        self, module: nn.Module, forward: nn.Module, x_BCHW: Tensor, y_B: Tensor, args: tuple[Any, ...]
    ) -> None:
        if self._transaction is None or self._transaction_of is not module:
            self._transaction = OOMTransaction(module, self.optimizer, 2, grad_accum_steps=self.grad_accum_steps)
            self._transaction.load_state_dict(self._memory)
            self._transaction_of = module
        # Gradients alone: unscaling, clipping and the update are those of `_update`, as without a transaction.
        report = self._transaction.step(
            lambda batch: self._loss(forward, batch[0], batch[1], args), (x_BCHW, y_B), update=lambda: None
        )
        self._memory = self._transaction.state_dict()
        if report.ooms:
            text = f"step repeated, {report.micro_batch} of {report.batch} samples at a time: {report.text}"
            self.records.append(OomEvent(action="smaller parts", micro_batch=report.micro_batch, text=text))

    def _accumulate(self, forward: nn.Module, x_BCHW: Tensor, y_B: Tensor, args: tuple[Any, ...]) -> None:
        # None, not zero: a zero gradient would let decay and momentum move the weights of paths that were not used.
        self.optimizer.zero_grad(set_to_none=True)
        parts = list(
            zip(x_BCHW.tensor_split(self.grad_accum_steps), y_B.tensor_split(self.grad_accum_steps), strict=True)
        )
        for number, (x, y) in enumerate(parts):
            last = number == len(parts) - 1
            parallel = isinstance(forward, DistributedDataParallel) and not last
            # The ranks' gradients are exchanged once, with the last part.
            with forward.no_sync() if parallel else contextlib.nullcontext():  # type: ignore[operator]
                # Parts may differ in size: so weighted they add up to the gradient of the mean over the batch.
                (self._loss(forward, x, y, args) * (len(y) / len(y_B))).backward()

    def _update(self, length: int) -> StepNumbers:
        self.precision.unscale(self.optimizer)
        trained = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = nn.utils.clip_grad_norm_(trained, self.grad_clip)
        loss, accuracy, norm_value = self._read(length, norm)
        finite = math.isfinite(loss) and math.isfinite(norm_value)
        taken = self.precision.update(self.optimizer, finite=finite)
        overflow = not taken and math.isfinite(loss) and self.precision.scaler.is_enabled()
        return StepNumbers(loss=loss, accuracy=accuracy, grad_norm=None if overflow else norm_value)

    @torch.no_grad()
    def _read(self, length: int, norm: Tensor) -> tuple[float, float, float]:
        """Loss, accuracy and norm over all ranks, with one wait for the device."""
        loss, hits, left = torch.zeros_like(norm, dtype=torch.float64), torch.zeros_like(norm), length
        # An attempt that ran out of memory left its parts in front.
        for rows, value, right in reversed(self._parts):
            if left <= 0:
                break
            loss, hits, left = loss + value.double() * (rows / length), hits + right, left - rows
        numbers = torch.stack([loss, hits.double() / length, norm.double()])
        if self.group.size > 1:
            numbers = self.group.mean(numbers)
        loss_value, accuracy, norm_value = numbers.tolist()
        return loss_value, accuracy, norm_value

    def state_dict(self) -> dict[str, Any]:
        """The loss scale, and the size of parts that memory has asked for."""
        return {"precision": self.precision.state_dict(), "memory": dict(self._memory)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            ConfigError: it was taken under another precision.
        """
        self.precision.load_state_dict(state["precision"])
        self._memory = dict(state["memory"])
        self._transaction = None


def _largest_is_label(logits_BK: Tensor, y_B: Tensor) -> Tensor:
    return logits_BK.argmax(-1) == y_B


class _Wrapped:
    """The group's wrapper of each module, made anew when the module's structure has changed."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.made: dict[int, tuple[tuple[object, ...], nn.Module]] = {}

    def of(self, module: nn.Module) -> nn.Module:
        if self.group.size == 1:
            return module
        parts = (*module.modules(), *module.parameters())
        known = self.made.get(id(module))
        if known is not None and len(known[0]) == len(parts) and all(map(_same, known[0], parts)):
            return known[1]
        # One live wrapper for each kind of module: two reducers on the same parameters would count them twice.
        self.made = {}
        wrapper = self.group.wrap(module)
        self.made[id(module)] = (parts, wrapper)
        return wrapper


def _same(one: object, other: object) -> bool:
    return one is other
