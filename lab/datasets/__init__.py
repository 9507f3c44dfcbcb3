"""Data sets whole in memory, divided four ways, and streamed in batches that depend on seed and epoch alone."""

from lab.datasets.bundle import Augmentation, DataBundle
from lab.datasets.config import DataConfig
from lab.datasets.load import describe, load
from lab.datasets.sources import NAMES
from lab.datasets.splits import Splits, split
from lab.datasets.stream import BatchStream, Normalisation, Streams, open_streams
from lab.datasets.workers import WorkerBatches

__all__ = [
    "NAMES",
    "Augmentation",
    "BatchStream",
    "DataBundle",
    "DataConfig",
    "Normalisation",
    "Splits",
    "Streams",
    "WorkerBatches",
    "describe",
    "load",
    "open_streams",
    "split",
]
