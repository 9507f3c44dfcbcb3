"""Rules of operations that move numbers and do not compute: views, copies, concatenations, slices, new tensors."""

from math import prod
from typing import Any

import torch

from lab.morph.dims import Dim, WidthVar, dim_size, fix, merge, pieces, plain, split, unify, width_vars
from lab.morph.traced_op import Rules, TracedOp, Value, Values, make, register

aten = torch.ops.aten
VIEWS: Rules = {}


@register(
    VIEWS,
    aten.clone.default,
    aten.alias.default,
    aten.detach.default,
    aten._to_copy.default,
    aten.lift_fresh_copy.default,
)
def _same(op: TracedOp) -> Values:
    x = op.args[0]
    return x if isinstance(x, Value) else op.plain_outputs()


@register(VIEWS, aten.as_strided_.default, aten.as_strided.default)
def _as_strided(op: TracedOp) -> Values:
    x = op.args[0]
    if tuple(dim_size(dim) for dim in x.dims) == op.shapes[0]:
        return Value(x.dims)
    for dim in x.dims:
        fix(dim, "as_strided addresses memory")
    return op.plain_outputs()


@register(VIEWS, aten.t.default, aten.transpose.int, aten.transpose_.default, aten.permute.default)
def _permute(op: TracedOp) -> Values:
    x = op.args[0]
    order = list(range(len(x.dims)))
    if op.target is aten.permute.default:
        order = [number % len(order) for number in op.args[1]]
    elif len(order) > 1:
        i, j = (0, 1) if op.target is aten.t.default else (number % len(order) for number in op.args[1:3])
        order[i], order[j] = order[j], order[i]
    weight_dims = tuple(x.weight_dims[number] for number in order) if x.weight else ()
    return Value(tuple(x.dims[number] for number in order), x.weight, weight_dims)


@register(VIEWS, aten.view.default, aten._unsafe_view.default, aten.reshape.default)
def _view(op: TracedOp) -> Values:
    x = op.args[0]
    shape = list(op.shapes[0] or ())
    reason = "a reshape divides it"
    if [dim_size(dim) for dim in x.dims] == shape:
        return x
    make(op, x)
    if not prod(shape):
        return _view_of_nothing(x, shape, reason)
    result: list[Dim] = []
    into, out = list(x.dims), list(shape)
    while into or out:
        taken, sizes = [into.pop(0)] if into else [], [out.pop(0)] if out else []
        while _total(taken) != prod(sizes):
            if _total(taken) < prod(sizes):
                taken.append(into.pop(0))
            else:
                sizes.append(out.pop(0))
        merged = merge(taken, reason)
        # Widths come first in a size of channels; a batch that comes first makes it none.
        if len(taken) > 1 and len(sizes) == 1 and isinstance(merged[0][0], WidthVar):
            op.roles.joined.append(merged)
        elif len(taken) == len(sizes) == 1 and width_vars(merged):
            op.roles.kept.append(merged)
        result += split(merged, sizes, reason) if sizes else []
    return Value(tuple(result))


def _view_of_nothing(x: Value, shape: list[int], reason: str) -> Value:
    """Of no elements, as where an expert gets no tokens: the last dimensions stay as far as their sizes do."""
    same = 0
    while same < min(len(shape), len(x.dims)) and dim_size(x.dims[-1 - same]) == shape[-1 - same]:
        same += 1
    gone, kept = x.dims[: len(x.dims) - same], x.dims[len(x.dims) - same :]
    for dim in gone:
        fix(dim, reason)
    return Value((*(plain(size) for size in shape[: len(shape) - same]), *kept))


def _total(dims: list[Dim]) -> int:
    return prod([dim_size(dim) for dim in dims])


@register(VIEWS, aten.expand.default)
def _expand(op: TracedOp) -> Values:
    x = op.args[0]
    make(op, x)
    shape = op.shapes[0] or ()
    fill = len(shape) - len(x.dims)
    dims = [plain(size) for size in shape[:fill]]
    dims += [dim if dim_size(dim) == size else plain(size) for dim, size in zip(x.dims, shape[fill:], strict=True)]
    return Value(tuple(dims))


@register(VIEWS, aten.repeat.default)
def _repeat(op: TracedOp) -> Values:
    x, counts = op.args
    make(op, x)
    dims = (*(plain(1) for _ in range(len(counts) - len(x.dims))), *x.dims)
    pairs = zip(counts, dims, strict=True)
    return Value(tuple(merge([plain(count), dim], "a repetition of a concatenation") for count, dim in pairs))


@register(VIEWS, aten.unsqueeze.default)
def _unsqueeze(op: TracedOp) -> Values:
    x, number = op.args
    make(op, x)
    dims = list(x.dims)
    dims.insert(number if number >= 0 else number + len(dims) + 1, plain(1))
    return Value(tuple(dims))


@register(VIEWS, aten.squeeze.dim, aten.squeeze.dims, aten.squeeze.default)
def _squeeze(op: TracedOp) -> Values:
    x = op.args[0]
    make(op, x)
    return Value(tuple(_keep_shape(x, op.shapes[0] or (), op.args[1:])))


def _keep_shape(x: Value, shape: tuple[int, ...], given: tuple[Any, ...]) -> list[Dim]:
    numbers = given[0] if given else list(range(len(x.dims)))
    numbers = [numbers] if isinstance(numbers, int) else numbers
    gone = {number % len(x.dims) for number in numbers}
    return [dim for number, dim in enumerate(x.dims) if number not in gone or dim_size(dim) != 1]


@register(VIEWS, aten.select.int, aten.slice.Tensor)
def _select(op: TracedOp) -> Values:
    x, number = op.args[0], (op.args[1] if len(op.args) > 1 else 0) % len(op.args[0].dims)
    make(op, x)
    shape = op.shapes[0] or ()
    if op.target is aten.select.int:
        fix(x.dims[number], "one of its units is taken out")
        return Value(tuple(dim for position, dim in enumerate(x.dims) if position != number))
    if dim_size(x.dims[number]) == shape[number]:
        return Value(x.dims)
    fix(x.dims[number], "a slice cuts it")
    return Value((*x.dims[:number], plain(shape[number]), *x.dims[number + 1 :]))


@register(
    VIEWS,
    aten.split.Tensor,
    aten.split_with_sizes.default,
    aten.unbind.int,
    aten.chunk.default,
    aten.unsafe_split.Tensor,
    aten.unsafe_chunk.default,
    aten.split_with_sizes_copy.default,
)
def _split(op: TracedOp) -> Values:
    x = op.args[0]
    make(op, x)
    at = op.args[1] if op.target is aten.unbind.int and len(op.args) > 1 else 0
    number = (op.args[2] if len(op.args) > 2 else op.kwargs.get("dim", at)) % len(x.dims)
    rest = [dim for position, dim in enumerate(x.dims) if position != number]
    if op.target is aten.unbind.int:
        fix(x.dims[number], "a split takes its units apart")
        return tuple(Value(tuple(rest)) for _ in op.shapes)
    sizes = [shape[number] for shape in op.shapes if shape is not None]
    cut = pieces(x.dims[number], sizes, "a split cuts it")
    return tuple(Value((*rest[:number], piece, *rest[number:])) for piece in cut)


@register(VIEWS, aten.stack.default)
def _stack(op: TracedOp) -> Values:
    values = op.args[0]
    make(op, values)
    dims = list(values[0].dims)
    for value in values[1:]:
        for one, other in zip(dims, value.dims, strict=True):
            unify(one, other, "a stack of sizes that do not fit")
    number = (op.args[1] if len(op.args) > 1 else op.kwargs.get("dim", 0)) % (len(dims) + 1)
    return Value((*dims[:number], plain(len(values)), *dims[number:]))


@register(VIEWS, aten.pixel_shuffle.default, aten.pixel_unshuffle.default)
def _pixel_shuffle(op: TracedOp) -> Values:
    x, factor = op.args
    make(op, x)
    shape = op.shapes[0] or ()
    for dim in x.dims[-2:]:
        fix(dim, f"{op.name} goes along it")
    if op.target is aten.pixel_unshuffle.default:
        channels = merge([x.dims[-3], plain(factor), plain(factor)], "a pixel shuffle of a concatenation")
    else:
        channels, pixels = split(x.dims[-3], [shape[-3], factor * factor], "a pixel shuffle divides it")
        fix(pixels, "a pixel shuffle lays as many units out")
    return Value((*x.dims[:-3], channels, plain(shape[-2]), plain(shape[-1])))


@register(VIEWS, aten.index.Tensor)
def _index(op: TracedOp) -> Values:
    x, given = op.args[0], list(op.args[1])
    make(op, x)
    given += [None] * (len(x.dims) - len(given))
    taken = [number for number, index in enumerate(given) if index is not None]
    for number in taken:
        fix(x.dims[number], "its units are chosen by number")
    rest = len(x.dims) - len(taken)
    added = [plain(size) for size in _index_shape(op, given, taken, rest)]
    # Indices side by side stay in their place; others come first.
    place = taken[0] if taken == list(range(taken[0], taken[-1] + 1)) else 0
    kept = [dim for number, dim in enumerate(x.dims) if number not in taken]
    return Value(tuple(kept[:place] + added + kept[place:]))


def _index_shape(op: TracedOp, given: list[Any], taken: list[int], rest: int) -> tuple[int, ...]:
    shape = op.shapes[0] or ()
    place = taken[0] if taken == list(range(taken[0], taken[-1] + 1)) else 0
    return shape[place : place + len(shape) - rest]


@register(VIEWS, aten.index_select.default, aten.gather.default)
def _choose(op: TracedOp) -> Values:
    x, number = op.args[0], op.args[1] % len(op.args[0].dims)
    make(op, x)
    shape = op.shapes[0] or ()
    fix(x.dims[number], "its units are chosen by number")
    dims = [plain(shape[number]) if position == number else dim for position, dim in enumerate(x.dims)]
    if op.target is aten.gather.default:
        for position, dim in enumerate(op.args[2].dims):
            if position != number:
                unify(dims[position], dim, "chosen units of sizes that do not fit")
    return Value(tuple(dims))


@register(VIEWS, aten.index_add.default, aten.index_add_.default)
def _index_add(op: TracedOp) -> Values:
    x, given, source = op.args[0], op.args[1], op.args[3]
    make(op, (x, source))
    number = given % len(x.dims)
    for position, (one, other) in enumerate(zip(x.dims, source.dims, strict=True)):
        if position == number:
            fix(one, "its units are chosen by number")
            fix(other, "its units are chosen by number")
        else:
            unify(one, other, "a sum of sizes that do not fit")
    return Value(x.dims)


@register(VIEWS, aten.glu.default)
def _glu(op: TracedOp) -> Values:
    x = op.args[0]
    make(op, x)
    number = (op.args[1] if len(op.args) > 1 else -1) % len(x.dims)
    half = dim_size(x.dims[number]) // 2
    cut = pieces(x.dims[number], [half, half], "a gate that cuts it")
    return Value((*x.dims[:number], cut[0], *x.dims[number + 1 :]))


@register(VIEWS, aten.cat.default)
def _cat(op: TracedOp) -> Values:
    # torch lets an empty tensor of one dimension join any concatenation, and skips it.
    values = [value for value in op.args[0] if value.dims != (plain(0),)]
    make(op, values)
    number = (op.args[1] if len(op.args) > 1 else op.kwargs.get("dim", 0)) % len(values[0].dims)
    dims = list(values[0].dims)
    for value in values[1:]:
        for position, dim in enumerate(value.dims):
            if position != number:
                unify(dims[position], dim, "a concatenation of sizes that do not fit")
    dims[number] = tuple(segment for value in values for segment in value.dims[number])
    return Value(tuple(dims))


@register(
    VIEWS,
    aten.constant_pad_nd.default,
    aten.reflection_pad1d.default,
    aten.reflection_pad2d.default,
    aten.reflection_pad3d.default,
    aten.replication_pad1d.default,
    aten.replication_pad2d.default,
    aten.replication_pad3d.default,
    aten.roll.default,
    aten.flip.default,
)
def _shift(op: TracedOp) -> Values:
    x = op.args[0]
    make(op, x)
    shape = op.shapes[0] or ()
    count = len(x.dims)
    if op.target is aten.roll.default:
        touched = {number % count for number in op.args[2]} if len(op.args) > 2 else set(range(count))
    elif op.target is aten.flip.default:
        touched = {number % count for number in op.args[1]}
    else:
        pad = op.args[1]
        # Paddings are listed from the last dimension on, two to a dimension.
        touched = {count - 1 - side // 2 for side in range(len(pad)) if pad[side] != 0}
    for number in touched:
        fix(x.dims[number], f"{op.name} goes along it")
    return Value(tuple(plain(shape[n]) if n in touched else dim for n, dim in enumerate(x.dims)))


@register(VIEWS, aten.native_dropout.default, aten.bernoulli.p)
def _dropout(op: TracedOp) -> Values:
    x = op.args[0]
    return Value(x.dims) if len(op.shapes) == 1 else (Value(x.dims),) * len(op.shapes)


@register(
    VIEWS,
    aten.empty.memory_format,
    aten.zeros.default,
    aten.ones.default,
    aten.full.default,
    aten.arange.default,
    aten.arange.start,
    aten.new_zeros.default,
    aten.new_ones.default,
    aten.new_empty.default,
    aten.new_full.default,
    aten.scalar_tensor.default,
)
def _create(op: TracedOp) -> Values:
    # Its sizes were numbers or came from a shape; which of both, the trial of the plan will show.
    made = tuple(
        None if shape is None else Value(tuple(((WidthVar(size),),) if size > 1 else plain(1) for size in shape))
        for shape in op.shapes
    )
    return made[0] if len(made) == 1 and made[0] is not None else made


@register(
    VIEWS,
    aten.zeros_like.default,
    aten.ones_like.default,
    aten.full_like.default,
    aten.empty_like.default,
    aten.rand_like.default,
    aten.randn_like.default,
)
def _like(op: TracedOp) -> Values:
    x = op.args[0]
    return Value(x.dims)
