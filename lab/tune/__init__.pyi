"""Studies: trials of other settings, evaluated in parallel by child processes, none lost and none counted twice."""

from .child import EvaluationTask, TrialLink, TrialStopped
from .config import OBJECTIVES, PRUNERS, SAMPLERS, StudyConfig, WorkConfig
from .dimension import Dimension, check_dimensions, field_types, parse_space, read_space
from .report import StudyReport, best_settings
from .retry import POLICY, RetryRule
from .supervisor import StudyObserver, run_study

__all__ = [
    "OBJECTIVES",
    "POLICY",
    "PRUNERS",
    "SAMPLERS",
    "Dimension",
    "EvaluationTask",
    "RetryRule",
    "StudyConfig",
    "StudyObserver",
    "StudyReport",
    "TrialLink",
    "TrialStopped",
    "WorkConfig",
    "best_settings",
    "check_dimensions",
    "field_types",
    "parse_space",
    "read_space",
    "run_study",
]
