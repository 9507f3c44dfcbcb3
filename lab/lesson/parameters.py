"""Every parameter and buffer of a model in one table.

Covers tensors registered with the model. Plain tensor attributes are not listed: `lab.doctor.audit` finds those.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lab.base import ReportTable
from lab.lesson.report import LessonReport
from lab.lesson.units import format_bytes


@dataclass(frozen=True, kw_only=True)
class ParameterRow:
    """One parameter or buffer."""

    name: str
    kind: str
    """parameter, buffer, or buffer (not saved)."""
    device: str
    dtype: str
    shape: tuple[int, ...] | None
    """None while a lazy module has not seen its first batch."""
    requires_grad: bool
    gradient_norm: float | None
    """Euclidean norm of `.grad`; None where there is no gradient; NaN on the meta device."""
    bytes: int
    """Bytes of the tensor's own elements; 0 on the meta device, which holds no values."""
    same_as: str | None
    """Name of an earlier row that is the very same tensor."""
    optimizer: str | None
    """`group N`, or `no` where the optimizer does not hold it; None for a buffer and where no optimizer was given."""


@dataclass(frozen=True, kw_only=True, repr=False)
class ParameterTable(LessonReport):
    """Device, dtype, shape, gradient and size of every parameter and buffer."""

    rows: tuple[ParameterRow, ...]
    bytes: int
    """Bytes of all rows, each tensor counted once."""
    foreign: int | None
    """Tensors that the optimizer holds and the model does not; None where no optimizer was given."""

    def to_dict(self) -> dict[str, Any]:
        """`rows` as a list of mappings, `bytes` and `foreign`."""
        return {"rows": [vars(row) for row in self.rows], "bytes": self.bytes, "foreign": self.foreign}

    def tables(self) -> tuple[ReportTable, ...]:
        """One line for each tensor, totals below."""
        columns = ["name", "kind", "device", "dtype", "shape", "requires_grad", "gradient norm", "bytes"]
        if self.foreign is not None:
            # Beside the name: a page of 1000 pixels has no room for nine columns, and this one was asked for.
            columns.insert(1, "optimizer")
        lines = tuple(self._cells(row) for row in self.rows)
        notes = [f"{len(self.rows)} tensors, {format_bytes(self.bytes)}"]
        if self.foreign:
            notes.append(f"the optimizer also holds {self.foreign} tensors that are not in this module")
        return (ReportTable(title="Parameters and buffers", columns=tuple(columns), rows=lines, notes=tuple(notes)),)

    def _cells(self, row: ParameterRow) -> tuple[str, ...]:
        cells = [
            row.name if row.same_as is None else f"{row.name} (same tensor as {row.same_as})",
            row.kind,
            row.device,
            row.dtype,
            "not known yet" if row.shape is None else str(row.shape),
            "yes" if row.requires_grad else "no",
            "none" if row.gradient_norm is None else f"{row.gradient_norm:.3g}",
            str(row.bytes),
        ]
        if self.foreign is not None:
            cells.insert(1, row.optimizer or "-")
        return tuple(cells)


def _tensors(model: nn.Module) -> Iterator[tuple[str, str, Tensor]]:
    """Name, kind and tensor of each parameter, then of each buffer, tied ones under every name."""
    for name, parameter in model.named_parameters(remove_duplicate=False):
        yield name, "parameter", parameter
    unsaved = {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules(remove_duplicate=False)
        for name in module._non_persistent_buffers_set
    }
    for name, buffer in model.named_buffers(remove_duplicate=False):
        yield name, "buffer (not saved)" if name in unsaved else "buffer", buffer


def _gradient_norm(tensor: Tensor) -> float | None:
    """Euclidean norm of the gradient in at least float32, None where there is none."""
    grad = tensor.grad if tensor.is_leaf else None
    if grad is None:
        return None
    if grad.is_meta:
        return float("nan")
    dense = grad.detach().coalesce().values() if grad.is_sparse else grad.detach()
    wide = dense.dtype if dense.dtype in (torch.float64, torch.complex128) else None
    if wide is None and not dense.is_complex():
        dense = dense.float()
    return float(torch.linalg.vector_norm(dense))


def parameter_table(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> ParameterTable:
    """Device, dtype, shape, `requires_grad`, gradient norm and bytes of every parameter and buffer of `model`.

    Args:
        model: any module; tied tensors appear under each name, with the first name beside the later ones.
        optimizer: adds a column that says which parameter group holds each parameter, or `no`.

    Returns:
        A `ParameterTable`; `.bytes` counts each tensor once.
    """
    groups: dict[int, int] = {}
    if optimizer is not None:
        groups = {id(p): index for index, group in enumerate(optimizer.param_groups) for p in group["params"]}
    rows: list[ParameterRow] = []
    first: dict[int, str] = {}
    total = 0
    for name, kind, tensor in _tensors(model):
        lazy = is_lazy(tensor)
        size = 0 if lazy or tensor.is_meta else tensor.numel() * tensor.element_size()
        held = f"group {groups[id(tensor)]}" if id(tensor) in groups else "no"
        rows.append(
            ParameterRow(
                name=name,
                kind=kind,
                device=str(tensor.device),
                dtype=str(tensor.dtype).removeprefix("torch."),
                shape=None if lazy else tuple(tensor.shape),
                requires_grad=tensor.requires_grad,
                gradient_norm=_gradient_norm(tensor),
                bytes=size,
                same_as=first.get(id(tensor)),
                optimizer=None if optimizer is None or kind != "parameter" else held,
            )
        )
        if id(tensor) not in first:
            first[id(tensor)] = name
            total += size
    foreign = None if optimizer is None else len(groups.keys() - first.keys())
    return ParameterTable(rows=tuple(rows), bytes=total, foreign=foreign)
