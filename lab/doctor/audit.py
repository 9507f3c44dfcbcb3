"""Find tensors that will fail, or fail silently, before any forward: by full name, with the reason.

Covered: the kinds of fault in `KINDS`, in parameters, buffers, plain attributes, modules in lists, dicts and helper
objects, ties and optimizers. Not covered: what forward does (see `simulate`), and models that are offloaded on purpose
(hooks of `device_map`): their devices and meta tensors are not judged, which the report says.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from lab.base import Report, ReportTable
from lab.device import HeldTensor, offloaded
from lab.device.inventory import PARAMETER, PASSING_BUFFER, PERSISTENT_BUFFER, PLAIN_ATTRIBUTE
from lab.doctor.hidden import (
    FIXES,
    IN_CONTAINER,
    IN_OBJECT,
    UNREGISTERED,
    all_modules,
    full_inventory,
    hidden_modules,
    unregistered_parameters,
)
from lab.doctor.optimizer_audit import FOREIGN, STATE, UNTRAINED, AuditFinding, audit_optimizers
from lab.doctor.ties import broken_ties

META_PARAMETER = "meta parameter"
META_BUFFER = "meta persistent buffer"
META_PASSING_BUFFER = "meta non-persistent buffer"
META_ATTRIBUTE = "meta plain attribute"
ATTRIBUTE_ELSEWHERE = "plain attribute on another device"
TENSOR_ELSEWHERE = "parameter or buffer on another device"
MIXED_DTYPE = "mixed floating dtype within one module"
BROKEN_TIE = "broken tie"

KINDS = (
    META_PARAMETER,
    META_BUFFER,
    META_PASSING_BUFFER,
    META_ATTRIBUTE,
    ATTRIBUTE_ELSEWHERE,
    TENSOR_ELSEWHERE,
    MIXED_DTYPE,
    IN_CONTAINER,
    IN_OBJECT,
    UNREGISTERED,
    BROKEN_TIE,
    FOREIGN,
    UNTRAINED,
    STATE,
)

_META_KINDS = {
    PARAMETER: META_PARAMETER,
    PERSISTENT_BUFFER: META_BUFFER,
    PASSING_BUFFER: META_PASSING_BUFFER,
    PLAIN_ATTRIBUTE: META_ATTRIBUTE,
}
_MATERIALIZE = "fill it with lab.device.materialize (from a state dict or a factory); never to_empty alone"
_SHOWN = 8
"""Names in a note, at most."""
_FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True, kw_only=True)
class AuditReport(Report):
    """What `audit` found."""

    findings: tuple[AuditFinding, ...]
    tensors: int
    """Names of tensors that were looked at."""
    device: str
    """Device on which all should be; empty where there is none to tell it by."""
    notes: tuple[str, ...]
    """What was not looked for, and what is no fault yet."""
    unjudged: tuple[str, ...] = ()
    """What could not be judged, and why."""

    @property
    def ok(self) -> bool:
        """Nothing was found."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready data."""
        return {
            "ok": self.ok,
            "tensors": self.tensors,
            "device": self.device,
            "notes": list(self.notes),
            "unjudged": list(self.unjudged),
            "findings": [asdict(finding) for finding in self.findings],
        }

    def tables(self) -> tuple[ReportTable, ...]:
        """One table of findings."""
        verdict = "nothing found" if self.ok else f"{len(self.findings)} found"
        rows = [(finding.kind, finding.name, finding.detail, finding.fix) for finding in self.findings]
        title = f"Audit: {verdict} ({self.tensors} tensors, device {self.device or 'unknown'})"
        columns, notes = ("kind", "name", "detail", "fix"), (*self.unjudged, *self.notes)
        return (ReportTable(title=title, columns=columns, rows=tuple(rows), notes=notes),)


def audit(
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    device: torch.device | str | None = None,
    ties: Sequence[Sequence[str]] = (),
) -> AuditReport:
    """Look at every tensor that `model` and `optimizer` hold; nothing is run or changed.

    Args:
        model: any module.
        optimizer: the one that trains it, or all of them; None: the three kinds about optimizers are not looked for.
        device: where every tensor should be; default: where most parameters and buffers are.
        ties: groups of names that should be one tensor, beside those that the model declares.

    Raises:
        ConfigError: a name in `ties` that the model has not.
    """
    held = full_inventory(model)
    signs = offloaded(model)
    target = torch.device(device) if device is not None else _majority(held)
    unjudged = [f"offloaded on purpose, devices and meta tensors not judged: {', '.join(signs)}"] if signs else []
    notes: list[str] = []
    findings: list[AuditFinding] = []
    if not signs:
        findings += _on_meta(held)
        findings += _elsewhere(model, held, target) if target is not None else []
        notes += _staying(held, target) if target is not None else []
    findings += _mixed_dtypes(model)
    findings += _hidden(model)
    optimizers = [] if optimizer is None else [optimizer] if isinstance(optimizer, Optimizer) else list(optimizer)
    findings += _unregistered(held, optimizers)
    findings += _untied(model, held, ties)
    if optimizer is None:
        notes.append("no optimizer was given: none was looked at")
    else:
        findings += audit_optimizers(held, optimizers)
    return AuditReport(
        findings=tuple(findings),
        tensors=len(held),
        device=str(target) if target is not None else "",
        notes=tuple(notes),
        unjudged=tuple(unjudged),
    )


def _majority(held: Sequence[HeldTensor]) -> torch.device | None:
    registered = [item.tensor for item in held if item.kind != PLAIN_ATTRIBUTE and not item.tensor.is_meta]
    counts = Counter(tensor.device for tensor in registered)
    return counts.most_common(1)[0][0] if counts else None


def _on_meta(held: Sequence[HeldTensor]) -> Iterator[AuditFinding]:
    for item in held:
        if item.tensor.is_meta and not _is_alias(item, held):
            detail = f"{tuple(item.tensor.shape)} {item.tensor.dtype} without values"
            yield AuditFinding(kind=_META_KINDS[item.kind], name=item.name, detail=detail, fix=_MATERIALIZE)


def _elsewhere(model: nn.Module, held: Sequence[HeldTensor], target: torch.device) -> Iterator[AuditFinding]:
    hidden = {f"{inner.path}.": inner.kind for inner in hidden_modules(model)}
    unregistered = unregistered_parameters(held)
    for item in held:
        here = item.tensor.device
        if item.tensor.is_meta or _same_device(here, target) or item.name in unregistered:
            continue
        detail = f"on {here}, the model on {target}"
        if item.kind != PLAIN_ATTRIBUTE:
            fix = f"model.to('{target}'), after the tensor was added"
            kind = next((kind for path, kind in hidden.items() if item.name.startswith(path)), None)
            if kind is not None:
                fix = f"{FIXES[kind]}; then model.to('{target}')"
            yield AuditFinding(kind=TENSOR_ELSEWHERE, name=item.name, detail=detail, fix=fix)
        # torch takes single CPU numbers beside tensors of any device
        elif not _is_alias(item, held) and not (here.type == "cpu" and item.tensor.dim() == 0):
            fix = "register_buffer(..., persistent=False): to() moves registered tensors only"
            yield AuditFinding(kind=ATTRIBUTE_ELSEWHERE, name=item.name, detail=detail, fix=fix)


def _same_device(here: torch.device, target: torch.device) -> bool:
    return here.type == target.type and (target.index is None or here.index is None or here.index == target.index)


def _is_alias(item: HeldTensor, held: Sequence[HeldTensor]) -> bool:
    """A plain attribute that shows the memory of a registered tensor: the fault, if any, is that tensor's."""
    if item.kind != PLAIN_ATTRIBUTE or not torch._C._has_storage(item.tensor):
        return False
    storage = item.tensor.untyped_storage()._cdata
    registered = (other.tensor for other in held if other.kind != PLAIN_ATTRIBUTE)
    return any(torch._C._has_storage(tensor) and tensor.untyped_storage()._cdata == storage for tensor in registered)


def _mixed_dtypes(model: nn.Module) -> Iterator[AuditFinding]:
    for name, module in all_modules(model):
        own = {**module._parameters, **module._buffers}
        dtypes = {key: tensor.dtype for key, tensor in own.items() if tensor is not None and tensor.dtype in _FLOATING}
        if len(set(dtypes.values())) > 1:
            detail = ", ".join(f"{key} {str(dtype).removeprefix('torch.')}" for key, dtype in dtypes.items())
            fix = "convert the whole module: module.to(dtype)"
            yield AuditFinding(kind=MIXED_DTYPE, name=name or "(the model)", detail=detail, fix=fix)


def _hidden(model: nn.Module) -> Iterator[AuditFinding]:
    for hidden in hidden_modules(model):
        count = sum(parameter.numel() for parameter in hidden.module.parameters())
        detail = f"{type(hidden.module).__name__} with {count} parameters: to(), parameters() and state_dict() miss it"
        yield AuditFinding(kind=hidden.kind, name=hidden.path, detail=detail, fix=FIXES[hidden.kind])


def _unregistered(held: Sequence[HeldTensor], optimizers: Sequence[Optimizer]) -> Iterator[AuditFinding]:
    """A parameter that an optimizer was given by hand is trained: whoever did that knows of it."""
    names = unregistered_parameters(held)
    given = {id(tensor) for optimizer in optimizers for group in optimizer.param_groups for tensor in group["params"]}
    for item in held:
        if item.name in names and id(item.tensor) not in given:
            node = item.tensor.grad_fn
            made = f", made of an nn.Parameter by {node.name()}" if node is not None else ""
            detail = f"{tuple(item.tensor.shape)}{made}: to(), parameters() and state_dict() miss it"
            yield AuditFinding(kind=UNREGISTERED, name=item.name, detail=detail, fix=FIXES[UNREGISTERED])


def _staying(held: Sequence[HeldTensor], target: torch.device) -> list[str]:
    """A note of the plain tensors that a model on the CPU would leave there."""
    if target.type != "cpu":
        return []
    unregistered = unregistered_parameters(held)
    names = [
        item.name
        for item in held
        if item.kind == PLAIN_ATTRIBUTE
        and item.tensor.device.type == "cpu"
        and item.tensor.dim() > 0
        # What was computed from parameters (weight_norm's weight) is computed anew where they are.
        and item.tensor.is_leaf
        and item.name not in unregistered
        and not _is_alias(item, held)
    ]
    if not names:
        return []
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    return [f"will stay when the model moves (plain attributes, which to() does not see): {shown}"]


def _untied(model: nn.Module, held: Sequence[HeldTensor], ties: Sequence[Sequence[str]]) -> Iterator[AuditFinding]:
    for name, other in broken_ties(model, held, ties):
        detail = f"not the same tensor as {other or 'any other'}: it would be trained and saved apart"
        fix = f"{name} = {other}" if other else "call model.tie_weights()"
        yield AuditFinding(kind=BROKEN_TIE, name=name, detail=detail, fix=fix)
