"""The proxy on which cells are searched: images halved in size, few channels, one cell a stage, one thread.

B batch, C channels, H height, W width, K primitives.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lab.base import DataError, derive_seed
from lab.datasets import DataBundle, DataConfig, load, open_streams
from lab.nn import EvolvableNetwork, SuperNet, recalibrate_batchnorm, train_mode
from lab.results.record import Clock
from lab.space import Genotype, Space
from lab.train import Evaluation, Split, StreamData, evaluate

MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
GRAD_CLIP = 5.0
WARM_SHARE = 0.1
"""Share of a training in which the learning rate rises linearly; it falls as a cosine afterwards."""


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """Data and network sizes that every method of a search shares."""

    data: StreamData
    space: Space
    channels: int
    layers: int
    num_classes: int
    in_channels: int
    weight_lr: float
    seed: int

    def network(self, genotype: Genotype, *names: str | int) -> EvolvableNetwork:
        """A fresh network of `genotype`; `names` choose the stream of its initial weights."""
        torch.manual_seed(derive_seed(self.seed, "init", *names))
        return EvolvableNetwork(
            genotype,
            channels=self.channels,
            layers=self.layers,
            num_classes=self.num_classes,
            in_channels=self.in_channels,
        )

    def supernet(self) -> SuperNet:
        """A fresh supernet."""
        torch.manual_seed(derive_seed(self.seed, "init", "supernet"))
        return SuperNet(self.space, self.channels, self.layers, self.num_classes, self.in_channels)

    def optimizer(self, module: nn.Module) -> torch.optim.SGD:
        """SGD with Nesterov momentum, the same for all methods."""
        return torch.optim.SGD(
            module.parameters(), lr=self.weight_lr, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY
        )

    def set_rate(self, optimizer: torch.optim.Optimizer, share: float) -> None:
        """The learning rate at `share` of a training: up linearly, then down as a cosine."""
        rising = min(share / WARM_SHARE, 1.0)
        # Not from zero: the first steps would change nothing.
        value = self.weight_lr * max(rising, 0.05) * (1.0 + math.cos(math.pi * min(share, 1.0))) / 2.0
        for group in optimizer.param_groups:
            group["lr"] = max(value, 1e-4 * self.weight_lr)

    def endless(self, split: Split) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of `split`, epoch after epoch."""
        epoch = 0
        while True:
            yield from self.data.batches(split, epoch)
            epoch += 1

    def train_alone(self, genotype: Genotype, epochs: int, clock: Clock) -> Evaluation | None:
        """Held-out reading of a fresh network of `genotype` after `epochs` of its own; None where the budget ended."""
        # By the cell's own stream: its weights do not depend on the cells that came before.
        network = self.network(genotype, *genotype.indices)
        optimizer = self.optimizer(network)
        steps = epochs * self.data.length(Split.TRAIN)
        for step, batch in zip(range(steps), self.endless(Split.TRAIN), strict=False):
            if clock.over:
                return None
            self.set_rate(optimizer, step / steps)
            train_mode(network)
            weight_step(network, optimizer, *batch)
        return evaluate(network, self.data.selection())

    def inherited(self, supernet: SuperNet, genotype: Genotype) -> Evaluation:
        """Held-out reading of `genotype` with the supernet's weights and statistics of its own."""
        child = EvolvableNetwork.from_supernet(supernet, genotype)
        recalibrate_batchnorm(child, self.data.statistics(0))
        return evaluate(child, self.data.selection())


def weight_step(forward: Callable[[Tensor], Tensor], optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> float:
    """One clipped step on the mean cross-entropy; the loss."""
    optimizer.zero_grad(set_to_none=True)
    loss = nn.functional.cross_entropy(forward(x), y)
    loss.backward()
    # Primitives that were not sampled have no gradient.
    trained = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    nn.utils.clip_grad_norm_(trained, GRAD_CLIP)
    optimizer.step()
    return float(loss.detach())


def open_proxy(
    path: Path, folder: Path, *, space: Space, seed: int, batch_size: int, channels: int, layers: int, weight_lr: float
) -> Proxy:
    """The proxy on the images of `path`, an .npz as `lab.datasets` reads it, pooled 2x2 into a file in `folder`.

    Raises:
        DataError: no such file, or images whose sides are odd.
    """
    bundle = load(DataConfig(name=str(path)))
    pooled = folder / f"{path.stem}-pooled.npz"
    if not pooled.is_file():
        write_pooled(bundle, pooled)
    config = DataConfig(name=str(pooled), seed=seed, shift=2, flip=True)
    streams = open_streams(config, batch_size=batch_size)
    return Proxy(
        data=StreamData(streams),
        space=space,
        channels=channels,
        layers=layers,
        num_classes=bundle.num_classes,
        in_channels=bundle.shape[0],
        weight_lr=weight_lr,
        seed=seed,
    )


def write_pooled(bundle: DataBundle, path: Path) -> None:
    """Write the images, pooled 2x2 to half their sides, and their labels as an .npz file.

    Raises:
        DataError: sides that are odd.
    """
    sides = bundle.shape[1:]
    if sides[0] % 2 or sides[1] % 2:
        raise DataError("images with even sides", f"{sides[0]}x{sides[1]} in {bundle.title}", "crop the images")

    def halve(x_NCHW: Tensor) -> np.ndarray:
        unit = x_NCHW.float() / 255 if x_NCHW.dtype == torch.uint8 else x_NCHW
        return nn.functional.avg_pool2d(unit, 2).numpy()

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part.npz")
    np.savez(
        temporary,
        x_train=halve(bundle.x_train),
        y_train=bundle.y_train.numpy(),
        x_test=halve(bundle.x_test),
        y_test=bundle.y_test.numpy(),
    )
    # In one step: a call that is stopped leaves no half of a file.
    temporary.replace(path)
