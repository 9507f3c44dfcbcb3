"""The autograd graph of a small program: its operations, what each has saved, and what a write in place did to that.

Covers tensors that torch's own operations save. What a custom `torch.autograd.Function` saves is shown where it uses
`save_for_backward`. A graph of more than `MOST` operations is no picture and is refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.autograd.graph import Node

from lab.base import ConfigError, ReportTable
from lab.charts import GraphNode, LineStyle, graph_figure
from lab.lesson.drawn import DrawnReport
from lab.lesson.units import format_bytes

if TYPE_CHECKING:
    from lab.lesson.widgets import go

MOST = 40
"""Largest number of nodes that a picture shows."""
INTACT, OVERWRITTEN, FREED = "saved", "✗ overwritten", "✗ freed"
STYLES = {
    "leaf": LineStyle(label="leaf: gets .grad", color="#1f9d4d", dash="solid"),
    "operation": LineStyle(label="operation", color="#2f7ef0", dash="solid"),
    "broken": LineStyle(label="✗ cannot go backward", color="#e5484d", dash="dash"),
}


@dataclass(frozen=True, kw_only=True)
class SavedValue:
    """What one operation has kept for its backward pass."""

    field: str
    """Name by which the operation keeps it, for instance `other`."""
    name: str
    """Name of the tensor where it is one of those that were given, else empty."""
    state: str
    """`saved`, `✗ overwritten` (a write in place came after) or `✗ freed` (a backward pass has used it up)."""
    shape: tuple[int, ...] | None
    """None where it can no longer be read."""
    bytes: int

    @property
    def text(self) -> str:
        """One line."""
        if self.shape is None:
            return f"{self.field}: {self.state}"
        named = f" = {self.name}" if self.name else ""
        return f"{self.field}{named} {self.shape}: {self.state}"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One node of the graph."""

    name: str
    """For instance `Mul`; for a leaf the tensor's name."""
    kind: str
    """`leaf`, `operation` or `broken`."""
    saved: tuple[SavedValue, ...]
    inputs: tuple[int, ...]
    """Indices of the nodes that its inputs come from."""


@dataclass(frozen=True, kw_only=True, repr=False)
class GraphDrawing(DrawnReport):
    """The operations behind a tensor, inputs before users."""

    title: str
    operations: tuple[Operation, ...]

    @property
    def ok(self) -> bool:
        """Whether a backward pass finds all that it needs."""
        return all(operation.kind != "broken" for operation in self.operations)

    @property
    def bytes(self) -> int:
        """Bytes of what is saved, a tensor that two operations saved counted twice."""
        return sum(saved.bytes for operation in self.operations for saved in operation.saved)

    def to_dict(self) -> dict[str, Any]:
        """Every operation with what it has saved, `ok` and `bytes`."""
        rows = [{**vars(each), "saved": [vars(saved) for saved in each.saved]} for each in self.operations]
        return {"title": self.title, "ok": self.ok, "bytes": self.bytes, "operations": rows}

    def tables(self) -> tuple[ReportTable, ...]:
        """One row for each node: where its inputs come from and what it has saved."""
        rows = tuple(
            (
                str(number),
                operation.name,
                operation.kind,
                ", ".join(map(str, operation.inputs)) or "-",
                "; ".join(saved.text for saved in operation.saved) or "-",
            )
            for number, operation in enumerate(self.operations)
        )
        state = "backward finds all that it needs" if self.ok else "✗ backward would raise an error"
        columns = ("node", "what", "kind", "inputs", "saved for backward")
        note = f"{state}; saved: {format_bytes(self.bytes)}"
        return (ReportTable(title=self.title, columns=columns, rows=rows, notes=(note,)),)

    def figure(self) -> "go.Figure":
        """Boxes from the leaves at the top to the tensor at the bottom."""
        nodes = [
            GraphNode(
                name=operation.name,
                lines=tuple(saved.text for saved in operation.saved),
                style=STYLES[operation.kind],
                inputs=operation.inputs,
            )
            for operation in self.operations
        ]
        return graph_figure(nodes, title=self.title)


def _sources(node: Node) -> list[Node]:
    return [source for source, _ in node.next_functions if source is not None]


def _sorted(output: Node) -> list[Node]:
    """All nodes behind `output`, inputs first."""
    done: dict[Node, None] = {}
    waiting: list[tuple[Node, Iterator[Node]]] = [(output, iter(_sources(output)))]
    while waiting:
        node, left = waiting[-1]
        source = next(left, None)
        if source is None:
            done[node] = None
            waiting.pop()
        elif source not in done:
            waiting.append((source, iter(_sources(source))))
        if len(done) + len(waiting) > MOST:
            raise ConfigError(f"a small program, up to {MOST} operations", "more", "draw the tensor of a smaller one")
    return list(done)


def _read(node: Node, field: str, names: dict[int, str]) -> list[SavedValue]:
    """What `node` keeps under `field`; nothing where that is no tensor."""
    short = field.removeprefix("_saved_")
    try:
        value = getattr(node, field)
    except RuntimeError as error:
        # The two reasons for which torch refuses to hand a saved tensor out; it has no error classes for them.
        overwritten = "modified by an inplace operation" in str(error)
        if not overwritten and "after they have already been freed" not in str(error):
            raise
        state = OVERWRITTEN if overwritten else FREED
        return [SavedValue(field=short, name="", state=state, shape=None, bytes=0)]
    found = value if isinstance(value, tuple | list) else (value,)
    return [
        SavedValue(
            field=short,
            name=names.get(tensor.data_ptr(), "") if tensor.numel() else "",
            state=INTACT,
            shape=tuple(tensor.shape),
            bytes=tensor.numel() * tensor.element_size(),
        )
        for tensor in found
        if isinstance(tensor, Tensor)
    ]


def _operation(node: Node, inputs: tuple[int, ...], names: dict[int, str]) -> Operation:
    variable = getattr(node, "variable", None)
    if variable is not None:
        return Operation(name=names.get(variable.data_ptr(), "leaf"), kind="leaf", saved=(), inputs=inputs)
    fields = sorted(name for name in dir(node) if name.startswith("_saved_"))
    if hasattr(node, "saved_tensors"):
        fields.append("saved_tensors")
    saved = tuple(each for field in fields for each in _read(node, field, names))
    broken = any(each.state != INTACT for each in saved)
    name = node.name().split("::")[-1].rstrip("0123456789").removesuffix("Backward")
    return Operation(name=name, kind="broken" if broken else "operation", saved=saved, inputs=inputs)


def draw_graph(output: Tensor, *, title: str = "", **tensors: Tensor) -> GraphDrawing:
    """Draw the graph that autograd has recorded behind `output`.

    Args:
        output: a tensor that operations on tensors with `requires_grad` made.
        title: above the picture.
        **tensors: the program's tensors by their names, for instance `draw_graph(loss, w=w, x=x)`; they are named where
            a leaf or a saved tensor is one of them.

    Returns:
        A `GraphDrawing`; `.ok` says whether a backward pass would find what it needs. Drawing changes nothing.

    Raises:
        ConfigError: no graph hangs on `output`, or it has more than `MOST` nodes.
    """
    if output.grad_fn is None:
        raise ConfigError("a tensor with a graph behind it", "one without grad_fn", "use a leaf that requires_grad")
    names = {tensor.data_ptr(): name for name, tensor in tensors.items()}
    nodes = _sorted(output.grad_fn)
    places = {node: number for number, node in enumerate(nodes)}
    operations = tuple(_operation(node, tuple(places[each] for each in _sources(node)), names) for node in nodes)
    return GraphDrawing(title=title, operations=operations)
