"""Copies of modules that hold the very same Parameter objects."""

import copy
from typing import TypeVar

from torch import nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def copy_sharing_parameters(module: ModuleT, replaced: dict[nn.Module, nn.Module] | None = None) -> ModuleT:
    """A copy of `module` with the same `Parameter` objects and its own buffers.

    Args:
        module: is not changed.
        replaced: submodules of `module` whose place in the copy another module takes.
    """
    # `deepcopy` takes what it finds in its memo for the copy: so parameters stay, and replaced modules are put in.
    memo: dict[int, object] = {id(parameter): parameter for parameter in module.parameters()}
    memo |= {id(old): new for old, new in (replaced or {}).items()}
    return copy.deepcopy(module, memo)
