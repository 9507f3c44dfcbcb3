"""Research questions that `lab experiment NAME` answers: each module has a frozen configuration."""

from .table_settings import (
    AgentBench,
    RemediesBench,
    SearchBench,
    StrategiesBench,
    TableBench,
)
from .training_settings import (
    AblationBench,
    DecidedBench,
    EvolveBench,
    EvolvedBench,
    GrowthBench,
    LadderBench,
    ScoresBench,
)
from .trial_settings import TrialBench

__all__ = [
    "AblationBench",
    "AgentBench",
    "DecidedBench",
    "EvolveBench",
    "EvolvedBench",
    "GrowthBench",
    "LadderBench",
    "RemediesBench",
    "ScoresBench",
    "SearchBench",
    "StrategiesBench",
    "TableBench",
    "TrialBench",
]
