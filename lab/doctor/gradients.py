"""The gradients of a step, node by node: where the first value that is not finite came from, and where all became zero.

Each node of the graph is asked when the engine has run it. Covered: nodes made during the watch. Not covered: nodes
that a compiled function or scripted code made before it.
"""

import cmath
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lab.doctor.place import Site
from lab.doctor.records import NodeRecord
from lab.doctor.saved import is_leaf_node
from lab.doctor.values import FINITE, INF, NAN, ZERO, kind_of_values, readable, total

FLAT = frozenset(
    f"{name}Backward0" for name in ("Round", "Floor", "Ceil", "Trunc", "Sign", "Sgn", "Heaviside", "FloorDivide")
)
"""Nodes whose gradient is zero everywhere."""


class GradientWatch:
    """Records nodes, and what each gives to those before it.

    Args:
        site: where the user's code stands now.
    """

    def __init__(self, site: Callable[[], Site | None]) -> None:
        self._site = site
        self._task = -1
        self.active = True
        self.nodes = 0
        self.roots: list[NodeRecord] = []
        """First node of each backward."""
        self.spoiled: list[tuple[NodeRecord, torch.dtype]] = []
        """Nodes that made a gradient that is not finite from finite ones, with its dtype; in the order of backward."""
        self.zeroed: list[NodeRecord] = []
        """Nodes that made only zeros from others, in the order of backward."""
        self.reached: set[int] = set()
        """Identities of the leaves that a backward gave a gradient to."""
        self.leaves: set[int] = set()
        """Identities of the leaves that a node reads."""

    def knows(self, node: Any) -> bool:
        """The node is recorded, or there is nothing in it to record."""
        return is_leaf_node(node) or self in node.metadata

    def record(self, node: Any) -> NodeRecord | None:
        """What is known of the node."""
        found: NodeRecord | None = None if is_leaf_node(node) else node.metadata.get(self)
        return found

    def add(self, node: Any) -> None:
        """Record a node that has just been made."""
        if not self.active or is_leaf_node(node):
            return
        self.nodes += 1
        parents, leaves = [], []
        for parent, _ in node.next_functions:
            if parent is None:
                continue
            if is_leaf_node(parent):
                leaves.append(id(parent.variable))
            elif (known := parent.metadata.get(self)) is not None:
                parents.append(known)
        record = NodeRecord(node.name(), self._site(), self.nodes, tuple(parents), tuple(leaves))
        self.leaves.update(leaves)
        node.metadata[self] = record
        node.register_hook(partial(self._ran, record))

    def _ran(self, record: NodeRecord, given: tuple[Any, ...], got: tuple[Any, ...]) -> None:
        """The engine ran the node: `got` came from the loss, `given` goes on."""
        if not self.active:
            return
        # the watch of calls is on: it is not to see these
        with torch._C.DisableTorchFunction():
            task = torch._C._current_graph_task_id()
            if task != self._task:
                self._task = task
                self.roots.append(record)
            if record.leaves:
                self.reached.update(record.leaves)
            self._judge(record, given, got)

    def _judge(self, record: NodeRecord, given: tuple[Any, ...], got: tuple[Any, ...]) -> None:
        asked = zeros = 0
        for gradient in given:
            if gradient is None or (value := total(gradient)) is None:
                continue
            asked += 1
            if value == 0:
                zeros += kind_of_values(gradient) == ZERO
            elif not cmath.isfinite(value) and kind_of_values(gradient) in (NAN, INF):
                if all(kind_of_values(each) in (ZERO, FINITE) for each in _tensors(got)):
                    self.spoiled.append((record, gradient.dtype))
                return
        if asked and zeros == asked and any(kind_of_values(each) == FINITE for each in _tensors(got)):
            self.zeroed.append(record)

    def close(self) -> None:
        """Stop; nodes that outlive the watch do nothing more."""
        self.active = False


def paths_avoid(roots: list[NodeRecord], avoided: frozenset[str]) -> set[int]:
    """Leaves that the roots lead to without passing a node of the avoided kinds."""
    seen: set[int] = set()
    leaves: set[int] = set()
    stack = list(roots)
    while stack:
        record = stack.pop()
        if id(record) in seen or record.operation in avoided:
            continue
        seen.add(id(record))
        leaves.update(record.leaves)
        stack += record.parents
    return leaves


def _tensors(gradients: tuple[Any, ...]) -> list[Tensor]:
    return [each for each in gradients if isinstance(each, Tensor) and readable(each)]
