"""BatchNorm statistics estimated afresh: the cumulative mean over batches, for chosen layers alone."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lab.base import DataError
from lab.nn.modes import eval_mode

STATISTICS_BATCHES = 10
"""Least number of batches behind an estimate."""


def norm_layers(model: nn.Module) -> tuple[_BatchNorm, ...]:
    """The BatchNorm layers of `model` that keep running statistics, in the order of `model.modules()`.

    Args:
        model: any module; itself where it is such a layer.
    """
    return tuple(
        module for module in model.modules() if isinstance(module, _BatchNorm) and module.running_mean is not None
    )


@torch.no_grad()
def recalibrate_batchnorm(
    model: nn.Module, batches: Iterable[Tensor], layers: Iterable[_BatchNorm] | None = None
) -> None:
    """Set running mean and variance to their plain average over `batches`.

    Args:
        model: any module called as `model(x)`.
        batches: inputs (B, C, H, W) on the model's device, at least `STATISTICS_BATCHES`.
        layers: the layers to set; all other layers run on the statistics they have. Default: every layer.

    Modes and momenta are as before afterwards; no parameter and no other buffer changes.

    Raises:
        DataError: fewer batches than `STATISTICS_BATCHES`; the layers' statistics are then as they were.
    """
    chosen = norm_layers(model) if layers is None else tuple(layers)
    if not chosen:
        return
    momenta = {layer: layer.momentum for layer in chosen}
    kept = [[buffer.clone() for buffer in layer.buffers()] for layer in chosen]
    count = 0
    try:
        with eval_mode(model):
            for layer in chosen:
                layer.reset_running_stats()
                # None makes torch keep the cumulative mean, in which each batch weighs the same.
                layer.momentum = None
                layer.train()
            for x_BCHW in batches:
                model(x_BCHW)
                count += 1
    finally:
        for layer, momentum in momenta.items():
            layer.momentum = momentum
        if count < STATISTICS_BATCHES:
            for layer, buffers in zip(chosen, kept, strict=True):
                for buffer, value in zip(layer.buffers(), buffers, strict=True):
                    buffer.copy_(value)
    if count < STATISTICS_BATCHES:
        raise DataError(f"at least {STATISTICS_BATCHES} batches", f"{count}", "give more batches or smaller ones")
