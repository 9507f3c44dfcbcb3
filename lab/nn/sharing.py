"""Copies of modules that hold the very same Parameter objects."""

import copy
from typing import TypeVar

from torch import nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def copy_sharing_parameters(module: ModuleT, replaced: dict[nn.Module, nn.Module] | None = None) -> ModuleT:
    """A copy of `module` with the same `Parameter` objects and its own buffers.

    Args:
        replaced: submodules of `module` whose place in the copy another module takes.
    """
    memo: dict[int, object] = {id(parameter): parameter for parameter in module.parameters()}
    memo |= {id(old): new for old, new in (replaced or {}).items()}
    return copy.deepcopy(module, memo)
