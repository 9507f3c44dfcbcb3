"""One operation of a traced forward: its tensors, the dimensions of these, and how weights are used."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lab.morph.dims import Dim, dim_size, plain, unify


@dataclass(frozen=True)
class Value:
    """A tensor of the trace: what its dimensions are made of, and whose weights it is."""

    dims: tuple[Dim, ...]
    weight: str = ""
    """Name of the parameter or buffer that this is a view of."""
    weight_dims: tuple[int, ...] = ()
    """Its dimension for each dimension here."""


Values = Value | tuple["Values | None", ...]


@dataclass
class Roles:
    """How the trace uses the dimensions of each weight: `(name, dimension)`."""

    read: set[tuple[str, int]] = field(default_factory=set)
    """Multiplied with an activation and summed: the columns of a linear layer."""
    made: set[tuple[str, int]] = field(default_factory=set)
    """Turns up in a result: the rows of a linear layer, a scale, a bias."""
    joined: list[Dim] = field(default_factory=list)
    """Dimensions that a reshape joined, such as heads and the units of one."""
    kept: list[Dim] = field(default_factory=list)
    """Dimensions whose size a reshape names while it joins or divides others."""


@dataclass(frozen=True)
class TracedOp:
    """One operation of the trace."""

    target: Any
    args: tuple[Any, ...]
    """The tensors as `Value`, all else as it is."""
    kwargs: dict[str, Any]
    shapes: tuple[tuple[int, ...] | None, ...]
    """Shape of each output."""
    roles: Roles
    used: tuple[bool, ...] = ()
    """Of several outputs, whether anything reads each one."""

    @property
    def name(self) -> str:
        """The operation as torch writes it."""
        return str(self.target)

    def plain_outputs(self) -> Values:
        """Outputs that belong to no width."""
        made = tuple(None if shape is None else Value(tuple(plain(size) for size in shape)) for shape in self.shapes)
        return made[0] if len(made) == 1 and made[0] is not None else made


Rule = Callable[[TracedOp], Values]
Rules = dict[Any, Rule]


def register(rules: Rules, *targets: Any) -> Callable[[Rule], Rule]:
    """Decorator: the rule of these operations."""

    def note(rule: Rule) -> Rule:
        rules.update(dict.fromkeys(targets, rule))
        return rule

    return note


def tensors(things: Any) -> list[Value]:
    """All values among arguments, containers entered."""
    if isinstance(things, Value):
        return [things]
    if isinstance(things, list | tuple):
        return [value for thing in things for value in tensors(thing)]
    return tensors(list(things.values())) if isinstance(things, dict) else []


def make(op: TracedOp, things: Any, but: Sequence[tuple[Value, int]] = ()) -> None:
    """Note that the weights among `things` turn up in the result, but for the dimensions in `but`."""
    skipped = [(id(value), dim) for value, dim in but]
    for value in tensors(things):
        for number, dim in enumerate(value.weight_dims):
            if (id(value), number) not in skipped:
                op.roles.made.add((value.weight, dim))


def pointwise(op: TracedOp) -> Value:
    """Element by element, shapes broadcast."""
    shape = op.shapes[0] or ()
    values = tensors((op.args, op.kwargs))
    dims: list[Dim] = []
    for back in range(len(shape), 0, -1):
        size = shape[len(shape) - back]
        found = [value.dims[len(value.dims) - back] for value in values if len(value.dims) >= back]
        wide = [dim for dim in found if dim_size(dim) == size and size != 1]
        for other in wide[1:]:
            unify(wide[0], other, f"{op.name} joins widths that do not fit")
        dims.append(wide[0] if wide else plain(size))
    return Value(tuple(dims))
