"""The proxy on which cells are searched: images halved in size, few channels, one cell a stage, one thread.

B batch, C channels, H height, W width, K primitives.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lab.base import DataError, derive_seed
from lab.datasets import DataBundle, DataConfig, load, open_streams
from lab.nn import EvolvableNetwork, SuperNet, recalibrate_batchnorm
from lab.results.record import Clock
from lab.search import train_alone
from lab.search.training import endless, set_rate, weight_optimizer
from lab.space import Genotype, Space
from lab.train import Evaluation, Split, StreamData, evaluate


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
        return weight_optimizer(module, self.weight_lr)

    def set_rate(self, optimizer: torch.optim.Optimizer, share: float) -> None:
        """The learning rate at `share` of a training: up linearly, then down as a cosine."""
        set_rate(optimizer, self.weight_lr, share)

    def endless(self, split: Split) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of `split`, epoch after epoch."""
        return endless(self.data, split)

    def train_alone(self, genotype: Genotype, epochs: int, clock: Clock) -> Evaluation | None:
        """Held-out reading of a fresh network of `genotype` after `epochs` of its own; None where the budget ended."""
        # By the cell's own stream: its weights do not depend on the cells that came before.
        network = self.network(genotype, *genotype.indices)
        return train_alone(network, self.data, epochs=epochs, weight_lr=self.weight_lr, stop=lambda: clock.over)

    def inherited(self, supernet: SuperNet, genotype: Genotype) -> Evaluation:
        """Held-out reading of `genotype` with the supernet's weights and statistics of its own."""
        child = EvolvableNetwork.from_supernet(supernet, genotype)
        recalibrate_batchnorm(child, self.data.statistics(0))
        return evaluate(child, self.data.selection())


def open_proxy(
    path: Path, folder: Path, *, space: Space, seed: int, batch_size: int, channels: int, layers: int, weight_lr: float
) -> Proxy:
    """The proxy on the images of `path`, an .npz as `lab.datasets` reads it, pooled 2x2 into a file in `folder`.

    Raises:
        DataError: no such file, or images whose sides are odd.
    """
    streams = open_streams(pooled_data(path, folder, seed), batch_size=batch_size)
    return Proxy(
        data=StreamData(streams),
        space=space,
        channels=channels,
        layers=layers,
        num_classes=streams.bundle.num_classes,
        in_channels=streams.bundle.shape[0],
        weight_lr=weight_lr,
        seed=seed,
    )


def pooled_data(path: Path, folder: Path, seed: int) -> DataConfig:
    """The images of `path` pooled 2x2, in a file in `folder`, which is written where it is absent; errors as above."""
    pooled = folder / f"{path.stem}-pooled.npz"
    if not pooled.is_file():
        _write_pooled(load(DataConfig(name=str(path))), pooled)
    return DataConfig(name=str(pooled), seed=seed, shift=2, flip=True)


def _write_pooled(bundle: DataBundle, path: Path) -> None:
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
