"""Stable names of classes, for digests that are stored: a class that moves or is renamed keeps its kind."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from torch import nn

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "lab.asose.growth._Both": "lab.train.growth._Both",
        "lab.asose.live_network.Discrete": "lab.train.live._Discrete",
        "lab.morph.modules.Branched": "lab.morph.parts.Branched",
        "lab.morph.modules.Deepened": "lab.morph.parts.Deepened",
        "lab.morph.modules.Gate": "lab.morph.parts.Gate",
        "lab.morph.modules.Resample": "lab.morph.parts.Resample",
        "lab.morph.modules.Residual": "lab.morph.parts.Residual",
        "lab.morph.modules.TokenAttention": "lab.morph.parts.TokenAttention",
        "lab.nn.cell.Reduction": "lab.nn.stages.Reduction",
        "lab.nn.cell.StageBackbone": "lab.nn.stages.StageBackbone",
        "lab.nn.cell.StageCell": "lab.nn.stages.StageCell",
        "lab.nn.interpolated_op.InterpolatedOp": "lab.nn.blend.Blend",
        "lab.nn.small_cnn.SmallCNN": "lab.nn.seed_cnn.SeedCNN",
    }
)
"""Where a class of the lab is now -> its kind: where it was when the first digest with it was stored."""

ABSENT, ZERO = "lab.nn.primitives.Absent", "lab.nn.primitives.Zero"
"""Kind of an edge that its node does not take, which held a module `zero` of the other kind; both are one class now."""
DARTS_CELL = "lab.nn.darts.DARTSCell"
"""Kind of the cells that have such edges. Their genotypes never have `none`: every `Zero` on an edge is one."""
ATTRIBUTES: Mapping[str, Mapping[str, str]] = MappingProxyType({"lab.nn.cell.Cell": {"edge_ids": "rows"}})
"""Where a class of the lab is now -> its plain attributes that had another name when the first digest was stored."""


def kind_of(cls: type) -> str:
    """The name under which `cls` goes into a digest; for a class that never moved, its module and qualified name."""
    path = _path(cls)
    return KINDS.get(path, path)


def entries(model: nn.Module) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, kind and attributes, by their names in a digest, of every module that a digest of `model` lists."""
    edges: list[str] = []
    # A model has many modules of few classes.
    renamed: dict[type, bool] = {}
    # A shared module comes under each of its names: sharing is structure.
    for name, module in model.named_modules(remove_duplicate=False):
        kind = kind_of(type(module))
        cls = type(module)
        if cls not in renamed:
            renamed[cls] = any(_path(base) in ATTRIBUTES for base in cls.__mro__)
        attributes = {attribute_of(cls, key) if renamed[cls] else key: value for key, value in vars(module).items()}
        if kind == DARTS_CELL:
            edges.append(f"{name}.edges." if name else "edges.")
        # A supernet has `none` among the primitives of an edge; that one was a plain Zero then, too.
        if kind == ZERO and name.startswith(tuple(edges)) and ".primitives." not in name:
            yield name, ABSENT, {key: value for key, value in attributes.items() if key != "stride"}
            yield f"{name}.zero", ZERO, attributes
        else:
            yield name, kind, attributes


def attribute_of(cls: type, name: str) -> str:
    """The name under which the attribute `name` of an object of `cls` goes into a digest."""
    for base in cls.__mro__:
        name = ATTRIBUTES.get(_path(base), {}).get(name, name)
    return name


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
