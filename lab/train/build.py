"""The one place where the objects of a run are composed from its settings."""

import os
from dataclasses import dataclass, replace

import torch

from lab.base import derive_seed, require
from lab.datasets import Streams, open_streams
from lab.device import choose_device
from lab.monitor import StabilityMonitor
from lab.nn import EvolvableNetwork, SuperNet
from lab.space import SPACES, find_table
from lab.train.asose import ASOSEStrategy
from lab.train.config import RunConfig
from lab.train.data import StreamData
from lab.train.fixed import FixedStrategy, parse_cell
from lab.train.strategy import Strategy


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a run is made of."""

    device: torch.device
    streams: Streams
    data: StreamData
    strategy: Strategy
    monitor: StabilityMonitor


def build(config: RunConfig) -> Parts:
    """Compose a run. Sets torch's thread count and its global seed, which the initial weights follow.

    Raises:
        LabError: a device, data set or setting that cannot be had.
    """
    device = choose_device(config.search.device).device
    if config.search.memory_fraction is not None:
        require(
            device.type == "cuda",
            expected="a CUDA device with --memory-fraction",
            came=str(device),
            todo="leave --memory-fraction away, or choose --device cuda",
        )
        torch.cuda.set_per_process_memory_fraction(config.search.memory_fraction, device)
    torch.set_num_threads(config.threads or spare_threads())
    streams = open_streams(replace(config.data, seed=config.seed), batch_size=config.batch_size, device=device)
    torch.manual_seed(derive_seed(config.seed, "init"))
    return Parts(
        device=device,
        streams=streams,
        data=StreamData(streams),
        strategy=make_strategy(
            config, num_classes=streams.bundle.num_classes, in_channels=streams.bundle.shape[0], device=device
        ),
        monitor=StabilityMonitor(config.monitor),
    )


def spare_threads() -> int:
    """Torch's thread count, less where it would take every core: the page, the store and the browser need one.

    Two threads on a busy machine of two cores wait for each other at every operation and can be fifty times slower.
    """
    return max(1, min(torch.get_num_threads(), (os.cpu_count() or 2) - 1))


def make_strategy(config: RunConfig, *, num_classes: int, in_channels: int, device: torch.device) -> Strategy:
    """The strategy of `config` with fresh networks on `device`, for images of `in_channels` channels."""
    channels, layers = config.init_channels, config.layers
    if config.recipe == "fixed":
        network = EvolvableNetwork(
            parse_cell(config.fixed_cell),
            channels=channels,
            layers=layers,
            num_classes=num_classes,
            in_channels=in_channels,
        ).to(device)
        return FixedStrategy(network, config.search, epochs=config.total_epochs)
    space = SPACES[config.space]
    supernet = SuperNet(space, channels, layers, num_classes, in_channels).to(device)
    return ASOSEStrategy(supernet, config.search, seed=config.seed, epochs=config.total_epochs, table=find_table(space))
