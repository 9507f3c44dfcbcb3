"""Data sets whole in memory, divided four ways, and streamed in batches that depend on seed and epoch alone."""

from lab.datasets.bundle import Augmentation, DataBundle
from lab.datasets.config import DataConfig
from lab.datasets.load import describe, load
from lab.datasets.multitask import MULTITASK, MultitaskData, MultitaskPart, Task, describe_multitask, load_multitask
from lab.datasets.sources import NAMES
from lab.datasets.splits import Splits, split
from lab.datasets.stream import BatchStream, Normalisation, Streams, open_streams
from lab.datasets.workers import WorkerBatches

__all__ = [
    "MULTITASK",
    "NAMES",
    "Augmentation",
    "BatchStream",
    "DataBundle",
    "DataConfig",
    "MultitaskData",
    "MultitaskPart",
    "Normalisation",
    "Splits",
    "Streams",
    "Task",
    "WorkerBatches",
    "describe",
    "describe_multitask",
    "load",
    "load_multitask",
    "open_streams",
    "split",
]
