"""What a checkpointed part reads again in backward: its weights, which its node does not save.

Covered: leaves that require a gradient, read while a reentrant checkpoint runs its forward, or made the input of a node
under the hooks of a checkpoint that is not reentrant. Not covered: buffers and captured activations.
"""

import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointFunction

from lab.doctor.place import call_site
from lab.doctor.records import Moment, NodeRecord

READ_AGAIN = "read again"
"""Stands for the attribute of a node that holds the tensor."""

_FORWARD = CheckpointFunction.forward.__code__
_MODULE = CheckpointFunction.__module__


class Rereads:
    """The weights that reentrant checkpoints have read, by the node of each, until that node is recorded.

    Args:
        keep: adds tensors to what a record saved.
    """

    def __init__(self, keep: Callable[[NodeRecord, str, list[Tensor]], None]) -> None:
        self._keep = keep
        self._pending: dict[Any, NodeRecord] = {}

    def note(self, args: tuple[Any, ...], frame: FrameType, tick: int) -> None:
        """The operation of number `tick` reads `args`, called from `frame`, without gradients."""
        leaves = weights_of(args)
        part = _forward_of_part(frame) if leaves else None
        if part is not None:
            fresh = NodeRecord(operation="", site=call_site(part), tick=tick, parents=())
            pending = self._pending.setdefault(part.f_locals["ctx"], fresh)
            known = {saved.storage.cdata for saved in pending.saved}
            self._keep(pending, READ_AGAIN, [leaf for leaf in leaves if leaf.untyped_storage()._cdata not in known])

    def give(self, node: Any, record: NodeRecord, now: Moment | None) -> None:
        """Add to `record` what the part of `node` has read; `now`: the last operation, where it is the part's own."""
        pending = self._pending.pop(node, None) if is_reentrant(node) else None
        if pending is None:
            return
        record.site = pending.site
        for saved in pending.saved:
            saved.owner = weakref.ref(record)
            if now is not None:
                # What the part itself wrote is no fault: it writes it again.
                saved.restart(record.tick, now)
            record.saved.append(saved)

    def close(self) -> None:
        """Let go of everything."""
        self._pending.clear()


def weights_of(args: tuple[Any, ...]) -> list[Tensor]:
    """The leaves among `args` that require a gradient."""
    return [value for value in args if isinstance(value, Tensor) and value.requires_grad and value.is_leaf]


def is_reentrant(node: Any) -> bool:
    """The node stands for a part that a reentrant checkpoint runs again."""
    return isinstance(node, CheckpointFunction._backward_cls)


def under_checkpoint() -> bool:
    """The saved-tensor hooks that are on are those of a checkpoint, which runs the part again."""
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(False)
    return hooks is not None and getattr(hooks[0], "__module__", "") == _MODULE


def _forward_of_part(frame: FrameType) -> FrameType | None:
    """The frame of the innermost reentrant checkpoint whose forward is running; its local `ctx` is the node."""
    here: FrameType | None = frame
    while here is not None and here.f_code is not _FORWARD:
        here = here.f_back
    return here
