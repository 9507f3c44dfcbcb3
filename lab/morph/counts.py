"""Plain attributes that repeat a size of a width: numbers of heads, sizes that a forward reshapes or splits to.

torch's own layers are in `widths`. Here are the blocks of torchvision, timm and transformers, told by the names of the
attributes: nothing here imports them. A name changes only where its value is a size of the width that changes among the
weights below its module, and the trial of the plan shows whether that was right.
"""

from math import prod

from torch import nn

from lab.morph.dims import Dim, WidthVar, dim_size, factor_size, resolve, width_vars
from lab.morph.steps import SetAttribute
from lab.morph.trace import Widths

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
        "all_head_size",
        "all_head_dim",
        "inner_dim",
        "split_size",
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
        "out_chs",
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
SIZES = frozenset({"head_dim", "attention_head_size", "attn_head_size", "key_head_dim", "val_head_dim"})
"""How many units one head has."""
WHOLE = frozenset({"in_channels"})
"""Sizes that a forward divides into pieces: a multiple of those of the weights below."""
SHAPES = frozenset({"shape", "normalized_shape"})
"""Tuples of sizes."""


def count_steps(model: nn.Module, widths: Widths, unit: WidthVar, count: int) -> list[SetAttribute]:
    """The attributes that follow when `unit` gets `count` units."""
    touched = {name: dims for name, dims in widths.dims.items() if any(unit in width_vars(dim) for dim in dims)}
    steps: list[SetAttribute] = []
    for path, module in model.named_modules():
        if type(module).__module__.startswith("torch.nn."):
            continue
        named = {key: value for key, value in vars(module).items() if key in HEADS | INNER | STREAM | SIZES | WHOLE}
        counted = {key: value for key, value in named.items() if type(value) is int and value > 1}
        shapes = {key: value for key, value in vars(module).items() if key in SHAPES and isinstance(value, tuple)}
        if not counted and not shapes:
            continue
        prefix = f"{path}." if path else ""
        below = [dim for name, dims in touched.items() if name.startswith(prefix) for dim in dims]
        others = [dim for name, dims in widths.dims.items() if name.startswith(prefix) for dim in dims]
        for key, value in counted.items():
            new = _new_value(key, value, unit, count, below, others)
            if new:
                steps.append(SetAttribute(module=path, attribute=key, value=new))
        for key, shape in shapes.items():
            spans = {size: wide for dim in below for size, wide in _spans(resolve(dim), unit, count, heads=False)}
            sizes = tuple(spans.get(size, size) if size > 1 else size for size in shape)
            if sizes != shape:
                steps.append(SetAttribute(module=path, attribute=key, value=sizes))
    return steps


def _new_value(key: str, value: int, unit: WidthVar, count: int, below: list[Dim], others: list[Dim]) -> int:
    """What the attribute becomes; 0 where it stays."""
    if key in SIZES:
        return count if value == unit.size and _is_last(unit, below) else 0
    if key in WHOLE:
        pieces = [dim for dim in below if dim_size(dim) < value and value % dim_size(dim) == 0]
        found = [span for dim in pieces for span in _spans(resolve(dim), unit, count, heads=False)]
        return next((value // size * wide for size, wide in found if value % size == 0), 0)
    spans = {span: wide for dim in below for span, wide in _spans(resolve(dim), unit, count, heads=key in HEADS)}
    if key in STREAM and key not in INNER:
        stays = any(dim_size(dim) == value and unit not in width_vars(dim) for dim in others)
        return 0 if stays else spans.get(value, 0)
    if key in STREAM and any(dim_size(dim) == value and unit not in width_vars(dim) for dim in others):
        return 0
    return spans.get(value, 0)


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
