"""Instruments that name the tensor, the operation and the line at fault."""

from .audit import KINDS, AuditReport, audit
from .backward import BackwardFinding, BackwardReport, WatchConfig, explain_backward
from .examine import Placement, examine
from .learning import ParameterRow
from .misplaced import Operand
from .optimizer_audit import AuditFinding
from .page import DoctorReport
from .place import Place
from .process import ProcessFinding, ProcessReport, process_check
from .simulate import SimulationReport, simulate
from .training import TrainingReport, explain_training
from .training_faults import TrainingFinding

__all__ = [
    "KINDS",
    "AuditFinding",
    "AuditReport",
    "BackwardFinding",
    "BackwardReport",
    "DoctorReport",
    "Operand",
    "ParameterRow",
    "Place",
    "Placement",
    "ProcessFinding",
    "ProcessReport",
    "SimulationReport",
    "TrainingFinding",
    "TrainingReport",
    "WatchConfig",
    "audit",
    "examine",
    "explain_backward",
    "explain_training",
    "process_check",
    "simulate",
]
