"""A run from its settings to its report: composed, executed, resumed."""

from .build import Parts, build, run_device
from .config import RECIPES, RECORDS, RunConfig
from .exporter import Exporter, TensorBoardExporter, TrackioExporter
from .framework import ASOSEFramework, ASOSETrainer, TrainingReport
from .network import NetworkInput, restore_network, under_hand_over
from .plan import Budget, RunPlan
from .planner import Planned, epoch_operations, plan_run
from .report import RunReport
from .resume import find_checkpoint, saved_config
from .run import Run

__all__ = [
    "RECIPES",
    "RECORDS",
    "ASOSEFramework",
    "ASOSETrainer",
    "Budget",
    "Exporter",
    "NetworkInput",
    "Parts",
    "Planned",
    "Run",
    "RunConfig",
    "RunPlan",
    "RunReport",
    "TensorBoardExporter",
    "TrackioExporter",
    "TrainingReport",
    "build",
    "epoch_operations",
    "find_checkpoint",
    "plan_run",
    "restore_network",
    "run_device",
    "saved_config",
    "under_hand_over",
]
