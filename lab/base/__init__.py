"""What every part stands on: one exception tree, one report shape, named seeds, checks, JSON, shipped files, extras."""

from lab.base.checks import require, require_choice, require_range, takes
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
from lab.base.extras import DISTRIBUTION, EXTRAS, missing_extra, require_extra
from lab.base.json_text import parse_json
from lab.base.language import LANGUAGES, page_language
from lab.base.report import Report, ReportTable
from lab.base.resources import resource
from lab.base.seeds import derive_seed
from lab.base.sequences import sequence_like

__all__ = [
    "DISTRIBUTION",
    "EXTRAS",
    "LANGUAGES",
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
    "missing_extra",
    "page_language",
    "parse_json",
    "require",
    "require_choice",
    "require_extra",
    "require_range",
    "resource",
    "sequence_like",
    "takes",
]
