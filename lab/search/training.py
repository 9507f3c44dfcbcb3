"""Short trainings of single networks, all alike: SGD under one cycle of the rate.

B batch, C channels, H height, W width.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from lab.nn import train_mode
from lab.train import EpochData, Evaluation, Split, evaluate

MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
GRAD_CLIP = 5.0
WARM_SHARE = 0.1
"""Share of a training in which the learning rate rises linearly; it falls as a cosine afterwards."""


def weight_optimizer(module: nn.Module, weight_lr: float) -> torch.optim.SGD:
    """SGD with Nesterov momentum."""
    return torch.optim.SGD(
        module.parameters(), lr=weight_lr, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY
    )


def set_rate(optimizer: torch.optim.Optimizer, weight_lr: float, share: float) -> None:
    """The learning rate at `share` of a training: up linearly, then down as a cosine."""
    rising = min(share / WARM_SHARE, 1.0)
    # Not from zero: the first steps would change nothing.
    value = weight_lr * max(rising, 0.05) * (1.0 + math.cos(math.pi * min(share, 1.0))) / 2.0
    for group in optimizer.param_groups:
        group["lr"] = max(value, 1e-4 * weight_lr)


def weight_step(
    forward: Callable[[Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    grad_clip: float = GRAD_CLIP,
) -> float:
    """One clipped step on the mean cross-entropy; the loss."""
    optimizer.zero_grad(set_to_none=True)
    loss = nn.functional.cross_entropy(forward(x), y)
    loss.backward()
    # Primitives that were not sampled have no gradient.
    trained = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    nn.utils.clip_grad_norm_(trained, grad_clip)
    optimizer.step()
    return float(loss.detach())


def endless(data: EpochData, split: Split, first_epoch: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of `split`, epoch after epoch from `first_epoch` on."""
    epoch = first_epoch
    while True:
        yield from data.batches(split, epoch)
        epoch += 1


def train_steps(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[tuple[Tensor, Tensor]],
    *,
    steps: int,
    set_share: Callable[[float], None],
    grad_clip: float = GRAD_CLIP,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Train `network` in place for `steps`; whether all of them were taken.

    Args:
        network: is trained.
        optimizer: of its weights.
        batches: at least `steps` of them.
        steps: >= 1.
        set_share: sets the rate at a share of the training, in [0, 1); called before each step.
        grad_clip: largest norm of the gradient, > 0.
        stop: asked before each step.
    """
    for step, batch in zip(range(steps), batches, strict=False):
        if stop():
            return False
        set_share(step / steps)
        train_mode(network)
        weight_step(network, optimizer, *batch, grad_clip=grad_clip)
    return True


def train_alone(
    network: nn.Module,
    data: EpochData,
    *,
    epochs: int,
    weight_lr: float,
    first_epoch: int = 0,
    stop: Callable[[], bool] = lambda: False,
) -> Evaluation | None:
    """Held-out reading of `network` after `epochs` of training on the train split.

    Args:
        network: is trained in place.
        data: the splits; the selection split is read once, at the end.
        epochs: >= 1.
        weight_lr: highest learning rate, > 0.
        first_epoch: number of the first epoch, which decides order and augmentation.
        stop: asked before each step.

    Returns:
        The reading; None where `stop` said so.
    """
    optimizer = weight_optimizer(network, weight_lr)
    done = train_steps(
        network,
        optimizer,
        endless(data, Split.TRAIN, first_epoch),
        steps=epochs * data.length(Split.TRAIN),
        set_share=lambda share: set_rate(optimizer, weight_lr, share),
        stop=stop,
    )
    return evaluate(network, data.selection()) if done else None
