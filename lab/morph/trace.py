"""Trace a model once and work out which dimensions of its weights belong to the same width."""

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from lab.base import MorphError
from lab.morph.dims import Dim, WidthVar, dim_size, fix, plain, resolve, unify, width_vars
from lab.morph.rules import apply_rule
from lab.morph.traced_op import Roles, TracedOp, Value, tensors
from lab.nn import plain_attention, plain_recurrence
from lab.state import structure_digest

# What running somebody's model can raise: anything else is a fault of ours or of the machine.
MODEL_ERRORS = (
    RuntimeError,
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    AssertionError,
    NotImplementedError,
    ArithmeticError,
)
BARE_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
"""Normalisations that repeat a size even where no tensor of theirs has it."""
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


def kept_results(model: nn.Module) -> dict[int, Any]:
    """What `copy.deepcopy` needs to be told of results that modules keep: each one's identity, and a copy of it.

    torch copies no tensor that an operation has made. Old `weight_norm` keeps its weight as one.
    """
    kept = pytree.tree_leaves([list(vars(module).values()) for module in model.modules()])
    return {id(item): item.detach().clone() for item in kept if isinstance(item, Tensor) and not item.is_leaf}


def copied(model: nn.Module) -> nn.Module:
    """A copy of `model`; what it keeps of earlier forwards, such as an activation, is copied without its graph.

    Raises:
        MorphError: `copy.deepcopy` fails on it.
    """
    try:
        return copy.deepcopy(model, kept_results(model))
    except MODEL_ERRORS as error:
        line = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise MorphError("a model that copy.deepcopy copies", line, "keep no such object in a module") from error


def run(model: nn.Module, example: Example) -> Any:
    """The model's output for an example."""
    args, kwargs = call_arguments(example)
    return model(*args, **kwargs)


def _give_weights(model: nn.Module) -> None:
    """A normalisation without weights gets some, so that the trace sees which width its sizes repeat."""
    like = next((tensor for tensor in model.parameters() if tensor.is_floating_point()), torch.empty(0))
    for module in model.modules():
        if isinstance(module, BARE_NORMS) and module.weight is None:
            size = module.num_channels if isinstance(module, nn.GroupNorm) else getattr(module, "num_features", 0)
            shape = module.normalized_shape if isinstance(module, nn.LayerNorm | nn.RMSNorm) else (int(size),)
            module.weight = nn.Parameter(torch.ones(shape, dtype=like.dtype, device=like.device))


def trace_widths(model: nn.Module, example: Example) -> Widths:
    """Follow one forward of `model` on tensors without values.

    The model is read, never written: its forward runs on a copy in eval mode, and that on fake tensors.

    Raises:
        MorphError: the forward cannot be followed, for instance because it branches on values.
    """
    args, kwargs = call_arguments(example)
    try:
        graph, names = _graph(copied(model).eval(), args, kwargs)
    except MODEL_ERRORS as error:
        # Grouped products have no rule for tensors without values but in this dtype; widths are the same in any.
        if "BFloat16" not in str(error):
            raise _untraced(error) from error
        half = pytree.tree_map(_to_bfloat16, (args, kwargs))
        try:
            graph, names = _graph(copied(model).bfloat16().eval(), *half)
        except MODEL_ERRORS as other:
            raise _untraced(other) from other
    widths = _interpret(list(graph.graph.nodes), names, graph)
    _join_recurrent(model, widths.dims)
    return widths


def _untraced(error: Exception) -> MorphError:
    line = (str(error).splitlines() or [type(error).__name__])[0][:300]
    return MorphError("a forward that can be traced without values", line, "see lab.doctor.simulate")


def _to_bfloat16(item: Any) -> Any:
    return item.bfloat16() if isinstance(item, Tensor) and item.is_floating_point() else item


def _graph(quiet: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[GraphModule, list[str]]:
    """The forward as a graph of operations, and the names of the tensors that it gets first."""
    _give_weights(quiet)
    state: dict[str, Tensor] = dict(quiet.named_parameters())
    state |= dict(quiet.named_buffers())

    def forward(state: dict[str, Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # Outputs may hold more than tensors, such as a cache; widths are sizes of tensors.
        leaves = pytree.tree_leaves(functional_call(quiet, state, args, kwargs))
        return [leaf for leaf in leaves if isinstance(leaf, Tensor)]

    recurrent = any(isinstance(module, nn.RNNBase) for module in quiet.modules())
    with torch.no_grad(), _quiet_log(), plain_attention(), plain_recurrence() if recurrent else nullcontext():
        graph = make_fx(forward, tracing_mode="fake", _allow_non_fake_inputs=True)(state, args, kwargs)
    # Placeholders come in the order of the flattened arguments, a dict in its own order.
    return graph, list(state)


@contextmanager
def _quiet_log() -> Iterator[None]:
    """torch logs a traceback for an operation that it cannot run without values, and raises the same besides."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    was, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = was


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


def _interpret(nodes: list[Node], names: list[str], graph: nn.Module) -> Widths:
    roles, known = Roles(), dict[Node, Any]()
    dims: dict[str, tuple[Dim, ...]] = {}
    places = iter(range(len(nodes)))
    for node in nodes:
        if node.op == "placeholder":
            position = next(places)
            shape = _shapes(node)[0] or ()
            if position < len(names):
                name = names[position]
                # A dimension of size 1 may be broadcast against any other: it is no width.
                dims[name] = tuple(((WidthVar(size),),) if size > 1 else plain(1) for size in shape)
                known[node] = Value(dims[name], name, tuple(range(len(shape))))
            else:
                known[node] = Value(tuple(plain(size) for size in shape))
        elif node.op == "get_attr":
            constant = getattr(graph, str(node.target))
            shape = tuple(constant.shape) if isinstance(constant, Tensor) else ()
            known[node] = Value(tuple(plain(size) for size in shape))
        elif node.op == "call_function":
            known[node] = _call(node, known, roles)
        elif node.op == "output":
            for value in tensors(pytree.tree_map(lambda item: known.get(item, item), _listed(node.args))):
                for dim in value.dims:
                    fix(dim, "it is a size of the model's output")
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


def _listed(value: Any) -> Any:
    return torch.fx.node.map_arg(value, lambda node: node)


def _call(node: Node, known: dict[Node, Any], roles: Roles) -> Any:
    args: Any = torch.fx.node.map_arg(node.args, lambda item: known[item])
    kwargs: Any = torch.fx.node.map_arg(node.kwargs, lambda item: known[item])
    if getattr(node.target, "__name__", "") == "getitem":
        return args[0][args[1]]
    shapes = _shapes(node)
    read = {user.args[1] for user in node.users if user.users and getattr(user.target, "__name__", "") == "getitem"}
    used = tuple(number in read for number in range(len(shapes))) if len(shapes) > 1 else (True,)
    return apply_rule(TracedOp(node.target, tuple(args), dict(kwargs), shapes, roles, used))


def _shapes(node: Node) -> tuple[tuple[int, ...] | None, ...]:
    value = node.meta.get("val")
    items = value if isinstance(value, list | tuple) else [value]
    return tuple(tuple(item.shape) if isinstance(item, Tensor) else None for item in items)
