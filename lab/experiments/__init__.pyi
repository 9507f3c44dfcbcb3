"""Research questions that `lab experiment NAME` answers: each module has a frozen configuration."""

from .compute_settings import AnytimeBench, DecidedBench, EvolvedBench, LadderBench
from .sampler_settings import SamplersBench
from .table_settings import (
    AgentBench,
    RemediesBench,
    SearchBench,
    StrategiesBench,
    TableBench,
)
from .text_settings import TextBench
from .training_settings import (
    AblationBench,
    EvolveBench,
    GrowthBench,
    ScoresBench,
)
from .trial_settings import TrialBench

__all__ = [
    "AblationBench",
    "AgentBench",
    "AnytimeBench",
    "DecidedBench",
    "EvolveBench",
    "EvolvedBench",
    "GrowthBench",
    "LadderBench",
    "RemediesBench",
    "SamplersBench",
    "ScoresBench",
    "SearchBench",
    "StrategiesBench",
    "TableBench",
    "TextBench",
    "TrialBench",
]
