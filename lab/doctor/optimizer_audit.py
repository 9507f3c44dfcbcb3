"""Whether optimizers train the tensors that a model has, with state that fits them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from lab.device import HeldTensor

FOREIGN = "optimizer holds a foreign tensor"
UNTRAINED = "trainable tensor in no optimizer"
STATE = "optimizer state of another device or shape"

_RESET = "build the optimizer after the model is final, or re-point it (lab.device.DeviceManager.context_switch_model)"
# per-element state of torch's optimizers; other keys (factored moments) may have another shape
_ELEMENTWISE = frozenset(
    [
        *("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer", "square_avg", "grad_avg"),
        *("acc_delta", "sum", "prev", "step_size", "ax"),
    ]
)


@dataclass(frozen=True, kw_only=True)
class AuditFinding:
    """One tensor or module at fault."""

    kind: str
    """Kind of fault, one of `lab.doctor.KINDS`."""
    name: str
    """Full name."""
    detail: str
    """What is wrong with it."""
    fix: str
    """What to do."""


def audit_optimizers(held: Sequence[HeldTensor], optimizers: Sequence[Optimizer]) -> Iterator[AuditFinding]:
    """The findings of the three kinds about optimizers."""
    names: dict[int, str] = {}
    for item in held:
        names.setdefault(id(item.tensor), item.name)
    trained = {id(tensor) for optimizer in optimizers for _, tensor in _slots(optimizer)}
    untrained = [
        item
        for item in held
        if item.tensor.requires_grad
        and item.tensor.is_leaf
        and names[id(item.tensor)] == item.name
        and id(item.tensor) not in trained
    ]
    for number, optimizer in enumerate(optimizers):
        prefix = "" if len(optimizers) == 1 else f"optimizer {number}: "
        for slot, tensor in _slots(optimizer):
            if id(tensor) not in names:
                yield _foreign(prefix + slot, tensor, untrained)
    for item in untrained:
        detail = f"{item.kind} {tuple(item.tensor.shape)} requires a gradient and is never stepped"
        fix = "give it to an optimizer (add_param_group), or requires_grad_(False)"
        yield AuditFinding(kind=UNTRAINED, name=item.name, detail=detail, fix=fix)
    for optimizer in optimizers:
        yield from _states(optimizer, names)


def _slots(optimizer: Optimizer) -> Iterator[tuple[str, Tensor]]:
    for number, group in enumerate(optimizer.param_groups):
        for place, tensor in enumerate(group["params"]):
            yield f"param_groups[{number}]['params'][{place}]", tensor


def _foreign(slot: str, tensor: Tensor, untrained: Sequence[HeldTensor]) -> AuditFinding:
    alike = [item.name for item in untrained if item.tensor.shape == tensor.shape]
    perhaps = f"; perhaps what {alike[0]} was before it was replaced" if alike else ""
    where = "on meta" if tensor.is_meta else f"on {tensor.device}"
    detail = f"{tuple(tensor.shape)} {where}: the model does not hold it{perhaps}"
    return AuditFinding(kind=FOREIGN, name=slot, detail=detail, fix=_RESET)


def _states(optimizer: Optimizer, names: dict[int, str]) -> Iterator[AuditFinding]:
    fits: dict[str, list[bool]] = defaultdict(list)
    entries = list(_state_tensors(optimizer))
    for owner, key, tensor in entries:
        fits[key].append(tensor.shape == owner.shape)
    for owner, key, tensor in entries:
        elementwise = key in _ELEMENTWISE or sum(fits[key]) > len(fits[key]) / 2
        wrong_shape = elementwise and tensor.shape != owner.shape
        if wrong_shape or tensor.device != owner.device:
            name = f"{names.get(id(owner), 'a tensor that the model does not hold')}: state[{key!r}]"
            detail = f"{tuple(tensor.shape)} on {tensor.device} for {tuple(owner.shape)} on {owner.device}"
            yield AuditFinding(kind=STATE, name=name, detail=detail, fix=_RESET)


def _state_tensors(optimizer: Optimizer) -> Iterator[tuple[Tensor, str, Tensor]]:
    """Owner, key and tensor of each state with elements; single numbers (step counts) may be anywhere."""
    owner: Any
    for owner, state in optimizer.state.items():
        if isinstance(owner, Tensor) and isinstance(state, dict):
            for key, value in state.items():
                if isinstance(value, Tensor) and value.dim() > 0:
                    yield owner, str(key), value
