"""Exploration of a search space: architecture parameters, Gumbel sampling, temperature, the collapse meter."""

from .choice import NONE, best_genotype
from .collapse import Collapse, measure_collapse
from .explorer import GumbelExplorer, SampleStats
from .kinds import SAMPLING_KINDS
from .schedules import (
    SCHEDULES,
    AdaptiveSchedule,
    ConstantSchedule,
    CosineSchedule,
    ExponentialSchedule,
    LinearSchedule,
    Schedule,
    ScheduleState,
)

__all__ = [
    "NONE",
    "SAMPLING_KINDS",
    "SCHEDULES",
    "AdaptiveSchedule",
    "Collapse",
    "ConstantSchedule",
    "CosineSchedule",
    "ExponentialSchedule",
    "GumbelExplorer",
    "LinearSchedule",
    "SampleStats",
    "Schedule",
    "ScheduleState",
    "best_genotype",
    "measure_collapse",
]
