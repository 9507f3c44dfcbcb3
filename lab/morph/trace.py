"""Trace a model once and work out which dimensions of its weights belong to the same width."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lab.base import MorphError
from lab.morph.dims import Dim, dim_size, fix, plain, resolve, unify, width_vars
from lab.morph.forward import Forward, record_forward
from lab.morph.record import Call, TracedTensor
from lab.morph.rules import apply_rule
from lab.morph.traced_op import Roles, TracedOp, Value
from lab.state import structure_digest

Example = Tensor | tuple[Any, ...] | Mapping[str, Any]


@dataclass(frozen=True)
class Widths:
    """The dimensions of every parameter and buffer, and how the forward uses them."""

    dims: dict[str, tuple[Dim, ...]]
    """Also of the weight that a normalisation without one would have."""
    roles: Roles


def call_arguments(example: Example) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and keyword arguments that an example stands for."""
    if isinstance(example, Mapping):
        return (), dict(example)
    return (example, {}) if isinstance(example, tuple) else ((example,), {})


def run(model: nn.Module, example: Example) -> Any:
    """The model's output for an example."""
    args, kwargs = call_arguments(example)
    return model(*args, **kwargs)


def trace_widths(model: nn.Module, example: Example) -> Widths:
    """Follow one forward of `model`: which operation reads what of which other.

    The model is read, never written; see `lab.morph.forward`.

    Raises:
        MorphError: the forward cannot be followed, for instance because it branches on values.
    """
    widths = _interpret(record_forward(model, *call_arguments(example)))
    _join_recurrent(model, widths.dims)
    return widths


class Traces:
    """The widths of one model on one example, traced when they are first asked for.

    For changes that are weighed against each other: a trace takes longer than working a change out, and all changes of
    one structure share it. A model of another structure, or an example of other shapes, is traced anew; whoever holds
    the object answers for a forward that depends on nothing else.
    """

    def __init__(self, *, tied: int = 0) -> None:
        self._key: tuple[Any, ...] = ()
        self._found: Widths | MorphError | None = None
        self._tied = tied
        self._other: Traces | None = None

    @property
    def failed(self) -> bool:
        """Whether the last forward could not be followed."""
        return isinstance(self._found, MorphError)

    @property
    def with_ties(self) -> "Traces | None":
        """For the same model, with more widths taken for one: first streams and heads, then whatever a reshape keeps.

        `reshape(B, N, C)` with the C of the block's input makes heads units of the stream, `reshape(B, C, -1)` what a
        layer made of it; a trace of sizes cannot tell the C from another number. None where nothing is left to tie.
        """
        if not isinstance(self._found, Widths):
            return None
        left = [(1, self._found.roles.joined), (2, self._found.roles.kept)]
        level = next((level for level, dims in left if level > self._tied and dims), 0)
        if not level:
            return None
        self._other = self._other or Traces(tied=level)
        return self._other

    def widths(self, model: nn.Module, example: Example) -> Widths:
        """As `trace_widths` gives them."""
        leaves, form = pytree.tree_flatten(call_arguments(example))
        parts = [(item.shape, item.dtype) if isinstance(item, Tensor) else repr(item) for item in leaves]
        key = (structure_digest(model), form, *parts)
        if self._found is None or key != self._key:
            self._key = key
            try:
                self._found = trace_widths(model, example)
                roles = self._found.roles
                for dims in (roles.joined, roles.kept)[: self._tied]:
                    _tie(self._found, dims)
            except MorphError as error:
                self._found = error
        if isinstance(self._found, MorphError):
            raise MorphError(self._found.expected, self._found.got, self._found.hint)
        return self._found


# A trace belongs to one model, and goes with it.
_KNOWN: WeakKeyDictionary[nn.Module, Traces] = WeakKeyDictionary()


def traces_of(model: nn.Module) -> Traces:
    """What is known of `model`: its plans share a trace until its structure or the example's shapes are others.

    A forward that depends on more than these gives at worst a plan that fails its trial: what is planned is run and
    measured each time. A trace that failed is tried again.
    """
    if model not in _KNOWN or _KNOWN[model].failed:
        _KNOWN[model] = Traces()
    return _KNOWN[model]


def _interpret(forward: Forward) -> Widths:
    roles = Roles()
    for call in forward.calls:
        _follow(call, roles)
    for slot in forward.outputs:
        for dim in _value(slot).dims:
            fix(dim, "it is a size of the model's output")
    dims = {name: _value(slot).dims for name, slot in forward.weights.items()}
    # A link that came late can leave a dimension without a way to say it; resolving it finds the reason.
    for dim in (dim for found in dims.values() for dim in found):
        resolve(dim)
    return Widths(dims, roles)


def _join_recurrent(model: nn.Module, dims: dict[str, tuple[Dim, ...]]) -> None:
    """Layers and directions of one LSTM, GRU or RNN have one number of units."""
    for path, module in model.named_modules():
        if not isinstance(module, nn.RNNBase):
            continue
        for part in ("weight_hh", "weight_hr"):
            names = [f"{path}.{name}" if path else name for name in module._parameters if name.startswith(part)]
            for name in names[1:]:
                unify(dims[names[0]][1], dims[name][1], "layers and directions of a recurrence have one size")
    for dim in (dim for found in dims.values() for dim in found):
        resolve(dim)


def _tie(widths: Widths, named: list[Dim]) -> None:
    """What a reshape names is the width that the weights which made it read, where sizes agree."""
    dims, pairs = widths.dims, list[tuple[Dim, Dim]]()
    # All are found before the first is tied: what makes the stream is no part of the block.
    for joined in named:
        units = set(width_vars(joined))
        for name, read in sorted(widths.roles.read) if units else ():
            makes = any(units & set(width_vars(dim)) for number, dim in enumerate(dims[name]) if number != read)
            if makes and dim_size(dims[name][read]) == dim_size(joined):
                pairs.append((dims[name][read], joined))
    for stream, joined in pairs:
        unify(stream, joined, "a reshape names another width")
    for dim in (dim for found in dims.values() for dim in found):
        resolve(dim)


def _follow(call: Call, roles: Roles) -> None:
    shapes = tuple(None if slot is None else slot.shape for slot in call.outputs)
    used = tuple(slot is not None and slot.used for slot in call.outputs) if len(shapes) > 1 else (True,)
    args, kwargs = _valued(list(call.args)), _valued(call.kwargs)
    made = apply_rule(TracedOp(call.target, tuple(args), kwargs, shapes, roles, used))
    for slot, value in zip(call.outputs, (made,) if isinstance(made, Value) else made, strict=False):
        if slot is not None:
            slot.value = value


def _valued(item: Any) -> Any:
    """The same with what is known of each tensor in its place."""
    if isinstance(item, TracedTensor):
        return _value(item)
    if isinstance(item, list):
        return [_valued(each) for each in item]
    return {key: _valued(each) for key, each in item.items()} if isinstance(item, dict) else item


def _value(slot: TracedTensor) -> Value:
    if slot.value is None:
        slot.value = Value(tuple(plain(size) for size in slot.shape))
    value: Value = slot.value
    return value
