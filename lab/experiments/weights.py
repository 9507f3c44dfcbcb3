"""Networks given the weights of new ones."""

from torch import nn
from torch.optim import Optimizer

from lab.state import preserved_rng


def draw_again(network: nn.Module, seed: int, optimizer: Optimizer | None = None) -> None:
    """Give every convolution, BatchNorm and linear layer of `network` the weights that a new one has.

    Args:
        seed: of the draw; torch's own stream is as before afterwards.
        optimizer: its state of these parameters is emptied.
    """
    with preserved_rng(seed):
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
                module.reset_parameters()
    if optimizer is not None:
        for parameter in network.parameters():
            optimizer.state.pop(parameter, None)
