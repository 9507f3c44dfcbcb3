"""What a module carries from one call to the next, and what writing it may and may not do inside a graph.

Between a forward pass and its backward pass the graph owns what the forward read. So there are four rules, and every
memory of this part keeps them by holding a `State` and nothing else:

1. A forward reads a detached copy (`read`). The graph never holds the buffer itself, so no later write, no loading of
   a state dict and no broadcast between ranks can change what backward needs; and backward never leaves this call.
2. What is written is detached (`write`). The next forward starts from numbers and not from this call's graph, so
   graphs do not grow and one backward for each forward is enough.
3. A write goes into the same buffer, under no_grad. The buffer stays the same object, so whoever holds it by reference
   (an optimizer transaction, a parallel wrapper, a compiled module) sees the value; `.data` is not needed.
4. Only train mode writes. In eval mode a call changes nothing, and its result depends on input and state alone.

The four ways that break a rule: `self.state = value` with a live value (2: the second backward meets a freed graph),
`state.copy_(value)` after the state was read (1 and 2: modified by an in-place operation), the same under no_grad (1),
and `state.data.copy_(value)` (1, without an error: gradients of the new value).

A write happens in the forward, as BatchNorm's does: several forwards before one backward each read what the one before
wrote, and a batch that is cut into parts writes once for each part. Not covered: forwards that are computed a second
time inside backward (they would read what the first one wrote; they are refused); merging of what several ranks write.
"""

import torch
from torch import Tensor, nn

from lab.base import TrainingError


class State(nn.Module):
    """Named tensors outside every graph: persistent buffers that are read as copies and written in train mode.

    As a submodule it follows its owner's mode, device and dtype, and is in the owner's `state_dict` and copies.

    Args:
        initial: the tensors by name; each keeps its shape. Not copied.
    """

    def __init__(self, **initial: Tensor) -> None:
        super().__init__()
        for name, value in initial.items():
            self.register_buffer(name, value.detach())

    def read(self, name: str) -> Tensor:
        """A detached copy of one tensor, for use inside a graph.

        Raises:
            TrainingError: in train mode, where backward computes a forward again (activation checkpointing).
        """
        # the task of a backward pass that runs in this thread; -1 outside of one
        if self.training and torch._C._current_graph_task_id() != -1:
            raise TrainingError(
                f"a forward outside of backward, to read the state {name!r} that it then writes",
                "one that backward computes again",
                "leave modules with a state out of activation checkpointing",
            )
        value: Tensor = self.get_buffer(name)
        return value.detach().clone()

    @torch.no_grad()
    def write(self, **values: Tensor) -> None:
        """Set tensors to detached values of the same shape, all of them or none; nothing in eval mode.

        Raises:
            TrainingError: a shape other than the state's, which a copy would stretch without a word.
        """
        if not self.training:
            return
        for name, value in values.items():
            shape = tuple(self.get_buffer(name).shape)
            if tuple(value.shape) != shape:
                got = f"shape {tuple(value.shape)}"
                raise TrainingError(f"a value of shape {shape} for the state {name!r}", got, "write a whole value")
        for name, value in values.items():
            self.get_buffer(name).copy_(value.detach())

    def extra_repr(self) -> str:
        return ", ".join(f"{name}{list(buffer.shape)}" for name, buffer in self.named_buffers())
