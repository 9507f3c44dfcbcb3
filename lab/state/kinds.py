"""Stable names of classes, for digests that are stored: a class that moves or is renamed keeps its kind."""

from collections.abc import Mapping
from types import MappingProxyType

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "lab.asose.growth._Both": "lab.train.growth._Both",
        "lab.asose.live_network._Discrete": "lab.train.live._Discrete",
        "lab.morph.modules.Branched": "lab.morph.parts.Branched",
        "lab.morph.modules.Deepened": "lab.morph.parts.Deepened",
        "lab.morph.modules.Gate": "lab.morph.parts.Gate",
        "lab.morph.modules.Resample": "lab.morph.parts.Resample",
        "lab.morph.modules.Residual": "lab.morph.parts.Residual",
        "lab.morph.modules.TokenAttention": "lab.morph.parts.TokenAttention",
        "lab.nn.interpolated_op.InterpolatedOp": "lab.nn.blend.Blend",
        "lab.nn.small_cnn.SmallCNN": "lab.nn.seed_cnn.SeedCNN",
    }
)
"""Where a class of the lab is now -> its kind: where it was when the first digest with it was stored."""

ATTRIBUTES: Mapping[str, Mapping[str, str]] = MappingProxyType({"lab.nn.cell.Cell": {"edge_ids": "rows"}})
"""Where a class of the lab is now -> its plain attributes that had another name when the first digest was stored."""


def kind_of(cls: type) -> str:
    """The name under which `cls` goes into a digest; for a class that never moved, its module and qualified name."""
    path = _path(cls)
    return KINDS.get(path, path)


def attribute_of(cls: type, name: str) -> str:
    """The name under which the attribute `name` of an object of `cls` goes into a digest."""
    for base in cls.__mro__:
        name = ATTRIBUTES.get(_path(base), {}).get(name, name)
    return name


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
