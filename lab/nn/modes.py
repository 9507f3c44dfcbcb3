"""Train mode, eval mode for a while and each module's own mode back; attention and recurrence in plain steps."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def train_mode(model: nn.Module) -> None:
    """Put `model` into train mode unless its own flag says that it is: once for each step costs as much as a layer.

    Args:
        model: only its own flag is looked at: where it says train mode, submodules keep what they have.
    """
    if not model.training:
        model.train()


@contextmanager
def preserved_modes(model: nn.Module) -> Iterator[None]:
    """Every module's mode is as before after the block, also where the block raises.

    Args:
        model: its modules at the beginning of the block; one that comes in the block keeps its own mode.
    """
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, mode in modes.items():
            # Not `train(mode)`, which goes down to the children: each has a mode of its own.
            module.training = mode


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """`model` in eval mode inside the block; every module's mode is as before afterwards, also where the block raises.

    Args:
        model: any module, in any mixture of modes.
    """
    with preserved_modes(model):
        model.eval()
        yield


@contextmanager
def plain_attention() -> Iterator[None]:
    """MultiheadAttention and encoder layers without their fused path, one operation that hides what it does."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


@contextmanager
def plain_recurrence() -> Iterator[None]:
    """LSTM, GRU and RNN step by step, without the fused operations of oneDNN and cuDNN, which hide what they do."""
    libraries: tuple[Any, ...] = (torch.backends.mkldnn, torch.backends.cudnn)
    enabled = [library.enabled for library in libraries]
    for library in libraries:
        library.enabled = False
    try:
        yield
    finally:
        for library, was in zip(libraries, enabled, strict=True):
            library.enabled = was
