"""Data sets whole in memory, divided four ways, and streamed in batches that depend on seed and epoch alone."""

from .bundle import DataBundle
from .config import DataConfig
from .load import load
from .multitask import MultitaskData, MultitaskPart, Task, load_multitask
from .sources import MULTITASK, NAMES, SENTENCES, Augmentation, describe, describe_multitask, describe_sentences
from .splits import Splits, split
from .stream import BatchStream, Normalisation, Streams, open_streams
from .workers import WorkerBatches

__all__ = [
    "MULTITASK",
    "NAMES",
    "SENTENCES",
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
    "describe_sentences",
    "load",
    "load_multitask",
    "open_streams",
    "split",
]
