"""What every part stands on: one exception tree, one report shape, named seeds, field checks."""

from lab.base.checks import require, require_choice, require_range
from lab.base.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    LabError,
    MaterializeError,
    MorphError,
    PlacementError,
    StoreError,
    StudyError,
    TrainingError,
)
from lab.base.report import Report, ReportTable
from lab.base.seeds import derive_seed

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "LabError",
    "MaterializeError",
    "MorphError",
    "PlacementError",
    "Report",
    "ReportTable",
    "StoreError",
    "StudyError",
    "TrainingError",
    "derive_seed",
    "require",
    "require_choice",
    "require_range",
]
