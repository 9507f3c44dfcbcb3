"""Training: one loop, the strategies that plug into it, and whole runs."""

from lab.train.agent import AgentStrategy
from lab.train.asose import ASOSEStrategy
from lab.train.build import Parts, build, run_device
from lab.train.compile import Compiler
from lab.train.config import RECIPES, RunConfig
from lab.train.criterion import Criterion, Reading
from lab.train.data import RecordData, RunData, StreamData
from lab.train.evaluate import Comparison, compare, evaluate, relative_difference
from lab.train.evolve import POLICIES, EvolveConfig
from lab.train.fixed import FixedStrategy, channels_for, six_convolutions
from lab.train.framework import ASOSEFramework, ASOSETrainer, TrainingReport
from lab.train.group import Alone, Group, Ranks, open_group
from lab.train.hybrid import HybridStrategy, make_hybrid
from lab.train.live import TOLERANCE, LiveNetwork
from lab.train.loaders import LoaderData, divide_loader
from lab.train.loop import Stopped, TrainingLoop
from lab.train.mutation import Mutator, Pending
from lab.train.network import NetworkInput, restore_network, under_hand_over
from lab.train.report import RunReport
from lab.train.run import Run, find_checkpoint, saved_config
from lab.train.search import ASOSEConfig
from lab.train.sink import NullSink, Observer, SilentObserver, Sink, StoreSink
from lab.train.step import StepNumbers, WeightStep
from lab.train.strategy import EpochData, EpochReport, Evaluation, StepReport, Strategy
from lab.train.tasks import WEIGHTINGS, HybridConfig, LossWeights, TaskLosses, Walk

__all__ = [
    "POLICIES",
    "RECIPES",
    "TOLERANCE",
    "WEIGHTINGS",
    "ASOSEConfig",
    "ASOSEFramework",
    "ASOSEStrategy",
    "ASOSETrainer",
    "AgentStrategy",
    "Alone",
    "Comparison",
    "Compiler",
    "Criterion",
    "EpochData",
    "EpochReport",
    "Evaluation",
    "EvolveConfig",
    "FixedStrategy",
    "Group",
    "HybridConfig",
    "HybridStrategy",
    "LiveNetwork",
    "LoaderData",
    "LossWeights",
    "Mutator",
    "NetworkInput",
    "NullSink",
    "Observer",
    "Parts",
    "Pending",
    "Ranks",
    "Reading",
    "RecordData",
    "Run",
    "RunConfig",
    "RunData",
    "RunReport",
    "SilentObserver",
    "Sink",
    "StepNumbers",
    "StepReport",
    "Stopped",
    "StoreSink",
    "Strategy",
    "StreamData",
    "TaskLosses",
    "TrainingLoop",
    "TrainingReport",
    "Walk",
    "WeightStep",
    "build",
    "channels_for",
    "compare",
    "divide_loader",
    "evaluate",
    "find_checkpoint",
    "make_hybrid",
    "open_group",
    "relative_difference",
    "restore_network",
    "run_device",
    "saved_config",
    "six_convolutions",
    "under_hand_over",
]
