"""Exploration of a search space: architecture parameters, Gumbel sampling, temperature, the collapse meter."""

from lab.explore.choice import NONE, best_genotype
from lab.explore.collapse import Collapse, measure_collapse
from lab.explore.explorer import SAMPLING_KINDS, Draws, GumbelExplorer
from lab.explore.schedules import (
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
    "Draws",
    "ExponentialSchedule",
    "GumbelExplorer",
    "LinearSchedule",
    "Schedule",
    "ScheduleState",
    "best_genotype",
    "measure_collapse",
]
