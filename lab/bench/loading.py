"""Where batches are prepared: in the training process, or by workers that hand them over.

Each round reads one epoch of each way, in turn: the batches alone, then the batches with a training step on each. The
start of the worker processes is part of an epoch, as it is in a run.
"""

import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from lab.base import ReportTable
from lab.bench.settings import LoadingBench
from lab.datasets import DataConfig, Streams, WorkerBatches, open_streams
from lab.device import DeviceLoader, choose_device
from lab.nn import EvolvableNetwork, six_convolutions
from lab.results import machine
from lab.train import OptimizerConfig, SupervisedStrategy


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way from the data set to the training step."""

    workers: int
    pinned: bool
    """Batches in pinned memory, copied while the step before runs; on CUDA alone."""
    streams: Streams
    """On the device where it has no workers and is not pinned, else in the main memory."""
    device: torch.device

    @property
    def title(self) -> str:
        """Where batches are prepared."""
        if self.workers:
            return f"{self.workers} worker{'s' if self.workers > 1 else ''}{', pinned' if self.pinned else ''}"
        return "whole set on the device" if self.device.type != "cpu" else "in the training process"

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch, on the device."""
        stream = self.streams.train
        if not self.workers:
            return stream.batches(epoch)
        found = WorkerBatches(stream, self.workers, pinned=self.pinned).batches(epoch)
        return found if self.device.type == "cpu" else iter(DeviceLoader(found, self.device))


def run(config: LoadingBench) -> dict[str, Any]:
    """Time every way in turn, `rounds` times."""
    torch.set_num_threads(config.threads)
    device = choose_device(config.device).device
    ways = _ways(config, device)
    strategy = _strategy(config, ways[0].streams, device)
    seconds: dict[str, tuple[list[float], list[float]]] = {way.title: ([], []) for way in ways}
    for round_number in range(config.rounds + 1):
        # Another way begins each round, so that a machine that slows down slows all of them.
        for way in ways[round_number % len(ways) :] + ways[: round_number % len(ways)]:
            alone = _epoch_seconds(way, round_number, None)
            training = _epoch_seconds(way, round_number, strategy)
            if round_number:  # The first round warms up.
                seconds[way.title][0].append(alone)
                seconds[way.title][1].append(training)
    images = len(ways[0].streams.train) * config.batch_size
    rows = [_figures(way, images, *seconds[way.title]) for way in ways]
    for row in rows:
        row["training_ratio"] = row["training_images_per_second"] / rows[0]["training_images_per_second"]
    return {
        "bench": "loading",
        "config": asdict(config),
        "machine": machine(),
        "results": {"images_in_an_epoch": images, "device": str(device), "ways": rows},
    }


def _ways(config: LoadingBench, device: torch.device) -> list[Way]:
    data = DataConfig(name=config.dataset, data_dir=config.data_dir, train_limit=config.train_limit)
    held = open_streams(data, batch_size=config.batch_size, device=device)
    main = held if device.type == "cpu" else open_streams(data, batch_size=config.batch_size)
    ways = []
    for workers in config.workers:
        for pinned in (False, True) if workers and device.type == "cuda" else (False,):
            ways.append(Way(workers=workers, pinned=pinned, streams=main if workers else held, device=device))
    return ways


def _strategy(config: LoadingBench, streams: Streams, device: torch.device) -> SupervisedStrategy:
    network = EvolvableNetwork(
        six_convolutions(),
        channels=config.channels,
        layers=config.layers,
        num_classes=streams.bundle.num_classes,
        in_channels=streams.bundle.shape[0],
    ).to(device)
    return SupervisedStrategy(network, OptimizerConfig(), epochs=config.rounds + 1)


def _epoch_seconds(way: Way, epoch: int, strategy: SupervisedStrategy | None) -> float:
    """Wall-clock seconds of an epoch's batches, with a training step on each or alone."""
    began = time.perf_counter()
    for x_BCHW, y_B in way.batches(epoch):
        if strategy is not None:
            strategy.step(x_BCHW, y_B)
    if way.device.type == "cuda":
        torch.cuda.synchronize(way.device)
    return time.perf_counter() - began


def _figures(way: Way, images: int, alone: list[float], training: list[float]) -> dict[str, Any]:
    return {
        "way": way.title,
        "workers": way.workers,
        "pinned": way.pinned,
        "loader_images_per_second": images / statistics.median(alone),
        "training_images_per_second": images / statistics.median(training),
        "training_spread": (max(training) - min(training)) / statistics.median(training),
    }


def summary(result: dict[str, Any]) -> ReportTable:
    """One row for each way."""
    figures = result["results"]
    rows = tuple(
        (
            row["way"],
            f"{row['loader_images_per_second']:,.0f}",
            f"{row['training_images_per_second']:,.0f}",
            f"{row['training_ratio']:.2f}",
            f"{row['training_spread']:.0%}",
        )
        for row in figures["ways"]
    )
    columns = ("batches come from", "loader alone, images/s", "training, images/s", "ratio to the first", "spread")
    title = f"loading {result['config']['dataset']} on {figures['device']}"
    notes = (f"medians over {result['config']['rounds']} epochs of {figures['images_in_an_epoch']:,} images",)
    return ReportTable(title=title, columns=columns, rows=rows, notes=notes)
