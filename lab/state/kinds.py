"""Stable names of classes, for digests that are stored: a class that moves or is renamed keeps its kind."""

from collections.abc import Mapping
from types import MappingProxyType

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "lab.asose.growth._Both": "lab.train.growth._Both",
        "lab.asose.live_network._Discrete": "lab.train.live._Discrete",
    }
)
"""Where a class of the lab is now -> its kind: where it was when the first digest with it was stored."""


def kind_of(cls: type) -> str:
    """The name under which `cls` goes into a digest; for a class that never moved, its module and qualified name."""
    path = f"{cls.__module__}.{cls.__qualname__}"
    return KINDS.get(path, path)
