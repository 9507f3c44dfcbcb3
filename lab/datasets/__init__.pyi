"""Data sets whole in memory, divided four ways, and streamed in batches that depend on seed and epoch alone."""

from .bundle import Augmentation, DataBundle
from .config import DataConfig
from .load import describe, load
from .multitask import MULTITASK, MultitaskData, MultitaskPart, Task, describe_multitask, load_multitask
from .sources import NAMES
from .splits import Splits, split
from .stream import BatchStream, Normalisation, Streams, open_streams
from .workers import WorkerBatches

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
