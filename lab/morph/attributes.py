"""Plain attributes that repeat a size of a width: those of torch's own layers, numbers of heads, sizes of a reshape.

The blocks of torchvision, timm and transformers are told by the names of their attributes: nothing here imports them. A
name changes only where its value is a size of the width that changes among the weights below its module, and the trial
of the plan shows whether that was right.
"""

from math import prod

from torch import nn

from lab.base import MorphError
from lab.morph.dims import Dim, WidthVar, dim_size, factor_size, resolve, segment_size, width_vars
from lab.morph.steps import SetAttribute
from lab.morph.trace import Widths

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
HEADS = frozenset(
    {
        "num_heads",
        "n_heads",
        "heads",
        "n_head",
        "nhead",
        "num_attention_heads",
        "num_key_value_heads",
        "num_kv_heads",
        "kv_heads",
        "n_kv_heads",
        "num_head",
    }
)
"""How many heads, or groups of keys and values, there are: units that are made of further ones."""
INNER = frozenset(
    {
        "attn_dim",
        "dim_attn",
        "all_head_size",
        "all_head_dim",
        "inner_dim",
        "split_size",
        "width",
        "d_inner",
        "intermediate_size",
        "hidden_dim",
        "hidden_size",
        "d_ff",
        "value_dim",
        "val_attn_dim",
        "key_attn_dim",
        "num_channels",
        "out_channels",
        "expand_chs",
        "dim_out",
        "out_dim",
        "time_step_rank",
        "ssm_state_size",
        "intermediate_dim",
        "moe_intermediate_size",
    }
)
"""Sizes inside a block."""
STREAM = frozenset({"embed_dim", "dim", "d_model", "hidden_size", "num_features", "head_hidden_size", "C", "channels"})
"""Sizes of what a block reads and gives: they change where every weight below of that size does."""
SIZES = frozenset({"head_dim", "attention_head_size", "attn_head_size", "key_head_dim", "val_head_dim", "dim_head"})
"""How many units one head has."""
WHOLE = frozenset({"in_channels"})
"""Sizes that a forward divides into pieces: a multiple of those of the weights below."""
MADE = frozenset({"out_chs"})
"""Sizes of what a block joins of its parts: a multiple of what those below make."""
SHAPES = frozenset({"shape", "normalized_shape", "bias_shape"})
"""Tuples of sizes."""
CUTS = frozenset({"split_indexes", "split_indices", "split_sizes"})
"""Tuples of the sizes of pieces."""
NAMES = HEADS | INNER | STREAM | SIZES | WHOLE | MADE


def size_steps(model: nn.Module, shapes: dict[str, tuple[int, ...]]) -> list[SetAttribute]:
    """The attributes of torch's own layers that follow when weights get these shapes, by name of the weight.

    Raises:
        MorphError: an attention keeps to the size that it was made with.
    """
    names = {id(tensor): name for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    steps: list[SetAttribute] = []
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        own = {
            local: f"{prefix}{local}" if tensor is None else names[id(tensor)]
            for local, tensor in (*module._parameters.items(), *module._buffers.items())
        }
        new = {local: shapes[name] for local, name in own.items() if name in shapes}
        for attribute, value in _sizes(module, new).items():
            steps.append(SetAttribute(module=path, attribute=attribute, value=value))
    return steps


def _sizes(module: nn.Module, new: dict[str, tuple[int, ...]]) -> dict[str, int | tuple[int, ...]]:
    """The plain attributes of torch's own layers that repeat a size.

    Raises:
        MorphError: an attention whose forward keeps to the size that it was made with.
    """
    if not new:
        return {}
    if isinstance(module, nn.MultiheadAttention):
        return _attention_sizes(module, new)
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        return _recurrent_sizes(module, new)
    weight = new.get("weight")
    if isinstance(module, nn.Linear) and weight:
        return {"out_features": weight[0], "in_features": weight[1]}
    if isinstance(module, (*_CONVS, *_TRANSPOSED)) and weight:
        out, into = (1, 0) if isinstance(module, _TRANSPOSED) else (0, 1)
        groups = module.groups
        if groups > 1:
            groups = weight[0] * groups // module.weight.shape[0]
        made = weight[out] * (groups if isinstance(module, _TRANSPOSED) else 1)
        read = weight[into] * (1 if isinstance(module, _TRANSPOSED) else groups)
        return {"out_channels": made, "in_channels": read, "groups": groups}
    if isinstance(module, _NORMS):
        return {"num_features": next(iter(new.values()))[0]}
    if isinstance(module, nn.LayerNorm | nn.RMSNorm) and weight:
        return {"normalized_shape": weight}
    if isinstance(module, nn.GroupNorm) and weight:
        groups = module.num_groups
        return {
            "num_channels": weight[0],
            "num_groups": groups if groups == 1 else groups * weight[0] // module.num_channels,
        }
    if isinstance(module, nn.Embedding) and weight:
        return {"embedding_dim": weight[1]}
    # transformers' layer, told by name: nothing here imports transformers.
    if type(module).__name__ == "Conv1D" and weight:
        return {"nx": weight[0], "nf": weight[1]}
    if isinstance(module, nn.PReLU) and weight:
        return {"num_parameters": weight[0]}
    return {}


def _attention_sizes(
    module: nn.MultiheadAttention, new: dict[str, tuple[int, ...]]
) -> dict[str, int | tuple[int, ...]]:
    """It has one size for what it reads and for all heads together: they change as one, by whole heads.

    Raises:
        MorphError: they do not.
    """
    if "in_proj_weight" not in new and "q_proj_weight" not in new:
        parts = {"kdim": "k_proj_weight", "vdim": "v_proj_weight"}
        return {size: new[name][1] for size, name in parts.items() if name in new}
    rows, size = new.get("in_proj_weight", (0, 0))
    if not size or rows != 3 * size or size % module.head_dim:
        got = f"one coupled to the embed_dim {module.embed_dim} of a MultiheadAttention"
        hint = f"change it by whole heads of {module.head_dim}, or a layer whose units no attention reads or adds to"
        raise MorphError("a width that can change", got, hint)
    return {"embed_dim": size, "kdim": size, "vdim": size, "num_heads": size // module.head_dim}


def _recurrent_sizes(
    module: nn.RNNBase | nn.RNNCellBase, new: dict[str, tuple[int, ...]]
) -> dict[str, int | tuple[int, ...]]:
    layer = "_l0" if isinstance(module, nn.RNNBase) else ""
    read, kept, projected = (new.get(f"{name}{layer}") for name in ("weight_ih", "weight_hh", "weight_hr"))
    sizes: dict[str, int | tuple[int, ...]] = {}
    if read:
        sizes["input_size"] = read[1]
    if kept:
        # Gates have the same units, one after the other.
        sizes["hidden_size"] = kept[0] * module.hidden_size // module.get_parameter(f"weight_hh{layer}").shape[0]
    if projected:
        sizes["proj_size"] = projected[0]
    return sizes


def count_steps(model: nn.Module, widths: Widths, unit: WidthVar, count: int) -> list[SetAttribute]:
    """The attributes that follow when `unit` gets `count` units."""
    touched = {name: dims for name, dims in widths.dims.items() if any(unit in width_vars(dim) for dim in dims)}
    found = [segment for dims in touched.values() for dim in dims for segment in resolve(dim) if unit in segment]
    # A table or a bias has one entry for each head; elsewhere a head is made of further units.
    headed = any(segment[-1] is not unit for segment in found)
    steps: list[SetAttribute] = []
    for path, module in model.named_modules():
        if type(module).__module__.startswith("torch.nn."):
            continue
        named = {key: value for key, value in vars(module).items() if key in NAMES}
        counted = {key: value for key, value in named.items() if type(value) is int and value > 1}
        shapes = {key: value for key, value in vars(module).items() if key in SHAPES | CUTS and _is_shape(value)}
        if not counted and not shapes:
            continue
        prefix = f"{path}." if path else ""
        below = [dim for name, dims in touched.items() if name.startswith(prefix) for dim in dims]
        made = [
            dim
            for name, dims in touched.items()
            for number, dim in enumerate(dims)
            if name.startswith(prefix) and (name, number) not in widths.roles.read
        ]
        others = [dim for name, dims in widths.dims.items() if name.startswith(prefix) for dim in dims]
        for key, value in counted.items():
            if key in HEADS and headed and value == unit.size and below:
                new = count
            else:
                new = _new_value(key, value, unit, count, made if key in MADE else below, others)
            if new:
                steps.append(SetAttribute(module=path, attribute=key, value=new))
        for key, shape in shapes.items():
            spans = {size: wide for dim in below for size, wide in _spans(resolve(dim), unit, count, heads=False)}
            whole = [dim for dim in others if dim_size(dim) == sum(shape)] if key in CUTS else []
            cut = [sizes for sizes in (_cut(resolve(dim), shape, unit, count) for dim in whole) if sizes]
            sizes = cut[0] if cut else tuple(spans.get(size, size) if size > 1 else size for size in shape)
            if sizes != shape:
                steps.append(SetAttribute(module=path, attribute=key, value=sizes))
    return steps


def _new_value(key: str, value: int, unit: WidthVar, count: int, below: list[Dim], others: list[Dim]) -> int:
    """What the attribute becomes; 0 where it stays."""
    if key in SIZES:
        return count if value == unit.size and _is_last(unit, below) else 0
    if key in WHOLE | MADE:
        pieces = [dim for dim in below if dim_size(dim) < value and value % dim_size(dim) == 0]
        cuts = [span for dim in pieces for span in _spans(resolve(dim), unit, count, heads=False)]
        return next((value // size * wide for size, wide in cuts if value % size == 0), 0)
    spans = {span: wide for dim in below for span, wide in _spans(resolve(dim), unit, count, heads=key in HEADS)}
    if key in STREAM and any(dim_size(dim) == value and unit not in width_vars(dim) for dim in others):
        return 0
    return spans.get(value, 0)


def _is_shape(value: object) -> bool:
    return isinstance(value, tuple) and all(type(size) is int for size in value)


def _cut(dim: Dim, sizes: tuple[int, ...], unit: WidthVar, count: int) -> tuple[int, ...]:
    """What pieces of a dimension become, one after the other; empty where its parts do not end where they do."""
    left, found = list(dim), []
    for size in sizes:
        taken = new = 0
        while left and taken < size:
            segment = left.pop(0)
            taken += segment_size(segment)
            new += prod(count if factor is unit else factor_size(factor) for factor in segment)
        if taken != size:
            return ()
        found.append(new)
    return tuple(found)


def _is_last(unit: WidthVar, dims: list[Dim]) -> bool:
    segments = [segment for dim in dims for segment in resolve(dim)]
    return any(len(segment) > 1 and segment[-1] is unit for segment in segments)


def _spans(dim: Dim, unit: WidthVar, count: int, *, heads: bool) -> list[tuple[int, int]]:
    """Sizes of the width in a dimension before and after: of its units alone, and with what they are made of."""
    found: list[tuple[int, int]] = []
    for segment in dim:
        if unit not in segment:
            continue
        place = segment.index(unit)
        ends = range(place + 1, len(segment)) if heads else range(place + 1, len(segment) + 1)
        starts = (place,) if heads else range(place + 1)
        for start in starts:
            for end in ends:
                size = prod(factor_size(factor) for factor in segment[start:end])
                found.append((size, size // unit.size * count))
    if not heads and unit in width_vars(dim):
        whole = dim_size(dim)
        grown = sum(prod(count if f is unit else factor_size(f) for f in segment) for segment in dim)
        found.append((whole, grown))
    return found
