"""Train mode, and eval mode for a while with each module's own mode back afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


def train_mode(model: nn.Module) -> None:
    """Put `model` into train mode unless its own flag says that it is: once for each step costs as much as a layer."""
    if not model.training:
        model.train()


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """`model` in eval mode inside the block; every module's mode is as before afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
