"""Training: one loop, the strategies that plug into it, and whole runs."""

from .commands import (
    Mutate,
    Offers,
    Outcome,
    ReduceLR,
    ReduceMutationStrength,
    ReleaseTemperature,
    Request,
    RequestContext,
    Rollback,
    SetTemperature,
    serve,
)
from .compile import Compiler
from .criterion import BatchLoss, Criterion, PerSampleLoss
from .data import RecordData, RunData, StreamData
from .evaluate import Comparison, compare, evaluate
from .group import Group, Ranks, SingleProcess, open_group
from .loaders import LoaderData, divide_loader
from .loop import Stopped, TrainingLoop
from .settings import RATE_SCHEDULES, CheckpointConfig, DeviceConfig, OptimizerConfig
from .sink import NullSink, Observer, SilentObserver, Sink, StoreSink
from .step import StepNumbers, StepOptions, StepReport, WeightStep
from .strategy import EpochData, EpochPlan, EpochReport, Evaluation, Split, Strategy, StrategyState
from .supervised import SupervisedStrategy, WeightTrainer

__all__ = [
    "RATE_SCHEDULES",
    "BatchLoss",
    "CheckpointConfig",
    "Comparison",
    "Compiler",
    "Criterion",
    "DeviceConfig",
    "EpochData",
    "EpochPlan",
    "EpochReport",
    "Evaluation",
    "Group",
    "LoaderData",
    "Mutate",
    "NullSink",
    "Observer",
    "Offers",
    "OptimizerConfig",
    "Outcome",
    "PerSampleLoss",
    "Ranks",
    "RecordData",
    "ReduceLR",
    "ReduceMutationStrength",
    "ReleaseTemperature",
    "Request",
    "RequestContext",
    "Rollback",
    "RunData",
    "SetTemperature",
    "SilentObserver",
    "SingleProcess",
    "Sink",
    "Split",
    "StepNumbers",
    "StepOptions",
    "StepReport",
    "Stopped",
    "StoreSink",
    "Strategy",
    "StrategyState",
    "StreamData",
    "SupervisedStrategy",
    "TrainingLoop",
    "WeightStep",
    "WeightTrainer",
    "compare",
    "divide_loader",
    "evaluate",
    "open_group",
    "serve",
]
