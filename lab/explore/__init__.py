"""Exploration of a search space: architecture parameters, Gumbel sampling, temperature, the collapse meter."""

from lab.explore.collapse import Collapse, measure_collapse
from lab.explore.explorer import SAMPLING_KINDS, GumbelExplorer
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
    "SAMPLING_KINDS",
    "SCHEDULES",
    "AdaptiveSchedule",
    "Collapse",
    "ConstantSchedule",
    "CosineSchedule",
    "ExponentialSchedule",
    "GumbelExplorer",
    "LinearSchedule",
    "Schedule",
    "ScheduleState",
    "measure_collapse",
]
