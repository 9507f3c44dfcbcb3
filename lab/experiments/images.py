"""The images of experiments by name, some of them halved in size, and training for a number of operations.

B batch, C channels, H height, W width, N samples.
"""

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from lab.base import DataError, derive_seed
from lab.datasets import DataConfig, load, open_streams
from lab.experiments.proxy import write_pooled
from lab.nn import EvolvableNetwork, measure_flops
from lab.nn.flops import FORWARDS_OF_STEP
from lab.search.training import endless, train_steps
from lab.space import Genotype
from lab.train import OptimizerConfig, Split, StreamData, evaluate
from lab.train.optimizer import LearningRate, make_weight_optimizer

PIXELS = "cifar10-pixels"
"""The set that is a file of the user's."""


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """A data set as an experiment takes it."""

    text: str
    """For the reader."""
    name: str
    """As `DataConfig.name`; cifar10-pixels is the file that --cifar names."""
    limit: int | None = None
    """Training images; None for all."""
    pooled: bool = False
    """Whether 2x2 pixels become one."""


IMAGES: Mapping[str, ImageSet] = MappingProxyType(
    {
        "digits": ImageSet(text="digits", name="digits"),
        "shapes": ImageSet(text="shapes", name="shapes"),
        "shapes-500": ImageSet(text="shapes, 500 images", name="shapes", limit=500),
        "fashion-14": ImageSet(text="Fashion-MNIST 14x14, 4,000 images", name="fashion-mnist", limit=4000, pooled=True),
        "fashion-14-1000": ImageSet(
            text="Fashion-MNIST 14x14, 1,000 images", name="fashion-mnist", limit=1000, pooled=True
        ),
        "fashion-14-all": ImageSet(text="Fashion-MNIST 14x14", name="fashion-mnist", pooled=True),
        "fashion-28": ImageSet(text="Fashion-MNIST, 4,000 images", name="fashion-mnist", limit=4000),
        "fashion-28-all": ImageSet(text="Fashion-MNIST", name="fashion-mnist"),
        "cifar-16": ImageSet(text="CIFAR-10 pixels 16x16", name=PIXELS, pooled=True),
        "cifar-16-1000": ImageSet(text="CIFAR-10 pixels 16x16, 1,000 images", name=PIXELS, limit=1000, pooled=True),
    }
)
"""Name in an experiment -> the set."""


def image_config(name: str, *, data_dir: str, cifar: Path | None, folder: Path, seed: int) -> DataConfig:
    """The data of `name` with the split of `seed`; halved images are written to `folder` once.

    Raises:
        DataError: the set is not there, or its images have odd sides.
    """
    wanted = IMAGES[name]
    source = wanted.name
    if source == PIXELS:
        if cifar is None:
            raise DataError(f"--cifar PATH.npz for {name}", "none", "give the file, or leave this data set out")
        source = str(cifar)
    config = DataConfig(name=source, data_dir=data_dir, seed=seed)
    if wanted.pooled:
        path = folder / f"{wanted.name}-pooled.npz"
        bundle = load(config)
        if not path.is_file():
            write_pooled(bundle, path)
        own = bundle.augmentation
        config = replace(config, name=str(path), shift=max(own.shift // 2, 1) if own.shift else 0, flip=own.flip)
    return replace(config, train_limit=wanted.limit)


def open_images(config: DataConfig, batch_size: int) -> StreamData:
    """The batches of `config`."""
    return StreamData(open_streams(config, batch_size=batch_size))


def fresh_network(genotype: Genotype, data: StreamData, *, channels: int, layers: int, seed: int) -> EvolvableNetwork:
    """A network of `genotype` with initial weights of `seed`, the same for a cell and a width whoever asks."""
    torch.manual_seed(derive_seed(seed, "init", channels, *genotype.indices))
    bundle = data.streams.bundle
    return EvolvableNetwork(
        genotype, channels=channels, layers=layers, num_classes=bundle.num_classes, in_channels=bundle.shape[0]
    )


def image_operations(network: nn.Module, data: StreamData) -> float:
    """Floating-point operations of training on one image: 3 x forward."""
    return float(FORWARDS_OF_STEP * measure_flops(network, torch.zeros(1, *data.streams.bundle.shape)))


def train_for(network: nn.Module, data: StreamData, operations: float, config: OptimizerConfig) -> dict[str, Any]:
    """Train `network` for `operations` under one cosine over all steps, then read the test split once.

    Args:
        network: is trained in place.
        data: batches of its train split.
        operations: floating-point operations, 3 x forward x images; rounded to whole steps, at least one.
        config: rate, momentum, decay, clipping.

    Returns:
        Test accuracy and loss, operations, steps, epochs, parameters and CPU seconds.
    """
    each = image_operations(network, data)
    length = data.length(Split.TRAIN)
    batch = data.streams.train.batch_size
    steps = max(round(operations / (each * batch)), 1)
    optimizer = make_weight_optimizer(
        network.parameters(), lr=config.weight_lr, momentum=config.weight_momentum, weight_decay=config.weight_decay
    )
    rate = LearningRate(optimizer, config.weight_lr, 1)
    began = time.process_time()
    train_steps(
        network,
        optimizer,
        endless(data, Split.TRAIN),
        steps=steps,
        set_share=rate.begin,
        grad_clip=config.grad_clip,
    )
    seconds = time.process_time() - began
    test = evaluate(network, data.test())
    return {
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
        "operations": steps * batch * each,
        "steps": steps,
        "epochs": steps / length,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "cpu_seconds": round(seconds, 2),
    }


def standard_error(values: list[float]) -> float | None:
    """Standard error of the mean; None for one value."""
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
