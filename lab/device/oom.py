"""Recognise that memory ran out, and repeat the same training step in parts that fit.

The step is a transaction: either the weights move as the whole batch would have moved them, or nothing has changed.
A retry inside the `except` clause would fail as well, since the exception's frames keep the failed step's tensors
alive; partial gradients would count twice; random streams and batch-norm statistics would have moved already.

Not covered: memory that runs out in the optimizer itself (it may have moved some weights), batch norm and dropout in
parts (their results depend on how the batch is cut), state that the loss function keeps outside the model's buffers.
"""

import gc
import itertools
import math
import re
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lab.base import DataError, Report, ReportTable, TrainingError, require_range
from lab.device.split import batch_length, batch_part
from lab.state import rng_state, set_rng_state

_ALLOCATOR_TEXTS = re.compile(
    r"DefaultCPUAllocator: (can't allocate memory|not enough memory)"
    r"|^(CUDA|HIP|XPU) out of memory\. Tried to allocate"
    r"|^CUDA error: out of memory"
    r"|^MPS backend out of memory"
    r"|(CUBLAS|CUSOLVER|CUSPARSE|CUDNN)_STATUS_ALLOC_FAILED"
)


def is_oom(error: BaseException) -> bool:
    """Whether an allocator, of a GPU or of the machine, had no more memory.

    Told by type (`torch.OutOfMemoryError`, `MemoryError`) and by the texts of allocators that raise a plain
    `RuntimeError`. An error of the user's that says "out of memory" in its own words is none, and neither is a size
    beyond all memory ("Storage size calculation overflowed"), which no retry can help.

    Args:
        error: as it was caught; its causes are not looked at.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and _ALLOCATOR_TEXTS.search(str(error)) is not None


@dataclass(frozen=True, kw_only=True)
class OOMReport(Report):
    """How one training step went."""

    loss_value: Tensor
    """Mean loss over the batch's valid items, without dimensions, detached, on its device."""
    batch: int | None
    """Items of the batch, all of which the step has used; None where it cannot be cut and went through at once."""
    micro_batch: int | None
    """Items at a time; the batch's number where it went through at once."""
    ooms: int
    """How often memory ran out in this step."""
    kept: bool
    """Whether the next steps begin with this micro-batch size too."""
    text: str
    """What the allocator said last; empty where it had no reason to."""

    @property
    def loss(self) -> float:
        """`loss_value` as a number; waits for the device."""
        return float(self.loss_value)

    def to_dict(self) -> dict[str, Any]:
        names = ("loss", "batch", "micro_batch", "ooms", "kept", "text")
        return {name: getattr(self, name) for name in names}

    def tables(self) -> tuple[ReportTable, ...]:
        rows = tuple((name, str(value)) for name, value in self.to_dict().items())
        whole = self.micro_batch == self.batch
        title = "Step over the whole batch" if whole else f"Step over {self.batch} items, {self.micro_batch} at a time"
        return (ReportTable(title=title, columns=("", ""), rows=rows),)


class OOMTransaction:
    """Training steps that go through when memory runs out, with the whole batch's gradient.

    With parts i of n_i valid items out of n: loss = sum_i (n_i / n) * loss_i, whose gradient is the whole batch's.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        min_micro_batch: int = 1,
        *,
        retry_every: int = 100,
        grad_accum_steps: int = 1,
    ) -> None:
        """Args:
        model: its buffers (batch-norm statistics among them) are restored when a step fails; its gradients and
            those of the optimizer's parameters are cleared at the beginning of a step.
        optimizer: takes the step.
        min_micro_batch: items at a time, at least; >= 1.
        retry_every: steps after which the whole batch is tried again, once a micro-batch size is kept; >= 1.
        grad_accum_steps: parts in which a step begins, memory or not, >= 1; 1 takes the whole batch at once.
        """
        require_range("min_micro_batch", min_micro_batch, 1)
        require_range("retry_every", retry_every, 1)
        require_range("grad_accum_steps", grad_accum_steps, 1)
        self._grad_accum_steps = grad_accum_steps
        self._model = model
        self._optimizer = optimizer
        self._min = min_micro_batch
        self._retry_every = retry_every
        self._in_a_row = 0
        self._kept: int | None = None
        self._since_whole = 0

    @property
    def micro_batch(self) -> int | None:
        """The micro-batch size that steps begin with, after three OOMs in a row; None while they try all at once."""
        return self._kept

    def step(
        self,
        loss_fn: Callable[[Any], Tensor],
        batch: Any,
        *,
        count: Callable[[Any], int] | None = None,
        update: Callable[[], object] | None = None,
    ) -> OOMReport:
        """Clear the gradients, compute loss and gradients of the whole batch, update; in parts if they do not fit.

        Args:
            loss_fn: forward pass and mean loss over the valid items of the batch or part that it gets.
            batch: tensors with the items first, in containers (see `lab.device.split`).
            count: number of valid items of a part, where some do not count (an ignored label, padding); default all.
            update: what to do with the gradients instead of `optimizer.step()`, for example clip them first.

        Returns:
            The report; the gradients are left in place. Where three steps in a row ran out of memory, the
            micro-batch size is kept for the next ones and the whole batch tried again every `retry_every` steps.

        Raises:
            TrainingError: memory ran out three times at the smallest size, or in the update. In the first case weights,
                random streams and buffers are as before the step and there are no gradients; so it is after any other
                error of `loss_fn`.
            DataError: memory ran out and the batch cannot be cut.
        """
        before = _Before(self._model, self._optimizer)
        done = False
        try:
            report = self._attempts(loss_fn, batch, count, before)
            done = True
        finally:
            if not done:
                before.restore()
        # Outside the transaction: an optimizer that fails half way has moved weights, which no restore here brings
        # back.
        self._update(update or self._optimizer.step)
        return report

    def _attempts(
        self, loss_fn: Callable[[Any], Tensor], batch: Any, count: Callable[[Any], int] | None, before: "_Before"
    ) -> OOMReport:
        size = self._first_size(batch)
        ooms, at_least, text = 0, 0, ""
        while True:
            micro_batches = None if size is None else _micro_batches(batch_length(batch), size, self._min)
            value, failure = _attempt(loss_fn, batch, micro_batches, count)
            if value is not None:
                self._remember(size, ooms)
                length = _length_or_none(batch)
                largest = length if micro_batches is None else _largest(micro_batches)
                kept = self._kept is not None
                return OOMReport(loss_value=value, batch=length, micro_batch=largest, ooms=ooms, kept=kept, text=text)
            ooms, text = ooms + 1, failure
            _give_back()
            before.restore()
            length = batch_length(batch)
            size = length if size is None else size
            at_least += size <= self._min
            if at_least == 3:
                got = f"three times none for {_largest(micro_batches or [(0, length)])} of {length} items"
                hint = "use a smaller model or input, or another device; nothing has changed"
                raise TrainingError("memory for the smallest micro-batch", f"{got} ({text.splitlines()[0]})", hint)
            size = max(self._min, (size + 1) // 2)

    def _first_size(self, batch: Any) -> int | None:
        """The size to begin with; None for the whole batch at once."""
        if self._kept is None or self._since_whole >= self._retry_every:
            self._since_whole = 0
            return None if self._grad_accum_steps == 1 else math.ceil(batch_length(batch) / self._grad_accum_steps)
        self._since_whole += 1
        return None if self._kept >= batch_length(batch) else self._kept

    def _remember(self, size: int | None, ooms: int) -> None:
        # 0: this step began with the whole batch, and it fitted.
        if not ooms and self._since_whole == 0:
            self._in_a_row, self._kept = 0, None
        elif ooms:
            self._in_a_row += 1
            if self._in_a_row >= 3 or self._kept is not None:
                self._kept = size

    def state_dict(self) -> dict[str, int | None]:
        """What the size of the next step's parts depends on."""
        return {"in_a_row": self._in_a_row, "kept": self._kept, "since_whole": self._since_whole}

    def load_state_dict(self, state: dict[str, int | None]) -> None:
        """Go on where `state_dict` was taken."""
        self._in_a_row, self._since_whole = state["in_a_row"] or 0, state["since_whole"] or 0
        self._kept = state["kept"]

    def _update(self, update: Callable[[], object]) -> None:
        failure = ""
        try:
            update()
        except (RuntimeError, MemoryError) as error:
            if not is_oom(error):
                raise
            failure = str(error).splitlines()[0]
        if failure:
            hint = "go back to a checkpoint, and use an optimizer with less state or a smaller model"
            raise TrainingError("memory for the optimizer's step", f"none, with weights half updated ({failure})", hint)


def _attempt(
    loss_fn: Callable[[Any], Tensor],
    batch: Any,
    micro_batches: list[tuple[int, int]] | None,
    count: Callable[[Any], int] | None,
) -> tuple[Tensor | None, str]:
    """Loss and gradients of the batch, whole or in parts; what the allocator said, where memory ran out.

    When this returns, the `except` clause has been left and the failed frames hold nothing any more.
    """
    try:
        if micro_batches is None:
            return _backward(loss_fn(batch), 1.0), ""
        return _in_micro_batches(loss_fn, batch, micro_batches, count), ""
    except (RuntimeError, MemoryError) as error:
        if not is_oom(error):
            raise
        failure: BaseException | None = error
        # Errors in a chain have tracebacks of their own, whose frames hold tensors of the failed step as well.
        while failure is not None:
            traceback.clear_frames(failure.__traceback__)
            failure = failure.__context__
        return None, str(error) or type(error).__name__


def _in_micro_batches(
    loss_fn: Callable[[Any], Tensor],
    batch: Any,
    micro_batches: list[tuple[int, int]],
    count: Callable[[Any], int] | None,
) -> Tensor:
    # All counts before the first backward: the share of a part needs the sum.
    counts = [stop - start if count is None else count(batch_part(batch, start, stop)) for start, stop in micro_batches]
    every, total = sum(counts), None
    for (start, stop), valid in zip(micro_batches, counts, strict=True):
        if valid:  # the mean of none is NaN
            value = _backward(loss_fn(batch_part(batch, start, stop)), valid / every)
            total = value if total is None else total + value
    if total is None:
        raise TrainingError("a batch with valid items", f"{micro_batches[-1][1]} items of which none counts", "skip it")
    return total


def _micro_batches(length: int, size: int, at_least: int) -> list[tuple[int, int]]:
    """Parts of nearly equal length, `size` at most; none shorter than `at_least`, which batch norm may need."""
    number = max(1, min(math.ceil(length / size), length // at_least))
    bounds = [length * part // number for part in range(number + 1)]
    return list(itertools.pairwise(bounds))


def _largest(micro_batches: list[tuple[int, int]]) -> int:
    return max(stop - start for start, stop in micro_batches)


def _backward(loss: Tensor, share: float) -> Tensor:
    if loss.numel() != 1:
        raise TrainingError("one mean loss", f"a tensor of shape {tuple(loss.shape)}", "take the mean in loss_fn")
    weighted = loss * share if share != 1.0 else loss
    weighted.backward()
    return weighted.detach().reshape(())


def _length_or_none(batch: Any) -> int | None:
    # a batch that went through at once need not be one that can be cut
    with suppress(DataError):
        return batch_length(batch)
    return None


def _give_back() -> None:
    """Free what only cycles hold, and give cached blocks back to the driver."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


class _Before:
    """Random streams and buffers at the beginning of a step, which has no gradients."""

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self._parameters = [*model.parameters(), *(p for group in optimizer.param_groups for p in group["params"])]
        self._clear_gradients()
        self._buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
        self._streams = rng_state()

    def _clear_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def restore(self) -> None:
        """Drop what gradients there are; put random streams and buffers back."""
        self._clear_gradients()
        for buffer, value in self._buffers:
            buffer.copy_(value)
        set_rng_state(self._streams)
