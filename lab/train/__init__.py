"""Training: one loop, the strategies that plug into it, and whole runs."""

from lab.train.asose import ASOSEStrategy
from lab.train.build import Parts, build
from lab.train.config import RECIPES, RunConfig
from lab.train.data import StreamData
from lab.train.evaluate import Comparison, compare, evaluate, relative_difference
from lab.train.fixed import FixedStrategy, channels_for, six_convolutions
from lab.train.live import TOLERANCE, LiveNetwork
from lab.train.loop import Stopped, TrainingLoop
from lab.train.mutation import Mutator, Pending
from lab.train.network import NetworkInput, restore_network, under_hand_over
from lab.train.report import RunReport
from lab.train.run import Run, find_checkpoint, saved_config
from lab.train.search import ASOSEConfig
from lab.train.sink import NullSink, Observer, SilentObserver, Sink, StoreSink
from lab.train.strategy import EpochData, EpochReport, Evaluation, StepReport, Strategy

__all__ = [
    "RECIPES",
    "TOLERANCE",
    "ASOSEConfig",
    "ASOSEStrategy",
    "Comparison",
    "EpochData",
    "EpochReport",
    "Evaluation",
    "FixedStrategy",
    "LiveNetwork",
    "Mutator",
    "NetworkInput",
    "NullSink",
    "Observer",
    "Parts",
    "Pending",
    "Run",
    "RunConfig",
    "RunReport",
    "SilentObserver",
    "Sink",
    "StepReport",
    "Stopped",
    "StoreSink",
    "Strategy",
    "StreamData",
    "TrainingLoop",
    "build",
    "channels_for",
    "compare",
    "evaluate",
    "find_checkpoint",
    "relative_difference",
    "restore_network",
    "saved_config",
    "six_convolutions",
    "under_hand_over",
]
