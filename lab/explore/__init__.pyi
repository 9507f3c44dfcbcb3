"""Exploration of a search space: architecture parameters, Gumbel sampling, temperature, scores without training."""

from .choice import NONE, best_genotype
from .collapse import Collapse, measure_collapse
from .combination import Combination, combine
from .evolution import EvolutionConfig, ScoreSearch
from .explorer import GumbelExplorer, SampleStats
from .kinds import SAMPLING_KINDS
from .prior import Prior, ScoredCell
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
from .scores import SCORES, Score, flops, log_synflow, naswot, parameters, skip_length

__all__ = [
    "NONE",
    "SAMPLING_KINDS",
    "SCHEDULES",
    "SCORES",
    "AdaptiveSchedule",
    "Collapse",
    "Combination",
    "ConstantSchedule",
    "CosineSchedule",
    "EvolutionConfig",
    "ExponentialSchedule",
    "GumbelExplorer",
    "LinearSchedule",
    "Prior",
    "SampleStats",
    "Schedule",
    "ScheduleState",
    "Score",
    "ScoreSearch",
    "ScoredCell",
    "best_genotype",
    "combine",
    "flops",
    "log_synflow",
    "measure_collapse",
    "naswot",
    "parameters",
    "skip_length",
]
