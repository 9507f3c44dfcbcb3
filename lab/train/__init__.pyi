"""Training: one loop, the strategies that plug into it, and whole runs."""

from .compile import Compiler
from .criterion import Criterion, Reading
from .data import RecordData, RunData, StreamData
from .evaluate import Comparison, compare, evaluate, relative_difference
from .group import Alone, Group, Ranks, open_group
from .loaders import LoaderData, divide_loader
from .loop import Stopped, TrainingLoop
from .settings import RATE_SCHEDULES, CheckpointConfig, DeviceConfig, OptimizerConfig
from .sink import NullSink, Observer, SilentObserver, Sink, StoreSink
from .step import StepNumbers, WeightStep
from .strategy import EpochData, EpochReport, Evaluation, StepReport, Strategy
from .supervised import FixedStrategy, channels_for, six_convolutions

__all__ = [
    "RATE_SCHEDULES",
    "Alone",
    "CheckpointConfig",
    "Comparison",
    "Compiler",
    "Criterion",
    "DeviceConfig",
    "EpochData",
    "EpochReport",
    "Evaluation",
    "FixedStrategy",
    "Group",
    "LoaderData",
    "NullSink",
    "Observer",
    "OptimizerConfig",
    "Ranks",
    "Reading",
    "RecordData",
    "RunData",
    "SilentObserver",
    "Sink",
    "StepNumbers",
    "StepReport",
    "Stopped",
    "StoreSink",
    "Strategy",
    "StreamData",
    "TrainingLoop",
    "WeightStep",
    "channels_for",
    "compare",
    "divide_loader",
    "evaluate",
    "open_group",
    "relative_difference",
    "six_convolutions",
]
