"""How the networks of each space are built: the one place where a space's name decides."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import nn

from lab.base import require, require_choice, require_range
from lab.nn.cell import Backbone, StageBackbone
from lab.nn.darts import DARTSBackbone
from lab.nn.darts_primitives import DARTS_PRIMITIVES
from lab.nn.primitives import NB201_PRIMITIVES, Zero
from lab.space import ABSENT, DARTS, NB125, NB201, Space


@dataclass(frozen=True, kw_only=True)
class Family:
    """The builders of one space's networks."""

    primitives: Mapping[str, Callable[[int, int], nn.Module]]
    """Name of a primitive -> its module for (channels, stride)."""
    backbone: type[Backbone]
    """Stem, cells and classifier."""
    strides: tuple[int, ...]
    """Strides that an edge can have."""


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        NB201.name: Family(primitives=NB201_PRIMITIVES, backbone=StageBackbone, strides=(1,)),
        NB125.name: Family(primitives=NB201_PRIMITIVES, backbone=StageBackbone, strides=(1,)),
        DARTS.name: Family(primitives=DARTS_PRIMITIVES, backbone=DARTSBackbone, strides=(1, 2)),
    }
)
"""Name of a space -> its builders."""


def family(space: Space) -> Family:
    """The builders of `space`.

    Args:
        space: one of `lab.space.SPACES`, known by its name.

    Raises:
        ConfigError: a space whose networks are not known here.
    """
    require_choice("space", space.name, FAMILIES.keys())
    return FAMILIES[space.name]


def make_primitive(name: str, channels: int, stride: int = 1, space: Space = NB201) -> nn.Module:
    """A new module of the primitive `name`, (B, C, H, W) -> (B, C, ceil(H / stride), ceil(W / stride)).

    Args:
        name: a primitive of `space`, or `ABSENT` where its nodes take only some of their edges.
        channels: C >= 1.
        stride: of the edge; 1 or, in a reduction cell of DARTS, 2.
        space: gives the builders.

    Raises:
        ConfigError: an unknown name, channels below 1, a stride that no edge of the space has.
    """
    built = family(space)
    require_range("channels", channels, 1)
    require(
        stride in built.strides,
        expected=f"a stride among {', '.join(map(str, built.strides))} for space {space.name}",
        got=stride,
        hint="choose one of these",
    )
    if name == ABSENT and space.taken is not None:
        return Zero(stride)
    require_choice("primitive", name, built.primitives.keys())
    return built.primitives[name](channels, stride)
