"""The run store: one SQLite file for each run, written by its trainer alone and read live by everything else."""

from . import control
from .attempt import check_new_run
from .control import COMMANDS, Command
from .place import RUNS_ROOT
from .process import STALE_SECONDS, ProcessIdentity
from .reader import AttemptRow, Buckets, EventRow, EventRows, RunReader, RunSummary, ScalarRows, ThinnedScalar
from .records import (
    EVENT_RECORDS,
    ActionEvent,
    AlertEvent,
    CheckpointEvent,
    ControlEvent,
    GenotypeEvent,
    GrowthEvent,
    InterventionEvent,
    MemoryEvent,
    MutationEvent,
    OomEvent,
    PhaseEvent,
    PlanEvent,
    Record,
    RollbackEvent,
    StabilityEvent,
    TemperatureEvent,
)
from .runs import list_runs, new_run_name
from .translation import (
    recipe_of,
    translate_config,
    translate_event,
    translate_head,
    translate_loop_state,
    translate_piece,
    translate_plan,
    translate_state,
)
from .writer import RunWriter

__all__ = [
    "COMMANDS",
    "EVENT_RECORDS",
    "RUNS_ROOT",
    "STALE_SECONDS",
    "ActionEvent",
    "AlertEvent",
    "AttemptRow",
    "Buckets",
    "CheckpointEvent",
    "Command",
    "ControlEvent",
    "EventRow",
    "EventRows",
    "GenotypeEvent",
    "GrowthEvent",
    "InterventionEvent",
    "MemoryEvent",
    "MutationEvent",
    "OomEvent",
    "PhaseEvent",
    "PlanEvent",
    "ProcessIdentity",
    "Record",
    "RollbackEvent",
    "RunReader",
    "RunSummary",
    "RunWriter",
    "ScalarRows",
    "StabilityEvent",
    "TemperatureEvent",
    "ThinnedScalar",
    "check_new_run",
    "control",
    "list_runs",
    "new_run_name",
    "recipe_of",
    "translate_config",
    "translate_event",
    "translate_head",
    "translate_loop_state",
    "translate_piece",
    "translate_plan",
    "translate_state",
]
