"""Nodes of the autograd graph that are alive, by the line that made them: a graph that is kept holds no bytes at last.

Covered: nodes that calls of torch in this thread make while the mode is on. Not covered: nodes that only add up the
gradient of a leaf, and those that no result of a call leads to.
"""

import weakref
from collections import deque
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from lab.device.dispatch import AllocationSite, user_line


class _Token:
    """Dies with its node."""

    __slots__ = ("__weakref__", "number")

    def __init__(self, number: int) -> None:
        self.number = number


class NodeTracker(TorchFunctionMode):
    """Follows the nodes behind the results of calls from birth to death."""

    def __init__(self) -> None:
        super().__init__()
        self.mark = 0
        """Written into each birth; the owner counts it up, for example once a call."""
        self._count = 0
        self._births: dict[int, AllocationSite] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        # `x.grad_fn` and the like are no operations; the nodes that they give are known.
        if getattr(func, "__name__", "") != "__get__":
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor) and leaf.grad_fn is not None:
                    self._discover(leaf.grad_fn)
        return result

    @property
    def live(self) -> int:
        """Nodes alive now."""
        return len(self._births)

    def alive(self) -> dict[int, AllocationSite]:
        """The nodes that are alive now, by number; their bytes count as 0."""
        return dict(self._births)

    def number_of(self, thing: object) -> int | None:
        """The number of a node; None for one that was not followed, and for anything else."""
        token = _metadata(thing).get(self) if isinstance(thing, Node) else None
        return token.number if isinstance(token, _Token) else None

    def _discover(self, node: Node) -> None:
        line = None
        queue = deque([node])
        while queue:
            here = queue.popleft()
            metadata = _metadata(here)
            if self in metadata or type(here).__name__ == "AccumulateGrad":
                continue
            line = line or user_line()
            self._count += 1
            token = metadata[self] = _Token(self._count)
            self._births[self._count] = AllocationSite(
                number=self._count, nbytes=0, operation=here.name(), line=line, mark=self.mark
            )
            # No finalizer at exit: nobody reads the counts by then.
            weakref.finalize(token, self._births.pop, self._count, None).atexit = False
            queue.extend(parent for parent, _ in here.next_functions if parent is not None)


def _metadata(node: Any) -> dict[Any, Any]:
    found: dict[Any, Any] = node.metadata
    return found
