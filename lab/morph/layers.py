"""Rules of operations that know widths: sums of products, normalisations, reductions, pooling."""

from typing import Any

import torch

from lab.morph.dims import Dim, WidthVar, dim_size, fix, mark_equal, mark_inexact, merge, plain, unify
from lab.morph.traced_op import Rules, TracedOp, Value, Values, make, pointwise, register, tensors

aten = torch.ops.aten
LAYERS: Rules = {}


def _contract(op: TracedOp, first: Value, one: int, second: Value, other: int) -> None:
    """Dimensions `one` and `other` are multiplied and summed."""
    unify(first.dims[one], second.dims[other], f"{op.name} joins widths that do not fit")
    weights = [(value, dim) for value, dim in ((first, one), (second, other)) if value.weight]
    if len(weights) == 1:
        value, dim = weights[0]
        op.roles.read.add((value.weight, value.weight_dims[dim]))
    else:
        mark_inexact(first.dims[one], f"{op.name} sums products of two activations over it")


# --- sums of products -------------------------------------------------------------------------------------------------


@register(LAYERS, aten.convolution.default)
def _convolution(op: TracedOp) -> Values:
    x, weight, bias = op.args[:3]
    transposed, groups = op.args[6], op.args[8]
    spatial = [plain(size) for size in (op.shapes[0] or ())[2:]]
    for dim in weight.dims[2:]:
        fix(dim, "the size of a kernel")
    for dim in x.dims[2:]:
        fix(dim, "a convolution goes along it")
    if groups == 1:
        into, out = (0, 1) if transposed else (1, 0)
        _contract(op, x, 1, weight, into)
        make(op, weight, [(weight, into)])
        made = weight.dims[out]
    else:
        made = _grouped(op, x, weight, groups, transposed)
        make(op, weight)
    if bias is not None:
        make(op, bias)
        unify(made, bias.dims[0], "a bias of another width")
    return Value((x.dims[0], made, *spatial))


def _grouped(op: TracedOp, x: Value, weight: Value, groups: int, transposed: bool) -> Dim:
    """Each group is a unit: its inputs, its weights and its outputs are copied together."""
    group = WidthVar(groups)
    per_group = dim_size(weight.dims[0]) // groups
    if transposed:
        fix(weight.dims[1], "outputs of one group of a transposed convolution")
        unify(x.dims[1], ((group, per_group),), "groups of a convolution cut a width")
        unify(weight.dims[0], ((group, per_group),), "groups of a convolution cut a width")
        return ((group, dim_size(weight.dims[1])),)
    fix(weight.dims[1], "inputs of one group of a convolution")
    unify(x.dims[1], ((group, dim_size(weight.dims[1])),), "groups of a convolution cut a width")
    unify(weight.dims[0], ((group, per_group),), "groups of a convolution cut a width")
    return ((group, per_group),)


@register(LAYERS, aten.mm.default, aten.bmm.default)
def _product(op: TracedOp) -> Values:
    a, b = op.args
    _contract(op, a, -1, b, -2)
    make(op, (a, b), [(a, len(a.dims) - 1), (b, len(b.dims) - 2)])
    if len(a.dims) == 3:
        unify(a.dims[0], b.dims[0], "batches of a product do not fit")
    return Value((*a.dims[:-1], b.dims[-1]))


@register(LAYERS, aten.addmm.default, aten.baddbmm.default)
def _sum_product(op: TracedOp) -> Values:
    bias, a, b = op.args
    made = _product(TracedOp(op.target, (a, b), {}, op.shapes, op.roles))
    make(op, bias)
    return pointwise(TracedOp(op.target, (made, bias), {}, op.shapes, op.roles))


@register(
    LAYERS,
    aten._scaled_dot_product_flash_attention_for_cpu.default,
    aten._scaled_dot_product_flash_attention.default,
    aten._scaled_dot_product_efficient_attention.default,
    aten._scaled_dot_product_attention_math.default,
    aten._scaled_dot_product_cudnn_attention.default,
)
def _attention(op: TracedOp) -> Values:
    query, key, value = op.args[:3]
    make(op, op.args)
    for dim in query.dims[3:] + key.dims[3:]:
        mark_inexact(dim, "attention sums products of two activations over it")
    for other in (key, value):
        unify(query.dims[0], other.dims[0], "heads of attention do not fit")
        # Each head of the keys and values may serve as many of the queries', one after the other.
        served = dim_size(query.dims[1]) // max(1, dim_size(other.dims[1]))
        repeated = merge([other.dims[1], plain(served)], "groups of heads of a concatenation")
        unify(query.dims[1], repeated, "heads of attention do not fit")
    unify(query.dims[3], key.dims[3], "queries and keys do not fit")
    for extra in tensors((op.args[3:], op.kwargs)):
        for number, dim in enumerate(extra.dims):
            # A bias for each head is one of its units; a mask goes along tokens.
            if number == len(extra.dims) - 3 and dim_size(dim) == dim_size(query.dims[1]) != 1:
                unify(query.dims[1], dim, "heads of attention do not fit")
            else:
                fix(dim, "the mask of attention")
    outputs = op.plain_outputs()
    rest = outputs[1:] if isinstance(outputs, tuple) else ()
    return (Value((query.dims[0], query.dims[1], query.dims[2], value.dims[3])), *rest)


@register(LAYERS, aten.embedding.default)
def _embedding(op: TracedOp) -> Values:
    weight, indices = op.args[:2]
    make(op, weight)
    fix(weight.dims[0], "rows of an embedding are chosen by number")
    return Value((*indices.dims, weight.dims[1]))


# --- normalisations ---------------------------------------------------------------------------------------------------


@register(
    LAYERS,
    aten.native_batch_norm.default,
    aten._native_batch_norm_legit.default,
    aten._native_batch_norm_legit.no_stats,
    aten._native_batch_norm_legit_no_training.default,
    aten.cudnn_batch_norm.default,
    aten.miopen_batch_norm.default,
)
def _batch_norm(op: TracedOp) -> Values:
    x = op.args[0]
    make(op, op.args)
    for value in tensors(op.args[1:]):
        unify(x.dims[1], value.dims[0], "a normalisation of another width")
    return (Value(x.dims), *_rest(op))


@register(LAYERS, aten.native_layer_norm.default)
def _layer_norm(op: TracedOp) -> Values:
    x, shape = op.args[:2]
    make(op, op.args)
    for number in range(1, len(shape) + 1):
        mark_equal(x.dims[-number], "a layer normalisation averages")
        for value in tensors(op.args[2:]):
            unify(x.dims[-number], value.dims[-number], "a normalisation of another width")
    return (Value(x.dims), *_rest(op))


@register(LAYERS, aten.native_group_norm.default)
def _group_norm(op: TracedOp) -> Values:
    x, groups = op.args[0], op.args[6]
    make(op, op.args)
    channels = dim_size(x.dims[1])
    if groups == 1:
        mark_equal(x.dims[1], "a group normalisation averages")
    else:
        unify(x.dims[1], ((WidthVar(groups), channels // groups),), "groups of a normalisation cut a width")
    for value in tensors(op.args[1:3]):
        unify(x.dims[1], value.dims[0], "a normalisation of another width")
    return (Value(x.dims), *_rest(op))


def _rest(op: TracedOp) -> tuple[Any, ...]:
    outputs = op.plain_outputs()
    return outputs[1:] if isinstance(outputs, tuple) else ()


# --- reductions over dimensions ---------------------------------------------------------------------------------------


@register(
    LAYERS,
    aten.mean.dim,
    aten.sum.dim_IntList,
    aten.amax.default,
    aten.amin.default,
    aten.max.dim,
    aten.min.dim,
    aten.var.correction,
    aten.var_mean.correction,
)
def _reduce(op: TracedOp) -> Values:
    x = op.args[0]
    make(op, x)
    given = op.args[1] if len(op.args) > 1 and op.args[1] is not None else list(range(len(x.dims)))
    gone = {number % len(x.dims) for number in (given if isinstance(given, list | tuple) else [given])}
    kind = op.name.split(".")[1]
    for number in gone:
        if kind == "mean":
            mark_equal(x.dims[number], "a mean goes over it")
        elif kind not in ("amax", "amin", "max", "min"):
            mark_inexact(x.dims[number], f"{op.name} goes over it")
        elif kind in ("max", "min") and op.used[1:] != (False,):
            fix(x.dims[number], f"{op.name} numbers its units")
    keep = len(op.shapes[0] or ()) == len(x.dims) and bool(gone)
    dims = [plain(1) if number in gone else dim for number, dim in enumerate(x.dims) if keep or number not in gone]
    value = Value(tuple(dims))
    return value if len(op.shapes) == 1 else (value,) * len(op.shapes)


@register(LAYERS, aten.linalg_vector_norm.default)
def _vector_norm(op: TracedOp) -> Values:
    x = op.args[0]
    make(op, x)
    given = op.args[2] if len(op.args) > 2 and op.args[2] is not None else list(range(len(x.dims)))
    gone = {number % len(x.dims) for number in (given if isinstance(given, list | tuple) else [given])}
    for number in gone:
        mark_inexact(x.dims[number], f"{op.name} goes over it")
    keep = len(op.shapes[0] or ()) == len(x.dims)
    return Value(tuple(plain(1) if n in gone else dim for n, dim in enumerate(x.dims) if keep or n not in gone))


@register(LAYERS, aten._softmax.default, aten._log_softmax.default)
def _softmax(op: TracedOp) -> Values:
    x, number = op.args[:2]
    make(op, x)
    mark_inexact(x.dims[number], f"{op.name} shares out among its units")
    return Value(x.dims)


@register(
    LAYERS,
    aten.max_pool2d_with_indices.default,
    aten.max_pool3d_with_indices.default,
    aten.avg_pool1d.default,
    aten.avg_pool2d.default,
    aten.avg_pool3d.default,
    aten._adaptive_avg_pool2d.default,
    aten._adaptive_avg_pool3d.default,
    aten.adaptive_max_pool2d.default,
    aten.adaptive_max_pool3d.default,
    aten.upsample_nearest1d.vec,
    aten.upsample_nearest2d.vec,
    aten.upsample_bilinear2d.vec,
    aten.upsample_nearest1d.default,
    aten.upsample_nearest2d.default,
    aten.upsample_nearest3d.default,
    aten.upsample_linear1d.default,
    aten.upsample_bilinear2d.default,
    aten.upsample_bicubic2d.default,
    aten.upsample_trilinear3d.default,
)
def _pool(op: TracedOp) -> Values:
    x = op.args[0]
    make(op, x)
    shape = op.shapes[0] or ()
    spatial = {aten.avg_pool1d.default: 1, aten.avg_pool3d.default: 3, aten._adaptive_avg_pool3d.default: 3}
    moved = spatial.get(op.target, 1 if "1d" in op.name else 3 if "3d" in op.name else 2)
    for dim in x.dims[-moved:]:
        fix(dim, f"{op.name} goes along it")
    value = Value((*x.dims[:-moved], *(plain(size) for size in shape[-moved:])))
    return value if len(op.shapes) == 1 else (value,) * len(op.shapes)
