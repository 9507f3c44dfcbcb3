"""Rules of operations that know widths: sums of products, normalisations, reductions, pooling."""

from typing import Any

import torch

from lab.morph.call import Call, Rules, Value, Values, make, pointwise, register, tensors
from lab.morph.dims import Dim, Space, dim_size, fix, mark_equal, mark_inexact, plain, unify

aten = torch.ops.aten
LAYERS: Rules = {}


def _contract(call: Call, first: Value, one: int, second: Value, other: int) -> None:
    """Dimensions `one` and `other` are multiplied and summed."""
    unify(first.dims[one], second.dims[other], f"{call.name} joins widths that do not fit")
    weights = [(value, dim) for value, dim in ((first, one), (second, other)) if value.weight]
    if len(weights) == 1:
        value, dim = weights[0]
        call.roles.read.add((value.weight, value.weight_dims[dim]))
    else:
        mark_inexact(first.dims[one], f"{call.name} sums products of two activations over it")


# --- sums of products -------------------------------------------------------------------------------------------------


@register(LAYERS, aten.convolution.default)
def _convolution(call: Call) -> Values:
    x, weight, bias = call.args[:3]
    transposed, groups = call.args[6], call.args[8]
    spatial = [plain(size) for size in (call.shapes[0] or ())[2:]]
    for dim in weight.dims[2:]:
        fix(dim, "the size of a kernel")
    for dim in x.dims[2:]:
        fix(dim, "a convolution goes along it")
    if groups == 1:
        into, out = (0, 1) if transposed else (1, 0)
        _contract(call, x, 1, weight, into)
        make(call, weight, [(weight, into)])
        made = weight.dims[out]
    else:
        made = _grouped(call, x, weight, groups, transposed)
        make(call, weight)
    if bias is not None:
        make(call, bias)
        unify(made, bias.dims[0], "a bias of another width")
    return Value((x.dims[0], made, *spatial))


def _grouped(call: Call, x: Value, weight: Value, groups: int, transposed: bool) -> Dim:
    """Each group is a unit: its inputs, its weights and its outputs are copied together."""
    group = Space(groups)
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
def _product(call: Call) -> Values:
    a, b = call.args
    _contract(call, a, -1, b, -2)
    make(call, (a, b), [(a, len(a.dims) - 1), (b, len(b.dims) - 2)])
    if len(a.dims) == 3:
        unify(a.dims[0], b.dims[0], "batches of a product do not fit")
    return Value((*a.dims[:-1], b.dims[-1]))


@register(LAYERS, aten.addmm.default, aten.baddbmm.default)
def _sum_product(call: Call) -> Values:
    bias, a, b = call.args
    made = _product(Call(call.target, (a, b), {}, call.shapes, call.roles))
    make(call, bias)
    return pointwise(Call(call.target, (made, bias), {}, call.shapes, call.roles))


@register(
    LAYERS,
    aten._scaled_dot_product_flash_attention_for_cpu.default,
    aten._scaled_dot_product_flash_attention.default,
    aten._scaled_dot_product_efficient_attention.default,
    aten._scaled_dot_product_attention_math.default,
    aten._scaled_dot_product_cudnn_attention.default,
)
def _attention(call: Call) -> Values:
    query, key, value = call.args[:3]
    make(call, call.args)
    for dim in query.dims[3:] + key.dims[3:]:
        mark_inexact(dim, "attention sums products of two activations over it")
    for number in (0, 1):
        unify(query.dims[number], key.dims[number], "heads of attention do not fit")
        unify(query.dims[number], value.dims[number], "heads of attention do not fit")
    unify(query.dims[3], key.dims[3], "queries and keys do not fit")
    for extra in tensors(call.args[3:]):
        for dim in extra.dims:
            fix(dim, "the mask of attention")
    outputs = call.plain_outputs()
    rest = outputs[1:] if isinstance(outputs, tuple) else ()
    return (Value((query.dims[0], query.dims[1], query.dims[2], value.dims[3])), *rest)


@register(LAYERS, aten.embedding.default)
def _embedding(call: Call) -> Values:
    weight, indices = call.args[:2]
    make(call, weight)
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
def _batch_norm(call: Call) -> Values:
    x = call.args[0]
    make(call, call.args)
    for value in tensors(call.args[1:]):
        unify(x.dims[1], value.dims[0], "a normalisation of another width")
    return (Value(x.dims), *_rest(call))


@register(LAYERS, aten.native_layer_norm.default)
def _layer_norm(call: Call) -> Values:
    x, shape = call.args[:2]
    make(call, call.args)
    for number in range(1, len(shape) + 1):
        mark_equal(x.dims[-number], "a layer normalisation averages")
        for value in tensors(call.args[2:]):
            unify(x.dims[-number], value.dims[-number], "a normalisation of another width")
    return (Value(x.dims), *_rest(call))


@register(LAYERS, aten.native_group_norm.default)
def _group_norm(call: Call) -> Values:
    x, groups = call.args[0], call.args[6]
    make(call, call.args)
    channels = dim_size(x.dims[1])
    if groups == 1:
        mark_equal(x.dims[1], "a group normalisation averages")
    else:
        unify(x.dims[1], ((Space(groups), channels // groups),), "groups of a normalisation cut a width")
    for value in tensors(call.args[1:3]):
        unify(x.dims[1], value.dims[0], "a normalisation of another width")
    return (Value(x.dims), *_rest(call))


def _rest(call: Call) -> tuple[Any, ...]:
    outputs = call.plain_outputs()
    return outputs[1:] if isinstance(outputs, tuple) else ()


# --- reductions over dimensions ---------------------------------------------------------------------------------------


@register(
    LAYERS,
    aten.mean.dim,
    aten.sum.dim_IntList,
    aten.amax.default,
    aten.amin.default,
    aten.var.correction,
    aten.var_mean.correction,
)
def _reduce(call: Call) -> Values:
    x = call.args[0]
    make(call, x)
    given = call.args[1] if len(call.args) > 1 and call.args[1] is not None else list(range(len(x.dims)))
    gone = {number % len(x.dims) for number in (given if isinstance(given, list | tuple) else [given])}
    kind = call.name.split(".")[1]
    for number in gone:
        if kind == "mean":
            mark_equal(x.dims[number], "a mean goes over it")
        elif kind not in ("amax", "amin"):
            mark_inexact(x.dims[number], f"{call.name} goes over it")
    keep = len(call.shapes[0] or ()) == len(x.dims) and bool(gone)
    dims = [plain(1) if number in gone else dim for number, dim in enumerate(x.dims) if keep or number not in gone]
    value = Value(tuple(dims))
    return value if len(call.shapes) == 1 else (value,) * len(call.shapes)


@register(LAYERS, aten._softmax.default, aten._log_softmax.default)
def _softmax(call: Call) -> Values:
    x, number = call.args[:2]
    make(call, x)
    mark_inexact(x.dims[number], f"{call.name} shares out among its units")
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
def _pool(call: Call) -> Values:
    x = call.args[0]
    make(call, x)
    shape = call.shapes[0] or ()
    spatial = {aten.avg_pool1d.default: 1, aten.avg_pool3d.default: 3, aten._adaptive_avg_pool3d.default: 3}
    moved = spatial.get(call.target, 1 if "1d" in call.name else 3 if "3d" in call.name else 2)
    for dim in x.dims[-moved:]:
        fix(dim, f"{call.name} goes along it")
    value = Value((*x.dims[:-moved], *(plain(size) for size in shape[-moved:])))
    return value if len(call.shapes) == 1 else (value,) * len(call.shapes)
